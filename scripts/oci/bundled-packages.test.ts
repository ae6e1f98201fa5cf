import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, test } from "vitest";
import { bundledPackages } from "./bundled-packages.ts";

const root = mkdtempSync(join(tmpdir(), "herald-packages-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

function install(folder: string, manifest: object, license?: string): void {
  mkdirSync(join(root, folder), { recursive: true });
  writeFileSync(join(root, folder, "package.json"), JSON.stringify(manifest));
  if (license !== undefined) writeFileSync(join(root, folder, "LICENSE.md"), license);
}

test("packages with bytes in a bundle are told, nested and scoped ones too, with licences in either spelling", () => {
  install("node_modules/@scope/a", { name: "@scope/a", version: "1.0.0", license: "MIT" }, "as you like");
  install("node_modules/@scope/a/node_modules/b", { name: "b", version: "2.0.0", licenses: [{ type: "MIT" }, { type: "ISC" }] });
  const inputs = {
    "controller/main.ts": { bytesInOutput: 5 },
    "node_modules/@scope/a/index.js": { bytesInOutput: 1 },
    "node_modules/@scope/a/node_modules/b/lib/index.js": { bytesInOutput: 1 },
    "node_modules/shaken-off/index.js": { bytesInOutput: 0 },
  };
  const found = bundledPackages(root, { outputs: { "controller.mjs": { inputs } } });
  assert.deepEqual(
    found.map(({ part, license }) => [part.purl, part.license, license === undefined ? undefined : Buffer.from(license).toString()]),
    [
      ["pkg:npm/%40scope/a@1.0.0", "MIT", "as you like"],
      ["pkg:npm/b@2.0.0", "MIT AND ISC", undefined],
    ],
  );
});

test("bundles without any package are refused: the metafile was read wrongly", () => {
  assert.throws(() => bundledPackages(root, { outputs: {} }), /names no package/);
});
