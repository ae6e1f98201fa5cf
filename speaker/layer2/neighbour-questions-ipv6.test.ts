import { beforeEach, expect, test } from "vitest";

import { formatIpAddress, parseIpAddress } from "../../wire/ip-address.ts";
import { BROADCAST_MAC, parseMacAddress } from "../../wire/mac-address.ts";
import { decodeNeighborMessage, encodeNeighborMessage } from "./ndp-packet.ts";
import type { NeighborAdvertisement } from "./ndp-packet.ts";
import { ANSWER_WITHIN_MS, BROADCAST_AFTER, NeighbourQuestions } from "./neighbour-questions.ts";
import type { QuestionFrame } from "./neighbour-questions.ts";

const MAC = parseMacAddress("02:00:00:00:00:0a");
const SECOND_MAC = parseMacAddress("02:00:00:00:00:0b");
const PEER_MAC = parseMacAddress("02:00:00:00:00:01");
const GATEWAY_MAC = parseMacAddress("02:00:00:00:00:fe");
const PEER = "fd09::2";
const GATEWAY = "fe80::fe";
const ETH0 = 2;
const ETH1 = 3;

let questions: NeighbourQuestions;
beforeEach(() => {
  questions = new NeighbourQuestions();
  questions.setSegments([
    { interfaceIndex: ETH0, mac: MAC, addresses: [{ address: "10.9.0.1", prefixLength: 24 }, { address: "fe80::a", prefixLength: 64 }, { address: "fd09::1", prefixLength: 64 }] },
    { interfaceIndex: ETH1, mac: SECOND_MAC, addresses: [{ address: "10.8.0.1", prefixLength: 24 }] },
  ]);
});

/** What a question says, in short. */
function told(frames: readonly QuestionFrame[]): string[] {
  return frames.map(({ interfaceIndex, bytes }) => {
    const { kind, ethernetSource, ethernetDestination, source, destination, target, options } = decodeNeighborMessage(bytes);
    expect([kind, options]).toEqual(["solicitation", [{ kind: "sourceLinkLayerAddress", mac: ethernetSource }]]);
    return `${interfaceIndex} ${ethernetSource} > ${ethernetDestination}: ${formatIpAddress(source)} asks ${formatIpAddress(destination)} for ${formatIpAddress(target)}`;
  });
}

function answer(address: string, mac: typeof PEER_MAC, change: Partial<NeighborAdvertisement> = {}): Uint8Array {
  return encodeNeighborMessage({
    kind: "advertisement",
    ethernetDestination: MAC,
    ethernetSource: mac,
    source: parseIpAddress(address),
    destination: parseIpAddress("fd09::1"),
    target: parseIpAddress(address),
    fromRouter: false,
    solicited: true,
    override: true,
    options: [{ kind: "targetLinkLayerAddress", mac }],
    ...change,
  });
}

const answers = (bytes: Uint8Array, now: number, interfaceIndex = ETH0): unknown[] => questions.frame(interfaceIndex, bytes, now).filter(({ kind }) => kind === "answer");
const TO_GROUP = `2 ${MAC} > 33:33:ff:00:00:02: fd09::1 asks ff02::1:ff00:2 for ${PEER}`;
const TO_PEER = `2 ${MAC} > ${PEER_MAC}: fd09::1 asks ${PEER} for ${PEER}`;

test("asks the solicited-node group where the address belongs, and the MAC that answered from then on", () => {
  expect(told(questions.ask(PEER, 0))).toEqual([TO_GROUP]);
  expect(answers(answer(PEER, PEER_MAC), 5)).toEqual([{ kind: "answer", address: PEER, question: "arp", result: "answered" }]);
  expect(told(questions.ask(PEER, 10))).toEqual([TO_PEER]);
});

test("asks the group again after many questions in vain", () => {
  questions.ask(PEER, 0);
  questions.frame(ETH0, answer(PEER, PEER_MAC), 5);
  for (let count = 0; count < BROADCAST_AFTER; count++) expect(told(questions.ask(PEER, 10))).toEqual([TO_PEER]);
  expect(told(questions.ask(PEER, 10))).toEqual([TO_GROUP]);
});

test("an address of no segment here is not asked, unless a segment is: from the link-local address then", () => {
  expect(questions.ask("fd10::2", 0)).toEqual([]);
  expect(told(questions.askSegment(ETH0, ["fd10::2"], 0))).toEqual([`2 ${MAC} > 33:33:ff:00:00:02: fe80::a asks ff02::1:ff00:2 for fd10::2`]);
  expect(questions.askSegment(ETH1, ["fd10::2"], 0)).toEqual([]);
});

test("an answer without a MAC comes from whom it tells of", () => {
  questions.ask(PEER, 0);
  expect(answers(answer(PEER, PEER_MAC, { options: [] }), 5)).toHaveLength(1);
  expect(told(questions.ask(PEER, 10))).toEqual([TO_PEER]);
});

test.each<[string, Uint8Array, number, number]>([
  ["that nobody asked for", answer("fd09::3", PEER_MAC), 5, ETH0],
  ["that was sent unsolicited", answer(PEER, PEER_MAC, { solicited: false }), 5, ETH0],
  ["for another station", answer(PEER, PEER_MAC, { ethernetDestination: SECOND_MAC }), 5, ETH0],
  ["that names everybody", answer(PEER, PEER_MAC, { options: [{ kind: "targetLinkLayerAddress", mac: BROADCAST_MAC }] }), 5, ETH0],
  ["that comes too late", answer(PEER, PEER_MAC), ANSWER_WITHIN_MS + 1, ETH0],
  ["on another interface", answer(PEER, PEER_MAC, { ethernetDestination: SECOND_MAC }), 5, ETH1],
  ["that is damaged", answer(PEER, PEER_MAC).subarray(0, 80), 5, ETH0],
])("an answer %s is none", (_name, bytes, now, interfaceIndex) => {
  questions.ask(PEER, 0);
  expect(answers(bytes, now, interfaceIndex)).toEqual([]);
});

test("any frame of another station is a sign that the segment is heard", () => {
  expect(questions.frame(ETH0, answer(PEER, PEER_MAC), 0)).toEqual([{ kind: "frame", interfaceIndex: ETH0 }]);
  expect(questions.frame(ETH0, answer(PEER, MAC), 100)).toEqual([]);
});

test("the gateway is asked by its link-local address, and its answer is told", () => {
  questions.setGateway({ interfaceIndex: ETH0, address: GATEWAY });
  expect(told(questions.timeout(0).frames)).toEqual([`2 ${MAC} > 33:33:ff:00:00:fe: fe80::a asks ff02::1:ff00:fe for ${GATEWAY}`]);
  expect(questions.frame(ETH0, answer(GATEWAY, GATEWAY_MAC, { fromRouter: true }), 5)).toContainEqual({ kind: "gateway", heard: true });
});
