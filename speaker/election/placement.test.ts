import fc from "fast-check";
import { describe, expect, test } from "vitest";

import { capOf, newness, positionOf, successorOf } from "./placement.ts";
import type { Fitness, PlacementQuestion, SuccessorQuestion } from "./placement.ts";

const ORDER = ["a", "b", "c", "d"];
const scores = (change: Record<string, number> = {}): ReadonlyMap<string, number> => new Map(ORDER.map((node) => [node, change[node] ?? 0]));
const question = (fit: Record<string, Fitness> = {}, score: Record<string, number> = {}): PlacementQuestion => ({ order: ORDER, scores: scores(score), fitness: (node) => fit[node] ?? "first" });

describe("positionOf", () => {
  test.each([
    ["by rank", "c", false, {}, {}, 2],
    ["those that are out don't count", "c", false, { a: "out" }, {}, 1],
    ["those that come last don't count", "c", false, { a: "last", b: "last" }, {}, 0],
    ["who comes last lets all fit ones go first", "a", false, { a: "last" }, {}, 3],
    ["among the last, rank decides", "c", false, { a: "last", c: "last", d: "last" }, {}, 2],
    ["at its cap, a node lets its equals go first", "a", true, {}, {}, 4],
    ["when all are at their cap, rank decides", "c", true, {}, {}, 6],
    ["but none of a lower score", "a", true, {}, { a: 5, b: 5 }, 2],
    ["and none that comes last anyway", "a", true, { b: "last" }, {}, 3],
  ] as const)("%s", (_, node, atCap, fit, score, position) => {
    expect(positionOf(node, atCap, question(fit, score))).toBe(position);
  });

  test("no two fit nodes have the same position, whichever are at their cap", () => {
    const caps = fc.array(fc.boolean(), { minLength: 4, maxLength: 4 });
    fc.assert(
      fc.property(caps, (atCap) => {
        const positions = ORDER.map((node, at) => positionOf(node, atCap[at] === true, question()));
        expect(new Set(positions).size).toBe(ORDER.length);
      }),
    );
  });

  test("fit nodes below their cap have different positions, from 0 on", () => {
    const fit = fc.array(fc.constantFrom<Fitness>("first", "last", "out"), { minLength: 4, maxLength: 4 });
    fc.assert(
      fc.property(fit, (fits) => {
        const asked = question(Object.fromEntries(ORDER.map((node, at) => [node, fits[at] ?? "out"])));
        const positions = ORDER.filter((node) => asked.fitness(node) !== "out").map((node) => positionOf(node, false, asked));
        expect(positions.sort()).toEqual(positions.map((_, at) => at));
      }),
    );
  });
});

describe("successorOf", () => {
  const ask = (change: Partial<SuccessorQuestion> = {}): string | undefined =>
    successorOf("a", { ...question(), template: () => "1", ownTemplate: "1", atCap: () => false, ...change });

  test.each([
    ["the first in rank of the others", {}, "b"],
    ["the newest template before rank", { template: (node: string) => (node === "d" ? "2" : "1") }, "d"],
    ["not an older one", { template: (node: string) => (node === "b" ? "0" : "1") }, "c"],
    ["a better score before what is free", { scores: scores({ c: 1 }), atCap: (node: string) => node === "c" }, "c"],
    ["who is below its cap before rank", { atCap: (node: string) => node === "b" }, "c"],
    ["the new template even at its cap", { template: (node: string) => (node === "d" ? "2" : "1"), atCap: (node: string) => node === "d" }, "d"],
    ["a doubtful one only when there is no other", { fitness: (node: string): Fitness => (node === "d" ? "last" : "out") }, "d"],
    ["nobody when all are out", { fitness: (): Fitness => "out" }, undefined],
  ])("%s", (_, change, expected) => {
    expect(ask(change)).toBe(expected);
  });
});

test.each([
  ["9", "10", -1],
  ["10", "9", 1],
  ["x", "x", 0],
  ["new", "old", 1],
  ["", "old", 0],
  ["7", "", 0],
])("newness of template %j seen from %j is %i", (template, own, expected) => {
  expect(newness(template, own)).toBe(expected);
});

test.each([
  [0, 3, 0],
  [1, 3, 1],
  [3, 3, 2],
  [300, 3, 125],
  [5, 0, 7],
])("the cap for %i groups on %i nodes is %i", (groups, nodes, cap) => {
  expect(capOf(groups, nodes)).toBe(cap);
});
