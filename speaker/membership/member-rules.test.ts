import { beforeEach, describe, expect, test } from "vitest";

import { MAX_DATAGRAM_BYTES } from "./context.ts";
import type { MemberState } from "./membership-protocol.ts";
import type { DeadMessage, PacketMessage, SuspectMessage } from "./message.ts";
import { alive, endpointOf, SELF, SELF_ENDPOINT, SELF_INCARNATION, ToyMember } from "./toy-member.ts";

let member: ToyMember;

beforeEach(() => {
  member = new ToyMember();
});

function suspect(incarnation: number, from = "node-2"): SuspectMessage {
  return { kind: "suspect", node: "node-1", incarnation, from };
}

function dead(incarnation: number, from = "node-2"): DeadMessage {
  return { kind: "dead", node: "node-1", incarnation, from };
}

function feed(...messages: readonly PacketMessage[]): void {
  member.feed(endpointOf(2), ...messages);
}

/** How member 1 gets into each state, with incarnation 5. */
const INTO: Readonly<Record<MemberState, readonly PacketMessage[]>> = {
  alive: [alive(1, 5)],
  suspect: [alive(1, 5), suspect(5)],
  dead: [alive(1, 5), dead(5)],
  left: [alive(1, 5), dead(5, "node-1")],
};

test("whom another declares dead is only suspected while this node vouches for it; who leaves is believed all the same", () => {
  member.vouchedFor.add("node-1");
  feed(alive(1, 5), dead(5));
  expect(member.machine.members()).toMatchObject([{ node: "node-1", state: "suspect", incarnation: 5 }]);
  feed(alive(1, 6));
  expect(member.machine.members()).toMatchObject([{ state: "alive", incarnation: 6 }]);
  feed(dead(6, "node-1"));
  expect(member.machine.members()).toMatchObject([{ state: "left" }]);
});

test("a verdict of this node's own needs nobody's belief", () => {
  member.vouchedFor.add("node-1");
  feed(alive(1, 5));
  member.handle({ kind: "condemn", node: "node-1", incarnation: 5 });
  expect(member.machine.members()).toMatchObject([{ state: "dead" }]);
});

describe("state, message, what becomes of it", () => {
  test.each<[MemberState, PacketMessage, MemberState, number]>([
    ["alive", alive(1, 4), "alive", 5],
    ["alive", alive(1, 5), "alive", 5],
    ["alive", alive(1, 6), "alive", 6],
    ["suspect", alive(1, 5), "suspect", 5],
    ["suspect", alive(1, 6), "alive", 6],
    ["dead", alive(1, 5), "dead", 5],
    ["dead", alive(1, 6), "alive", 6],
    ["left", alive(1, 5), "left", 5],
    ["left", alive(1, 6), "alive", 6],
    ["alive", suspect(4), "alive", 5],
    ["alive", suspect(5), "suspect", 5],
    ["alive", suspect(6), "suspect", 6],
    ["dead", suspect(6), "dead", 5],
    ["left", suspect(6), "left", 5],
    ["alive", dead(4), "alive", 5],
    ["alive", dead(5), "dead", 5],
    ["suspect", dead(6), "dead", 6],
    ["suspect", dead(4), "suspect", 5],
    ["alive", dead(5, "node-1"), "left", 5],
    ["dead", dead(5, "node-1"), "dead", 5],
    ["left", dead(6), "left", 5],
  ])("%s, %o: %s with incarnation %d", (state, message, after, incarnation) => {
    feed(...INTO[state]);
    expect(member.machine.members()).toMatchObject([{ node: "node-1", state, incarnation: 5 }]);
    member.told = [];
    feed(message);
    expect(member.machine.members()).toMatchObject([{ node: "node-1", state: after, incarnation }]);
    const isNews = after !== state || incarnation !== 5;
    expect(member.toldOf("member")).toMatchObject(isNews ? [{ before: state, member: { node: "node-1", state: after, incarnation } }] : []);
  });

  test.each([suspect(1), dead(1)])("of somebody unknown, %o means nothing", (message) => {
    feed(message);
    expect(member.machine.members()).toEqual([]);
    expect(member.told).toEqual([]);
  });

  test.each([alive(1, 4), suspect(4), dead(4)])("what is older than what is known is counted: %o", (message) => {
    feed(...INTO.alive, message);
    expect(member.drops()).toEqual(["staleIncarnation"]);
  });
});

describe("an alive message", () => {
  test("brings new meta only with a higher incarnation", () => {
    feed(alive(1, 5), alive(1, 5, { meta: Uint8Array.of(1) }));
    expect(member.machine.members()).toMatchObject([{ meta: new Uint8Array() }]);
    feed(alive(1, 6, { meta: Uint8Array.of(2) }));
    expect(member.machine.members()).toMatchObject([{ meta: Uint8Array.of(2) }]);
    expect(member.toldOf("member")).toHaveLength(2);
  });

  test.each<MemberState>(["alive", "suspect"])("from another address changes nothing while the member is %s", (state) => {
    feed(...INTO[state], alive(1, 6, { endpoint: endpointOf(77) }));
    expect(member.machine.members()).toMatchObject([{ endpoint: endpointOf(1), state }]);
    expect(member.drops()).toEqual(["addressConflict"]);
  });

  test.each<MemberState>(["dead", "left"])("from another address is heeded at once when the member is %s", (state) => {
    feed(...INTO[state], alive(1, 6, { endpoint: endpointOf(77) }));
    expect(member.machine.members()).toMatchObject([{ endpoint: endpointOf(77), state: "alive" }]);
  });

  test("of old, from an address that once was, changes nothing", () => {
    feed(...INTO.dead, alive(1, 4, { endpoint: endpointOf(77) }));
    expect(member.machine.members()).toMatchObject([{ endpoint: endpointOf(1), state: "dead" }]);
  });

  test.each([
    ["none", new Uint8Array()],
    ["3 to 5", Uint8Array.of(3, 5, 4, 0, 0, 0)],
    ["0", Uint8Array.of(0, 0, 0, 0, 0, 0)],
    ["1", Uint8Array.of(1, 1, 1, 0, 0, 0)],
  ])("of a member that speaks %s is dropped", (_name, versions) => {
    feed(alive(1, 5, { versions }));
    expect(member.machine.members()).toEqual([]);
    expect(member.drops()).toEqual(["protocolMismatch"]);
  });
});

describe("what is said about this node", () => {
  const me = alive(0, SELF_INCARNATION, { node: SELF, endpoint: SELF_ENDPOINT, meta: Uint8Array.of(7) });

  test.each<[string, PacketMessage, number | undefined]>([
    ["suspect", { kind: "suspect", node: SELF, incarnation: SELF_INCARNATION, from: "node-2" }, SELF_INCARNATION + 1],
    ["suspect in the future", { kind: "suspect", node: SELF, incarnation: 500, from: "node-2" }, 501],
    ["suspect long ago", { kind: "suspect", node: SELF, incarnation: SELF_INCARNATION - 1, from: "node-2" }, undefined],
    ["dead", { kind: "dead", node: SELF, incarnation: SELF_INCARNATION, from: "node-2" }, SELF_INCARNATION + 1],
    ["left", { kind: "dead", node: SELF, incarnation: SELF_INCARNATION, from: SELF }, SELF_INCARNATION + 1],
    ["dead long ago", { kind: "dead", node: SELF, incarnation: SELF_INCARNATION - 1, from: "node-2" }, undefined],
    ["alive as it is", me, undefined],
    ["alive in the future", { ...me, incarnation: 200 }, 201],
    ["alive with other meta", { ...me, meta: Uint8Array.of(8) }, SELF_INCARNATION + 1],
    ["alive with other versions", { ...me, versions: Uint8Array.of(1, 5, 5, 0, 0, 0) }, SELF_INCARNATION + 1],
    ["alive with other meta long ago", { ...me, meta: Uint8Array.of(8), incarnation: 50 }, undefined],
    ["alive elsewhere", { ...me, endpoint: endpointOf(3), incarnation: 200 }, undefined],
    ["dead at the end of numbers", { kind: "dead", node: SELF, incarnation: 0xffff_ffff, from: "node-2" }, 0xffff_ffff],
  ])("%s: refuted with incarnation %o", (_name, message, incarnation) => {
    member.feed(endpointOf(1), alive(1));
    member.settle();
    member.feed(endpointOf(1), message);
    member.run(250);
    const refutations = member.sentOf("alive").map(({ message }) => message);
    expect(refutations[0]).toEqual(incarnation === undefined ? undefined : { ...me, incarnation });
    expect(member.machine.snapshot()).toMatchObject({ incarnation: incarnation ?? SELF_INCARNATION, awarenessScore: incarnation === undefined ? 0 : 1 });
    expect(member.toldOf("member")).toEqual([]);
  });

  test("is not refuted after the goodbye", () => {
    member.feed(endpointOf(1), alive(1));
    member.handle({ kind: "leave" });
    member.sent = [];
    member.feed(endpointOf(1), { kind: "suspect", node: SELF, incarnation: SELF_INCARNATION, from: "node-1" }, { ...me, incarnation: 200 });
    member.run(1_000);
    expect(member.sentOf("alive").filter(({ message }) => message.node === SELF)).toEqual([]);
    expect(member.machine.snapshot().incarnation).toBe(SELF_INCARNATION);
  });
});

describe("gossip", () => {
  test("says nothing when there is no news", () => {
    feed(alive(1), alive(2), alive(3));
    member.settle();
    for (let number = 1; number <= 3; number += 1) member.feed(endpointOf(number), alive(number));
    member.run(400);
    expect(member.sent.filter(({ messages }) => messages.every(({ kind }) => kind !== "ping"))).toEqual([]);
  });

  test("fills datagrams up to the bound, and not beyond", () => {
    for (let number = 1; number <= 200; number += 1) feed(alive(1, 1, { node: `node-${number}`, meta: new Uint8Array(number) }));
    member.run(300);
    const lengths = member.sent.map(({ bytes }) => bytes);
    expect(Math.max(...lengths)).toBeGreaterThan(1_000);
    expect(Math.max(...lengths)).toBeLessThanOrEqual(MAX_DATAGRAM_BYTES);
  });

  test("passes a confirmation on once, and the suspicion ends the sooner", () => {
    feed(...[1, 2, 3, 4, 5].map((number) => alive(number)));
    member.settle();
    feed(suspect(1, "node-2"));
    member.settle();
    feed(suspect(1, "node-2"));
    expect(member.machine.snapshot().queuedNews).toBe(0);
    feed(suspect(1, "node-3"));
    expect(member.machine.snapshot().queuedNews).toBe(1);
  });

  test("tells the recently dead, so that they can refute, but not who left", () => {
    feed(alive(1), alive(2));
    member.settle();
    feed(dead(1), { kind: "dead", node: "node-2", incarnation: 1, from: "node-2" });
    member.run(250);
    expect(new Set(member.sent.map(({ to }) => to.address))).toEqual(new Set([endpointOf(1).address]));
  });
});

test("members beyond the bound are not taken in", () => {
  for (let first = 0; first < 5_000; first += 20) {
    feed(...Array.from({ length: 20 }, (_, index) => alive(1, 1, { node: `m-${first + index}` })));
  }
  // This node is the first of them.
  expect(member.machine.members()).toHaveLength(4_999);
  expect(member.drops()).toEqual(["tooManyMembers"]);
});
