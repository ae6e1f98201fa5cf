/**
 * `node test/fuzz/main.ts [--seconds N] [--seed N] [TARGET ...]`: fuzzes each target for N seconds (5) and prints a line for
 * each. Ends with 1 when a decoder misbehaves (the input is printed: make it a vector), or when a canary lives. A canary is
 * always among the targets.
 */

import { parseArgs } from "node:util";

import { fuzz } from "./fuzzer.ts";
import { targets } from "./targets.ts";

const { values, positionals } = parseArgs({
  options: { seconds: { type: "string", default: "5" }, seed: { type: "string", default: String(Date.now() % 2 ** 31) } },
  allowPositionals: true,
});
const [seconds, seed] = [Number(values.seconds), Number(values.seed)];
const unknown = positionals.filter((name) => !targets.some((target) => target.name === name));
if (!(seconds > 0) || !Number.isInteger(seed) || unknown.length > 0) {
  process.stderr.write(`fuzz: unknown target or bad number; targets are ${targets.map(({ name }) => name).join(", ")}\n`);
  process.exit(2);
}

let failed = false;
for (const target of targets) {
  if (positionals.length > 0 && !positionals.includes(target.name) && target.isCanary !== true) continue;
  const { runs, accepted, finding } = fuzz(target, { seed, budgetMs: seconds * 1000 });
  const isGood = (finding !== undefined) === (target.isCanary === true);
  failed ||= !isGood;
  const verdict = target.isCanary === true ? (isGood ? "found out, as it must be" : "NOT FOUND OUT") : isGood ? "ok" : "FAILED";
  process.stdout.write(`${target.name}: ${verdict}, ${runs} inputs, ${accepted} accepted, seed ${seed}\n`);
  if (finding !== undefined && target.isCanary !== true) {
    process.stdout.write(`  hex: ${Buffer.from(finding.bytes).toString("hex")}\n  ${finding.error instanceof Error ? (finding.error.stack ?? "") : String(finding.error)}\n`);
  }
}
process.exitCode = failed ? 1 : 0;
