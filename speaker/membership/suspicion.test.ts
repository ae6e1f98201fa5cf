import fc from "fast-check";
import { describe, expect, test } from "vitest";

import { remainingSuspicionMs, Suspicion, suspicionTimeoutMs } from "./suspicion.ts";

describe("the time that is left", () => {
  // The table that memberlist's own tests check: 2 s to 30 s, three confirmations expected.
  test.each([
    [0, 0, 30_000],
    [1, 2_000, 14_000],
    [2, 3_000, 4_810],
    [3, 4_000, -2_000],
    [4, 5_000, -3_000],
    [5, 10_000, -8_000],
  ])("%d confirmations after %d ms leave %d ms", (confirmations, elapsedMs, left) => {
    expect(remainingSuspicionMs({ confirmations, expected: 3, elapsedMs, minMs: 2_000, maxMs: 30_000 })).toBe(left);
  });

  test("more confirmations never leave more time, and never less than the minimum", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 20 }), fc.integer({ min: 1, max: 10 }), fc.integer({ min: 1, max: 10_000 }), fc.integer({ min: 1, max: 10 }), (confirmations, expected, minMs, factor) => {
        const left = (count: number): number => remainingSuspicionMs({ confirmations: count, expected, elapsedMs: 0, minMs, maxMs: minMs * factor });
        expect(left(confirmations + 1)).toBeLessThanOrEqual(left(confirmations));
        expect(left(confirmations)).toBeGreaterThanOrEqual(minMs);
      }),
    );
  });
});

test.each([
  [1, 4_000],
  [5, 4_000],
  [10, 4_000],
  [50, 6_792],
  [100, 8_000],
  [1000, 12_000],
])("among %d members a suspicion lasts at least %d ms", (members, timeoutMs) => {
  expect(suspicionTimeoutMs({ multiplier: 4, members, probeIntervalMs: 1_000 })).toBe(timeoutMs);
});

describe("a suspicion", () => {
  const options = { from: "a", multiplier: 4, maxTimeoutMultiplier: 6, members: 10, probeIntervalMs: 1_000 };

  test("starts at the maximum and shrinks to the minimum with two confirmations", () => {
    const suspicion = new Suspicion(options, 1_000);
    expect(suspicion.deadline).toBe(1_000 + 24_000);
    expect(suspicion.confirm("b")).toBe(true);
    expect(suspicion.deadline).toBe(1_000 + Math.floor(24_000 - (Math.log(2) / Math.log(3)) * 20_000));
    expect(suspicion.confirm("c")).toBe(true);
    expect(suspicion.deadline).toBe(1_000 + 4_000);
  });

  test("counts nobody twice, nor more than it waits for", () => {
    const suspicion = new Suspicion(options, 0);
    expect(suspicion.confirm("a")).toBe(false);
    expect(["b", "b", "c", "d"].map((from) => suspicion.confirm(from))).toEqual([true, false, true, false]);
    expect(suspicion.deadline).toBe(4_000);
  });

  test.each([2, 3])("waits for nobody among %d members", (members) => {
    const suspicion = new Suspicion({ ...options, members }, 0);
    expect(suspicion.deadline).toBe(4_000);
    expect(suspicion.confirm("b")).toBe(false);
  });

  test("gives its full time again, and keeps its confirmations", () => {
    const suspicion = new Suspicion(options, 0);
    suspicion.confirm("b");
    const length = suspicion.deadline;
    suspicion.restart(9_000);
    expect(suspicion.deadline).toBe(9_000 + length);
  });
});
