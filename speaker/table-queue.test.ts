import fc from "fast-check";
import { describe, expect, test } from "vitest";

import type { AddressRow } from "./packet-protocol.ts";
import { MAX_ROWS_PER_SLICE, MAX_SLICES_UNDER_WAY, TableQueue } from "./table-queue.ts";

function row(address: string, score = 0): AddressRow {
  return { address, group: address, interfaces: "all", candidates: [{ node: "node1", score }] };
}

describe("table queue", () => {
  test("a delta is one slice that completes its version", () => {
    const queue = new TableQueue();
    queue.push({ kind: "table", version: 1, full: true, upsert: [row("a")], remove: [] });
    expect(queue.take()).toEqual({ kind: "slice", sequence: 1, upsert: [row("a")], remove: [], completes: 1 });
    expect(queue.take()).toBeUndefined();
  });

  test("an empty delta still completes its version", () => {
    const queue = new TableQueue();
    queue.push({ kind: "table", version: 1, full: true, upsert: [], remove: [] });
    expect(queue.take()).toMatchObject({ upsert: [], remove: [], completes: 1 });
  });

  test("a full delta takes away what it does not name", () => {
    const queue = new TableQueue();
    queue.push({ kind: "table", version: 1, full: true, upsert: [row("a"), row("b")], remove: [] });
    queue.take();
    queue.push({ kind: "table", version: 5, full: true, upsert: [row("b", 1)], remove: [] });
    expect(queue.take()).toMatchObject({ upsert: [row("b", 1)], remove: ["a"], completes: 5 });
  });

  test.each([
    [2, false],
    [0, true],
  ])("version %d at the start (full: %s) is refused", (version, full) => {
    expect(() => new TableQueue().push({ kind: "table", version, full, upsert: [], remove: [] })).toThrow("follows 0");
  });

  test("deltas merge while the thread is behind, and one row per address waits", () => {
    const queue = new TableQueue();
    for (let version = 1; version <= 1000; version++) {
      queue.push({ kind: "table", version, full: false, upsert: [row(`${version % 10}`, version)], remove: [] });
      queue.take();
    }
    expect(queue.waitingRows).toBe(10);
    for (let count = 0; count < MAX_SLICES_UNDER_WAY; count++) queue.taken();
    expect(queue.take()).toMatchObject({ sequence: MAX_SLICES_UNDER_WAY + 1, completes: 1000 });
  });

  test("whatever the deltas and the pace, the thread ends with main's table, in slices that are small and numbered", () => {
    const address = fc.integer({ min: 0, max: 400 }).map(String);
    const delta = fc.record({ full: fc.boolean(), upsert: fc.uniqueArray(address, { maxLength: 300 }), remove: fc.uniqueArray(address, { maxLength: 50 }), pace: fc.nat({ max: 4 }) });
    fc.assert(
      fc.property(fc.array(delta, { minLength: 1, maxLength: 12 }), (deltas) => {
        const queue = new TableQueue();
        const main = new Map<string, number>();
        const thread = new Map<string, number>();
        let [sequence, completed] = [0, 0];
        const take = (count: number): void => {
          for (let index = 0; index < count; index++) {
            const slice = queue.take();
            if (slice === undefined) return;
            expect(slice.sequence).toBe((sequence += 1));
            expect(slice.upsert.length + slice.remove.length).toBeLessThanOrEqual(MAX_ROWS_PER_SLICE);
            for (const gone of slice.remove) thread.delete(gone);
            for (const { address: key, candidates } of slice.upsert) thread.set(key, candidates[0]?.score ?? 0);
            completed = slice.completes ?? completed;
            queue.taken();
          }
        };
        for (const [index, { full, upsert, remove, pace }] of deltas.entries()) {
          const version = index + 1;
          const removed = remove.filter((key) => !upsert.includes(key));
          queue.push({ kind: "table", version, full, upsert: upsert.map((key) => row(key, version)), remove: removed });
          if (full) main.clear();
          for (const key of removed) main.delete(key);
          for (const key of upsert) main.set(key, version);
          take(pace);
        }
        take(1000);
        expect(new Map([...thread].sort())).toEqual(new Map([...main].sort()));
        expect(completed).toBe(deltas.length);
      }),
    );
  });
});
