import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "vitest";
import { type TarEntry, tarArchive } from "./tar.ts";

const file = (path: string, text: string, mode = 0o644): TarEntry => ({ kind: "file", path, mode, content: Buffer.from(text) });

/** What tar(1) reads of an archive. */
function tar(entries: readonly TarEntry[], ...options: string[]): string {
  return execFileSync("tar", [...options, "--file", "-"], { input: Buffer.concat(tarArchive(entries, 86_400)), encoding: "utf8", env: { TZ: "UTC", LC_ALL: "C", PATH: process.env["PATH"] ?? "" } });
}

test("tar(1) lists modes, owners, sizes, links and the one time", () => {
  const listed = tar([file("usr/bin/program", "x".repeat(700), 0o755), { kind: "symlink", path: "bin", target: "usr/bin" }, { kind: "directory", path: "tmp", mode: 0o1777 }], "--list", "--verbose");
  assert.deepEqual(
    listed.trimEnd().split("\n").map((line) => line.split(/\s+/).join(" ")),
    [
      "lrwxrwxrwx 0/0 0 1970-01-02 00:00 bin -> usr/bin",
      "drwxrwxrwt 0/0 0 1970-01-02 00:00 tmp/",
      "drwxr-xr-x 0/0 0 1970-01-02 00:00 usr/",
      "drwxr-xr-x 0/0 0 1970-01-02 00:00 usr/bin/",
      "-rwxr-xr-x 0/0 700 1970-01-02 00:00 usr/bin/program",
    ],
  );
});

test("contents of every length around a block come out as they went in", () => {
  for (const length of [0, 1, 511, 512, 513]) assert.equal(tar([file("before", "b"), file("content", "y".repeat(length)), file("later", "l")], "--extract", "--to-stdout", "content"), "y".repeat(length));
});

test("the order of the entries makes no difference", () => {
  const entries = [file("b/c", "1"), file("a", "2"), file("b-d", "3")];
  assert.deepEqual(Buffer.concat(tarArchive(entries, 0)), Buffer.concat(tarArchive(entries.toReversed(), 0)));
});

test("a path longer than 100 bytes is split where tar(1) joins it again", () => {
  const path = `${"folder/".repeat(20)}file`;
  assert.equal(tar([file(path, "")], "--list").trimEnd().split("\n").at(-1), path);
});

test("a path that no header holds, an absolute one and one named twice are refused", () => {
  assert.throws(() => tarArchive([file("n".repeat(101), "")], 0), RangeError);
  assert.throws(() => tarArchive([file("/etc/passwd", "")], 0), /not a path inside/);
  assert.throws(() => tarArchive([file("a", "1"), file("a", "2")], 0), /twice/);
});
