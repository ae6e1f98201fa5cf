/**
 * `node test/sim/main.ts` and one of:
 *
 * - `--seed N`, `--seeds N [--from N]`, each with `[--nodes N]`: runs random seeds and prints a summary. A broken rule is
 *   printed with its seed and the last events, and ends it with 1; with 20 seeds or more so does anything that never
 *   happened: a simulation without faults proves nothing.
 * - `--scenarios [--only TEXT] [--seed N]`: the scenarios whose name has that text.
 * - `--canaries`: machines that are broken on purpose, each of which must be found out.
 * - `--figures [--only size|profiles|pauses|loss] [--nodes N,N,...]`: the tables of docs/leadership-figures.md.
 *
 * `--verbose` prints more; `--machine NAME` puts another machine under test; `--threads N` runs so many seeds at a time.
 */

import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";

import { findOut } from "./canary-run.ts";
import { printFigures } from "./figures.ts";
import { machines } from "./machines.ts";
import type { RunResult } from "./run.ts";
import { canaries } from "./sabotage.ts";
import { scenarios, SEEDS } from "./scenarios/all.ts";
import { runSeeds } from "./seed-threads.ts";
import { Summary } from "./summary.ts";

const { values } = parseArgs({
  options: {
    seed: { type: "string" },
    seeds: { type: "string" },
    from: { type: "string", default: "1" },
    nodes: { type: "string" },
    scenarios: { type: "boolean", default: false },
    only: { type: "string", default: "" },
    canaries: { type: "boolean", default: false },
    figures: { type: "boolean", default: false },
    machine: { type: "string", default: "agreement" },
    threads: { type: "string", default: String(Math.min(4, availableParallelism())) },
    verbose: { type: "boolean", default: false },
  },
});
/** Events printed of a failing seed. */
const STORY_EVENTS = values.verbose ? 400 : 60;
/** Sizes of the table by size. */
const FIGURE_SIZES = "3,10,100";
/** From so many seeds on everything must have happened. */
const MANY_SEEDS = 20;

const machine = machines[values.machine];
if (machine === undefined) throw new Error(`no machine ${values.machine}; there are ${Object.keys(machines).join(", ")}`);
const nodes = values.nodes === undefined || values.figures ? undefined : number(values.nodes);
process.exitCode = (await run()) ? 0 : 1;

async function run(): Promise<boolean> {
  if (values.canaries) return runCanaries();
  if (values.scenarios) return runScenarios();
  if (!values.figures) return runAllSeeds();
  printFigures({ nodes: (values.nodes ?? FIGURE_SIZES).split(",").map(number), only: values.only });
  return true;
}

async function runAllSeeds(): Promise<boolean> {
  const seeds = values.seed === undefined ? Array.from({ length: number(values.seeds ?? "10") }, (_, index) => number(values.from) + index) : [number(values.seed)];
  const summary = new Summary();
  const begin = performance.now();
  await runSeeds({ seeds, nodes, machine: values.machine, threads: number(values.threads) }, (result, tookMs) => {
    summary.add(result);
    if (values.verbose || result.violation !== undefined) print(result, tookMs);
  });
  process.stdout.write(summary.text(performance.now() - begin));
  return summary.isGood(seeds.length >= MANY_SEEDS);
}

function runScenarios(): boolean {
  let failed = 0;
  for (const { name, seeds = SEEDS, run } of scenarios.filter((scenario) => scenario.name.includes(values.only))) {
    for (const seed of values.seed === undefined ? seeds : [number(values.seed)]) {
      try {
        run(seed, machine);
        process.stdout.write(`ok      ${name}, seed ${seed}\n`);
      } catch (error) {
        failed += 1;
        process.stdout.write(`FAILED  ${name}, seed ${seed}\n  ${error instanceof Error ? (values.verbose ? (error.stack ?? "") : error.message) : String(error)}\n`);
      }
    }
  }
  return failed === 0;
}

function runCanaries(): boolean {
  const living = canaries.filter((canary) => {
    const { seed, others } = findOut(canary);
    const verdict = seed === undefined ? `NOT FOUND OUT by "${canary.rule}"` : `found out by "${canary.rule}", seed ${seed}`;
    process.stdout.write(`${canary.name}: ${verdict}${others.length === 0 ? "" : `, before by ${others.join(", ")}`} (${canary.broken})\n`);
    return seed === undefined;
  });
  process.stdout.write(`sim: ${canaries.length - living.length} of ${canaries.length} canaries found out\n`);
  return living.length === 0;
}

function print(result: RunResult, tookMs: number): void {
  process.stdout.write(`seed ${result.seed}: ${result.nodes} nodes, ${result.groups} groups, ${(result.virtualMs / 1000).toFixed(0)} s in ${tookMs.toFixed(0)} ms, ${result.moves} moves, longest overlap ${result.longestOverlapMs.toFixed(0)} ms, ${JSON.stringify(result.applied)}\n`);
  if (result.violation === undefined) return;
  for (const event of result.story.slice(-STORY_EVENTS)) process.stdout.write(`  ${event}\n`);
  process.stdout.write(`FAILED seed ${result.seed}: ${result.violation.rule}: ${result.violation.message}\n  again: npm run sim -- --seed ${result.seed}${nodes === undefined ? "" : ` --nodes ${nodes}`}\n`);
}

function number(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 0) throw new Error(`${text} is no whole number`);
  return value;
}
