import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { test } from "vitest";
import { hostArchitecture } from "./architecture.ts";
import { sharedLibraries } from "./shared-libraries.ts";

const node = readFileSync(process.execPath);

test("the libraries of a program are those that ldd(1) names", () => {
  const listed = execFileSync("ldd", [process.execPath], { encoding: "utf8" })
    .split("\n")
    .map((line) => /^\s*(\S+)/.exec(line)?.[1] ?? "")
    .filter((name) => name !== "" && !name.startsWith("linux-vdso"));
  const found = sharedLibraries({ programs: [node], architecture: hostArchitecture(), root: "/" });
  assert.deepEqual(found.map(({ path }) => basename(path)).toSorted(), listed.map((name) => basename(name)).toSorted());
});

test("a library that is nowhere and a program for another architecture are refused by name", () => {
  assert.throws(() => sharedLibraries({ programs: [node], architecture: hostArchitecture(), root: "/proc/self/fdinfo" }), /needs \/lib\S*ld-linux-\S+, which is not in/);
  const other = hostArchitecture() === "amd64" ? "arm64" : "amd64";
  assert.throws(() => sharedLibraries({ programs: [node], architecture: other, root: "/" }), new RegExp(`is for ${hostArchitecture()}, not for ${other}`));
});
