import assert from "node:assert/strict";
import { test } from "vitest";
import type { Outcome } from "./report-writer.ts";
import { filesToRunAgain, joinRuns, sumOf } from "./second-run.ts";

const fine: Outcome = { passed: 3, failures: [], skipped: ["needs Docker"] };
const broken = (name: string): Outcome => ({ passed: 2, failures: [{ name, message: "why" }], skipped: [] });

test("what failed is run again, unless much did, or what is in no test", () => {
  assert.deepEqual(filesToRunAgain({ a: fine, b: fine }), []);
  assert.deepEqual(filesToRunAgain({ a: fine, b: broken("b"), c: broken("c") }), ["b", "c"]);
  assert.deepEqual(filesToRunAgain({ a: broken("a"), b: broken("b"), c: broken("c"), d: broken("d") }), []);
  assert.deepEqual(filesToRunAgain({ a: broken("a"), "": broken("outside of any test") }), []);
});

test("what passes the second time is unsteady, and told with what failed before", () => {
  const { report, unsteady } = joinRuns({ a: fine, b: broken("b > once"), c: broken("c > always") }, { b: fine, c: broken("c > always") });
  assert.deepEqual(unsteady, [{ name: "b > once", message: "why" }]);
  assert.deepEqual(sumOf(report), { passed: 8, failures: [{ name: "c > always", message: "why" }], skipped: ["needs Docker", "needs Docker"] });
});

test("a second run that breaks down outside of the tests has failed", () => {
  const { report, unsteady } = joinRuns({ b: broken("b") }, { "": broken("outside of any test") });
  assert.deepEqual(unsteady, []);
  assert.deepEqual(sumOf(report).failures.map(({ name }) => name), ["b", "outside of any test"]);
});
