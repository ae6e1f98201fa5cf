import assert from "node:assert/strict";
import { test } from "vitest";
import { type AnswerSeen, turnsOf } from "./answer-watch.ts";

function answers(text: string): AnswerSeen[] {
  return text.split(" ").map((word) => ({ mac: word.slice(0, 1), atMs: Number(word.slice(1)) }));
}

test("who answers in turn: repetitions are no moves", () => {
  assert.deepEqual(turnsOf([]), []);
  assert.deepEqual(turnsOf(answers("b0 b100 b200")), ["b"]);
  assert.deepEqual(turnsOf(answers("b0 b100 c200 c300 d400")), ["b", "c", "d"]);
});

test("a question that both nodes of a planned move answer is one move, in either order of the answers", () => {
  assert.deepEqual(turnsOf(answers("b0 b100 c200 b201 c300")), ["b", "c"]);
  assert.deepEqual(turnsOf(answers("b0 b200 c201 b300 c301 c400")), ["b", "c"]);
});

test("an address that goes back is seen, however soon the new node went silent", () => {
  assert.deepEqual(turnsOf(answers("b0 c100 b300 b400")), ["b", "c", "b"]);
  assert.deepEqual(turnsOf(answers("b0 c100 b200 b300 b400")), ["b", "c", "b"]);
});

test("a third node is always a move", () => {
  assert.deepEqual(turnsOf(answers("b0 c100 d120 c200 d300")), ["b", "c", "d"]);
});
