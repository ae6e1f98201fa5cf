import { expect, test } from "vitest";

import type { VerdictClass } from "./detection-protocol.ts";
import type { DeathClass } from "./peer-watch.ts";
import { verdictOf } from "./verdict.ts";

test.each<[readonly DeathClass[], number, VerdictClass | undefined]>([
  [[], 1, undefined],
  [["silent"], 2, undefined],
  [["paused"], 2, undefined],
  [["silent"], 1, "powerOff"],
  [["paused"], 1, "paused"],
  [["refused"], 2, "processGone"],
  [["silent", "silent"], 2, "powerOff"],
  [["silent", "refused"], 2, "processGone"],
  [["paused", "paused"], 2, "paused"],
  [["silent", "paused"], 2, "paused"],
])("%j of %i needed: %s", (classes, needed, verdict) => {
  expect(verdictOf(classes, needed)).toBe(verdict);
});
