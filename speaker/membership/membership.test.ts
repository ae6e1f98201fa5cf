import { beforeEach, describe, expect, test } from "vitest";

import { seededRandom } from "../../sys/random.ts";
import { OUR_VERSIONS } from "./context.ts";
import { CLEAR_KEYRING, keyringOf } from "./keyring.ts";
import { LEAVE_TIMEOUT_MS } from "./membership.ts";
import { LAN_TIMING, WAN_TIMING } from "./membership-protocol.ts";
import { encodePacket } from "./packet-codec.ts";
import { alive, endpointOf, ToyMember } from "./toy-member.ts";
import { PORT, ToyNetwork } from "./toy-network.ts";

let network: ToyNetwork;

beforeEach(() => {
  network = new ToyNetwork(seededRandom(7));
});

function startAll(count: number): string[] {
  const names = Array.from({ length: count }, (_, index) => `node-${index + 1}`);
  for (const name of names) network.start(name);
  network.expectAll();
  return names;
}

function allSee(names: readonly string[], about: string, state: string | undefined): boolean {
  return names.every((name) => name === about || network.state(name, about) === state);
}

function isComplete(names: readonly string[]): boolean {
  return names.every((about) => allSee(names, about, "alive"));
}

describe("joining", () => {
  test("two that expect each other know each other after one exchange", () => {
    startAll(2);
    network.run(10);
    expect(network.view("node-1")).toEqual({ "node-2": "alive" });
    expect(network.view("node-2")).toEqual({ "node-1": "alive" });
  });

  test("one that knows a single member finds all others", () => {
    const names = startAll(5);
    network.run(1_000);
    network.start("node-6");
    network.handle("node-6", { kind: "expected", peers: [{ node: "node-3", address: "192.0.2.3" }] });
    expect(network.runUntil(() => isComplete([...names, "node-6"]), 2_000)).toBe(true);
  });

  test("twenty start together, and a minute later nobody was ever suspected", () => {
    const names = startAll(20);
    expect(network.runUntil(() => isComplete(names), 1_000)).toBe(true);
    network.run(60_000);
    expect(network.heard("member").filter(({ member }) => member.state !== "alive")).toEqual([]);
    expect(network.heard("dropped").filter(({ reason }) => reason !== "staleAck")).toEqual([]);
  });

  test("each newcomer is told once, with its meta", () => {
    network.start("node-1");
    network.start("node-2", { meta: Uint8Array.of(7) });
    network.expectAll();
    network.run(5_000);
    expect(network.heard("member", "node-1")).toMatchObject([{ before: undefined, member: { node: "node-2", state: "alive", incarnation: 1_000, meta: Uint8Array.of(7) } }]);
  });

  test("with other keys nobody gets in, and the drops say why", () => {
    network.start("node-1", { keyring: keyringOf("one secret") });
    network.start("node-2", { keyring: keyringOf("another") });
    network.start("node-3");
    network.expectAll();
    network.run(5_000);
    for (const name of ["node-1", "node-2", "node-3"]) expect(network.view(name)).toEqual({});
    const reasons = (name: string): Set<string> => new Set(network.heard("dropped", name).map(({ reason }) => reason));
    expect(reasons("node-1")).toContain("decryptionFailed");
    expect(reasons("node-1")).toContain("notEncrypted");
    expect(reasons("node-3")).toContain("unexpectedEncryption");
  });

  test("with the same key all is as in the clear", () => {
    for (const name of ["node-1", "node-2", "node-3"]) network.start(name, { keyring: keyringOf("secret") });
    network.expectAll();
    expect(network.runUntil(() => isComplete(["node-1", "node-2", "node-3"]), 1_000)).toBe(true);
  });
});

describe("failing", () => {
  test("a process that is gone is suspected, and dead after its suspicion", () => {
    const names = startAll(5);
    network.run(2_000);
    network.stop("node-5");
    const others = names.slice(0, 4);
    const stoppedAt = network.now;
    expect(network.runUntil(() => allSee(others, "node-5", "dead"), 40_000)).toBe(true);
    const suspectedAt = Math.min(...network.heard("member").filter(({ member }) => member.state === "suspect").map(({ at }) => at));
    expect(suspectedAt - stoppedAt).toBeGreaterThanOrEqual(LAN_TIMING.probeTimeoutMs);
    expect(network.now - suspectedAt).toBeGreaterThanOrEqual(4_000);
    expect(others.flatMap((name) => network.heard("member", name).filter(({ member }) => member.node !== "node-5" && member.state !== "alive"))).toEqual([]);
  });

  test("of two, the one left over finds out within its own times", () => {
    startAll(2);
    network.run(2_000);
    network.stop("node-2");
    expect(network.runUntil(() => network.state("node-1", "node-2") === "dead", 7_100)).toBe(true);
  });

  test("the dead are forgotten after a while", () => {
    startAll(3);
    network.run(2_000);
    network.stop("node-3");
    expect(network.runUntil(() => network.state("node-1", "node-3") === undefined, 60_000)).toBe(true);
    const last = network.heard("member", "node-1").findLast(({ member }) => member.node === "node-3");
    expect(network.now - (last?.at ?? 0)).toBeGreaterThanOrEqual(LAN_TIMING.gossipToTheDeadTimeMs);
  });

  test("a cut link between two is bridged by the others: nobody is suspected", () => {
    startAll(4);
    network.run(2_000);
    network.cut((from, to) => [from, to].toSorted().join() === "node-1,node-2");
    network.run(20_000);
    expect(network.heard("member").filter(({ member }) => member.state !== "alive")).toEqual([]);
  });

  test("where datagrams are filtered, TCP keeps everybody alive", () => {
    startAll(3);
    network.run(2_000);
    network.lose(() => true);
    network.run(30_000);
    expect(network.heard("member").filter(({ member }) => member.state !== "alive")).toEqual([]);
  });

  test("somebody wrongly suspected refutes, and lives on with a higher incarnation", () => {
    const names = startAll(4);
    network.run(2_000);
    network.cut((from, to) => from === "node-4" || to === "node-4");
    expect(network.runUntil(() => allSee(names.slice(0, 3), "node-4", "suspect"), 10_000)).toBe(true);
    network.cut(() => false);
    expect(network.runUntil(() => isComplete(names), 3_000)).toBe(true);
    expect(network.machine("node-4").snapshot().incarnation).toBeGreaterThan(1_000);
    expect(network.heard("member").filter(({ member }) => member.state === "dead" && member.node === "node-4")).toEqual([]);
  });

  test("a condemned member is dead at once, everywhere with the next gossip, and comes back by refuting", () => {
    const names = startAll(4);
    network.run(5_000);
    network.stop("node-4");
    network.handle("node-1", { kind: "condemn", node: "node-4", incarnation: 1_000 });
    expect(network.state("node-1", "node-4")).toBe("dead");
    expect(network.runUntil(() => allSee(names.slice(0, 3), "node-4", "dead"), 800)).toBe(true);
  });

  test("a verdict about an earlier incarnation is void", () => {
    startAll(2);
    network.run(1_000);
    network.handle("node-1", { kind: "condemn", node: "node-2", incarnation: 999 });
    expect(network.state("node-1", "node-2")).toBe("alive");
  });

  test("a live member that was condemned is back within a second", () => {
    const names = startAll(3);
    network.run(5_000);
    network.handle("node-1", { kind: "condemn", node: "node-3", incarnation: 1_000 });
    expect(network.state("node-1", "node-3")).toBe("dead");
    expect(network.runUntil(() => isComplete(names), 1_000)).toBe(true);
    expect(network.machine("node-1").members().find(({ node }) => node === "node-3")?.incarnation).toBe(1_001);
  });

  test("who slept gives the suspected their full time again", () => {
    startAll(2);
    network.run(2_000);
    network.stop("node-2");
    expect(network.runUntil(() => network.state("node-1", "node-2") === "suspect", 5_000)).toBe(true);
    network.run(3_900);
    network.handle("node-1", { kind: "woke", lagMs: 200 });
    network.run(3_900);
    expect(network.state("node-1", "node-2")).toBe("suspect");
    network.run(200);
    expect(network.state("node-1", "node-2")).toBe("dead");
  });
});

describe("healing", () => {
  test.each([5_000, 120_000])("two halves that were apart for %d ms are one within three seconds", (apartMs) => {
    const names = startAll(6);
    network.run(2_000);
    const isLeft = (name: string): boolean => names.indexOf(name) < 3;
    network.cut((from, to) => isLeft(from) !== isLeft(to));
    network.run(30_000 + apartMs);
    expect(names.slice(0, 3).every((name) => names.slice(3).every((other) => network.state(name, other) !== "alive"))).toBe(true);
    network.cut(() => false);
    expect(network.runUntil(() => isComplete(names), 3_000)).toBe(true);
    const healedAt = network.now;
    network.run(30_000);
    expect(network.heard("member").filter(({ at, member }) => at > healedAt + 2_000 && member.state === "dead")).toEqual([]);
    expect(isComplete(names)).toBe(true);
  });

  test("an expected peer that comes up later is found within a few pings", () => {
    network.start("node-1");
    network.handle("node-1", { kind: "expected", peers: [{ node: "node-2", address: "192.0.2.2" }] });
    network.run(90_000);
    network.start("node-2");
    expect(network.runUntil(() => isComplete(["node-1", "node-2"]), 2 * LAN_TIMING.healIntervalMs)).toBe(true);
  });
});

describe("coming back", () => {
  test("a restart faster than any suspicion is told by its incarnation", () => {
    startAll(3);
    network.run(2_000);
    network.start("node-3", { incarnation: 1_002 });
    network.expectAll();
    network.run(1_000);
    const told = network.heard("member", "node-1").filter(({ member }) => member.node === "node-3");
    expect(told.map(({ member, before }) => [before, member.state, member.incarnation])).toEqual([
      [undefined, "alive", 1_000],
      ["alive", "alive", 1_002],
    ]);
  });

  test("one whose clock went back hears of its former self, and goes beyond it", () => {
    const names = startAll(3);
    network.run(2_000);
    network.start("node-3", { incarnation: 5, meta: Uint8Array.of(1) });
    network.expectAll();
    expect(network.runUntil(() => isComplete(names), 2_000)).toBe(true);
    network.run(1_000);
    expect(network.machine("node-3").snapshot().incarnation).toBe(1_001);
    expect(network.machine("node-1").members().find(({ node }) => node === "node-3")).toMatchObject({ incarnation: 1_001, meta: Uint8Array.of(1) });
  });

  test("after its death it may come from another address", () => {
    const names = startAll(3);
    network.run(2_000);
    network.stop("node-3");
    network.handle("node-1", { kind: "condemn", node: "node-3", incarnation: 1_000 });
    network.run(1_000);
    network.start("node-3", { address: "192.0.2.33", incarnation: 1_003 });
    network.expectAll();
    expect(network.runUntil(() => isComplete(names), 1_000)).toBe(true);
    expect(network.machine("node-1").members().find(({ node }) => node === "node-3")?.endpoint.address).toBe("192.0.2.33");
  });

  test("a second node of the same name does not get in", () => {
    startAll(2);
    network.run(1_000);
    network.handle("node-1", {
      kind: "datagram",
      from: { address: "192.0.2.99", port: PORT },
      bytes: encodePacket([{ kind: "alive", node: "node-2", endpoint: { address: "192.0.2.99", port: PORT }, incarnation: 2_000, meta: new Uint8Array(), versions: OUR_VERSIONS }], CLEAR_KEYRING, seededRandom(1)),
    });
    expect(network.heard("dropped", "node-1").map(({ reason }) => reason)).toEqual(["addressConflict"]);
    expect(network.machine("node-1").members()).toMatchObject([{ endpoint: { address: "192.0.2.2" }, incarnation: 1_000 }]);
  });
});

describe("leaving", () => {
  test("others hear it at once, and nobody suspects anybody", () => {
    const names = startAll(5);
    network.run(5_000);
    network.handle("node-5", { kind: "leave" });
    expect(network.runUntil(() => allSee(names.slice(0, 4), "node-5", "left"), 5)).toBe(true);
    expect(network.runUntil(() => network.heard("left", "node-5").length === 1, 1_000)).toBe(true);
    network.stop("node-5");
    network.run(40_000);
    expect(network.heard("member").filter(({ member }) => ["suspect", "dead"].includes(member.state))).toEqual([]);
    expect(network.heard("left")).toHaveLength(1);
  });

  test("where gossip is slow, it waits no longer than a second", () => {
    const member = new ToyMember(WAN_TIMING);
    member.feed(endpointOf(1), alive(1));
    member.settle();
    member.handle({ kind: "leave" });
    member.run(LEAVE_TIMEOUT_MS - 1);
    expect(member.toldOf("left")).toEqual([]);
    member.run(1);
    expect(member.toldOf("left")).toHaveLength(1);
  });

  test("alone, it is gone at once", () => {
    network.start("node-1");
    network.handle("node-1", { kind: "leave" });
    expect(network.heard("left")).toHaveLength(1);
  });
});

describe("the application's messages", () => {
  test.each([false, true])("arrive as they were sent (reliable: %s)", (reliable) => {
    startAll(2);
    network.run(1_000);
    network.handle("node-1", { kind: "send", to: "node-2", bytes: Uint8Array.of(1, 2, 3), reliable });
    network.run(10);
    expect(network.heard("received", "node-2")).toMatchObject([{ bytes: Uint8Array.of(1, 2, 3), reliable, from: { address: "192.0.2.1" } }]);
    expect(network.machine("node-1").snapshot().streams).toBe(0);
    expect(network.machine("node-2").snapshot().streams).toBe(0);
  });

  test("to somebody unknown, or too long: dropped", () => {
    startAll(2);
    network.run(1_000);
    network.handle("node-1", { kind: "send", to: "nobody", bytes: new Uint8Array(1), reliable: false });
    network.handle("node-1", { kind: "send", to: "node-2", bytes: new Uint8Array(1_251), reliable: false });
    expect(network.heard("dropped", "node-1").map(({ reason }) => reason)).toEqual(["unknownMember", "tooLong"]);
  });
});
