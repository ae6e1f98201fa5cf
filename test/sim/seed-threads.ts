/** Runs seeds on several threads. Each seed is a world of its own, so what a thread runs beside it changes nothing. */

import { Worker } from "node:worker_threads";

import type { RunResult } from "./run.ts";

/** What a thread is told: one seed. */
export interface SeedJob {
  readonly seed: number;
  readonly nodes: number | undefined;
  /** Name of the machine under test. */
  readonly machine: string;
}

/** What it answers. */
export interface SeedDone {
  readonly result: RunResult;
  readonly tookMs: number;
}

export interface SeedsOptions {
  readonly seeds: readonly number[];
  readonly nodes: number | undefined;
  readonly machine: string;
  readonly threads: number;
}

/** Runs the seeds, the large clusters first, and tells of each as it ends. @throws what a thread dies of */
export async function runSeeds({ seeds, nodes, machine, threads }: SeedsOptions, done: (result: RunResult, tookMs: number) => void): Promise<void> {
  // Every tenth is a large one: begun last, one would keep a single thread busy while the others wait.
  const queue = [...seeds].sort((a, b) => Number(b % 10 === 0) - Number(a % 10 === 0) || a - b);
  await Promise.all(Array.from({ length: Math.max(1, Math.min(threads, seeds.length)) }, () => runThread(queue, { nodes, machine }, done)));
}

function runThread(queue: number[], options: Omit<SeedJob, "seed">, done: (result: RunResult, tookMs: number) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL("seed-thread.ts", import.meta.url));
    const next = (): void => {
      const seed = queue.shift();
      if (seed !== undefined) {
        worker.postMessage({ ...options, seed } satisfies SeedJob);
        return;
      }
      resolve();
      void worker.terminate();
    };
    worker.on("message", ({ result, tookMs }: SeedDone) => {
      done(result, tookMs);
      next();
    });
    worker.on("error", reject);
    next();
  });
}
