import assert from "node:assert/strict";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "vitest";
import { unpackDebianPackages } from "./debian-packages.ts";

const names = ["libone", "libtwo"];
const pathBefore = process.env["PATH"] ?? "";
let folder = "";

/** Stand-ins for apt-get, which "downloads", and dpkg-deb, which unpacks a file named as the package. */
function install(program: string, script: string): void {
  const path = join(folder, "bin", program);
  writeFileSync(path, `#!/bin/sh\n${script}\n`);
  chmodSync(path, 0o755);
}

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "herald-debian-"));
  mkdirSync(join(folder, "bin"));
  process.env["PATH"] = `${join(folder, "bin")}:${pathBefore}`;
  installApt("bookworm bookworm-security");
});

/** An apt whose sources have these suites. */
function installApt(suites: string): void {
  install("apt-get", `case " $* " in
    *" indextargets "*) for suite in ${suites}; do echo "$suite http://mirror.invalid/debian/"; done ;;
    *" update "*) ;;
    *) for name in ${names.join(" ")}; do echo "$name" >"\${name}_1_arm64.deb"; done ;;
  esac`);
}
afterEach(() => {
  process.env["PATH"] = pathBefore;
  rmSync(folder, { recursive: true, force: true });
});

const unpack = (): ReturnType<typeof unpackDebianPackages> => unpackDebianPackages({ architecture: "arm64", names, folder: join(folder, "cache") });
const WHOLE = `case $1 in --extract) touch "$3/$(cat "$2")" ;; *) printf '%s\\n1\\n' "$(cat "$3")" ;; esac`;

test("unpacks what apt brings, and asks apt once", () => {
  install("dpkg-deb", WHOLE);
  const { root, packages } = unpack();
  assert.deepEqual(packages.map(({ name, version }) => [name, version]), [["libone", "1"], ["libtwo", "1"]]);
  for (const name of names) assert.ok(existsSync(join(root, name)));
  install("apt-get", "exit 1");
  assert.deepEqual(unpack(), { root, packages });
});

test("what was interrupted while it was unpacked is no root file system", () => {
  install("dpkg-deb", `case $2 in *libtwo*) exit 1 ;; esac; ${WHOLE}`);
  assert.throws(unpack);
  install("dpkg-deb", WHOLE);
  const { root } = unpack();
  for (const name of names) assert.ok(existsSync(join(root, name)), name);
});

test("a machine whose apt has no archive of that release hears which one is wanted", () => {
  installApt("bookworm trixie");
  assert.throws(unpack, /apt's sources have no bookworm-security/);
});
