import { describe, expect, test } from "vitest";

import { FakeMembers, movesBetween, ORIGIN_UNIX_MS, rowsOf, settledMembers } from "./fake-members.ts";
import { MAX_TERM } from "./list-copy.ts";

const NODES = ["a", "b", "c"];

describe("clocks that are days apart", () => {
  test.each([-30, -2, 2, 30])("a node whose clock is %i days ahead has one owner for each address as the others do, then and when its clock is right", (days) => {
    let aheadMs = days * 86_400_000;
    const members = new FakeMembers({ nodes: NODES, aheadMs: (node) => (node === "a" ? aheadMs : 0) });
    members.start(rowsOf(12, NODES));
    members.run(5000);
    const before = members.ownership();
    expect(new Set(before.values())).toEqual(new Set(NODES));
    members.kill("b");
    members.run(2000);
    expect(movesBetween(before, members.ownership()).sort()).toEqual([...before].filter(([, owner]) => owner === "b").map(([address]) => address).sort());
    aheadMs = 0;
    members.run(2000);
    const moved = members.ownership();
    members.restart("b");
    members.run(5000);
    expect(movesBetween(moved, members.ownership())).toEqual([]);
  });

  test("a term more than a day ahead is counted; one that no clock has in four thousand years is not heeded", () => {
    const members = settledMembers(1, ["a", "b"]);
    const [owner = ""] = members.owners("192.0.0.1");
    const other = owner === "a" ? "b" : "a";
    const outputs = members.give(owner, {
      kind: "update",
      update: {
        owner: other, boot: ORIGIN_UNIX_MS, facts: { ready: true, fresh: true, settled: true, template: "" }, base: undefined, version: 1000, hash: 0,
        entries: [
          { address: "192.0.0.1", state: "claim", term: MAX_TERM + 1, witnessed: true, successor: "" },
          { address: "192.0.0.2", state: "claim", term: ORIGIN_UNIX_MS + 2 * 86_400_000, witnessed: true, successor: "" },
        ],
        removed: [],
      },
    });
    expect(outputs.filter(({ kind }) => kind === "dropped")).toEqual([{ kind: "dropped", reason: "termInFuture" }, { kind: "dropped", reason: "termInFuture" }]);
    expect(members.owners("192.0.0.1")).toEqual([owner]);
  });
});
