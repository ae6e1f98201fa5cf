/**
 * Where `scripts/setup peers` puts the Go program of this folder.
 */

import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

import { LabUnavailable } from "../../lab/programs.ts";

/** Path of the member that runs hashicorp/memberlist itself. What it takes and prints is told at the top of main.go. @throws LabUnavailable when it is not built. */
export function memberlistProgram(): string {
  const sources = readdirSync(import.meta.dirname)
    .filter((file) => file.endsWith(".go"))
    .toSorted();
  const hash = createHash("sha256");
  for (const file of ["go.mod", "go.sum", ...sources]) hash.update(readFileSync(join(import.meta.dirname, file)));
  const cache = process.env["HERALD_CACHE"] ?? join(process.env["XDG_CACHE_HOME"] ?? join(process.env["HOME"] ?? "/root", ".cache"), "herald");
  const path = join(cache, "bin", `herald-memberlist-${hash.digest("hex").slice(0, 16)}`);
  if (!existsSync(path)) throw new LabUnavailable("This needs a member that runs hashicorp/memberlist, which is not built on this machine: run 'scripts/setup peers'.");
  return path;
}
