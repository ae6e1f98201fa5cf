import { type PollOptions, pause } from "./poll.ts";

/**
 * Repeats an assertion until it holds, and returns what it returned.
 * @throws Error with the last failure's message when it does not come true in time.
 */
export async function eventually<T>(assertion: () => T | Promise<T>, options: PollOptions): Promise<T> {
  const end = performance.now() + options.timeoutMs;
  for (;;) {
    // Time that this process stood still is no look: the last one begins when the time is up, or later.
    const begin = performance.now();
    try {
      return await assertion();
    } catch (error) {
      if (begin > end) {
        throw new Error(`waited ${options.timeoutMs / 1000} s for ${options.what}, in vain: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
      }
      await pause(options.intervalMs ?? 200);
    }
  }
}
