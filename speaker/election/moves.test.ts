import { expect, test } from "vitest";

import { BACK_OFF_MS, MAX_BACK_OFF_MS, Moves, QUIET_MS } from "./moves.ts";

test("each move doubles the wait before the next one, up to a minute, until it was quiet for two", () => {
  const moves = new Moves();
  const displace: number[] = [];
  const handOver: number[] = [];
  for (let move = 0; move < 8; move++) {
    displace.push(moves.displaceDelayMs(move));
    handOver.push(moves.handoverDelayMs(move));
    moves.note(move);
  }
  expect(displace).toEqual([1, 2, 4, 8, 16, 32, 60, 60].map((seconds) => seconds * BACK_OFF_MS));
  expect(handOver).toEqual([0, 0, 0, 1, 2, 4, 8, 16].map((seconds) => seconds * BACK_OFF_MS));
  expect(moves.displaceDelayMs(6 + QUIET_MS)).toBe(MAX_BACK_OFF_MS);
  expect(moves.displaceDelayMs(7 + QUIET_MS)).toBe(BACK_OFF_MS);
});
