import { describe, expect, test } from "vitest";

import { findOut } from "./canary-run.ts";
import { canaries } from "./sabotage.ts";

describe("canary", () => {
  test.each(canaries)("$name is found out: $broken", (canary) => {
    expect(findOut(canary).seed).toBeDefined();
  });
});
