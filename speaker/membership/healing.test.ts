import { beforeEach, describe, expect, test } from "vitest";

import { EXCHANGE_AGAIN_AFTER_MS, MAX_FIRST_PINGS, MAX_JOINING_EXCHANGES } from "./healing.ts";
import { LAN_TIMING } from "./membership-protocol.ts";
import { alive, endpointOf, SELF, ToyMember } from "./toy-member.ts";

const { healIntervalMs } = LAN_TIMING;

let member: ToyMember;

beforeEach(() => {
  member = new ToyMember();
});

function expectPeers(...numbers: readonly number[]): void {
  member.handle({ kind: "expected", peers: numbers.map((number) => ({ node: `node-${number}`, address: endpointOf(number).address })) });
}

function pinged(): string[] {
  return member.sentOf("ping").map(({ message }) => message.node);
}

function connectedTo(): string[] {
  return member.toldOf("connect").map(({ to }) => to.address);
}

describe("expected peers", () => {
  test("that are new are pinged and joined at once", () => {
    expectPeers(1, 2);
    expect(pinged()).toEqual(["node-1", "node-2"]);
    expect(connectedTo()).toEqual([endpointOf(1).address, endpointOf(2).address]);
  });

  test("are joined a few at a time, the next when one has failed", () => {
    expectPeers(...Array.from({ length: MAX_JOINING_EXCHANGES + 2 }, (_, index) => index + 1));
    expect(connectedTo()).toHaveLength(MAX_JOINING_EXCHANGES);
    member.handle({ kind: "streamFailed", stream: 2, reason: "connectionRefused" });
    expect(connectedTo()).toHaveLength(MAX_JOINING_EXCHANGES + 1);
  });

  test("do not all hear the first ping when there are very many", () => {
    expectPeers(...Array.from({ length: MAX_FIRST_PINGS + 10 }, (_, index) => index + 1));
    expect(pinged()).toHaveLength(MAX_FIRST_PINGS);
  });

  test("that are there are left alone", () => {
    member.feed(endpointOf(1), alive(1));
    member.settle();
    expectPeers(1);
    expect(member.sent).toEqual([]);
    expect(member.told).toEqual([]);
    expect(member.machine.snapshot().absentPeers).toBe(0);
  });

  test("may name this node itself: it is passed over", () => {
    member.handle({ kind: "expected", peers: [{ node: SELF, address: "192.0.2.250" }] });
    expect(member.machine.snapshot().absentPeers).toBe(0);
  });

  test("that are absent are pinged round robin, one each interval, without end", () => {
    expectPeers(1, 2, 3);
    member.sent = [];
    member.run(90_000);
    member.sent = [];
    member.run(6 * healIntervalMs);
    const names = pinged();
    expect(names).toHaveLength(6);
    expect(new Set(names.slice(0, 3))).toEqual(new Set(["node-1", "node-2", "node-3"]));
    expect(names.slice(3)).toEqual(names.slice(0, 3));
  });

  test("that are no longer expected are pinged no more", () => {
    expectPeers(1, 2);
    expectPeers(2);
    member.sent = [];
    member.run(4 * healIntervalMs);
    expect(new Set(pinged())).toEqual(new Set(["node-2"]));
  });

  test("that died are told what is believed of them", () => {
    member.feed(endpointOf(1), alive(1, 5));
    expectPeers(1);
    member.handle({ kind: "condemn", node: "node-1", incarnation: 5 });
    member.settle();
    member.run(healIntervalMs);
    expect(member.sent[0]).toMatchObject({ to: endpointOf(1), messages: [{ kind: "ping", node: "node-1" }, { kind: "suspect", node: "node-1", incarnation: 5, from: SELF }] });
  });

  test("are looked for no more after the goodbye", () => {
    expectPeers(1);
    member.handle({ kind: "leave" });
    member.sent = [];
    member.run(10 * healIntervalMs);
    expect(pinged()).toEqual([]);
  });
});

describe("an absent peer that is heard", () => {
  beforeEach(() => {
    expectPeers(1);
    member.handle({ kind: "streamFailed", stream: 2, reason: "connectionRefused" });
    member.run(EXCHANGE_AGAIN_AFTER_MS);
    member.told = [];
    member.sent = [];
  });

  test("by its ack gets a push-pull", () => {
    member.run(healIntervalMs);
    const [ping] = member.sentOf("ping");
    // The answer may come from another address of its.
    member.feed(endpointOf(99), { kind: "ack", sequence: ping?.message.sequence ?? 0, payload: new Uint8Array() });
    expect(connectedTo()).toEqual([endpointOf(1).address]);
    expect(member.drops()).toEqual([]);
  });

  test("by any packet of its gets a push-pull, but not another one right after", () => {
    const ping = { kind: "ping" as const, sequence: 1, node: SELF, source: undefined, sourceNode: "node-1" };
    member.feed(endpointOf(1), ping);
    member.feed(endpointOf(1), ping);
    expect(connectedTo()).toEqual([endpointOf(1).address]);
    member.handle({ kind: "streamFailed", stream: member.toldOf("connect")[0]?.stream ?? 0, reason: "connectionReset" });
    member.feed(endpointOf(1), ping);
    expect(connectedTo()).toHaveLength(1);
    member.run(EXCHANGE_AGAIN_AFTER_MS);
    member.feed(endpointOf(1), ping);
    expect(connectedTo()).toHaveLength(2);
  });

  test("by garbage from its address gets nothing", () => {
    member.handle({ kind: "datagram", from: endpointOf(1), bytes: Uint8Array.of(99, 98) });
    expect(connectedTo()).toEqual([]);
  });
});
