import assert from "node:assert/strict";

import { describe, expect, test } from "vitest";

import type { ClaimsInput, ClaimsUpdate } from "./claims-protocol.ts";
import { ETH0, FakeMembers, movesBetween, ORIGIN_UNIX_MS, rankedRow, rowsOf, settledMembers } from "./fake-members.ts";
import { PLACEMENT_GRACE_MS } from "./placement.ts";
import { rank } from "./rank.ts";

const NODES = ["a", "b", "c"];

describe("cold start", () => {
  test("with all there and ready, each address goes to the first in rank after 300 ms, but for the cap", () => {
    const members = settledMembers(30, NODES);
    const counts = new Map<string, number>();
    for (const owner of members.ownership().values()) counts.set(owner, (counts.get(owner) ?? 0) + 1);
    for (const count of counts.values()) expect(count).toBeLessThanOrEqual(13);
    expect(members.said("a", "owned").every(({ reason }) => reason === "FirstInRank")).toBe(true);
    expect(NODES.flatMap((node) => members.said(node, "lost"))).toEqual([]);
    expect(members.owners("192.0.0.1")).toEqual([rank("192.0.0.1", members.rows[0]?.candidates ?? [])[0]]);
    for (const node of NODES) expect(Math.min(...members.node(node).outputs.filter(({ output }) => output.kind === "owned").map(({ at }) => at))).toBeGreaterThanOrEqual(300);
  });

  test("while one that should be there is not ready, the others wait for 3 s, and not longer", () => {
    const members = new FakeMembers({ nodes: NODES });
    members.start(rowsOf(3, NODES), ["a", "b"]);
    members.run(2990);
    expect(members.held("a")).toEqual([]);
    members.run(200);
    expect([...members.held("a"), ...members.held("b")].sort()).toEqual(members.rows.map(({ address }) => address));
  });

  test("a node that comes into a settled cluster is settled by the lists of the others, and takes nothing", () => {
    const members = settledMembers(12, NODES);
    members.kill("c");
    members.run(1000);
    const before = members.ownership();
    members.restart("c");
    members.run(50);
    expect(members.node("c").claims.snapshot().map(({ owner }) => owner)).toEqual([...before.values()]);
    members.run(5000);
    expect(members.ownership()).toEqual(before);
  });

  test("alone in the cluster a node needs to hear nobody", () => {
    const members = new FakeMembers({ nodes: ["a"] });
    members.node("a").hears = false;
    members.start(rowsOf(3, ["a"]));
    members.run(310);
    expect(members.held("a")).toHaveLength(3);
    expect(members.said("a", "askSegment")).toEqual([]);
    expect(members.view("a", "192.0.0.1")).toMatchObject({ witnessed: true, owner: "a" });
  });

  test("before the table is complete a node owns nothing", () => {
    const members = new FakeMembers({ nodes: ["a"] });
    members.start(rowsOf(1, ["a"]), []);
    members.run(10_000);
    expect(members.owners("192.0.0.1")).toEqual([]);
  });
});

describe("death", () => {
  test("the dead owner's addresses go at once to the survivors, and no other address moves", () => {
    const members = settledMembers(12, NODES);
    const before = members.ownership();
    const lost = members.held("a");
    assert.ok(lost.length > 0);
    members.kill("a", 200);
    members.run(200 + 1 + 1 + 30 + 5);
    expect(movesBetween(before, members.ownership())).toEqual(lost.sort());
    expect([...members.said("b", "owned", 2000), ...members.said("c", "owned", 2000)].map(({ reason }) => reason)).toEqual(lost.map(() => "OwnerDead"));
  });

  test("the second in line waits 30 ms, and takes it if the first does not", () => {
    const { row, order } = rankedRow("192.0.2.1", NODES);
    const [first = "", second = "", third = ""] = order;
    const members = new FakeMembers({ nodes: NODES });
    members.start([row]);
    members.run(2000);
    expect(members.owners(row.address)).toEqual([first]);
    members.node(first).isUp = false;
    members.node(second).hears = false;
    members.run(3100);
    members.setState(second, first, "dead");
    members.setState(third, first, "dead");
    members.run(29);
    expect(members.owners(row.address)).toEqual([]);
    members.run(3);
    expect(members.owners(row.address)).toEqual([third]);
    expect(members.said(second, "askSegment").length).toBeGreaterThan(0);
  });

  test("of a new address the second in line waits for the API server to tell the first", () => {
    const { row, order } = rankedRow("192.0.2.1", NODES);
    const [first = "", second = ""] = order;
    const members = new FakeMembers({ nodes: NODES });
    members.start([]);
    members.run(2000);
    for (const node of order.slice(1)) members.give(node, { kind: "row", row });
    members.run(PLACEMENT_GRACE_MS);
    expect(members.owners(row.address)).toEqual([]);
    members.give(first, { kind: "row", row });
    members.run(200);
    expect(members.owners(row.address)).toEqual([first]);
    expect(members.said(second, "owned")).toEqual([]);
  });

  test("a suspect is last in line", () => {
    const { row, order } = rankedRow("192.0.2.1", NODES);
    const [first = "", second = "", third = ""] = order;
    const members = new FakeMembers({ nodes: NODES });
    members.start([row]);
    members.run(2000);
    members.node(first).isUp = false;
    members.node(second).isUp = false;
    members.setState(third, second, "suspect");
    members.setState(third, first, "dead");
    members.run(2);
    expect(members.owners(row.address)).toEqual([third]);
  });

  test("a node that sends but can't receive takes nothing", () => {
    const members = settledMembers(12, NODES);
    members.node("b").hears = false;
    const before = members.held("b");
    for (const node of ["a", "c"]) members.give("b", { kind: "suspected", node, since: members.now });
    members.run(200);
    for (const node of ["a", "c"]) members.setState("b", node, "dead");
    members.run(10_000);
    expect(members.held("b")).toEqual(before);
    expect(members.said("b", "askSegment", 2000).length).toBeGreaterThan(100);
    // Nor with its first frame: it has to find out who lives before.
    members.node("b").hears = true;
    members.run(500);
    for (const node of ["a", "c"]) members.setState("b", node, "alive");
    members.run(5000);
    expect(members.held("b")).toEqual(before);
  });

  test("a link that comes back brings no takeover by a view of the time when it was gone", () => {
    const members = settledMembers(12, NODES);
    members.give("a", { kind: "interfaces", interfaces: [{ ...ETH0, usable: false, reason: "noCarrier" }] });
    for (const node of ["b", "c"]) members.setState("a", node, "dead");
    members.run(2000);
    members.give("a", { kind: "interfaces", interfaces: [ETH0] });
    members.give("a", { kind: "frame", interfaceIndex: ETH0.index });
    members.run(500);
    for (const node of ["b", "c"]) members.setState("a", node, "alive");
    members.run(5000);
    expect(members.held("a")).toEqual([]);
    members.ownership();
  });

  test("a node that was deaf takes what is free a second after it hears again", () => {
    const members = settledMembers(3, ["a", "b"]);
    members.node("b").hears = false;
    members.run(3000);
    members.kill("a", 200);
    members.run(1000);
    expect(members.held("b").length).toBeLessThan(3);
    members.node("b").hears = true;
    members.run(1100);
    expect(members.held("b")).toHaveLength(3);
  });

  test("a frame from before the suspicion proves nothing", () => {
    const members = settledMembers(1, NODES);
    const [owner = ""] = members.owners("192.0.0.1");
    const other = NODES.find((node) => node !== owner) ?? "";
    members.node(other).hears = false;
    members.give(other, { kind: "frame", interfaceIndex: ETH0.index });
    members.run(1);
    members.give(other, { kind: "suspected", node: owner, since: members.now });
    for (const node of NODES) if (node !== other) members.setState(other, node, "dead");
    members.run(150);
    expect(members.view(other, "192.0.0.1")?.mine).toBe(false);
    members.give(other, { kind: "frame", interfaceIndex: ETH0.index });
    expect(members.view(other, "192.0.0.1")?.mine).toBe(true);
  });

  test("a thousand takeovers are told within a few datagrams' time and known by all", () => {
    const nodes = ["a", "b"];
    const members = settledMembers(1000, nodes);
    members.kill("a", 200);
    members.run(200);
    const at = members.now;
    members.run(100);
    expect(members.held("b")).toHaveLength(1000);
    for (const { update } of members.said("b", "send", at)) expect(update.entries.length).toBeLessThanOrEqual(90);
  });
});

describe("order of claims", () => {
  test("after a split each side serves all; when it heals, what the minority made up yields and nothing that never stopped moves", () => {
    const nodes = ["a", "b", "c", "d", "e"];
    const members = settledMembers(25, nodes);
    const before = members.ownership();
    const minority = members.held("a");
    members.split(["a"], ["b", "c", "d", "e"]);
    members.run(3000);
    for (const { address } of members.rows) expect(members.owners(address)).toHaveLength(2);
    expect(members.view("a", before.get("192.0.0.1") === "a" ? "192.0.0.2" : "192.0.0.1")?.owner).toBe("a");
    members.heal(["a"], ["b", "c", "d", "e"]);
    members.run(500);
    const after = members.ownership();
    // Only what the minority had is elsewhere: the majority witnessed it.
    expect(movesBetween(before, after)).toEqual(minority.sort());
    const lost = members.said("a", "lost", 5000);
    expect(lost).toHaveLength(25);
    expect(lost.every(({ reason }) => reason === "BetterClaim")).toBe(true);
  });

  test("a provisional claim is witnessed once a majority has been heard for a second", () => {
    const members = new FakeMembers({ nodes: NODES });
    members.start(rowsOf(1, NODES));
    members.split(["a"], ["b", "c"], 0);
    members.run(3500);
    expect(members.view("a", "192.0.0.1")).toMatchObject({ owner: "a", witnessed: false });
    const term = members.view("a", "192.0.0.1")?.term;
    for (const node of ["b", "c"]) members.node(node).isUp = false;
    members.setState("a", "b", "alive");
    members.run(990);
    expect(members.view("a", "192.0.0.1")?.witnessed).toBe(false);
    members.run(20);
    expect(members.view("a", "192.0.0.1")).toMatchObject({ witnessed: true, term });
  });

  test("a claim that yields to one of a lower term leaves its term: what comes after grows beyond it", () => {
    const nodes = ["a", "b", "c", "d", "e"];
    const members = new FakeMembers({ nodes, aheadMs: (node) => (node === "a" ? 10_000 : 0) });
    members.start(rowsOf(25, nodes));
    members.run(2000);
    const held = members.held("b");
    members.split(["a"], ["b", "c", "d", "e"]);
    members.run(3000);
    const terms = new Map(held.map((address) => [address, members.view("a", address)?.term ?? 0]));
    // It hears of the better claims before anybody heard of its own.
    members.carry = (from) => (from === "a" ? [] : [1]);
    members.heal(["a"], ["b", "c", "d", "e"]);
    members.run(300);
    expect(members.held("b")).toEqual(held);
    members.carry = () => [1];
    members.run(1000);
    members.kill("b");
    members.run(1000);
    const heirs = held.map((address) => ({ address, heir: members.owners(address)[0] ?? "" })).filter(({ heir }) => heir !== "a");
    assert.ok(heirs.length > 0);
    for (const { address, heir } of heirs) expect(members.view(heir, address)?.term).toBeGreaterThan(terms.get(address) ?? 0);
  });

  test.each([
    [true, true],
    [false, false],
  ])("of two members, the side that hears the gateway is the majority (%s)", (heard, witnessed) => {
    const members = settledMembers(8, ["a", "b"]);
    members.give("a", { kind: "gateway", heard });
    const [address = ""] = members.held("b");
    members.split(["a"], ["b"]);
    members.run(1000);
    expect(members.view("a", address)).toMatchObject({ owner: "a", witnessed });
  });

  test("the winner announces again, once for each claim that lost, and tells the loser", () => {
    const members = settledMembers(1, ["a", "b"]);
    const [owner = ""] = members.owners("192.0.0.1");
    const other = owner === "a" ? "b" : "a";
    const worse: ClaimsUpdate = {
      owner: other, boot: ORIGIN_UNIX_MS, facts: { ready: true, fresh: true, settled: true, template: "" }, base: undefined, version: 1000, hash: 0,
      entries: [{ address: "192.0.0.1", state: "claim", term: 5, witnessed: true, successor: "" }], removed: [],
    };
    const outputs = members.give(owner, { kind: "update", update: worse });
    expect(outputs.filter(({ kind }) => kind === "reannounce")).toEqual([{ kind: "reannounce", address: "192.0.0.1" }]);
    expect(outputs).toContainEqual(expect.objectContaining({ kind: "send", to: other, update: expect.objectContaining({ entries: [expect.objectContaining({ address: "192.0.0.1" })] }) }));
    const again = members.give(owner, { kind: "update", update: { ...worse, version: 1001 } });
    expect(again.filter(({ kind }) => kind === "reannounce")).toEqual([]);
  });
});

describe("waking up", () => {
  test("after a long sleep the owner is silent until every member that spoke to it before has confirmed its claims", () => {
    const { members, sleeper, others } = sleeping();
    expect(members.said(sleeper, "silence")).toHaveLength(1);
    // What is read at once waited in the socket: it was sent before this node was given up, perhaps.
    for (const other of others) members.give(sleeper, digestOf(members, other));
    members.now += 20;
    const [first = "", second = ""] = others;
    members.give(sleeper, digestOf(members, first));
    members.give(sleeper, digestOf(members, first));
    expect(members.said(sleeper, "speak")).toEqual([]);
    members.give(sleeper, digestOf(members, second));
    expect(members.said(sleeper, "speak")).toHaveLength(1);
  });

  test("what one member says of another's list confirms nothing", () => {
    const { members, sleeper, others: [first = "", second = ""] } = sleeping();
    members.now += 20;
    members.give(sleeper, digestOf(members, first));
    members.give(sleeper, { ...digestOf(members, second), from: first });
    expect(members.said(sleeper, "speak")).toEqual([]);
  });

  test("a member that died meanwhile is not waited for", () => {
    const { members, sleeper, others: [first = "", second = ""] } = sleeping();
    members.now += 20;
    members.setState(sleeper, second, "dead");
    members.give(sleeper, digestOf(members, first));
    expect(members.said(sleeper, "speak")).toHaveLength(1);
  });

  test("who falls asleep again while it is silent begins anew", () => {
    const { members, sleeper, others } = sleeping();
    members.now += 3000;
    members.give(sleeper, { kind: "woke", lagMs: 3000 });
    members.give(sleeper, { kind: "timeout" });
    for (const other of others) members.give(sleeper, digestOf(members, other));
    expect(members.said(sleeper, "silence")).toHaveLength(1);
    expect(members.said(sleeper, "speak")).toEqual([]);
    members.now += 20;
    for (const other of others) members.give(sleeper, digestOf(members, other));
    expect(members.said(sleeper, "speak")).toHaveLength(1);
  });

  test("and no longer than 100 ms", () => {
    const members = settledMembers(3, ["a"]);
    members.give("a", { kind: "woke", lagMs: 300 });
    members.run(99);
    expect(members.said("a", "speak")).toEqual([]);
    members.run(1);
    expect(members.said("a", "speak")).toHaveLength(1);
  });

  test("a short sleep is no reason for silence, but what it was about to take waits anew", () => {
    const { row, order } = rankedRow("192.0.2.1", NODES);
    const [first = "", second = "", third = ""] = order;
    const members = new FakeMembers({ nodes: NODES });
    members.start([row]);
    members.run(2000);
    members.node(first).isUp = false;
    members.node(second).isUp = false;
    members.setState(third, first, "dead");
    members.run(10);
    members.give(third, { kind: "woke", lagMs: 150 });
    members.run(25);
    expect(members.owners(row.address)).toEqual([]);
    members.run(6);
    expect(members.owners(row.address)).toEqual([third]);
    expect(members.said(third, "silence")).toEqual([]);
  });
});

/** Three members, one of which owns something and has just slept. */
function sleeping(): { readonly members: FakeMembers; readonly sleeper: string; readonly others: readonly string[] } {
  const members = settledMembers(3, NODES);
  const sleeper = NODES.find((name) => members.held(name).length > 0) ?? "";
  members.give(sleeper, { kind: "woke", lagMs: 300 });
  return { members, sleeper, others: NODES.filter((name) => name !== sleeper) };
}

/** The member's word on its own list. */
function digestOf(members: FakeMembers, from: string): Extract<ClaimsInput, { kind: "digest" }> {
  const { digest } = members.node(from);
  assert.ok(digest);
  return { kind: "digest", digest, from };
}
