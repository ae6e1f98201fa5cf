/** Runs a canary until a rule finds it out. */

import { runSeed } from "./run.ts";
import type { Canary } from "./sabotage.ts";
import { scenarios } from "./scenarios/all.ts";
import { Violation } from "./world.ts";

/** Seeds that a canary may live through; each has a few nodes only. */
const MOST_SEEDS = 12;
const NODES = 5;

/** @returns the seed in which its rule was broken, if one was; and the rules that other seeds broke before */
export function findOut({ machine, rule, scenario }: Canary): { readonly seed: number | undefined; readonly others: readonly string[] } {
  const others = new Set<string>();
  for (let seed = 1; seed <= MOST_SEEDS; seed++) {
    const violation = scenario === undefined ? runSeed({ seed, nodes: NODES, machine, isClear: true }).violation : inScenario(scenario, seed, machine);
    if (violation?.rule === rule) return { seed, others: [...others] };
    if (violation !== undefined) others.add(violation.rule);
  }
  return { seed: undefined, others: [...others] };
}

function inScenario(name: string, seed: number, machine: Canary["machine"]): { readonly rule: string } | undefined {
  const scenario = scenarios.find((one) => one.name === name);
  if (scenario === undefined) throw new Error(`no scenario "${name}"`);
  try {
    scenario.run(seed, machine);
    return undefined;
  } catch (error) {
    return error instanceof Violation ? error : new Violation(name, 0, String(error));
  }
}
