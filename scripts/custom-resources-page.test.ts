import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { customResourcesPage, readCrds } from "./custom-resources-page.ts";

describe("docs/custom-resources.md", () => {
  const page = readFileSync(join(import.meta.dirname, "../docs/custom-resources.md"), "utf8");

  it("says what crds/ says (if not: node scripts/custom-resources-page.ts)", () => {
    expect(page).toBe(customResourcesPage(readCrds()));
  });

  it("marks exactly the fields that MetalLB lacks", () => {
    const additions = [...page.matchAll(/^\| `([^`]+)`(?: \\\*)? \*\*\+\*\*/gm)].map((match) => match[1]);
    expect(additions).toEqual(["status.conditions", "status.quarantined", "status.since", "status.reason", "status.mac"]);
  });
});
