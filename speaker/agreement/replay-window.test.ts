import fc from "fast-check";
import { expect, test } from "vitest";

import { REPLAY_WINDOW, ReplayWindow } from "./replay-window.ts";

test("each number is taken once, whatever the order within the window", () => {
  fc.assert(
    fc.property(fc.array(fc.nat(1000), { maxLength: 400 }), (sequences) => {
      const window = new ReplayWindow();
      const taken = new Set<number>();
      let highest = -1;
      for (const sequence of sequences) {
        const isTaken = window.take(sequence);
        expect(isTaken).toBe(!taken.has(sequence) && sequence > highest - REPLAY_WINDOW);
        if (isTaken) taken.add(sequence);
        if (isTaken) highest = Math.max(highest, sequence);
      }
    }),
  );
});

test("what is older than the window is a replay", () => {
  const window = new ReplayWindow();
  expect(window.take(5)).toBe(true);
  expect(window.take(5 + REPLAY_WINDOW)).toBe(true);
  expect(window.take(5)).toBe(false);
  expect(window.take(6)).toBe(true);
});
