import fc from "fast-check";
import { beforeEach, describe, expect, test } from "vitest";

import { rank } from "./election/rank.ts";
import type { AddressRow, InterfaceFact } from "./packet-protocol.ts";
import { Ownership } from "./ownership.ts";

const eth0: InterfaceFact = { name: "eth0", index: 2, mac: "02:00:00:00:00:0a", usable: true };
const eth1: InterfaceFact = { name: "eth1", index: 3, mac: "02:00:00:00:00:0b", usable: true };
const down: InterfaceFact = { ...eth0, usable: false, reason: "down" };
const mine = [{ node: "me", score: 0 }];
const theirs = [{ node: "you", score: 0 }];

function row(change: Partial<AddressRow> = {}): AddressRow {
  return { address: "192.0.2.80", group: "192.0.2.80", interfaces: "all", candidates: mine, ...change };
}

let ownership: Ownership;
beforeEach(() => {
  ownership = new Ownership({ node: "me" });
  ownership.handle({ kind: "interfaces", interfaces: [eth0, eth1] }, 0);
});

describe("ownership", () => {
  test("owns on every usable interface what it is first for, and says so once", () => {
    expect(ownership.handle({ kind: "row", row: row() }, 0)).toEqual([{ kind: "owned", address: "192.0.2.80", reason: "FirstInRank", interfaces: [eth0, eth1], taken: true }]);
    expect(ownership.handle({ kind: "row", row: row() }, 0)).toEqual([]);
  });

  test.each([[theirs], [[]]])("keeps its hands off what another is first for, or nobody: %j", (candidates) => {
    expect(ownership.handle({ kind: "row", row: row({ candidates }) }, 0)).toEqual([]);
  });

  test("gives up what another becomes first for", () => {
    ownership.handle({ kind: "row", row: row() }, 0);
    expect(ownership.handle({ kind: "row", row: row({ candidates: [...mine, { node: "you", score: 1 }] }) }, 0)).toEqual([{ kind: "lost", address: "192.0.2.80", reason: "NotFirstInRank" }]);
  });

  test("follows a change of the wanted interfaces without losing the address", () => {
    ownership.handle({ kind: "row", row: row() }, 0);
    expect(ownership.handle({ kind: "row", row: row({ interfaces: ["eth1", "eth9"] }) }, 0)).toEqual([{ kind: "owned", address: "192.0.2.80", reason: "InterfacesChanged", interfaces: [eth1], taken: false }]);
  });

  test("is blocked while no wanted interface is usable", () => {
    expect(ownership.handle({ kind: "row", row: row({ interfaces: ["eth9"] }) }, 0)).toEqual([{ kind: "blocked", address: "192.0.2.80", wanted: ["eth9"] }]);
    expect(ownership.handle({ kind: "interfaces", interfaces: [eth0, { ...eth1, name: "eth9" }] }, 0)).toMatchObject([{ kind: "owned", reason: "InterfacesChanged", taken: true }]);
  });

  test("says anew that it is blocked when other interfaces are asked for, and none of them is usable either", () => {
    ownership.handle({ kind: "row", row: row({ interfaces: ["eth9"] }) }, 0);
    expect(ownership.handle({ kind: "row", row: row({ interfaces: ["eth9"] }) }, 0)).toEqual([]);
    expect(ownership.handle({ kind: "row", row: row({ interfaces: ["eth8"] }) }, 0)).toEqual([{ kind: "blocked", address: "192.0.2.80", wanted: ["eth8"] }]);
  });

  test("loses an owned address with its last interface, and is blocked from then on", () => {
    ownership.handle({ kind: "row", row: row({ interfaces: ["eth0"] }) }, 0);
    expect(ownership.handle({ kind: "interfaces", interfaces: [down, eth1] }, 0)).toEqual([
      { kind: "lost", address: "192.0.2.80", reason: "NoUsableInterface" },
      { kind: "blocked", address: "192.0.2.80", wanted: ["eth0"] },
    ]);
    expect(ownership.handle({ kind: "removeRow", address: "192.0.2.80" }, 0)).toEqual([{ kind: "lost", address: "192.0.2.80", reason: "Removed" }]);
  });

  test("releases everything at the end", () => {
    ownership.handle({ kind: "row", row: row() }, 0);
    ownership.handle({ kind: "row", row: row({ address: "192.0.2.81", candidates: theirs }) }, 0);
    expect(ownership.handle({ kind: "release" }, 0)).toEqual([{ kind: "lost", address: "192.0.2.80", reason: "Stopping" }]);
  });

  test("nodes with the same table: each address has exactly one owner, and it is the first in rank", () => {
    const nodes = ["a", "b", "c"];
    const candidates = fc.subarray(nodes).chain((some) => fc.tuple(...some.map((node) => fc.record({ node: fc.constant(node), score: fc.nat({ max: 1 }) }))));
    fc.assert(
      fc.property(fc.array(candidates, { maxLength: 10 }), (steps) => {
        const machines = nodes.map((node) => new Ownership({ node: node }));
        for (const machine of machines) machine.handle({ kind: "interfaces", interfaces: [eth0] }, 0);
        for (const step of steps) {
          for (const machine of machines) machine.handle({ kind: "row", row: row({ candidates: step }) }, 0);
          const owners = nodes.filter((_, index) => machines[index]?.snapshot()[0]?.state === "owned");
          expect(owners).toEqual(rank("192.0.2.80", step).slice(0, 1));
        }
      }),
    );
  });
});
