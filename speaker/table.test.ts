import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Announcement } from "./election/eligibility.ts";
import type { AddressRow } from "./packet-protocol.ts";
import { AddressTable } from "./table.ts";
import type { TableChange } from "./table.ts";

function announcement(addresses: string[], nodes: string[] | [string, number][] = ["node1", "node2"], interfaces: string[] | "all" = "all"): Announcement {
  const candidates = nodes.map((each) => (typeof each === "string" ? { node: each, score: 0 } : { node: each[0], score: each[1] }));
  return { kind: "announce", addresses, candidates, interfaces };
}

function rowsOf(table: AddressTable): AddressRow[] {
  return table.rows().sort((a, b) => (a.address < b.address ? -1 : 1));
}

describe("AddressTable", () => {
  it("names the row's group after the Service's first address", () => {
    const table = new AddressTable();
    table.apply([["ns/a", announcement(["10.0.0.9", "fd00::1"])]]);
    expect(rowsOf(table).map((row) => [row.address, row.group])).toEqual([["10.0.0.9", "10.0.0.9"], ["fd00::1", "10.0.0.9"]]);
  });

  it("sends nothing for a change that changes nothing", () => {
    const table = new AddressTable();
    table.apply([["ns/a", announcement(["10.0.0.1"])]]);
    expect(table.apply([["ns/a", announcement(["10.0.0.1"])], ["ns/b", undefined]])).toEqual({ upsert: [], remove: [] });
  });

  it("touches only the rows of the Service that changed", () => {
    const table = new AddressTable();
    table.apply([["ns/a", announcement(["10.0.0.1"])], ["ns/b", announcement(["10.0.0.2"])]]);
    const delta = table.apply([["ns/b", announcement(["10.0.0.3"])]]);
    expect(delta.upsert.map((row) => row.address)).toEqual(["10.0.0.3"]);
    expect(delta.remove).toEqual(["10.0.0.2"]);
  });

  it("keeps a shared address until its last Service is gone", () => {
    const table = new AddressTable();
    table.apply([["ns/a", announcement(["10.0.0.1"])], ["ns/b", announcement(["10.0.0.1"])]]);
    expect(table.servicesOf("10.0.0.1")).toEqual(["ns/a", "ns/b"]);
    expect(table.apply([["ns/a", undefined]])).toEqual({ upsert: [], remove: [] });
    expect(table.apply([["ns/b", undefined]])).toEqual({ upsert: [], remove: ["10.0.0.1"] });
  });

  it("gives a shared address the nodes on which all its Services may be announced, and their highest score", () => {
    const table = new AddressTable();
    table.apply([
      ["ns/b", announcement(["10.0.0.1"], [["node2", 3], ["node3", 0]], ["eth1"])],
      ["ns/a", announcement(["10.0.0.1"], [["node1", 1], ["node2", 1]], ["eth0"])],
    ]);
    expect(rowsOf(table)).toEqual([{ address: "10.0.0.1", group: "10.0.0.1", candidates: [{ node: "node2", score: 3 }], interfaces: ["eth0", "eth1"] }]);
  });

  it("falls back to the first Service's nodes when Services on one address have none in common", () => {
    const table = new AddressTable();
    table.apply([["ns/b", announcement(["10.0.0.1"], ["node2"])], ["ns/a", announcement(["10.0.0.1"], ["node1"])]]);
    expect(table.row("10.0.0.1")?.candidates).toEqual([{ node: "node1", score: 0 }]);
  });

  it("moves addresses together that Services tie to each other, also by way of a third", () => {
    const table = new AddressTable();
    table.apply([["ns/a", announcement(["10.0.0.2", "fd00::1"], ["node1", "node2"])], ["ns/b", announcement(["10.0.0.1", "fd00::1"], ["node2", "node3"])]]);
    expect(new Set(table.rows().map((row) => row.group))).toEqual(new Set(["10.0.0.1"]));
    expect(table.rows().every((row) => row.candidates.length === 1 && row.candidates[0]?.node === "node2")).toBe(true);
    const delta = table.apply([["ns/b", undefined]]);
    expect(delta.remove).toEqual(["10.0.0.1"]);
    expect(delta.upsert.map((row) => [row.address, row.group])).toEqual([["10.0.0.2", "10.0.0.2"], ["fd00::1", "10.0.0.2"]]);
  });
});

const addresses = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "fd00::1", "fd00::2"];
const arbitraryAnnouncement = fc
  .record({
    addresses: fc.subarray(addresses, { minLength: 1, maxLength: 2 }),
    nodes: fc.subarray(["node1", "node2", "node3"], { minLength: 1 }),
    score: fc.integer({ min: 0, max: 2 }),
    interfaces: fc.oneof(fc.constant("all" as const), fc.subarray(["eth0", "eth1"])),
  })
  .map(({ addresses: held, nodes, score, interfaces }) => announcement(held, nodes.map((name): [string, number] => [name, score]), interfaces));
const arbitraryChange = fc.tuple(fc.constantFrom("ns/a", "ns/b", "ns/c", "ns/d"), fc.option(arbitraryAnnouncement, { nil: undefined }));
const arbitraryBatches = fc.array(fc.array(arbitraryChange, { maxLength: 4 }), { maxLength: 12 });

describe("deltas", () => {
  it("add up to the table that is built at once from the end result, in any order", () => {
    fc.assert(
      fc.property(arbitraryBatches, fc.boolean(), (batches, backwards) => {
        const table = new AddressTable();
        const model = new Map<string, AddressRow>();
        const last = new Map<string, TableChange[1]>();
        for (const batch of batches) {
          const delta = table.apply(batch);
          for (const address of delta.remove) expect(model.delete(address)).toBe(true);
          for (const row of delta.upsert) {
            expect(model.get(row.address)).not.toEqual(row);
            model.set(row.address, row);
          }
          for (const [key, change] of batch) last.set(key, change);
        }
        const fresh = new AddressTable();
        const whole = [...last];
        fresh.apply(backwards ? whole.toReversed() : whole);
        const sorted = [...model.values()].sort((a, b) => (a.address < b.address ? -1 : 1));
        expect(sorted).toEqual(rowsOf(fresh));
        expect(rowsOf(table)).toEqual(rowsOf(fresh));
      }),
    );
  });
});
