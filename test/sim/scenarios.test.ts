import { describe, test } from "vitest";

import { scenarios, SEEDS } from "./scenarios/all.ts";

describe("scenario", () => {
  for (const { name, seeds = SEEDS, run } of scenarios) {
    test.each(seeds)(`${name}, seed %i`, (seed) => run(seed));
  }
});
