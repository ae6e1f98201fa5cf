/**
 * A small mutation fuzzer: repeatable from its seed, bounded by a time budget.
 */

import { seededRandom } from "../../sys/random.ts";
import type { Random } from "../../sys/random.ts";
import { DecodeError } from "../../wire/decode-error.ts";
import type { FuzzTarget } from "./targets.ts";

export interface FuzzResult {
  readonly runs: number;
  /** Inputs that were decoded, against those refused: a fuzzer that is only ever refused tests nothing. */
  readonly accepted: number;
  /** The first input that made the decoder misbehave. */
  readonly finding?: { readonly bytes: Uint8Array; readonly error: unknown };
}

export interface FuzzOptions {
  readonly seed: number;
  readonly budgetMs: number;
  /** Inputs to try whatever time they take: a test that counts must not depend on how fast the machine is. RUNS_PER_LOOK when left out. */
  readonly atLeastRuns?: number;
}

/** Longest input. */
const MAX_INPUT_BYTES = 512;
/** Bytes at which decoders like to stumble. */
const INTERESTING: readonly number[] = [0, 1, 3, 4, 5, 0x7f, 0x80, 0xfe, 0xff];
/** Inputs between two looks at the clock. */
const RUNS_PER_LOOK = 200;

/** Tries damaged examples until the budget is spent or one makes the target misbehave. */
export function fuzz(target: FuzzTarget, options: FuzzOptions): FuzzResult {
  const random = seededRandom(options.seed);
  const seeds = target.seeds();
  const end = performance.now() + options.budgetMs;
  let runs = 0;
  let accepted = 0;
  do {
    for (let count = 0; count < RUNS_PER_LOOK; count++) {
      const bytes = mutate(pick(seeds, random) ?? new Uint8Array(0), random);
      runs += 1;
      try {
        target.run(bytes);
        accepted += 1;
      } catch (error) {
        if (!(error instanceof DecodeError)) return { runs, accepted, finding: { bytes, error } };
      }
    }
  } while (performance.now() < end || runs < (options.atLeastRuns ?? 0));
  return { runs, accepted };
}

function pick<T>(values: readonly T[], random: Random): T | undefined {
  return values[Math.floor(random.next() * values.length)];
}

function mutate(seed: Uint8Array, random: Random): Uint8Array {
  let bytes = seed.slice();
  const steps = Math.floor(random.next() * 4);
  for (let step = 0; step < steps; step++) {
    const at = Math.floor(random.next() * bytes.length);
    switch (Math.floor(random.next() * 5)) {
      case 0:
        bytes[at] = Math.floor(random.next() * 256);
        break;
      case 1:
        bytes[at] = pick(INTERESTING, random) ?? 0;
        break;
      case 2:
        bytes = bytes.slice(0, at);
        break;
      case 3:
        bytes = Uint8Array.of(...bytes.subarray(0, at), ...bytes.subarray(at), ...bytes.subarray(at)).slice(0, MAX_INPUT_BYTES);
        break;
      case 4:
        bytes[at] = (bytes[at] ?? 0) ^ (1 << Math.floor(random.next() * 8));
        break;
    }
  }
  return bytes;
}
