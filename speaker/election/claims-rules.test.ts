import assert from "node:assert/strict";

import { describe, expect, test } from "vitest";

import { FakeMembers, rowsOf } from "./fake-members.ts";
import { rank } from "./rank.ts";

const NODES = ["a", "b", "c"];

/** Three nodes that have settled, and each address with its one owner. */
function settled(groups = 12, nodes = NODES): FakeMembers {
  const members = new FakeMembers({ nodes });
  members.start(rowsOf(groups, nodes));
  members.run(2000);
  return members;
}

describe("cold start", () => {
  test("with all there and ready, each address goes to the first in rank after 300 ms, but for the cap", () => {
    const members = settled(30);
    const counts = new Map<string, number>();
    for (const { address } of members.rows) {
      const owners = members.owners(address);
      expect(owners).toHaveLength(1);
      counts.set(owners[0] ?? "", (counts.get(owners[0] ?? "") ?? 0) + 1);
    }
    for (const count of counts.values()) expect(count).toBeLessThanOrEqual(13);
    expect(members.said("a", "owned").every(({ reason }) => reason === "FirstInRank")).toBe(true);
    expect(NODES.flatMap((node) => members.said(node, "lost"))).toEqual([]);
    expect(members.owners("192.0.0.1")).toEqual([rank("192.0.0.1", members.rows[0]?.candidates ?? [])[0]]);
  });
});

describe("death", () => {
  test("the dead owner's addresses go at once to the survivors, and no other address moves", () => {
    const members = settled();
    const before = new Map(members.rows.map(({ address }) => [address, members.owners(address)[0]]));
    assert.ok([...before.values()].includes("a"));
    members.kill("a", 200);
    members.run(200 + 1 + 1 + 30 + 5);
    for (const { address } of members.rows) {
      const owners = members.owners(address);
      expect(owners).toHaveLength(1);
      if (before.get(address) !== "a") expect(owners).toEqual([before.get(address)]);
    }
    expect(members.said("b", "owned", 2000).every(({ reason }) => reason === "OwnerDead")).toBe(true);
  });
});
