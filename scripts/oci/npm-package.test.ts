import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test, vi } from "vitest";
import { lockedPackage, npmPackageFolder } from "./npm-package.ts";

let root = "";
let cache = "";

/** A checkout whose lock file pins one package, and an npm that hands out an archive of it. */
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "herald-npm-"));
  cache = join(root, "cache");
  mkdirSync(join(root, "package"));
  writeFileSync(join(root, "package/index.js"), "fetched");
  execFileSync("tar", ["--create", "--gzip", "--file", "archive.tgz", "package"], { cwd: root });
  pin(`sha512-${createHash("sha512").update(readFileSync(join(root, "archive.tgz"))).digest("base64")}`);
  mkdirSync(join(root, "bin"));
  writeFileSync(join(root, "bin/npm"), `#!/bin/sh\nset -e\nfor word; do folder=$word; done\ncp '${root}/archive.tgz' "$folder/scope-thing-1.0.0.tgz"\necho '[{"filename":"scope-thing-1.0.0.tgz"}]'\n`, { mode: 0o755 });
  vi.stubEnv("PATH", `${join(root, "bin")}:${process.env["PATH"] ?? ""}`);
});

afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(root, { recursive: true, force: true });
});

function pin(integrity: string): void {
  writeFileSync(join(root, "package-lock.json"), JSON.stringify({ packages: { "node_modules/@scope/thing": { version: "1.0.0", integrity } } }));
}

test("a package that is not installed is fetched into the cache, once", () => {
  const folder = npmPackageFolder({ root, cache }, "@scope/thing");
  assert.equal(readFileSync(join(folder, "index.js"), "utf8"), "fetched");
  rmSync(join(root, "bin/npm"));
  assert.equal(npmPackageFolder({ root, cache }, "@scope/thing"), folder);
});

test("one that is installed is taken from node_modules", () => {
  mkdirSync(join(root, "node_modules/@scope/thing"), { recursive: true });
  assert.equal(npmPackageFolder({ root, cache }, "@scope/thing"), join(root, "node_modules/@scope/thing"));
  assert.ok(!existsSync(cache));
});

test("bytes that are not those of the lock file are refused, and nothing of them stays", () => {
  pin("sha512-AAAA");
  assert.throws(() => npmPackageFolder({ root, cache }, "@scope/thing"), /not what package-lock.json names/);
  assert.deepEqual(readdirSync(join(cache, "npm")), []);
});

test("a package that the lock file does not pin is refused by name", () => {
  assert.throws(() => lockedPackage(root, "left-out"), /does not pin left-out/);
});
