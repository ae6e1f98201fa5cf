import assert from "node:assert/strict";
import { test } from "vitest";
import { Attempts } from "./prober.ts";

test("an answer that came late was not lost, and one that never came was", () => {
  const seen = new Attempts([["udp", 0, 1], ["udp", 10, null], ["udp", 20, null], ["udp", 10, 1500]]);
  assert.deepEqual([seen.count("udp"), seen.failed("udp"), seen.failedSince("udp", 15), seen.failedSince("udp", 25)], [3, 1, 1, 0]);
});

test("a gap goes from answer to answer, or to the last attempt; what the prober slept through is no silence of the Service", () => {
  const seen = new Attempts([["tcp", 0, 1], ["tcp", 20, 21], ["stall", 30, 1030], ["tcp", 1030, 1101], ["tcp", 1120, 1121], ["tcp", 1500, null]]);
  assert.equal(seen.longestGapMs("tcp", 0), 1080);
  assert.equal(seen.longestSilenceMs("tcp", 0), 379);
  assert.equal(seen.longestSilenceMs("tcp", 1600), 0);
  assert.deepEqual([seen.longestStallMs(0), seen.longestStallMs(1031)], [1000, 0]);
});

test("a stall beside a gap does not make it shorter", () => {
  const seen = new Attempts([["udp", 0, 1], ["stall", 5, 105], ["udp", 110, 111], ["udp", 120, 900]]);
  assert.equal(seen.longestSilenceMs("udp", 0), 789);
  assert.equal(seen.longestSilenceMs("tcp", 0), 0);
});
