import assert from "node:assert/strict";
import { test } from "vitest";
import { type AnswerSeen, longestContestMs, longestGapMs, turnsOf } from "./answer-watch.ts";

/** First answers, each after another MAC's: `b0 c100`. */
function begun(text: string): AnswerSeen[] {
  return text.split(" ").filter((word) => word !== "").map((word) => ({ mac: word.slice(0, 1), atMs: Number(word.slice(1)) }));
}

test("who had the address, in turn", () => {
  assert.deepEqual(turnsOf(begun("")), []);
  assert.deepEqual(turnsOf(begun("b0")), ["b"]);
  assert.deepEqual(turnsOf(begun("b0 c200 d400")), ["b", "c", "d"]);
});

test("a question that both nodes of a planned move answer is one move, in either order of the answers", () => {
  assert.deepEqual(turnsOf(begun("b0 c200 b201 c300")), ["b", "c"]);
  assert.deepEqual(turnsOf(begun("b0 c201 b300 c301")), ["b", "c"]);
  assert.deepEqual(turnsOf(begun("b0 c10")), ["b", "c"], "the first one had it before");
  assert.equal(longestContestMs(begun("b0 c201 b300 c301")), 100);
});

test("of two that claim at the same time, one had it", () => {
  assert.deepEqual(turnsOf(begun("b0 d300 c310")), ["b", "c"]);
  assert.equal(longestContestMs(begun("b0 d300 c310")), 10);
  assert.deepEqual(turnsOf(begun("b0 c300 b2000 c2020")), ["b", "c"], "a split heals");
  assert.equal(longestContestMs(begun("b0 c300 b2000 c2020")), 20);
});

test("two that go on answering are a long contest", () => {
  assert.equal(longestContestMs(begun("b0 c400 b500 c600 b700 c800 b900 c1000")), 600);
  assert.equal(longestContestMs(begun("b0")), 0);
  assert.equal(longestContestMs(begun("b0 c400 d800")), 0);
});

test("an address that goes back, or to a third node, has moved", () => {
  assert.deepEqual(turnsOf(begun("b0 c100 b300")), ["b", "c", "b"]);
  assert.deepEqual(turnsOf(begun("b0 c200 b400")), ["b", "c", "b"]);
  assert.deepEqual(turnsOf(begun("b0 c200 d400")), ["b", "c", "d"]);
});

test("the longest gap begins with a question that nobody answered", () => {
  const frames = (text: string): { atMs: number; isQuestion: boolean }[] =>
    text.split(" ").map((word) => ({ isQuestion: word.startsWith("q"), atMs: Number(word.slice(1)) }));
  assert.equal(longestGapMs(frames("q0 a1 q100 q200 q300 a301 q400 a402")), 201);
  assert.equal(longestGapMs(frames("q0 a1 q2000 a2001 q2100")), 1, "nobody asked");
  assert.equal(longestGapMs(frames("a5 q10 a10 a11")), 0);
});
