import { beforeEach, describe, expect, test } from "vitest";

import { formatIpAddress, parseIpAddress } from "../../wire/ip-address.ts";
import { BROADCAST_MAC, parseMacAddress, ZERO_MAC } from "../../wire/mac-address.ts";
import type { Instant } from "../machine.ts";
import { ANNOUNCE_SCHEDULE_MS, Announcer, BURST_FRAMES, MAX_BROADCAST_FRAMES_PER_SECOND, MAX_QUEUED_ANNOUNCEMENTS, REFRESH_INTERVAL_MS, REFRESH_JITTER, unsolicitedAdvertisement } from "./announcer.ts";
import type { AnnouncerInput, AnnouncerOutput } from "./announcer.ts";
import { ArpOperation, decodeArpPacket } from "./arp-packet.ts";
import { decodeNeighborMessage } from "./ndp-packet.ts";

const ETH0 = 2;
const ETH1 = 3;
const MAC = parseMacAddress("02:00:00:00:00:0a");
const VIP = "192.0.2.80";

let announcer: Announcer;
let sent: { readonly at: Instant; readonly interfaceIndex: number; readonly address: string }[];
let dropped: AnnouncerOutput[];

function handle(input: AnnouncerInput, now: Instant): void {
  for (const output of announcer.handle(input, now)) {
    if (output.kind === "frame") sent.push({ at: now, interfaceIndex: output.interfaceIndex, address: output.address });
    else dropped.push(output);
  }
}

/** Lets time pass, waking the machine as it asks. */
function runUntil(end: Instant): void {
  for (let next = announcer.nextTimeout(); next !== undefined && next <= end; next = announcer.nextTimeout()) handle({ kind: "timeout" }, next);
}

beforeEach(() => {
  announcer = new Announcer({ next: () => 0.5 });
  sent = [];
  dropped = [];
  handle({ kind: "interfaceUp", interfaceIndex: ETH0, mac: MAC }, 0);
});

describe("announcer", () => {
  test("speaks at 0, 50, 150, 500 and 1100 ms, then about once a minute", () => {
    handle({ kind: "gained", address: VIP, interfaceIndexes: [ETH0] }, 1000);
    runUntil(1000 + 1100 + 2 * REFRESH_INTERVAL_MS);
    expect(sent.map(({ at }) => at - 1000)).toEqual([...ANNOUNCE_SCHEDULE_MS, 1100 + REFRESH_INTERVAL_MS, 1100 + 2 * REFRESH_INTERVAL_MS]);
  });

  test.each([
    [0, 1 - REFRESH_JITTER],
    [1, 1 + REFRESH_JITTER],
  ])("a refresh is jittered: random %d makes it %d times the interval", (random, factor) => {
    announcer = new Announcer({ next: () => random });
    handle({ kind: "gained", address: VIP, interfaceIndexes: [ETH0] }, 0);
    runUntil(1100);
    expect(announcer.nextTimeout()).toBe(1100 + REFRESH_INTERVAL_MS * factor);
  });

  test("says it for IPv6 as an unsolicited advertisement with Override, from the address itself to all nodes", () => {
    announcer = new Announcer({ next: () => 0.5 }, unsolicitedAdvertisement);
    handle({ kind: "interfaceUp", interfaceIndex: ETH0, mac: MAC }, 0);
    const [output] = announcer.handle({ kind: "gained", address: "fd00::80", interfaceIndexes: [ETH0] }, 0);
    if (output?.kind !== "frame") throw new Error("nothing said");
    expect(decodeNeighborMessage(output.bytes)).toEqual({
      kind: "advertisement",
      ethernetDestination: "33:33:00:00:00:01",
      ethernetSource: MAC,
      source: parseIpAddress("fd00::80"),
      destination: parseIpAddress("ff02::1"),
      target: parseIpAddress("fd00::80"),
      fromRouter: false,
      solicited: false,
      override: true,
      options: [{ kind: "targetLinkLayerAddress", mac: MAC }],
    });
  });

  test("says it as a request for itself, to everybody", () => {
    const [output] = announcer.handle({ kind: "gained", address: VIP, interfaceIndexes: [ETH0] }, 0);
    if (output?.kind !== "frame") throw new Error("nothing sent");
    const packet = decodeArpPacket(output.bytes);
    expect(packet).toMatchObject({ ethernetDestination: BROADCAST_MAC, ethernetSource: MAC, operation: ArpOperation.request, senderHardwareAddress: MAC, targetHardwareAddress: ZERO_MAC });
    expect([packet.senderProtocolAddress, packet.targetProtocolAddress].map(formatIpAddress)).toEqual([VIP, VIP]);
  });

  test("is silent at once when the address is lost", () => {
    handle({ kind: "gained", address: VIP, interfaceIndexes: [ETH0] }, 0);
    handle({ kind: "lost", address: VIP }, 60);
    runUntil(200_000);
    expect(sent).toHaveLength(1);
    expect(announcer.nextTimeout()).toBeUndefined();
  });

  test("starts anew on an interface that is added, and is silent on those that know", () => {
    handle({ kind: "interfaceUp", interfaceIndex: ETH1, mac: MAC }, 0);
    handle({ kind: "gained", address: VIP, interfaceIndexes: [ETH0] }, 0);
    runUntil(2_000);
    sent = [];
    handle({ kind: "gained", address: VIP, interfaceIndexes: [ETH0, ETH1] }, 2_000);
    runUntil(4_000);
    expect(sent.map(({ at, interfaceIndex }) => [at - 2_000, interfaceIndex])).toEqual(ANNOUNCE_SCHEDULE_MS.map((ms) => [ms, ETH1]));
    sent = [];
    runUntil(2_000 + 1_100 + REFRESH_INTERVAL_MS);
    expect(sent.map(({ interfaceIndex }) => interfaceIndex)).toEqual([ETH0, ETH1]);
  });

  test("an interface added in the middle of the schedule has both hear the rest of it", () => {
    handle({ kind: "interfaceUp", interfaceIndex: ETH1, mac: MAC }, 0);
    handle({ kind: "gained", address: VIP, interfaceIndexes: [ETH0] }, 0);
    handle({ kind: "gained", address: VIP, interfaceIndexes: [ETH0, ETH1] }, 100);
    runUntil(150);
    expect(sent.map(({ at, interfaceIndex }) => [at, interfaceIndex])).toEqual([
      [0, ETH0],
      [100, ETH0],
      [100, ETH1],
      [150, ETH0],
      [150, ETH1],
    ]);
  });

  test("an interface that is taken away changes nothing for the others", () => {
    handle({ kind: "interfaceUp", interfaceIndex: ETH1, mac: MAC }, 0);
    handle({ kind: "gained", address: VIP, interfaceIndexes: [ETH0, ETH1] }, 0);
    runUntil(40);
    sent = [];
    handle({ kind: "gained", address: VIP, interfaceIndexes: [ETH0] }, 40);
    runUntil(2_000);
    expect(sent.map(({ at, interfaceIndex }) => [at, interfaceIndex])).toEqual([50, 150, 500, 1100].map((at) => [at, ETH0]));
  });

  test("starts anew on an interface whose MAC is another", () => {
    handle({ kind: "interfaceUp", interfaceIndex: ETH1, mac: MAC }, 0);
    handle({ kind: "gained", address: VIP, interfaceIndexes: [ETH0, ETH1] }, 0);
    runUntil(2_000);
    sent = [];
    handle({ kind: "interfaceUp", interfaceIndex: ETH1, mac: parseMacAddress("02:00:00:00:00:0b") }, 2_000);
    handle({ kind: "gained", address: VIP, interfaceIndexes: [ETH0, ETH1] }, 2_000);
    expect(sent.map(({ interfaceIndex }) => interfaceIndex)).toEqual([ETH1]);
  });

  test("a wake-up that comes late is one announcement, not all that were missed", () => {
    handle({ kind: "gained", address: VIP, interfaceIndexes: [ETH0] }, 0);
    handle({ kind: "timeout" }, 400);
    expect(sent.map(({ at }) => at)).toEqual([0, 400]);
  });

  test("does not speak on an interface that is down", () => {
    handle({ kind: "interfaceDown", interfaceIndex: ETH0 }, 0);
    handle({ kind: "gained", address: VIP, interfaceIndexes: [ETH0] }, 0);
    runUntil(2000);
    expect(sent).toEqual([]);
  });

  const many = Array.from({ length: 5000 }, (_, index) => `10.0.${index >> 8}.${index & 0xff}`);

  test("never sends more than 2,000 frames in any second, and sends everything in the end", () => {
    for (const address of many) handle({ kind: "gained", address, interfaceIndexes: [ETH0] }, 0);
    runUntil(20_000);
    expect(new Set(sent.map(({ address }) => address)).size).toBe(many.length);
    let oldest = 0;
    for (const [index, { at }] of sent.entries()) {
      while ((sent[oldest]?.at ?? 0) <= at - 1000) oldest += 1;
      expect(index - oldest + 1).toBeLessThanOrEqual(MAX_BROADCAST_FRAMES_PER_SECOND);
    }
    // The limit is made use of: 5,000 addresses are out in about 2.5 s.
    expect(sent.filter(({ at }) => at < 2600).length).toBeGreaterThan(5000);
  });

  test("an address that was asked for goes first", () => {
    for (const address of many.slice(0, 1000)) handle({ kind: "gained", address, interfaceIndexes: [ETH0] }, 0);
    expect(sent).toHaveLength(BURST_FRAMES);
    handle({ kind: "asked", address: "10.0.3.200" }, 0);
    runUntil(1);
    expect(sent[BURST_FRAMES]?.address).toBe("10.0.3.200");
  });

  test("drops and says so what the queue can't hold", () => {
    const limit = MAX_QUEUED_ANNOUNCEMENTS + BURST_FRAMES;
    for (let index = 0; index <= limit; index++) handle({ kind: "gained", address: `10.${index >> 16}.${(index >> 8) & 0xff}.${index & 0xff}`, interfaceIndexes: [ETH0] }, 0);
    expect(dropped).toEqual([{ kind: "dropped", reason: "announceQueueFull", address: `10.0.${limit >> 8}.${limit & 0xff}` }]);
    expect(announcer.snapshot()).toEqual({ announced: limit + 1, queued: MAX_QUEUED_ANNOUNCEMENTS });
  });

  test("refuses a clock that goes back", () => {
    handle({ kind: "timeout" }, 10);
    expect(() => handle({ kind: "timeout" }, 9)).toThrow("time went back");
  });
});
