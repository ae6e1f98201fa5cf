import { describe, expect, test } from "vitest";

import { fuzz } from "./fuzzer.ts";
import { targets } from "./targets.ts";

const options = { seed: 42, budgetMs: 100, atLeastRuns: 2000 };

describe("fuzz", () => {
  test.each(targets.filter(({ isCanary }) => isCanary !== true))("$name holds for a moment, and is not only ever refused", (target) => {
    const result = fuzz(target, options);
    expect(result.finding).toBeUndefined();
    expect(result.accepted).toBeGreaterThan(200);
    expect(result.runs).toBeGreaterThan(result.accepted === result.runs ? 0 : result.accepted);
  });

  test.each(targets.filter(({ isCanary }) => isCanary === true))("$name is found out", (target) => {
    expect(fuzz(target, options).finding).toBeDefined();
  });
});
