/** One measured figure, as a bench prints it: a JSON object on a line of its own. */
export interface Figure {
  /** Name of the runner, e.g. "arp-latency". */
  readonly bench: string;
  /** What was varied, e.g. "main thread idle". */
  readonly case: string;
  /** Which statistic, e.g. "mean", "p99", "median of 5". */
  readonly metric: string;
  readonly value: number;
  /** "us", "ms", "s", "MB", "1/s". */
  readonly unit: string;
  /** How many samples stand behind it. */
  readonly samples?: number;
  /** What the figure should stay below or reach, as prose, e.g. "< 100 us". */
  readonly goal?: string;
}

/** Prints the figure for `bench/main.ts` to collect. */
export function printFigure(figure: Figure): void {
  console.log(JSON.stringify(figure));
}
