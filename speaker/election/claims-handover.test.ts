import assert from "node:assert/strict";

import { describe, expect, test } from "vitest";

import type { AddressRow } from "../packet-protocol.ts";
import { ETH0, FakeMembers, movesBetween, ORIGIN_UNIX_MS, rankedRow, rowsOf, settledMembers } from "./fake-members.ts";
import { rank } from "./rank.ts";

const NODES = ["a", "b", "c"];

describe("giving up", () => {
  test("an owner without a usable interface loses its addresses at once, and another has them within milliseconds", () => {
    const members = settledMembers(12, NODES);
    const before = members.ownership();
    const lost = members.held("a");
    members.give("a", { kind: "interfaces", interfaces: [{ ...ETH0, usable: false, reason: "noCarrier" }] });
    expect(members.said("a", "lost", 2000)).toEqual(lost.map((address) => ({ kind: "lost", address, reason: "NoUsableInterface" })));
    members.run(40);
    expect(movesBetween(before, members.ownership())).toEqual(lost.sort());
    members.give("a", { kind: "interfaces", interfaces: [ETH0] });
    const after = members.ownership();
    members.run(5000);
    expect(members.ownership()).toEqual(after);
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
    const members = settledMembers(1, NODES);
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
    const members = settledMembers(1, ["a", "b"]);
    members.giveAll({ kind: "row", row: { ...(members.rows[0] as AddressRow), candidates: [{ node: "gone", score: 0 }] } });
    members.run(5);
    const [owner = ""] = ["a", "b"].filter((node) => members.said(node, "owned").length > 0);
    expect(members.said(owner, "lost")).toEqual([{ kind: "lost", address: "192.0.0.1", reason: "NotEligible" }]);
  });

  test("a removed row is lost at once; terms go on growing when it comes back", () => {
    const members = settledMembers(1, NODES);
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
    const members = settledMembers(3, NODES);
    const node = NODES.find((name) => members.held(name).length > 0) ?? "";
    const [address = ""] = members.held(node);
    const eth1 = { ...ETH0, name: "eth1", index: 3 };
    members.give(node, { kind: "interfaces", interfaces: [ETH0, eth1] });
    expect(members.said(node, "owned").at(-1)).toMatchObject({ reason: "InterfacesChanged", interfaces: [ETH0, eth1], taken: false });
    expect(members.owners(address)).toEqual([node]);
  });
});

describe("planned handover", () => {
  test("a node that ends hands everything over: never nobody, never anything moves twice", () => {
    const members = settledMembers(30, NODES);
    const before = members.ownership();
    const given = members.held("a");
    members.give("a", { kind: "release" });
    for (let ms = 0; ms < 50; ms++) {
      members.run(1);
      for (const address of given) expect(members.owners(address).length).toBeGreaterThan(0);
    }
    const after = members.ownership();
    expect(movesBetween(before, after)).toEqual(given.sort());
    expect(members.said("a", "released")).toHaveLength(1);
    expect(members.said("a", "lost").every(({ reason }) => reason === "HandedOver")).toBe(true);
    // What was handed over is spread: nobody gets all of it.
    expect(members.held("b").length).toBeLessThanOrEqual(19);
    expect(members.held("c").length).toBeLessThanOrEqual(19);
  });

  test("nothing owned, nothing to wait for", () => {
    const members = new FakeMembers({ nodes: NODES });
    members.start([]);
    members.run(1000);
    expect(members.give("a", { kind: "release" })).toContainEqual({ kind: "released" });
  });

  test("a successor that does not claim costs a second, then everybody may", () => {
    const { row, order } = rankedRow("192.0.2.1", NODES);
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
    const members = settledMembers(2, ["a"]);
    const outputs = members.give("a", { kind: "release" });
    expect(outputs.filter(({ kind }) => kind === "lost")).toHaveLength(2);
    expect(outputs.at(-1)).toEqual({ kind: "released" });
  });

  test("the successor preferably runs the newest template", () => {
    const members = new FakeMembers({ nodes: NODES, template: (node) => (node === "b" ? "2" : "1") });
    members.start(rowsOf(12, NODES));
    members.run(2000);
    const given = members.held("a");
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
      const before = members.ownership();
      members.give(node, { kind: "release" });
      members.run(100);
      members.node(node).isUp = false;
      for (const other of NODES) if (other !== node) members.setState(other, node, "left");
      members.run(2000);
      members.restart(node);
      members.run(4000);
      for (const address of movesBetween(before, members.ownership())) count.set(address, (count.get(address) ?? 0) + 1);
    }
    expect(Math.max(...count.values())).toBeLessThanOrEqual(2);
  });
});

describe("restart faster than detection", () => {
  test("the addresses are resumed with a higher term, whoever would be first in rank", () => {
    const members = settledMembers(12, NODES);
    const before = members.ownership();
    const mine = members.held("a");
    const terms = new Map(mine.map((address) => [address, members.view("b", address)?.term ?? 0]));
    members.restart("a");
    members.run(100);
    expect(members.ownership()).toEqual(before);
    for (const address of mine) {
      expect(members.view("b", address)).toMatchObject({ owner: "a", boot: members.node("a").boot });
      expect(members.view("b", address)?.term).toBeGreaterThan(terms.get(address) ?? Infinity);
    }
    expect(members.said("a", "owned", 2000).map(({ reason }) => reason)).toEqual(mine.map(() => "Resumed"));
    expect([...members.said("b", "owned", 2000), ...members.said("c", "owned", 2000)]).toEqual([]);
  });

  test("what nobody resumes within 300 ms is free", () => {
    const members = settledMembers(12, NODES);
    const mine = members.held("a");
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
    const members = settledMembers(12, NODES);
    members.kill("a", 100);
    members.run(1000);
    const before = members.ownership();
    members.restart("a");
    members.run(2000);
    expect(members.ownership()).toEqual(before);
    expect(members.said("a", "owned", 2500)).toEqual([]);
  });
});

describe("an owner that is not fresh", () => {
  function staleOwner(): { members: FakeMembers; owner: string; others: string[]; row: AddressRow } {
    const members = settledMembers(1, NODES);
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

  test("is displaced by the next in line where the first in rank has its share already", () => {
    const only = (address: string, node: string): AddressRow => ({ address, group: address, interfaces: "all", candidates: [{ node, score: 0 }] });
    const candidates = ["b", "c"].map((node) => ({ node, score: 0 }));
    const address = Array.from({ length: 50 }, (_, index) => `192.0.2.${index}`).find((each) => rank(each, candidates)[0] === "b") ?? "";
    const members = new FakeMembers({ nodes: NODES });
    members.start([only(address, "a"), ...Array.from({ length: 6 }, (_, index) => only(`198.51.100.${index}`, "b"))]);
    members.run(1000);
    expect([members.owners(address), members.held("b").length]).toEqual([["a"], 6]);
    members.give("a", { kind: "fresh", fresh: false });
    for (const node of ["b", "c"]) members.give(node, { kind: "row", row: { ...only(address, "a"), candidates } });
    members.run(1200);
    expect(members.owners(address)).toEqual(["c"]);
    expect(members.said("b", "owned", 1200)).toEqual([]);
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
    const members = settledMembers(12, NODES);
    members.kill("a", 200);
    members.run(2000);
    const before = members.ownership();
    members.restart("a");
    members.run(10_000);
    expect(members.ownership()).toEqual(before);
  });

  test("rank: it gets back what it ranks first for once it has been well for a second", () => {
    const members = new FakeMembers({ nodes: NODES, failback: "rank" });
    members.start(rowsOf(12, NODES));
    members.run(3000);
    const before = members.ownership();
    for (const [address, owner] of before) expect(owner).toBe(rank(address, NODES.map((node) => ({ node, score: 0 })))[0]);
    members.kill("a", 200);
    members.run(2000);
    members.restart("a");
    members.run(900);
    expect(members.held("a")).toEqual([]);
    members.run(500);
    expect(members.ownership()).toEqual(before);
  });
});

