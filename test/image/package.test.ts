/** The chart's archive that scripts/package.ts writes, beside the one that helm writes. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, test } from "vitest";
import { heraldVersion } from "../../config/version.ts";
import { findProgram } from "../lab/programs.ts";

const root = resolve(import.meta.dirname, "../..");
const folder = mkdtempSync(join(tmpdir(), "herald-package-test-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** @returns path of the archive in a folder of its own. */
function packChart(name: string): string {
  const out = join(folder, name);
  execFileSync(process.execPath, [join(root, "scripts/package.ts"), "--out", out]);
  return join(out, `herald-${heraldVersion}.tgz`);
}

function filesOf(archive: string): string[] {
  return execFileSync("tar", ["--list", "--gzip", "--file", archive], { encoding: "utf8" }).split("\n").filter((path) => path !== "" && !path.endsWith("/")).toSorted();
}

test("packing twice gives the same bytes", () => {
  const [first, second] = [packChart("first"), packChart("second")];
  assert.ok(readFileSync(first).equals(readFileSync(second)));
  assert.ok(filesOf(first).includes("herald/Chart.yaml"));
});

test("helm packs the same files, and renders the same from the archive as from the folder", (context) => {
  const helm = findProgram("helm");
  if (helm === undefined) return context.skip("needs helm: run 'scripts/setup helm'");
  const ours = packChart("ours");
  execFileSync(helm, ["package", join(root, "charts/herald"), "--destination", folder]);
  assert.deepEqual(filesOf(ours), filesOf(join(folder, `herald-${heraldVersion}.tgz`)));
  const render = (chart: string): string => execFileSync(helm, ["template", "herald", chart, "--namespace", "metallb-system"], { encoding: "utf8", maxBuffer: 16 * 1024 * 1024 });
  assert.equal(render(ours), render(join(root, "charts/herald")));
});
