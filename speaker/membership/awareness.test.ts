import { expect, test } from "vitest";

import { Awareness } from "./awareness.ts";

test.each([
  { deltas: [], score: 0 },
  { deltas: [-1], score: 0 },
  { deltas: [1, 1], score: 2 },
  { deltas: [100], score: 7 },
  { deltas: [100, -1, -1], score: 5 },
  { deltas: [2, -10, 1], score: 1 },
])("$deltas make the score $score", ({ deltas, score }) => {
  const awareness = new Awareness(8);
  for (const delta of deltas) awareness.apply(delta);
  expect(awareness.score).toBe(score);
  expect(awareness.scale(1_000)).toBe(1_000 * (score + 1));
});
