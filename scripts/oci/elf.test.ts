import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, test } from "vitest";
import { hostArchitecture } from "./architecture.ts";
import { readElf, stripElf } from "./elf.ts";

/** The Node that runs this: a program with symbols and with libraries. */
const node = readFileSync(process.execPath);
const folder = mkdtempSync(join(tmpdir(), "herald-elf-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("a program's architecture, dynamic linker and libraries are read", () => {
  const { architecture, interpreter, needed } = readElf(node);
  assert.equal(architecture, hostArchitecture());
  assert.match(interpreter ?? "", /^\/lib(64)?\/ld-linux-/);
  assert.ok(needed.includes("libc.so.6") && needed.includes("libstdc++.so.6"), needed.join(" "));
});

test("a stripped program is smaller, says the same of itself, runs, and has nothing left to strip", () => {
  const stripped = stripElf(node);
  assert.ok(stripped.length < node.length - 10_000_000, `${stripped.length} of ${node.length} bytes`);
  assert.deepEqual(readElf(stripped), readElf(node));
  assert.deepEqual(Buffer.from(stripElf(stripped)), Buffer.from(stripped));
  const path = join(folder, "node");
  writeFileSync(path, stripped, { mode: 0o755 });
  assert.equal(execFileSync(path, ["--print", "[1, 2].map((n) => n * 21).at(-1) + process.version"], { encoding: "utf8" }), `42${process.version}\n`);
});

test("what is no ELF file for 64 bits is refused", () => {
  assert.throws(() => readElf(Buffer.alloc(10)), /not a 64-bit/);
  const other = Buffer.from(node.subarray(0, 64));
  other[4] = 1;
  assert.throws(() => stripElf(other), /not a 64-bit/);
});
