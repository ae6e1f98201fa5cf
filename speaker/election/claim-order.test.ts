import fc from "fast-check";
import { describe, expect, test } from "vitest";

import { betterClaim, compareClaims } from "./claim-order.ts";
import type { HeldClaim } from "./claim-order.ts";
import type { ClaimEntry } from "./claims-protocol.ts";

function held(node: string, change: Partial<ClaimEntry> = {}): HeldClaim {
  return { node, boot: 1, entry: { address: "192.0.2.1", state: "claim", term: 10, witnessed: true, successor: "", ...change } };
}

describe("compareClaims", () => {
  test.each([
    ["a claim comes before one that is being released, whatever its term and witness", held("a", { term: 1, witnessed: false }), held("b", { state: "releasing", term: 99 })],
    ["a witnessed claim comes before one that is not, whatever the terms", held("a", { term: 1 }), held("b", { witnessed: false, term: 99 })],
    ["among equals the higher term goes on", held("a", { term: 11 }), held("b")],
    ["among provisional claims too", held("a", { witnessed: false, term: 11 }), held("b", { witnessed: false })],
  ])("%s", (_, better, worse) => {
    expect(compareClaims(better, worse)).toBeLessThan(0);
    expect(compareClaims(worse, better)).toBeGreaterThan(0);
    expect(betterClaim(worse, better)).toBe(better);
    expect(betterClaim(better, undefined)).toBe(better);
  });

  test("equal terms go to different nodes for different addresses, and to the same one on every node", () => {
    const winners = new Set<string | undefined>();
    for (let last = 1; last < 32; last++) {
      const [a, b] = [held("a", { address: `192.0.2.${last}` }), held("b", { address: `192.0.2.${last}` })];
      expect(betterClaim(a, b)).toBe(betterClaim(b, a));
      winners.add(betterClaim(a, b)?.node);
    }
    expect(winners).toEqual(new Set(["a", "b"]));
  });

  test("is a total order", () => {
    const any = fc.record({ node: fc.constantFrom("a", "b", "c"), state: fc.constantFrom("claim", "releasing"), term: fc.integer({ min: 1, max: 3 }), witnessed: fc.boolean() });
    const claims = fc.array(any, { minLength: 3, maxLength: 3 }).map((list) => list.map(({ node, ...change }) => held(node, change as Partial<ClaimEntry>)));
    fc.assert(
      fc.property(claims, ([a = held("a"), b = held("b"), c = held("c")]) => {
        expect(Math.sign(compareClaims(a, b)) + Math.sign(compareClaims(b, a))).toBe(0);
        if (compareClaims(a, b) <= 0 && compareClaims(b, c) <= 0) expect(compareClaims(a, c)).toBeLessThanOrEqual(0);
        if (a.node !== b.node) expect(compareClaims(a, b)).not.toBe(0);
      }),
    );
  });
});
