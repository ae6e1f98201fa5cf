/**
 * Prepares a release in dist/release: the chart's archive, plain manifests, images for both architectures, bills of
 * materials, and the checksums of them all. It publishes nothing. Everything is made from the commit that is checked out:
 * a changed tree, or a version that CHANGELOG.md does not tell of, is refused.
 * `node scripts/release.ts [--draft]`
 *   --draft  makes one all the same, to look at
 */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { copyFileSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { heraldVersion } from "../config/version.ts";
import { releaseRefusals } from "./release-checks.ts";

const root = resolve(import.meta.dirname, "..");
const dist = join(root, "dist");

const { values } = parseArgs({ options: { draft: { type: "boolean", default: false } } });
const refusals = releaseRefusals({
  version: heraldVersion,
  changelog: readFileSync(join(root, "CHANGELOG.md"), "utf8"),
  changedFiles: git("status", "--porcelain").split("\n").filter((line) => line !== ""),
});
for (const refusal of refusals) console.error(`release: ${refusal}`);
if (refusals.length > 0 && !values.draft) {
  console.error("release: nothing was made; 'make release DRAFT=1' makes one all the same");
  process.exit(1);
}

const staging = join(dist, `release.new-${process.pid}`);
rmSync(staging, { recursive: true, force: true });
mkdirSync(staging, { recursive: true });
try {
  makeAll(staging);
  writeFileSync(join(staging, "SHA256SUMS"), checksums(staging));
  rmSync(join(dist, "release"), { recursive: true, force: true });
  renameSync(staging, join(dist, "release"));
} finally {
  rmSync(staging, { recursive: true, force: true });
}
console.log(`release: ${heraldVersion}${values.draft ? " (draft)" : ""} is in ${join(dist, "release")}:`);
console.log(readFileSync(join(dist, "release/SHA256SUMS"), "utf8").trimEnd());

/** Images are made where `make image` leaves them, so what it made before is not made again. */
function makeAll(folder: string): void {
  script("package.ts", "--out", folder);
  script("manifests.ts", join(folder, `herald-${heraldVersion}.yaml`));
  for (const architecture of ["amd64", "arm64"]) {
    script("image.ts", "--arch", architecture, "--refresh");
    for (const [ending, name] of [["tar", "image.tar"], ["spdx.json", "image.spdx.json"]]) {
      copyFileSync(join(dist, `image/herald-${heraldVersion}-${architecture}.${ending}`), join(folder, `herald-${heraldVersion}-${architecture}.${name}`));
    }
  }
}

/** In the format of sha256sum(1), sorted by name. */
function checksums(folder: string): string {
  return readdirSync(folder)
    .toSorted()
    .map((name) => `${createHash("sha256").update(readFileSync(join(folder, name))).digest("hex")}  ${name}\n`)
    .join("");
}

function script(name: string, ...parameters: string[]): void {
  execFileSync(process.execPath, [join(import.meta.dirname, name), ...parameters], { cwd: root, stdio: ["ignore", "inherit", "inherit"] });
}

function git(...parameters: string[]): string {
  return execFileSync("git", parameters, { cwd: root, encoding: "utf8" });
}
