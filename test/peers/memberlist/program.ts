/**
 * Where `scripts/setup peers` puts the Go program of this folder.
 */

import { existsSync } from "node:fs";
import { join } from "node:path";

import { cacheFolder, goSourcesSum, LabUnavailable } from "../../lab/programs.ts";

/** Path of the member that runs hashicorp/memberlist itself. What it takes and prints is told at the top of main.go. @throws LabUnavailable when it is not built. */
export function memberlistProgram(): string {
  const path = join(cacheFolder(), "bin", `herald-memberlist-${goSourcesSum(import.meta.dirname)}`);
  if (!existsSync(path)) throw new LabUnavailable("This needs a member that runs hashicorp/memberlist, which is not built on this machine: run 'scripts/setup peers'.");
  return path;
}
