import assert from "node:assert/strict";
import { test } from "vitest";
import { describeSilences, longestOf, silencesIn } from "./stalls.ts";

const NODES = new Map([["02:00:ac:14:00:0b", "node1"], ["02:00:ac:14:00:0c", "node2"]]);

/** Lines of tcpdump: "1 0.1" is a frame of node1 after a tenth of a second. */
function frames(text: string): string[] {
  return text.split(", ").map((word) => word.split(" ")).map(([node, seconds]) => `${(1_763_000_000 + Number(seconds)).toFixed(6)} 02:00:ac:14:00:0${node === "1" ? "b" : "c"} > 02:00:ac:14:00:0d, ethertype IPv4 (0x0800), length 92: 172.20.0.1${node}.7946 > 172.20.0.13.7946: UDP, length 50`);
}

test("beats every tenth of a second are no silence, and a missed one is none yet", () => {
  assert.deepEqual(silencesIn(frames("1 0, 2 0.01, 1 0.1, 2 0.11, 2 0.21, 1 0.3"), NODES), []);
  assert.deepEqual(silencesIn([], NODES), []);
});

test("a speaker that says nothing for longer is told, at the end too, and how long it was", () => {
  const silences = silencesIn(frames("1 0, 2 0, 2 0.1, 2 0.2, 2 0.3, 1 0.4, 1 0.5, 1 0.6, 1 0.7"), NODES);
  assert.equal(describeSilences(silences), "node1 for 400 ms, node2 for 400 ms");
  assert.equal(Math.round(longestOf(silences, ["node2"])), 400);
  assert.equal(longestOf(silences, ["node1", "node2"]), 0);
});

test("who never spoke is nobody that fell silent", () => {
  assert.deepEqual(silencesIn(frames("1 0, 1 0.1, 1 0.2, 1 0.3, 1 0.4"), NODES), []);
});
