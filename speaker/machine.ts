/**
 * The contract of every protocol: a value that reacts to inputs. Time, randomness and identity come in;
 * packets and events come out. A machine does no I/O, so a test of ninety seconds runs in microseconds.
 */

/** Monotonic milliseconds since an arbitrary origin; fractions allowed. */
export type Instant = number;

export interface Machine<Input, Output> {
  /** Runs to completion: no await, no callback, no throw for anything a peer sent. `now` never goes back. */
  handle(input: Input, now: Instant): Output[];
  /** When to call `handle` with a timeout input if nothing else happens first. It may be called late: do all that is due. */
  nextTimeout(): Instant | undefined;
}

/** Randomness as an argument. `next` gives a float in [0, 1). */
export interface Random {
  next(): number;
}

/** Whether a deadline has come. */
export function isDue(deadline: Instant | undefined, now: Instant): boolean {
  return deadline !== undefined && deadline <= now;
}
