import fc from "fast-check";
import { describe, expect, test } from "vitest";

import { MAX_ALL_PAIRS, OBSERVERS, observedBy, observerRing, observersOf } from "./observers.ts";

function names(count: number): string[] {
  return Array.from({ length: count }, (_, index) => `worker-${index + 1}`);
}

describe("observers", () => {
  test.each([1, 2, 3, MAX_ALL_PAIRS])("of %i members each observes all others", (count) => {
    const ring = observerRing(names(count));
    for (const node of ring) {
      const others = ring.filter((other) => other !== node).sort();
      expect([...observersOf(node, ring)].sort()).toEqual(others);
      expect([...observedBy(node, ring)].sort()).toEqual(others);
    }
  });

  test.each([MAX_ALL_PAIRS + 1, 100])("of %i members each has and is one of 8 observers, never its own", (count) => {
    const ring = observerRing(names(count));
    for (const node of ring) {
      const observers = new Set(observersOf(node, ring));
      expect(observers.size).toBe(OBSERVERS);
      expect(observers.has(node)).toBe(false);
      expect(new Set(observedBy(node, ring)).size).toBe(OBSERVERS);
      for (const observer of observers) expect(observedBy(observer, ring)).toContain(node);
    }
  });

  test("the ring does not depend on the order in which members are known, nor on repetition", () => {
    fc.assert(
      fc.property(fc.shuffledSubarray(names(40), { minLength: 1 }), (members) => {
        expect(observerRing([...members, ...members])).toEqual(observerRing([...members].sort()));
      }),
    );
  });

  test("names that differ in the last digits only do not stay side by side", () => {
    const ring = observerRing(names(100));
    const neighbours = ring.filter((node, at) => Number(ring[at + 1]?.slice(7)) - Number(node.slice(7)) === 1);
    expect(neighbours.length).toBeLessThan(10);
  });

  test("a member that goes changes the observers of its predecessors only, one each", () => {
    const ring = observerRing(names(60));
    for (const gone of ring) {
      const rest = observerRing(ring.filter((node) => node !== gone));
      const changed = rest.filter((node) => observersOf(node, rest).some((observer) => !observersOf(node, ring).includes(observer)));
      expect(new Set(changed)).toEqual(new Set(observedBy(gone, ring)));
      for (const node of changed) expect(observersOf(node, rest).filter((observer) => !observersOf(node, ring).includes(observer))).toHaveLength(1);
    }
  });

  test("who is not on the ring has no observers", () => {
    expect(observersOf("stranger", observerRing(names(20)))).toEqual([]);
    expect(observedBy("stranger", observerRing(names(20)))).toEqual([]);
  });
});
