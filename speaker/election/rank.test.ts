import fc from "fast-check";
import HashRing from "hashring";
import { describe, expect, test } from "vitest";

import { NodePoints, rank } from "./rank.ts";

const KEYS = 5_000;
const keys = Array.from({ length: KEYS }, (_, index) => `10.${index >> 16}.${(index >> 8) & 0xff}.${index & 0xff}`);

function nodes(count: number): { node: string; score: number }[] {
  return Array.from({ length: count }, (_, index) => ({ node: `worker-${index + 1}.example.net`, score: 0 }));
}

function shuffled<T>(values: readonly T[], order: readonly number[]): T[] {
  return values.map((value, index) => ({ value, at: order[index] ?? 0 })).sort((a, b) => a.at - b.at).map(({ value }) => value);
}

describe("rank", () => {
  test("nobody for no candidates, the only one for one", () => {
    expect(rank("192.0.2.1", [])).toEqual([]);
    expect(rank("192.0.2.1", [{ node: "a", score: 0 }])).toEqual(["a"]);
  });

  test("a higher score always comes first, and its tier keeps its own order", () => {
    const plain = rank("192.0.2.1", nodes(4));
    const last = plain[3] ?? "";
    const preferred = nodes(4).map((candidate) => (candidate.node === last ? { ...candidate, score: 5 } : candidate));
    expect(rank("192.0.2.1", preferred)).toEqual([last, ...plain.slice(0, 3)]);
  });

  test("a node named twice counts once, with its highest score", () => {
    const twice = [...nodes(3), { node: "worker-2.example.net", score: 1 }];
    expect(rank("192.0.2.1", twice)).toHaveLength(3);
    expect(rank("192.0.2.1", twice)[0]).toBe("worker-2.example.net");
  });

  test("does not depend on the order of the candidates", () => {
    fc.assert(
      fc.property(fc.string(), fc.integer({ min: 1, max: 12 }), fc.array(fc.integer(), { minLength: 12, maxLength: 12 }), (group, count, order) => {
        expect(rank(group, shuffled(nodes(count), order))).toEqual(rank(group, nodes(count)));
      }),
    );
  });

  test.each([3, 8, 15])("without one of %i nodes, only the keys that it held move, and the others keep their order", (count) => {
    const all = nodes(count);
    const before = keys.map((key) => rank(key, all));
    for (const gone of all) {
      const rest = all.filter((candidate) => candidate !== gone);
      for (const [index, key] of keys.entries()) {
        if (index % count !== 0) continue;
        expect(rank(key, rest)).toEqual((before[index] ?? []).filter((node) => node !== gone.node));
      }
    }
  });

  // Measured: 1.1 at 3 and 10 nodes, 1.2 at 100.
  test.each([
    [3, 1.2],
    [10, 1.25],
    [100, 1.6],
  ])("of %i nodes the busiest holds less than %f times its share", (count, factor) => {
    const held = new Map<string, number>();
    const all = nodes(count);
    for (const key of keys) {
      const first = rank(key, all)[0] ?? "";
      held.set(first, (held.get(first) ?? 0) + 1);
    }
    expect(held.size).toBe(count);
    expect(Math.max(...held.values())).toBeLessThan((KEYS / count) * factor);
  });

  test("neighbouring addresses spread over three nodes", () => {
    const three = ["node1", "node2", "node3"].map((node) => ({ node, score: 0 }));
    const leaders = ["172.20.255.200", "172.20.255.201", "172.20.255.202"].map((address) => rank(address, three)[0]);
    expect(new Set(leaders).size).toBeGreaterThan(1);
  });

  test("the order is that of a walk round a hash ring with all candidates on it", () => {
    const name = fc.oneof(fc.domain(), fc.string({ minLength: 1, maxLength: 8, unit: fc.constantFrom(..."abcxyz019-.:") }));
    fc.assert(
      fc.property(fc.string(), fc.uniqueArray(name, { minLength: 2, maxLength: 40 }), (group, names) => {
        const ring = new HashRing(Object.fromEntries([...names].sort().map((node) => [node, { vnodes: 100 }])), "md5", { "vnode count": 1, "max cache size": 1 });
        expect(rank(group, names.map((node) => ({ node, score: 0 })))).toEqual(ring.range(group, names.length));
      }),
      { numRuns: 50 },
    );
  });

  test("more nodes than are remembered still have the same points", () => {
    const points = new NodePoints(3);
    const before = points.of("a");
    for (const node of ["b", "c", "d", "e"]) points.of(node);
    expect(points.size).toBe(3);
    expect(points.of("a")).not.toBe(before);
    expect(points.of("a")).toEqual(before);
  });

  test("a node's name may look like an address with a port, or a number", () => {
    const odd = ["10.0.0.1:80", "10.0.0.1:81", "7", "constructor"].map((node) => ({ node, score: 0 }));
    expect([...rank("192.0.2.1", odd)].sort()).toEqual(odd.map(({ node }) => node).sort());
  });
});
