import { execFileSync } from "node:child_process";
import { arch, cpus, release } from "node:os";
import { join, resolve } from "node:path";

const root = resolve(import.meta.dirname, "..");

/** Where every figure and every sample goes, one JSON object per line. */
export const RESULTS_FILE = join(root, "bench/results.jsonl");

/** When, of what, and on what something was measured. */
export interface Stamp {
  readonly date: string;
  readonly commit: string;
  readonly machine: string;
}

/** The stamp of a measurement that is made now. */
export function stampNow(): Stamp {
  return { date: new Date().toISOString().slice(0, 16), commit: commit(), machine: `${cpus().length} x ${cpus()[0]?.model ?? arch()}, Linux ${release()}, Node ${process.versions.node}` };
}

function commit(): string {
  try {
    const dirty = execFileSync("git", ["status", "--porcelain", "--untracked-files=no", "--", ".", ":!bench/results.jsonl", ":!docs/benchmarks.md"], { cwd: root, encoding: "utf8" }) !== "";
    return execFileSync("git", ["rev-parse", "--short", "HEAD"], { cwd: root, encoding: "utf8" }).trim() + (dirty ? "+changes" : "");
  } catch {
    return "unknown";
  }
}
