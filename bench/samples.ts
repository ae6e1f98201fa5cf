import { appendFileSync, existsSync, readFileSync } from "node:fs";
import { type Figure, printFigure } from "./figure.ts";
import { RESULTS_FILE, type Stamp, stampNow } from "./stamp.ts";

/** One run of a bench that takes many and long ones, as it stands in the results file. */
export interface Sample extends Stamp {
  /** Name of the bench. */
  readonly sample: string;
  readonly case: string;
  readonly values: Readonly<Record<string, number>>;
}

/**
 * The runs of one case. Each is written down as soon as it is made, so that a bench that was interrupted goes on where it
 * stopped: runs of the same commit and machine that no figure has been made of yet count.
 */
export class Samples {
  readonly #bench: string;
  readonly #case: string;
  readonly #values: Readonly<Record<string, number>>[];

  constructor(bench: string, name: string) {
    this.#bench = bench;
    this.#case = name;
    this.#values = unfinished(bench, name);
    if (this.#values.length > 0) console.log(`${bench}, ${name}: goes on after ${this.#values.length} runs`);
  }

  get count(): number {
    return this.#values.length;
  }

  /** All values of that name. */
  of(name: string): number[] {
    return this.#values.flatMap((values) => values[name] ?? []);
  }

  /** Writes a run down, each value to a tenth. */
  add(measured: Readonly<Record<string, number>>): void {
    const values = Object.fromEntries(Object.entries(measured).map(([name, value]) => [name, Number(value.toFixed(1))]));
    const sample: Sample = { sample: this.#bench, case: this.#case, values, ...stampNow() };
    appendFileSync(RESULTS_FILE, `${JSON.stringify(sample)}\n`);
    this.#values.push(values);
    console.log(`${this.#case}, run ${this.#values.length}: ${Object.entries(values).map(([name, value]) => `${name} ${Math.round(value)}`).join(", ")}`);
  }

  /** Prints p50, p95 and the maximum of the values of that name. @param goals by the same words */
  printQuantiles(name: string, { what, unit, goals = {} }: { readonly what: string; readonly unit: string; readonly goals?: Readonly<Record<string, string>> }): void {
    const values = this.of(name);
    for (const [metric, part] of [["p50", 0.5], ["p95", 0.95], ["max", 1]] as const) {
      this.print({ case: `${this.#case}: ${what}`, metric, value: quantile(values, part), unit }, goals[metric]);
    }
  }

  /** Prints the sum of the values of that name. */
  printSum(name: string, { what, goal }: { readonly what: string; readonly goal?: string }): void {
    this.print({ case: `${this.#case}: ${what}`, metric: "sum", value: this.of(name).reduce((sum, value) => sum + value, 0), unit: "" }, goal);
  }

  print(figure: Omit<Figure, "bench" | "samples" | "goal">, goal: string | undefined): void {
    printFigure({ bench: this.#bench, ...figure, samples: this.#values.length, ...(goal === undefined ? {} : { goal }) });
  }
}

/** The smallest value that so large a part of all does not exceed; NaN of none. */
export function quantile(values: readonly number[], part: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(sorted.length * part) - 1)] ?? Number.NaN;
}

/** How many runs to make: `--runs=N` on the command line, or so many. */
export function wantedRuns(otherwise: number): number {
  const given = process.argv.map((arg) => /^--runs=(\d+)$/.exec(arg)?.[1]).find((value) => value !== undefined);
  return given === undefined ? otherwise : Number(given);
}

function unfinished(bench: string, name: string): Sample["values"][] {
  if (!existsSync(RESULTS_FILE)) return [];
  const { commit, machine } = stampNow();
  let values: Sample["values"][] = [];
  for (const line of readFileSync(RESULTS_FILE, "utf8").split("\n")) {
    if (line === "") continue;
    const entry = JSON.parse(line) as Partial<Sample & Figure>;
    if (entry.bench === bench) values = [];
    else if (entry.sample === bench && entry.case === name && entry.commit === commit && entry.machine === machine && entry.values !== undefined) values.push(entry.values);
  }
  return values;
}
