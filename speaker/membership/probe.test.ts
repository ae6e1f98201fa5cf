import { beforeEach, describe, expect, test } from "vitest";

import { LAN_TIMING } from "./membership-protocol.ts";
import { MAX_RELAYED_PINGS, NACK_AFTER } from "./relay.ts";
import { alive, endpointOf, SELF, SELF_ENDPOINT, ToyMember } from "./toy-member.ts";

const { probeIntervalMs, probeTimeoutMs } = LAN_TIMING;

let member: ToyMember;

/** What the member under test has. */
const OUR_META = Uint8Array.of(7);

/** Members 1 to `count`, their news said, and just before the next probe. */
function withMembers(count: number, meta = OUR_META): void {
  for (let number = 1; number <= count; number += 1) member.feed(endpointOf(number), alive(number, 1, { meta }));
  for (let rounds = 0; rounds < 100 && member.machine.snapshot().queuedNews > 0; rounds += 1) runAnswering(100);
  member.sent = [];
  member.told = [];
}

/** Lets time pass with everybody answering pings. */
function runAnswering(milliseconds: number): void {
  for (let step = 0; step < milliseconds; step += 10) {
    const before = member.sent.length;
    member.run(10);
    for (const { to, messages } of member.sent.slice(before)) {
      for (const message of messages) if (message.kind === "ping") member.feed(to, { kind: "ack", sequence: message.sequence, payload: new Uint8Array() });
    }
  }
}

/** Runs up to the next ping. */
function nextPing(): { readonly number: number; readonly sequence: number } {
  member.sent = [];
  for (let waited = 0; waited <= 2 * probeIntervalMs && member.sentOf("ping").length === 0; waited += 1) member.run(1);
  const [ping] = member.sentOf("ping");
  if (ping === undefined) throw new Error("no ping");
  return { number: Number(/\d+$/.exec(ping.message.node)?.[0]), sequence: ping.message.sequence };
}

beforeEach(() => {
  member = new ToyMember();
});

describe("a probe", () => {
  test("names its target and says where to answer", () => {
    withMembers(1);
    nextPing();
    expect(member.sentOf("ping")).toMatchObject([{ to: endpointOf(1), message: { node: "node-1", source: SELF_ENDPOINT, sourceNode: SELF } }]);
  });

  test("comes once per interval, and to everybody in a round", () => {
    withMembers(4);
    runAnswering(4 * probeIntervalMs);
    expect(member.sentOf("ping").map(({ message }) => message.node).toSorted()).toEqual(["node-1", "node-2", "node-3", "node-4"]);
  });

  test("that is answered leaves nothing behind", () => {
    withMembers(3);
    const { number, sequence } = nextPing();
    member.feed(endpointOf(number), { kind: "ack", sequence, payload: new Uint8Array() });
    member.run(probeIntervalMs - 10);
    expect(member.sentOf("indirectPing")).toEqual([]);
    expect(member.toldOf("member")).toEqual([]);
  });

  test("without an answer asks three others, and over TCP, when the timeout is over", () => {
    withMembers(5);
    const { number, sequence } = nextPing();
    member.run(probeTimeoutMs - 2);
    expect(member.sentOf("indirectPing")).toEqual([]);
    member.run(2);
    const asked = member.sentOf("indirectPing");
    expect(new Set(asked.map(({ to }) => to.address)).size).toBe(3);
    expect(asked.map(({ to }) => to)).not.toContainEqual(endpointOf(number));
    for (const { message } of asked) expect(message).toMatchObject({ sequence, node: `node-${number}`, target: endpointOf(number), nack: true, source: SELF_ENDPOINT });
    expect(member.toldOf("connect")).toMatchObject([{ to: endpointOf(number) }]);
  });

  test("is ended by an ack that another member brings, and its stream is closed", () => {
    withMembers(5);
    const { number, sequence } = nextPing();
    member.run(probeTimeoutMs + 10);
    member.feed(endpointOf((number % 5) + 1), { kind: "ack", sequence, payload: new Uint8Array() });
    expect(member.toldOf("streamClose")).toHaveLength(1);
    member.run(probeIntervalMs - probeTimeoutMs - 20);
    expect(member.toldOf("member")).toEqual([]);
  });

  test("that only TCP answers clears the member", () => {
    withMembers(2);
    const { number, sequence } = nextPing();
    member.run(probeTimeoutMs + 10);
    const [connect] = member.toldOf("connect");
    if (connect === undefined) throw new Error("no stream");
    member.handle({ kind: "streamConnected", stream: connect.stream });
    expect(member.written(connect.stream)).toMatchObject([{ kind: "ping", sequence, node: `node-${number}` }]);
    member.feedStream(connect.stream, { kind: "ack", sequence, payload: new Uint8Array() });
    expect(member.toldOf("streamClose")).toEqual([{ kind: "streamClose", stream: connect.stream }]);
    member.run(probeIntervalMs);
    expect(member.toldOf("member")).toEqual([]);
    expect(member.machine.snapshot().awarenessScore).toBe(0);
  });

  test.each([
    { nacks: 0, score: 3 },
    { nacks: 1, score: 2 },
    { nacks: 3, score: 0 },
  ])("that fails with $nacks nacks of 3 makes the awareness score $score, and the member suspect", ({ nacks, score }) => {
    withMembers(5);
    const { number, sequence } = nextPing();
    member.run(probeTimeoutMs + 10);
    for (let nack = 0; nack < nacks; nack += 1) member.feed(endpointOf(1), { kind: "nack", sequence });
    member.run(probeIntervalMs - probeTimeoutMs - 8);
    expect(member.machine.snapshot().awarenessScore).toBe(score);
    expect(member.toldOf("member")).toMatchObject([{ member: { node: `node-${number}`, state: "suspect" }, before: "alive" }]);
  });

  test("accuses nobody who refuted meanwhile", () => {
    withMembers(5);
    const { number } = nextPing();
    member.run(probeTimeoutMs);
    member.feed(endpointOf(number), alive(number, 2));
    member.run(probeIntervalMs - probeTimeoutMs + 2);
    expect(member.machine.members().find(({ node }) => node === `node-${number}`)).toMatchObject({ state: "alive", incarnation: 2 });
    expect(member.drops()).toEqual(["staleIncarnation"]);
  });

  test("does not count from nought: acks of an earlier life mean nothing", () => {
    withMembers(1);
    // The random number is a half.
    expect(nextPing().sequence).toBeGreaterThan(0x7fff_0000);
  });

  test("asks members of another kind for no nack, and blames itself a little", () => {
    withMembers(5, Uint8Array.of(1));
    nextPing();
    member.run(probeIntervalMs + 2);
    expect(member.sentOf("indirectPing").map(({ message }) => message.nack)).toEqual([false, false, false]);
    expect(member.machine.snapshot().awarenessScore).toBe(1);
  });

  test("takes longer the worse this member does", () => {
    withMembers(1);
    nextPing();
    member.run(probeIntervalMs + 1);
    expect(member.machine.snapshot().awarenessScore).toBe(1);
    expect(member.toldOf("member")).toHaveLength(1);
    // The second probe began with the end of the first one, and has twice the time.
    member.sent = [];
    member.run(2 * probeIntervalMs - 10);
    expect(member.sentOf("ping")).toEqual([]);
    member.run(20);
    expect(member.sentOf("ping")).toHaveLength(1);
  });

  test("of a suspect brings it the suspicion", () => {
    withMembers(1);
    member.feed(endpointOf(2), { kind: "suspect", node: "node-1", incarnation: 1, from: "node-2" });
    nextPing();
    expect(member.sent.find(({ messages }) => messages.some(({ kind }) => kind === "ping"))?.messages).toMatchObject([{ kind: "ping" }, { kind: "suspect", node: "node-1", incarnation: 1, from: SELF }]);
  });

  test("starts again with all its time after a sleep", () => {
    withMembers(3);
    const { number, sequence } = nextPing();
    member.run(probeIntervalMs - 50);
    member.sent = [];
    member.handle({ kind: "woke", lagMs: 200 });
    const [again] = member.sentOf("ping");
    expect(again).toMatchObject({ to: endpointOf(number), message: { node: `node-${number}` } });
    expect(again?.message.sequence).not.toBe(sequence);
    member.run(probeIntervalMs - 10);
    expect(member.toldOf("member")).toEqual([]);
  });

  test.each(["dead", "left"])("leaves out who is %s", (state) => {
    withMembers(2);
    member.feed(endpointOf(2), { kind: "dead", node: "node-2", incarnation: 1, from: state === "left" ? "node-2" : "node-1" });
    runAnswering(6 * probeIntervalMs);
    expect(new Set(member.sentOf("ping").map(({ message }) => message.node))).toEqual(new Set(["node-1"]));
  });
});

describe("a ping", () => {
  const asker = endpointOf(9);
  const ping = { kind: "ping" as const, sequence: 5, source: undefined, sourceNode: "node-9" };

  test.each([SELF, ""])("to the name %j is answered", (node) => {
    member.feed(asker, { ...ping, node });
    expect(member.sentOf("ack")).toMatchObject([{ to: asker, message: { sequence: 5 } }]);
  });

  test("is answered where it says", () => {
    member.feed(asker, { ...ping, node: SELF, source: endpointOf(8) });
    expect(member.sentOf("ack").map(({ to }) => to)).toEqual([endpointOf(8)]);
  });

  test("to another name is not", () => {
    member.feed(asker, { ...ping, node: "node-3" });
    expect(member.sentOf("ack")).toEqual([]);
    expect(member.drops()).toEqual(["wrongNode"]);
  });

  test("that comes with a suspicion is answered with the refutation", () => {
    member.feed(asker, { ...ping, node: SELF }, { kind: "suspect", node: SELF, incarnation: 100, from: "node-9" });
    expect(member.sent[0]?.messages).toMatchObject([{ kind: "ack" }, { kind: "alive", node: SELF, incarnation: 101 }]);
  });
});

describe("an indirect ping", () => {
  const asker = endpointOf(1);
  const request = { kind: "indirectPing" as const, sequence: 77, node: "node-2", target: endpointOf(2), nack: true, source: undefined, sourceNode: "node-1" };

  test("is passed on with a number of our own, and its ack passed back", () => {
    member.feed(asker, request);
    const [ping] = member.sentOf("ping");
    expect(ping).toMatchObject({ to: endpointOf(2), message: { node: "node-2", source: SELF_ENDPOINT } });
    member.feed(endpointOf(2), { kind: "ack", sequence: ping?.message.sequence ?? 0, payload: new Uint8Array() });
    expect(member.sentOf("ack")).toMatchObject([{ to: asker, message: { sequence: 77 } }]);
    member.run(2 * probeTimeoutMs);
    expect(member.sentOf("nack")).toEqual([]);
  });

  test.each([true, false])("that nobody answers ends with a nack if one was asked for: %s", (nack) => {
    member.feed(asker, { ...request, nack, source: endpointOf(3) });
    member.run(NACK_AFTER * probeTimeoutMs - 1);
    expect(member.sentOf("nack")).toEqual([]);
    member.run(1);
    expect(member.sentOf("nack").map(({ to, message }) => [to, message.sequence])).toEqual(nack ? [[endpointOf(3), 77]] : []);
  });
});

test("an ack that comes after the nack is passed back until the timeout", () => {
  const request = { kind: "indirectPing" as const, sequence: 77, node: "node-2", target: endpointOf(2), nack: true, source: undefined, sourceNode: "node-1" };
  for (const waitMs of [probeTimeoutMs - 1, probeTimeoutMs]) {
    member.sent = [];
    member.feed(endpointOf(1), request);
    const [ping] = member.sentOf("ping");
    member.run(waitMs);
    expect(member.sentOf("nack")).toHaveLength(1);
    member.feed(endpointOf(2), { kind: "ack", sequence: ping?.message.sequence ?? 0, payload: new Uint8Array() });
    expect(member.sentOf("ack")).toHaveLength(waitMs < probeTimeoutMs ? 1 : 0);
  }
});

test("of too many relayed pings the oldest is forgotten", () => {
  for (let sequence = 0; sequence <= MAX_RELAYED_PINGS; sequence += 1) {
    member.feed(endpointOf(1), { kind: "indirectPing", sequence, node: "node-2", target: endpointOf(2), nack: false, source: undefined, sourceNode: "node-1" });
  }
  const [oldest, second] = member.sentOf("ping");
  for (const ping of [oldest, second]) member.feed(endpointOf(2), { kind: "ack", sequence: ping?.message.sequence ?? 0, payload: new Uint8Array() });
  expect(member.sentOf("ack").map(({ message }) => message.sequence)).toEqual([1]);
  expect(member.drops()).toEqual(["staleAck"]);
});

test("an ack that nobody waits for is counted", () => {
  member.feed(endpointOf(1), { kind: "ack", sequence: 1, payload: new Uint8Array() });
  expect(member.drops()).toEqual(["staleAck"]);
});
