/** A thread that runs one seed after another, as it is told. */

import { parentPort } from "node:worker_threads";

import { machines } from "./machines.ts";
import { runSeed } from "./run.ts";
import type { SeedDone, SeedJob } from "./seed-threads.ts";

parentPort?.on("message", ({ seed, nodes, machine }: SeedJob) => {
  const begin = performance.now();
  const factory = machines[machine];
  if (factory === undefined) throw new Error(`no machine ${machine}`);
  const result = runSeed({ seed, nodes, machine: factory });
  parentPort?.postMessage({ result, tookMs: performance.now() - begin } satisfies SeedDone);
});
