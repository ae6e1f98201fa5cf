import { describe, expect, test } from "vitest";

import type { Member } from "../membership/membership-protocol.ts";
import { GONE_KEPT_MS, HERALD_META, Roster } from "./roster.ts";

function member(node: string, address: string, state: Member["state"] = "alive", meta: Uint8Array = HERALD_META): Member {
  return { node, endpoint: { address, port: 7946 }, state, incarnation: 1, meta };
}

/** Takes the first ones, as a test needs no chance. */
function first<T>(list: readonly T[], count: number): readonly T[] {
  return list.slice(0, count);
}

describe("whose address it is", () => {
  test("two members that swap their addresses keep one each", () => {
    const roster = new Roster("node0");
    roster.setMember(member("node1", "10.0.0.1"), 0);
    roster.setMember(member("node2", "10.0.0.2"), 0);
    roster.setMember(member("node1", "10.0.0.2"), 1);
    roster.setMember(member("node2", "10.0.0.1"), 2);
    expect([roster.nodeAt("10.0.0.1"), roster.nodeAt("10.0.0.2")]).toEqual(["node2", "node1"]);
  });

  test("an address that a new node got from a dead one is the new node's, whatever becomes of the dead one", () => {
    const roster = new Roster("node0");
    roster.setMember(member("old", "10.0.0.1"), 0);
    roster.setMember(member("old", "10.0.0.1", "dead"), 1);
    roster.setMember(member("new", "10.0.0.1"), 2);
    expect(roster.nodeAt("10.0.0.1")).toBe("new");
    // Its goodbye comes late; then it is back, elsewhere.
    roster.setMember(member("old", "10.0.0.1", "left"), 3);
    expect(roster.nodeAt("10.0.0.1")).toBe("new");
    roster.setMember(member("old", "10.0.0.9"), 4);
    expect([roster.nodeAt("10.0.0.1"), roster.nodeAt("10.0.0.9")]).toEqual(["new", "old"]);
  });
});

describe("who is asked whether this node hears its segment", () => {
  test("those that live, then those that went last, then those that are listed and were never met; Herald's and others", () => {
    const roster = new Roster("node0");
    const expected = ["living", "old", "late", "never", "metallb"].map((node, index) => ({ node, address: `10.0.0.${index + 1}` }));
    roster.setExpected(expected);
    roster.setMember(member("living", "10.0.0.1"), 0);
    roster.setMember(member("old", "10.0.0.2"), 0);
    roster.setMember(member("late", "10.0.0.3"), 0);
    roster.setMember(member("metallb", "10.0.0.5", "alive", new Uint8Array()), 0);
    roster.setMember(member("old", "10.0.0.2", "dead"), 1);
    roster.setMember(member("late", "10.0.0.3", "left"), 2);
    expect(roster.segmentWitnesses(4, first)).toEqual(["10.0.0.1", "10.0.0.3", "10.0.0.2", "10.0.0.4"]);
    expect(roster.segmentWitnesses(5, first)).toEqual(["10.0.0.1", "10.0.0.3", "10.0.0.2", "10.0.0.4", "10.0.0.5"]);
    expect(roster.segmentWitnesses(1, first)).toEqual(["10.0.0.1"]);
  });

  test("of two speakers the other's node, though its speaker was never met", () => {
    const roster = new Roster("node0");
    roster.setExpected([{ node: "node1", address: "10.0.0.1" }]);
    expect(roster.segmentWitnesses(4, first)).toEqual(["10.0.0.1"]);
  });
});

describe("members that are gone for good", () => {
  test("are forgotten after a while, and no earlier; those whose pods are listed are not", () => {
    const roster = new Roster("node0");
    roster.setExpected([{ node: "listed", address: "10.0.0.2" }]);
    for (const [index, node] of ["unlisted", "listed"].entries()) {
      roster.setMember(member(node, `10.0.0.${index + 1}`), 0);
      roster.setMember(member(node, `10.0.0.${index + 1}`, "dead"), 1);
    }
    const names = (now: number): string[] => roster.electionMembers(now).map(({ node }) => node);
    roster.setMember(member("newcomer", "10.0.0.3"), GONE_KEPT_MS + 1);
    expect(names(GONE_KEPT_MS + 1)).toEqual(["unlisted", "listed", "newcomer"]);
    roster.setMember(member("another", "10.0.0.4"), GONE_KEPT_MS + 2);
    expect(names(GONE_KEPT_MS + 2)).toEqual(["listed", "newcomer", "another"]);
    expect(roster.nodeAt("10.0.0.1")).toBeUndefined();
  });

  test("nodes that come and go for years leave no trace", () => {
    const roster = new Roster("node0");
    roster.setExpected([{ node: "node1", address: "10.0.0.1" }]);
    for (let day = 0; day < 5000; day++) {
      const now = day * GONE_KEPT_MS;
      roster.setMember(member(`temporary${day}`, "10.0.0.7"), now);
      roster.setMember(member(`temporary${day}`, "10.0.0.7", "dead"), now + 1);
    }
    expect(roster.electionMembers(5000 * GONE_KEPT_MS).length).toBeLessThan(4);
    expect(roster.witnesses()).toEqual(["node0", "node1"]);
  });
});
