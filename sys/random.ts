/**
 * Randomness as an argument, and the two places it comes from. Nothing outside sys/ calls Math.random.
 */

import { randomFillSync } from "node:crypto";

/** `next` gives a float in [0, 1). The same shape as the machines' `Random`. */
export interface Random {
  next(): number;
}

/** The runtime's own generator: good for jitter, not for secrets. */
export const systemRandom: Random = { next: () => Math.random() };

/** Numbers fetched from the kernel's generator at a time. */
const POOL_NUMBERS = 1024;

/** The kernel's generator, 32 bits a number: for nonces, which nobody may guess or see twice. */
export function cryptoRandom(): Random {
  const pool = new Uint32Array(POOL_NUMBERS);
  let used = POOL_NUMBERS;
  return {
    next(): number {
      if (used === POOL_NUMBERS) {
        randomFillSync(pool);
        used = 0;
      }
      return (pool[used++] ?? 0) / 0x1_0000_0000;
    },
  };
}

/** A repeatable generator for tests: the same seed gives the same numbers. `seed` is taken modulo 2^32. */
export function seededRandom(seed: number): Random {
  // SplitMix in 32 bits (Steele, Lea, Flood 2014): a counter with a hash on top, so that seeds next to each other give
  // unrelated numbers.
  let state = seed >>> 0;
  return {
    next(): number {
      state = (state + 0x9e3779b9) >>> 0;
      let mixed = Math.imul(state ^ (state >>> 16), 0x21f0aaad);
      mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97);
      return ((mixed ^ (mixed >>> 15)) >>> 0) / 0x1_0000_0000;
    },
  };
}
