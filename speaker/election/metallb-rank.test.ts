import { describe, expect, it } from "vitest";
import { metallbRank } from "./metallb-rank.ts";

const NODES = ["node1", "node2", "node3", "worker-a.example.com", "worker-b.example.com"] as const;
const [n1, n2, n3, a, b] = NODES;

function candidates(...pairs: readonly (readonly [node: string, score: number])[]): { node: string; score: number }[] {
  return pairs.map(([node, score]) => ({ node, score }));
}

describe("metallbRank", () => {
  // Computed by a Go program: sort.Slice with bytes.Compare of sha256.Sum256([]byte(node + "#" + ip.String())).
  it.each([
    ["172.20.255.200", [n2, n1, n3, a, b]],
    ["172.20.255.201", [n3, a, n1, n2, b]],
    ["172.20.255.202", [n3, a, n2, n1, b]],
    ["10.0.0.1", [n2, n1, a, n3, b]],
    ["fd00:20:0:ff::1", [n1, a, n2, b, n3]],
    ["2001:db8::1:0:0:1", [n2, b, n1, a, n3]],
  ])("orders the nodes of %s as Go does", (address, expected) => {
    expect(metallbRank(address, NODES.map((node) => ({ node, score: 0 })))).toEqual(expected);
    expect(metallbRank(address, NODES.toReversed().map((node) => ({ node, score: 0 })))).toEqual(expected);
  });

  it.each([
    ["nobody", [], []],
    ["one node", candidates([n1, 0]), [n1]],
    ["a higher score before any hash", candidates([n1, 0], [n2, 0], [n3, 5]), [n3, n2, n1]],
    ["tiers, each in the order of the hash", candidates([n1, 1], [n2, 0], [n3, 1], [a, 0]), [n1, n3, n2, a]],
    ["the highest score of a node named twice", candidates([n1, 0], [n2, 1], [n1, 2]), [n1, n2]],
    ["negative scores too", candidates([n1, -1], [n2, -2]), [n1, n2]],
  ])("%s", (_title, given, expected) => expect(metallbRank("172.20.255.200", given)).toEqual(expected));

  it("a node less changes nothing for the others", () => {
    const all = metallbRank("172.20.255.200", NODES.map((node) => ({ node, score: 0 })));
    for (const lost of NODES) {
      const left = NODES.filter((node) => node !== lost).map((node) => ({ node, score: 0 }));
      expect(metallbRank("172.20.255.200", left)).toEqual(all.filter((node) => node !== lost));
    }
  });
});
