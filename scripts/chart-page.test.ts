import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { load } from "js-yaml";
import { CHART_PAGE, valueRows, VALUES_FILE, withTable } from "./chart-page.ts";

/** Paths of all values that are no mapping with entries. */
function leaves(value: unknown, path: readonly string[] = []): string[] {
  const isSection = typeof value === "object" && value !== null && !Array.isArray(value) && Object.keys(value).length > 0;
  return isSection ? Object.entries(value).flatMap(([key, inner]) => leaves(inner, [...path, key])) : [path.join(".")];
}

describe("docs/chart.md", () => {
  const yaml = readFileSync(VALUES_FILE, "utf8");

  it("lists the values that the chart has (if not: node scripts/chart-page.ts)", () => {
    const page = readFileSync(CHART_PAGE, "utf8");
    expect(page).toBe(withTable(page, yaml));
  });

  it("lists each of them once", () => {
    expect(valueRows(yaml).map(({ path }) => path)).toEqual(leaves(load(yaml)));
  });
});

describe("valueRows", () => {
  it("takes the comment above a value, or above the section that begins with it", () => {
    const text = "# Of the file.\n\n# About a.\na: 1\n# About b.\nb:\n  # And c.\n  c: {}\n  d:\n    - e: 1\n      f: 2\n";
    expect(valueRows(text)).toEqual([
      { path: "a", default: "1", text: "About a." },
      { path: "b.c", default: "{}", text: "About b. And c." },
      { path: "b.d", default: "...", text: "" },
    ]);
  });
});
