/** What to wait for, and how long. */
export interface PollOptions {
  readonly timeoutMs: number;
  /** Completes the sentence "waited 5 s for ...". */
  readonly what: string;
  /** Pause between two looks; 200 when left out. */
  readonly intervalMs?: number;
}

/**
 * Looks until there is something to see, and returns it. A look that throws ends the wait at once.
 * @throws Error naming what did not come in time.
 */
export async function poll<T>(look: () => T | undefined | false | null | Promise<T | undefined | false | null>, options: PollOptions): Promise<T> {
  const end = performance.now() + options.timeoutMs;
  for (;;) {
    // Time that this process stood still is no look: the last one begins when the time is up, or later.
    const begin = performance.now();
    const seen = await look();
    if (seen !== undefined && seen !== false && seen !== null) return seen;
    if (begin > end) throw new Error(`waited ${options.timeoutMs / 1000} s for ${options.what}, in vain`);
    await pause(options.intervalMs ?? 200);
  }
}

/** Resolves after so many milliseconds. */
export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
