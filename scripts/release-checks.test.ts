import assert from "node:assert/strict";
import { test } from "vitest";
import { releaseRefusals } from "./release-checks.ts";

const clean = { version: "1.2.3", changelog: "# Changelog\n\n## Unreleased\n\n## 1.2.3 (2026-11-21)\n", changedFiles: [] };

test("a clean tree whose version the changelog tells of is released", () => {
  assert.deepEqual(releaseRefusals(clean), []);
});

test("a changed tree is refused with the first file, a version without an entry with the heading that it wants", () => {
  assert.match(releaseRefusals({ ...clean, changedFiles: [" M README.md", "?? x"] }).join(), /2 files .* " M README.md"/);
  for (const version of ["1.2.4", "1.2", "2.3"]) assert.match(releaseRefusals({ ...clean, version }).join(), new RegExp(`no heading "## ${version}"`));
});
