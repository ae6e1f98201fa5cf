import assert from "node:assert/strict";
import fc from "fast-check";
import { describe, it } from "vitest";
import { OffsetTable } from "./offset-table.ts";
import type { Offset } from "./offset-words.ts";

function offsetOf(value: bigint): Offset {
  return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : value;
}

/** Offsets that share words with each other: small ones, and those around powers of two where another word or a bigint begins. */
function offsetsBelow(size: bigint): fc.Arbitrary<Offset> {
  const edges = [0n, 31n, 32n, 53n, 63n, 64n, 96n, 100n].map((bits) => 2n ** bits).filter((edge) => edge < size);
  const near = fc.tuple(fc.constantFrom(0n, ...edges, size), fc.bigInt({ min: -3n, max: 3n })).map(([edge, distance]) => edge + distance);
  const several = fc.tuple(fc.constantFrom(...edges), fc.bigInt({ min: 0n, max: 40n })).map(([edge, factor]) => edge * factor);
  return fc.oneof(near, several, fc.bigInt({ min: 0n, max: size - 1n })).filter((value) => value >= 0n && value < size).map(offsetOf);
}

describe("a table by offset, against a Map", () => {
  for (const bits of [3n, 24n, 32n, 33n, 53n, 64n, 65n, 128n]) {
    it(`in a range of 2^${bits} addresses`, () => {
      const size = 2n ** bits;
      const steps = fc.array(fc.tuple(fc.constantFrom("set", "set", "take", "get"), offsetsBelow(size), fc.nat()), { maxLength: 300, size: "max" });
      fc.assert(
        fc.property(steps, (operations) => {
          const table = new OffsetTable<number>(size);
          const model = new Map<Offset, number>();
          for (const [kind, offset, value] of operations) {
            if (kind === "take") {
              assert.equal(table.take(offset), model.get(offset));
              model.delete(offset);
            } else if (kind === "set") {
              table.set(offset, value);
              model.set(offset, value);
            }
            assert.equal(table.get(offset), model.get(offset));
            assert.equal(table.size, model.size);
          }
          for (const [offset, value] of model) assert.equal(table.get(offset), value);
        }),
        { numRuns: 50 },
      );
    });
  }

  it("is as large as its entries need, also after most of them are gone", () => {
    const table = new OffsetTable<bigint>(2n ** 64n);
    const step = 2n ** 64n / 10_000n;
    for (let index = 0n; index < 10_000n; index++) table.set(offsetOf(index * step), index);
    assert.equal(table.capacity, 2 ** 14);
    for (let index = 0n; index < 9990n; index++) assert.equal(table.take(offsetOf(index * step)), index);
    for (let index = 9990n; index < 10_000n; index++) assert.equal(table.get(offsetOf(index * step)), index);
    assert.ok(table.capacity <= 128, `capacity ${table.capacity} for ${table.size} entries`);
  });
});
