import assert from "node:assert/strict";

import { describe, expect, test } from "vitest";

import type { AddressRow } from "../packet-protocol.ts";
import type { ClaimsUpdate } from "./claims-protocol.ts";
import { ETH0, FakeMembers, ORIGIN_UNIX_MS, rowsOf } from "./fake-members.ts";
import { rank } from "./rank.ts";

const NODES = ["a", "b", "c"];

/** Three nodes that have settled, and each address with its one owner. */
function settled(groups = 12, nodes: readonly string[] = NODES): FakeMembers {
  const members = new FakeMembers({ nodes });
  members.start(rowsOf(groups, nodes));
  members.run(2000);
  return members;
}

/** The only owner of each address. */
function ownership(members: FakeMembers): Map<string, string> {
  return new Map(
    members.rows.map(({ address }) => {
      const owners = members.owners(address);
      expect(owners, address).toHaveLength(1);
      return [address, owners[0] ?? ""];
    }),
  );
}

/** Addresses of the node. */
function held(members: FakeMembers, node: string): string[] {
  return members.rows.filter(({ address }) => members.owners(address).includes(node)).map(({ address }) => address);
}

function moves(before: ReadonlyMap<string, string>, after: ReadonlyMap<string, string>): string[] {
  return [...before].filter(([address, owner]) => after.get(address) !== owner).map(([address]) => address);
}

/** A row whose candidates come in that order, and the order. */
function ranked(address: string, nodes: readonly string[] = NODES): { row: AddressRow; order: string[] } {
  const row: AddressRow = { address, group: address, interfaces: "all", candidates: nodes.map((node) => ({ node, score: 0 })) };
  return { row, order: rank(row.group, row.candidates) };
}

describe("cold start", () => {
  test("with all there and ready, each address goes to the first in rank after 300 ms, but for the cap", () => {
    const members = settled(30);
    const counts = new Map<string, number>();
    for (const owner of ownership(members).values()) counts.set(owner, (counts.get(owner) ?? 0) + 1);
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
    expect(held(members, "a")).toEqual([]);
    members.run(200);
    expect([...held(members, "a"), ...held(members, "b")].sort()).toEqual(members.rows.map(({ address }) => address));
  });

  test("a node that comes into a settled cluster is settled by the lists of the others, and takes nothing", () => {
    const members = settled();
    members.kill("c");
    members.run(1000);
    const before = ownership(members);
    members.restart("c");
    members.run(50);
    expect(members.node("c").claims.snapshot().map(({ owner }) => owner)).toEqual([...before.values()]);
    members.run(5000);
    expect(ownership(members)).toEqual(before);
  });

  test("alone in the cluster a node needs to hear nobody", () => {
    const members = new FakeMembers({ nodes: ["a"] });
    members.node("a").hears = false;
    members.start(rowsOf(3, ["a"]));
    members.run(310);
    expect(held(members, "a")).toHaveLength(3);
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
    const members = settled();
    const before = ownership(members);
    const lost = held(members, "a");
    assert.ok(lost.length > 0);
    members.kill("a", 200);
    members.run(200 + 1 + 1 + 30 + 5);
    expect(moves(before, ownership(members)).sort()).toEqual(lost.sort());
    expect([...members.said("b", "owned", 2000), ...members.said("c", "owned", 2000)].map(({ reason }) => reason)).toEqual(lost.map(() => "OwnerDead"));
  });

  test("the second in line waits 30 ms, and takes it if the first does not", () => {
    const { row, order } = ranked("192.0.2.1");
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

  test("a suspect is last in line", () => {
    const { row, order } = ranked("192.0.2.1");
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
    const members = settled();
    members.node("b").hears = false;
    const before = held(members, "b");
    for (const node of ["a", "c"]) members.give("b", { kind: "suspected", node, since: members.now });
    members.run(200);
    for (const node of ["a", "c"]) members.setState("b", node, "dead");
    members.run(10_000);
    expect(held(members, "b")).toEqual(before);
    expect(members.said("b", "askSegment", 2000).length).toBeGreaterThan(100);
  });

  test("a frame from before the suspicion proves nothing", () => {
    const members = settled(1);
    const [owner = ""] = members.owners("192.0.0.1");
    const other = NODES.find((node) => node !== owner) ?? "";
    members.node(other).hears = false;
    members.give(other, { kind: "frame", interfaceIndex: ETH0.index });
    members.run(1);
    members.give(other, { kind: "suspected", node: owner, since: members.now });
    for (const node of NODES) if (node !== other) members.setState(other, node, "dead");
    members.run(1000);
    expect(members.view(other, "192.0.0.1")?.mine).toBe(false);
    members.give(other, { kind: "frame", interfaceIndex: ETH0.index });
    expect(members.view(other, "192.0.0.1")?.mine).toBe(true);
  });

  test("a thousand takeovers are told within a few datagrams' time and known by all", () => {
    const nodes = ["a", "b"];
    const members = settled(1000, nodes);
    members.kill("a", 200);
    members.run(200);
    const at = members.now;
    members.run(100);
    expect(held(members, "b")).toHaveLength(1000);
    for (const { update } of members.said("b", "send", at)) expect(update.entries.length).toBeLessThanOrEqual(90);
  });
});

describe("order of claims", () => {
  test("after a split each side serves all; when it heals, what the minority made up yields and nothing that never stopped moves", () => {
    const nodes = ["a", "b", "c", "d", "e"];
    const members = settled(25, nodes);
    const before = ownership(members);
    const minority = held(members, "a");
    members.split(["a"], ["b", "c", "d", "e"]);
    members.run(3000);
    for (const { address } of members.rows) expect(members.owners(address)).toHaveLength(2);
    expect(members.view("a", before.get("192.0.0.1") === "a" ? "192.0.0.2" : "192.0.0.1")?.owner).toBe("a");
    members.heal(["a"], ["b", "c", "d", "e"]);
    members.run(500);
    const after = ownership(members);
    // Only what the minority had is elsewhere: the majority witnessed it.
    expect(moves(before, after).sort()).toEqual(minority.sort());
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

  test.each([
    [true, true],
    [false, false],
  ])("of two members, the side that hears the gateway is the majority (%s)", (heard, witnessed) => {
    const members = settled(8, ["a", "b"]);
    members.give("a", { kind: "gateway", heard });
    const [address = ""] = held(members, "b");
    members.split(["a"], ["b"]);
    members.run(1000);
    expect(members.view("a", address)).toMatchObject({ owner: "a", witnessed });
  });

  test("the winner announces again, once for each claim that lost, and tells the loser", () => {
    const members = settled(1, ["a", "b"]);
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

  test("a term more than a day ahead is not heeded", () => {
    const members = settled(1, ["a", "b"]);
    const [owner = ""] = members.owners("192.0.0.1");
    const other = owner === "a" ? "b" : "a";
    const outputs = members.give(owner, {
      kind: "update",
      update: {
        owner: other, boot: ORIGIN_UNIX_MS, facts: { ready: true, fresh: true, settled: true, template: "" }, base: undefined, version: 1000, hash: 0,
        entries: [{ address: "192.0.0.1", state: "claim", term: ORIGIN_UNIX_MS + 2 * 86_400_000, witnessed: true, successor: "" }], removed: [],
      },
    });
    expect(outputs).toContainEqual({ kind: "dropped", reason: "termInFuture" });
    expect(members.owners("192.0.0.1")).toEqual([owner]);
  });
});

describe("giving up", () => {
  test("an owner without a usable interface loses its addresses at once, and another has them within milliseconds", () => {
    const members = settled();
    const before = ownership(members);
    const lost = held(members, "a");
    members.give("a", { kind: "interfaces", interfaces: [{ ...ETH0, usable: false, reason: "noCarrier" }] });
    expect(members.said("a", "lost", 2000)).toEqual(lost.map((address) => ({ kind: "lost", address, reason: "NoUsableInterface" })));
    members.run(40);
    expect(moves(before, ownership(members)).sort()).toEqual(lost.sort());
    members.give("a", { kind: "interfaces", interfaces: [ETH0] });
    const after = ownership(members);
    members.run(5000);
    expect(ownership(members)).toEqual(after);
  });

  test("an address is blocked where it would be announced, but for an interface, and no longer once another has it", () => {
    const members = new FakeMembers({ nodes: ["a"] });
    members.start(rowsOf(1, ["a"], { interfaces: ["eth1"] }));
    members.run(1000);
    expect(members.said("a", "blocked")).toEqual([{ kind: "blocked", address: "192.0.0.1", wanted: ["eth1"] }]);
    expect(members.node("a").claims.snapshot()).toMatchObject([{ state: "blocked", mine: false }]);
    members.give("a", { kind: "interfaces", interfaces: [{ ...ETH0, name: "eth1", index: 3 }] });
    expect(members.owners("192.0.0.1")).toEqual(["a"]);
    members.give("a", { kind: "interfaces", interfaces: [] });
    expect(members.node("a").outputs.slice(-4).map(({ output }) => output.kind).filter((kind) => kind === "lost" || kind === "blocked")).toEqual(["lost", "blocked"]);
    members.give("a", { kind: "removeRow", address: "192.0.0.1" });
    expect(members.said("a", "lost").at(-1)).toEqual({ kind: "lost", address: "192.0.0.1", reason: "Removed" });
  });

  test("an owner that the tables leave out hands over, and answers until the successor's claim is seen", () => {
    const members = settled(1);
    const [owner = ""] = members.owners("192.0.0.1");
    const others = NODES.filter((node) => node !== owner);
    const row: AddressRow = { ...(members.rows[0] as AddressRow), candidates: others.map((node) => ({ node, score: 0 })) };
    members.giveAll({ kind: "row", row });
    const gaps: number[] = [];
    for (let ms = 0; ms < 20; ms++) {
      members.run(1);
      gaps.push(members.owners("192.0.0.1").length);
    }
    expect(Math.min(...gaps)).toBeGreaterThan(0);
    const [next = ""] = rank(row.group, row.candidates);
    expect(members.owners("192.0.0.1")).toEqual([next]);
    expect(members.said(owner, "handingOver")).toEqual([{ kind: "handingOver", address: "192.0.0.1", to: next }]);
    expect(members.said(owner, "lost")).toEqual([{ kind: "lost", address: "192.0.0.1", reason: "HandedOver" }]);
    expect(members.said(next, "owned")).toMatchObject([{ reason: "HandedOver", taken: true }]);
  });

  test("an owner that nobody can succeed releases what it may not have", () => {
    const members = settled(1, ["a", "b"]);
    members.giveAll({ kind: "row", row: { ...(members.rows[0] as AddressRow), candidates: [{ node: "gone", score: 0 }] } });
    members.run(5);
    const [owner = ""] = ["a", "b"].filter((node) => members.said(node, "owned").length > 0);
    expect(members.said(owner, "lost")).toEqual([{ kind: "lost", address: "192.0.0.1", reason: "NotEligible" }]);
  });

  test("a removed row is lost at once; terms go on growing when it comes back", () => {
    const members = settled(1);
    const [owner = ""] = members.owners("192.0.0.1");
    const term = members.view(owner, "192.0.0.1")?.term ?? 0;
    expect(members.give(owner, { kind: "removeRow", address: "192.0.0.1" })).toContainEqual({ kind: "lost", address: "192.0.0.1", reason: "Removed" });
    for (const node of NODES) if (node !== owner) members.give(node, { kind: "removeRow", address: "192.0.0.1" });
    members.run(1000);
    members.giveAll({ kind: "row", row: members.rows[0] as AddressRow });
    members.run(100);
    expect(members.owners("192.0.0.1")).toHaveLength(1);
    expect(members.view("a", "192.0.0.1")?.term).toBeGreaterThan(term);
  });

  test("interfaces that come and go beside the others are told, and move nothing", () => {
    const members = settled(3);
    const node = NODES.find((name) => held(members, name).length > 0) ?? "";
    const [address = ""] = held(members, node);
    const eth1 = { ...ETH0, name: "eth1", index: 3 };
    members.give(node, { kind: "interfaces", interfaces: [ETH0, eth1] });
    expect(members.said(node, "owned").at(-1)).toMatchObject({ reason: "InterfacesChanged", interfaces: [ETH0, eth1], taken: false });
    expect(members.owners(address)).toEqual([node]);
  });
});

describe("planned handover", () => {
  test("a node that ends hands everything over: never nobody, never anything moves twice", () => {
    const members = settled(30);
    const before = ownership(members);
    const given = held(members, "a");
    members.give("a", { kind: "release" });
    for (let ms = 0; ms < 50; ms++) {
      members.run(1);
      for (const address of given) expect(members.owners(address).length).toBeGreaterThan(0);
    }
    const after = ownership(members);
    expect(moves(before, after).sort()).toEqual(given.sort());
    expect(members.said("a", "released")).toHaveLength(1);
    expect(members.said("a", "lost").every(({ reason }) => reason === "HandedOver")).toBe(true);
    // What was handed over is spread: nobody gets all of it.
    expect(held(members, "b").length).toBeLessThanOrEqual(19);
    expect(held(members, "c").length).toBeLessThanOrEqual(19);
  });

  test("nothing owned, nothing to wait for", () => {
    const members = new FakeMembers({ nodes: NODES });
    members.start([]);
    members.run(1000);
    expect(members.give("a", { kind: "release" })).toContainEqual({ kind: "released" });
  });

  test("a successor that does not claim costs a second, then everybody may", () => {
    const { row, order } = ranked("192.0.2.1");
    const [first = "", second = "", third = ""] = order;
    const members = new FakeMembers({ nodes: NODES });
    members.start([row]);
    members.run(2000);
    members.node(second).isUp = false;
    members.give(first, { kind: "release" });
    members.run(299);
    expect(members.owners(row.address)).toEqual([first]);
    members.run(100);
    expect(members.owners(row.address)).toEqual([third]);
    expect(members.said(first, "released")).toHaveLength(1);
  });

  test("alone, a node that ends releases at once", () => {
    const members = settled(2, ["a"]);
    const outputs = members.give("a", { kind: "release" });
    expect(outputs.filter(({ kind }) => kind === "lost")).toHaveLength(2);
    expect(outputs.at(-1)).toEqual({ kind: "released" });
  });

  test("the successor preferably runs the newest template", () => {
    const members = new FakeMembers({ nodes: NODES, template: (node) => (node === "b" ? "2" : "1") });
    members.start(rowsOf(12, NODES));
    members.run(2000);
    const given = held(members, "a");
    assert.ok(given.length > 0);
    members.give("a", { kind: "release" });
    members.run(50);
    for (const address of given) expect(members.owners(address)).toEqual(["b"]);
  });

  test("a rolling restart moves each address twice at most, and none without need", () => {
    let template = "1";
    const members = new FakeMembers({ nodes: NODES, template: () => template });
    members.start(rowsOf(30, NODES));
    members.run(2000);
    const count = new Map(members.rows.map(({ address }) => [address, 0]));
    template = "2";
    for (const node of NODES) {
      const before = ownership(members);
      members.give(node, { kind: "release" });
      members.run(100);
      members.node(node).isUp = false;
      for (const other of NODES) if (other !== node) members.setState(other, node, "left");
      members.run(2000);
      members.restart(node);
      members.run(4000);
      for (const address of moves(before, ownership(members))) count.set(address, (count.get(address) ?? 0) + 1);
    }
    expect(Math.max(...count.values())).toBeLessThanOrEqual(2);
  });
});

describe("restart faster than detection", () => {
  test("the addresses are resumed with a higher term, whoever would be first in rank", () => {
    const members = settled(12);
    const before = ownership(members);
    const mine = held(members, "a");
    const terms = new Map(mine.map((address) => [address, members.view("b", address)?.term ?? 0]));
    members.restart("a");
    members.run(100);
    expect(ownership(members)).toEqual(before);
    for (const address of mine) {
      expect(members.view("b", address)).toMatchObject({ owner: "a", boot: members.node("a").boot });
      expect(members.view("b", address)?.term).toBeGreaterThan(terms.get(address) ?? Infinity);
    }
    expect(members.said("a", "owned", 2000).map(({ reason }) => reason)).toEqual(mine.map(() => "Resumed"));
    expect([...members.said("b", "owned", 2000), ...members.said("c", "owned", 2000)]).toEqual([]);
  });

  test("what nobody resumes within 300 ms is free", () => {
    const members = settled(12);
    const mine = held(members, "a");
    assert.ok(mine.length > 0);
    const boot = ORIGIN_UNIX_MS + members.now;
    members.node("a").isUp = false;
    for (const node of ["b", "c"]) members.give(node, { kind: "digest", digest: { owner: "a", boot, version: 1, hash: 1 }, from: "a" });
    members.run(299);
    for (const address of mine) expect(members.view("b", address)?.owner).toBe("a");
    members.run(40);
    for (const address of mine) expect(members.owners(address)).toHaveLength(1);
  });

  test("what another took meanwhile stays there", () => {
    const members = settled(12);
    members.kill("a", 100);
    members.run(1000);
    const before = ownership(members);
    members.restart("a");
    members.run(2000);
    expect(ownership(members)).toEqual(before);
    expect(members.said("a", "owned", 2500)).toEqual([]);
  });
});

describe("an owner that is not fresh", () => {
  function staleOwner(): { members: FakeMembers; owner: string; others: string[]; row: AddressRow } {
    const members = settled(1);
    const [owner = ""] = members.owners("192.0.0.1");
    const others = NODES.filter((node) => node !== owner);
    const row: AddressRow = { ...(members.rows[0] as AddressRow), candidates: others.map((node) => ({ node, score: 0 })) };
    return { members, owner, others, row };
  }

  test("is displaced after a second by the first in rank of those that know better", () => {
    const { members, owner, others, row } = staleOwner();
    members.give(owner, { kind: "fresh", fresh: false });
    for (const node of others) members.give(node, { kind: "row", row });
    members.run(990);
    expect(members.owners("192.0.0.1")).toEqual([owner]);
    members.run(30);
    expect(members.owners("192.0.0.1")).toEqual([rank(row.group, row.candidates)[0]]);
    expect(members.said(owner, "lost")).toMatchObject([{ reason: "BetterClaim" }]);
  });

  test("stays when nobody is fresh, and when it is fresh itself", () => {
    const { members, owner, others, row } = staleOwner();
    for (const node of others) members.give(node, { kind: "row", row });
    members.run(5000);
    expect(members.owners("192.0.0.1")).toEqual([owner]);
    members.giveAll({ kind: "fresh", fresh: false });
    members.run(5000);
    expect(members.owners("192.0.0.1")).toEqual([owner]);
  });
});

describe("groups", () => {
  const pair = (group: string, candidates = NODES): AddressRow[] =>
    ["192.0.2.1", "2001:db8::1"].map((address) => ({ address, group: group === "" ? address : group, interfaces: "all" as const, candidates: candidates.map((node) => ({ node, score: 0 })) }));

  test("the addresses of a group are taken together", () => {
    const members = new FakeMembers({ nodes: NODES });
    members.start(pair("192.0.2.1"));
    members.run(1000);
    expect(members.owners("192.0.2.1")).toHaveLength(1);
    expect(members.owners("2001:db8::1")).toEqual(members.owners("192.0.2.1"));
  });

  test("when groups merge, the owner of the better claim gets the rest by handover", () => {
    const members = new FakeMembers({ nodes: NODES });
    members.start([pair("", ["a"])[0] as AddressRow, pair("", ["b"])[1] as AddressRow]);
    members.run(1000);
    expect([members.owners("192.0.2.1"), members.owners("2001:db8::1")]).toEqual([["a"], ["b"]]);
    for (const row of pair("192.0.2.1")) members.giveAll({ kind: "row", row });
    for (let ms = 0; ms < 30; ms++) {
      members.run(1);
      expect(members.owners("192.0.2.1").length * members.owners("2001:db8::1").length).toBeGreaterThan(0);
    }
    expect(members.owners("2001:db8::1")).toEqual(members.owners("192.0.2.1"));
    expect(members.owners("192.0.2.1")).toHaveLength(1);
    const reasons = NODES.flatMap((node) => members.said(node, "owned", 1000).map(({ reason }) => reason));
    expect(reasons).toEqual(["GroupMerged"]);
  });

  test("an address that joins a group of this node comes to it at once", () => {
    const members = new FakeMembers({ nodes: NODES });
    members.start([pair("192.0.2.1")[0] as AddressRow]);
    members.run(1000);
    const owners = members.owners("192.0.2.1");
    members.giveAll({ kind: "row", row: pair("192.0.2.1")[1] as AddressRow });
    members.run(2);
    expect(members.owners("2001:db8::1")).toEqual(owners);
  });
});

describe("failback", () => {
  test("sticky: a node that comes back gets nothing back", () => {
    const members = settled(12);
    members.kill("a", 200);
    members.run(2000);
    const before = ownership(members);
    members.restart("a");
    members.run(10_000);
    expect(ownership(members)).toEqual(before);
  });

  test("rank: it gets back what it ranks first for once it has been well for a second", () => {
    const members = new FakeMembers({ nodes: NODES, failback: "rank" });
    members.start(rowsOf(12, NODES));
    members.run(3000);
    const before = ownership(members);
    for (const [address, owner] of before) expect(owner).toBe(rank(address, NODES.map((node) => ({ node, score: 0 })))[0]);
    members.kill("a", 200);
    members.run(2000);
    members.restart("a");
    members.run(900);
    expect(held(members, "a")).toEqual([]);
    members.run(500);
    expect(ownership(members)).toEqual(before);
  });
});

describe("waking up", () => {
  test("after a long sleep the owner is silent until a member confirms its claims", () => {
    const members = settled(3);
    const node = NODES.find((name) => held(members, name).length > 0) ?? "";
    members.give(node, { kind: "woke", lagMs: 300 });
    expect(members.said(node, "silence")).toHaveLength(1);
    const other = members.nodes.find(({ name }) => name !== node);
    assert.ok(other?.digest);
    expect(members.give(node, { kind: "digest", digest: other.digest, from: other.name })).toContainEqual({ kind: "speak" });
  });

  test("and no longer than 100 ms", () => {
    const members = settled(3, ["a"]);
    members.give("a", { kind: "woke", lagMs: 300 });
    members.run(99);
    expect(members.said("a", "speak")).toEqual([]);
    members.run(1);
    expect(members.said("a", "speak")).toHaveLength(1);
  });

  test("a short sleep is no reason for silence, but what it was about to take waits anew", () => {
    const { row, order } = ranked("192.0.2.1");
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
