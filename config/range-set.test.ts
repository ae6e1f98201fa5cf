import { describe, expect, it } from "vitest";
import { RangeSet } from "./range-set.ts";

describe("RangeSet", () => {
  it("names the member that overlaps, and leaves the set as it was", () => {
    const set = new RangeSet<string>();
    expect(set.add({ family: "IPv4", first: 10n, last: 20n }, "a")).toBeUndefined();
    expect(set.add({ family: "IPv4", first: 20n, last: 30n }, "b")).toEqual({ overlapped: "a" });
    expect(set.add({ family: "IPv4", first: 0n, last: 100n }, "c")).toEqual({ overlapped: "a" });
    expect(set.add({ family: "IPv4", first: 12n, last: 13n }, "d")).toEqual({ overlapped: "a" });
    expect(set.add({ family: "IPv4", first: 21n, last: 30n }, "e")).toBeUndefined();
    expect(set.add({ family: "IPv6", first: 12n, last: 13n }, "f")).toBeUndefined();
  });

  it("takes n log n comparisons for n ranges, in any order", () => {
    const count = 10_000;
    for (const step of [1, 7919, count - 1]) {
      const set = new RangeSet<number>();
      for (let index = 0; index < count; index++) {
        const first = BigInt((index * step) % count) * 4n;
        expect(set.add({ family: "IPv6", first, last: first + 3n }, index)).toBeUndefined();
      }
      expect(set.comparisons).toBeLessThan(count * (Math.ceil(Math.log2(count)) + 1));
    }
  });
});
