import fc from "fast-check";
import { beforeEach, describe, expect, test } from "vitest";

import { formatIpAddress, parseIpAddress } from "../../wire/ip-address.ts";
import { BROADCAST_MAC, parseMacAddress } from "../../wire/mac-address.ts";
import type { MacAddress } from "../../wire/mac-address.ts";
import { ArpOperation, decodeArpPacket, encodeArpPacket } from "./arp-packet.ts";
import type { ArpPacket } from "./arp-packet.ts";
import {
  ANSWER_WITHIN_MS,
  ASKERS_ASKED,
  BROADCAST_AFTER,
  GATEWAY_DOUBT_INTERVAL_MS,
  GATEWAY_INTERVAL_MS,
  GATEWAY_MISSES,
  GATEWAY_SILENT_FOR_MS,
  HEARD_INTERVAL_MS,
  MAX_NEIGHBOURS,
  NeighbourQuestions,
} from "./neighbour-questions.ts";
import type { QuestionFrame } from "./neighbour-questions.ts";

const MAC = parseMacAddress("02:00:00:00:00:0a");
const SECOND_MAC = parseMacAddress("02:00:00:00:00:0b");
const PEER_MAC = parseMacAddress("02:00:00:00:00:01");
const GATEWAY_MAC = parseMacAddress("02:00:00:00:00:fe");
const PEER = "10.9.0.2";
const GATEWAY = "10.9.0.254";
const ETH0 = 2;
const ETH1 = 3;

let questions: NeighbourQuestions;
beforeEach(() => {
  questions = new NeighbourQuestions();
  questions.setSegments([
    { interfaceIndex: ETH0, mac: MAC, addresses: [{ address: "192.168.0.1", prefixLength: 32 }, { address: "10.9.0.1", prefixLength: 24 }] },
    { interfaceIndex: ETH1, mac: SECOND_MAC, addresses: [] },
  ]);
});

/** What a question says, in short. */
function told(frames: readonly QuestionFrame[]): string[] {
  return frames.map(({ interfaceIndex, bytes }) => {
    const packet = decodeArpPacket(bytes);
    expect(packet.operation).toBe(ArpOperation.request);
    expect(packet.ethernetSource).toBe(packet.senderHardwareAddress);
    return `${interfaceIndex} ${packet.ethernetSource} > ${packet.ethernetDestination}: ${formatIpAddress(packet.senderProtocolAddress)} asks ${formatIpAddress(packet.targetProtocolAddress)}`;
  });
}

function reply(address: string, mac: MacAddress, change: Partial<ArpPacket> = {}): Uint8Array {
  return encodeArpPacket({
    ethernetDestination: MAC,
    ethernetSource: mac,
    operation: ArpOperation.reply,
    senderHardwareAddress: mac,
    senderProtocolAddress: parseIpAddress(address),
    targetHardwareAddress: MAC,
    targetProtocolAddress: parseIpAddress("10.9.0.1"),
    ...change,
  });
}

const answer = (address: string): object => ({ kind: "answer", address, question: "arp", result: "answered" });
const heard = { kind: "frame", interfaceIndex: ETH0 };

describe("questions to a node", () => {
  test("the first is broadcast on the segment that the address belongs to, from this host's address there", () => {
    expect(told(questions.ask(PEER, 0))).toEqual([`2 ${MAC} > ${BROADCAST_MAC}: 10.9.0.1 asks ${PEER}`]);
  });

  test("an answer is told, and the next question goes to whoever gave it", () => {
    questions.ask(PEER, 0);
    expect(questions.frame(ETH0, reply(PEER, PEER_MAC), 1)).toEqual([heard, answer(PEER)]);
    expect(told(questions.ask(PEER, 2))).toEqual([`2 ${MAC} > ${PEER_MAC}: 10.9.0.1 asks ${PEER}`]);
  });

  test("after many questions in vain they are broadcast again, and an answer from another MAC is learnt", () => {
    questions.ask(PEER, 0);
    questions.frame(ETH0, reply(PEER, PEER_MAC), 1);
    for (let count = 0; count < BROADCAST_AFTER; count++) expect(told(questions.ask(PEER, 2 + count))[0]).toContain(`> ${PEER_MAC}`);
    expect(told(questions.ask(PEER, 50))[0]).toContain(`> ${BROADCAST_MAC}`);
    questions.frame(ETH0, reply(PEER, GATEWAY_MAC), 51);
    expect(told(questions.ask(PEER, 52))[0]).toContain(`> ${GATEWAY_MAC}`);
  });

  test("an address of no segment here is not asked, of either family", () => {
    expect(questions.ask("10.10.0.2", 0)).toEqual([]);
    expect(questions.ask("fd00::2", 0)).toEqual([]);
  });

  test.each([
    ["an answer to no question", 0, (): Uint8Array => reply("10.9.0.3", PEER_MAC)],
    ["an answer that comes too late", ANSWER_WITHIN_MS + 1, (): Uint8Array => reply(PEER, PEER_MAC)],
    ["a request from the node", 1, (): Uint8Array => reply(PEER, PEER_MAC, { operation: ArpOperation.request })],
    ["an answer to somebody else", 1, (): Uint8Array => reply(PEER, PEER_MAC, { ethernetDestination: SECOND_MAC })],
    ["an answer by broadcast", 1, (): Uint8Array => reply(PEER, PEER_MAC, { ethernetDestination: BROADCAST_MAC })],
    ["an answer that names everybody's MAC", 1, (): Uint8Array => reply(PEER, PEER_MAC, { senderHardwareAddress: BROADCAST_MAC })],
    ["an answer that is cut", 1, (): Uint8Array => reply(PEER, PEER_MAC).subarray(0, 41)],
  ])("%s proves that something is heard, and nothing else", (_what, now, frame) => {
    questions.ask(PEER, 0);
    expect(questions.frame(ETH0, frame(), now)).toEqual([heard]);
  });

  test("one question has one answer", () => {
    questions.ask(PEER, 0);
    questions.frame(ETH0, reply(PEER, PEER_MAC), 1);
    expect(questions.frame(ETH0, reply(PEER, PEER_MAC), 2)).toEqual([]);
  });

  test("an answer on another interface is none", () => {
    questions.ask(PEER, 0);
    expect(questions.frame(ETH1, reply(PEER, PEER_MAC, { ethernetDestination: SECOND_MAC }), 1)).toEqual([{ kind: "frame", interfaceIndex: ETH1 }]);
  });

  test("of too many addresses the one asked longest ago is forgotten", () => {
    const address = (index: number): string => `10.9.${index >> 8}.${index & 0xff}`;
    questions.setSegments([{ interfaceIndex: ETH0, mac: MAC, addresses: [{ address: "10.9.255.1", prefixLength: 16 }] }]);
    for (let index = 0; index <= MAX_NEIGHBOURS; index++) questions.ask(address(index), 0);
    expect(questions.frame(ETH0, reply(address(0), PEER_MAC), 1)).toEqual([heard]);
    expect(questions.frame(ETH0, reply(address(1), PEER_MAC), 1)).toEqual([heard, answer(address(1))]);
  });
});

describe("questions to a segment", () => {
  test("are probes where this host has no address", () => {
    expect(told(questions.askSegment(ETH1, [PEER, "fd00::2"], 0))).toEqual([`3 ${SECOND_MAC} > ${BROADCAST_MAC}: 0.0.0.0 asks ${PEER}`]);
  });

  test("take the gateway along where it is, and only there", () => {
    questions.setGateway({ interfaceIndex: ETH0, address: GATEWAY });
    expect(told(questions.askSegment(ETH0, [PEER], 0))).toHaveLength(2);
    expect(told(questions.askSegment(ETH1, [PEER], 0))).toHaveLength(1);
  });

  test("go to who asked for something there lately, too: of two nodes the other may be off, and there is no gateway", () => {
    const asks = (sender: string, mac: MacAddress): Uint8Array => reply(sender, mac, { operation: ArpOperation.request, ethernetDestination: BROADCAST_MAC, targetProtocolAddress: parseIpAddress("10.9.1.1") });
    const client = parseMacAddress("02:00:00:00:00:c1");
    questions.frame(ETH0, asks(PEER, PEER_MAC), 0);
    questions.frame(ETH0, asks("10.9.0.77", client), HEARD_INTERVAL_MS);
    const later = 3_600_000;
    expect(told(questions.askSegment(ETH0, [PEER], later))).toEqual([`2 ${MAC} > ${BROADCAST_MAC}: 10.9.0.1 asks ${PEER}`, `2 ${MAC} > ${client}: 10.9.0.1 asks 10.9.0.77`]);
    expect(questions.frame(ETH0, reply("10.9.0.77", client), later + 1)).toEqual([heard, answer("10.9.0.77")]);
    expect(told(questions.askSegment(ETH1, [PEER], later))).toHaveLength(1);
    for (let index = 0; index < 2 * ASKERS_ASKED; index++) questions.frame(ETH0, asks(`10.9.0.${100 + index}`, client), later + (index + 2) * HEARD_INTERVAL_MS);
    expect(told(questions.askSegment(ETH0, [PEER], 2 * later))).toHaveLength(1 + ASKERS_ASKED);
  });

  test("go nowhere on an interface that has gone", () => {
    expect(questions.askSegment(77, [PEER], 0)).toEqual([]);
  });
});

describe("hearing", () => {
  const request = reply(PEER, PEER_MAC, { operation: ArpOperation.request, ethernetDestination: BROADCAST_MAC });

  test("is told once in a while for each interface", () => {
    expect(questions.frame(ETH0, request, 0)).toEqual([heard]);
    expect(questions.frame(ETH0, request, HEARD_INTERVAL_MS - 1)).toEqual([]);
    expect(questions.frame(ETH1, request, HEARD_INTERVAL_MS - 1)).toEqual([{ kind: "frame", interfaceIndex: ETH1 }]);
    expect(questions.frame(ETH0, request, HEARD_INTERVAL_MS)).toEqual([heard]);
  });

  test("is told with each answer to a question: of a segment with one other station nothing may come after it", () => {
    expect(questions.frame(ETH0, request, 0)).toEqual([heard]);
    questions.askSegment(ETH0, [PEER], 1);
    expect(questions.frame(ETH0, reply(PEER, PEER_MAC), 2)).toEqual([heard, answer(PEER)]);
    expect(questions.frame(ETH0, reply(PEER, PEER_MAC), 3)).toEqual([]);
  });

  test("this host's own frames, of whichever interface, and those of an unknown interface prove nothing", () => {
    expect(questions.frame(ETH0, reply(PEER, MAC), 0)).toEqual([]);
    expect(questions.frame(ETH0, reply(PEER, SECOND_MAC), 0)).toEqual([]);
    expect(questions.frame(77, request, 0)).toEqual([]);
  });

  test("any bytes at all are no harm", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
        expect(questions.frame(ETH0, bytes, 0).every(({ kind }) => kind === "frame")).toBe(true);
      }),
    );
  });
});

describe("the gateway", () => {
  /** Calls `timeout` whenever it is due, up to a moment; tells what came out and when. */
  function run(until: number, answers = false): string[] {
    const events: string[] = [];
    for (let due = questions.nextTimeout(); due !== undefined && due <= until; due = questions.nextTimeout()) {
      const at = Math.max(due, 0);
      const { frames, inputs } = questions.timeout(at);
      for (const input of inputs) if (input.kind === "gateway") events.push(`${at} ${input.heard ? "heard" : "silent"}`);
      events.push(...told(frames).map((text) => `${at} ${text.split(": ")[1] ?? ""}`));
      if (answers && frames.length > 0) {
        for (const input of questions.frame(ETH0, reply(GATEWAY, GATEWAY_MAC), at)) if (input.kind === "gateway") events.push(`${at} ${input.heard ? "heard" : "silent"}`);
      }
    }
    return events;
  }

  const asks = `10.9.0.1 asks ${GATEWAY}`;

  test("is asked once a second, and what changes is told once", () => {
    expect(questions.nextTimeout()).toBeUndefined();
    questions.setGateway({ interfaceIndex: ETH0, address: GATEWAY });
    expect(run(2 * GATEWAY_INTERVAL_MS, true)).toEqual([`0 ${asks}`, "0 heard", `${GATEWAY_INTERVAL_MS} ${asks}`, `${2 * GATEWAY_INTERVAL_MS} ${asks}`]);
  });

  test("that falls silent is asked faster, and then given up", () => {
    questions.setGateway({ interfaceIndex: ETH0, address: GATEWAY });
    run(0, true);
    const events = run(GATEWAY_INTERVAL_MS + GATEWAY_SILENT_FOR_MS + 2 * GATEWAY_DOUBT_INTERVAL_MS);
    expect(events.filter((event) => event.endsWith(asks)).length).toBeGreaterThanOrEqual(GATEWAY_MISSES);
    expect(events.filter((event) => !event.endsWith(asks))).toEqual([`${GATEWAY_INTERVAL_MS + GATEWAY_SILENT_FOR_MS} silent`]);
  });

  test("is asked along with a node, so that its silence shows at once, but not with every question", () => {
    questions.setGateway({ interfaceIndex: ETH0, address: GATEWAY });
    run(0, true);
    expect(told(questions.ask(PEER, 300)).at(-1)).toContain(asks);
    expect(told(questions.ask(PEER, 310)).join()).not.toContain(asks);
    // However often the node is asked, the gateway's own deadline is not put off.
    for (let now = 330; now < 300 + GATEWAY_SILENT_FOR_MS; now += 30) {
      questions.ask(PEER, now);
      expect(run(now)).toEqual([]);
    }
    expect(run(300 + GATEWAY_SILENT_FOR_MS)[0]).toBe(`${300 + GATEWAY_SILENT_FOR_MS} silent`);
  });

  test("that changes has to be heard anew", () => {
    questions.setGateway({ interfaceIndex: ETH0, address: GATEWAY });
    run(0, true);
    questions.setGateway({ interfaceIndex: ETH0, address: "10.9.0.253" });
    expect(questions.timeout(10).inputs).toEqual([{ kind: "gateway", heard: false }]);
    questions.setGateway(undefined);
    expect([questions.timeout(11), questions.nextTimeout()]).toEqual([{ frames: [], inputs: [] }, undefined]);
  });

  test("whose interface has gone is not heard any more", () => {
    questions.setGateway({ interfaceIndex: ETH0, address: GATEWAY });
    run(0, true);
    questions.setSegments([]);
    expect(questions.timeout(10)).toEqual({ frames: [], inputs: [{ kind: "gateway", heard: false }] });
  });
});
