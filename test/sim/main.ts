/**
 * `node test/sim/main.ts --seed N | --seeds N [--from N] [--nodes N]`: runs seeds of the simulation and prints a summary.
 * Ends with 1 when a rule is broken (the seed, the rule and the last events are printed), or when something that a seed
 * should do never happened: a simulation without faults proves nothing.
 */

import { parseArgs } from "node:util";

import { describeEvent } from "./events.ts";
import { machines } from "./machines.ts";
import { runSeed } from "./run.ts";
import type { RunResult } from "./run.ts";
import { Summary } from "./summary.ts";

const { values } = parseArgs({
  options: {
    seed: { type: "string" },
    seeds: { type: "string" },
    from: { type: "string", default: "1" },
    nodes: { type: "string" },
    machine: { type: "string", default: "agreement" },
    verbose: { type: "boolean", default: false },
  },
});
/** Events printed of a failing seed. */
const STORY_EVENTS = values.verbose ? 400 : 60;

const seeds = values.seed === undefined ? Array.from({ length: number(values.seeds ?? "10") }, (_, index) => number(values.from) + index) : [number(values.seed)];
const nodes = values.nodes === undefined ? undefined : number(values.nodes);
const machine = machines[values.machine];
if (machine === undefined) throw new Error(`no machine ${values.machine}; there are ${Object.keys(machines).join(", ")}`);

const summary = new Summary();
const begin = performance.now();
for (const seed of seeds) {
  const started = performance.now();
  const result = runSeed({ seed, nodes, machine });
  summary.add(result);
  if (values.verbose || result.violation !== undefined) print(result, performance.now() - started);
}
process.stdout.write(summary.text(performance.now() - begin));
process.exitCode = summary.isGood(values.seed === undefined && seeds.length >= 20) ? 0 : 1;

function print(result: RunResult, tookMs: number): void {
  process.stdout.write(`seed ${result.seed}: ${result.nodes} nodes, ${result.groups} groups, ${(result.virtualMs / 1000).toFixed(0)} s in ${tookMs.toFixed(0)} ms, ${result.moves} moves, longest overlap ${result.longestOverlapMs.toFixed(0)} ms, ${JSON.stringify(result.applied)}\n`);
  if (result.violation === undefined) return;
  for (const event of result.story.slice(-STORY_EVENTS)) process.stdout.write(`  ${describeEvent(event)}\n`);
  process.stdout.write(`FAILED seed ${result.seed}: ${result.violation.rule}: ${result.violation.message}\n  again: npm run sim -- --seed ${result.seed}${nodes === undefined ? "" : ` --nodes ${nodes}`}\n`);
}

function number(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 0) throw new Error(`${text} is no whole number`);
  return value;
}
