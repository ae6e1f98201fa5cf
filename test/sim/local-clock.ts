/** The clocks of one simulated node: both run a little too fast or too slow, and the wall clock may be set. */

import type { Instant } from "../../speaker/machine.ts";

/** Wall clock time at the start of a run, Unix ms. */
export const START_UNIX_MS = 1_790_000_000_000;

export class LocalClock {
  readonly #origin: Instant;
  readonly #rate: number;
  /** How far the wall clock is ahead, in ms. */
  wallOffsetMs: number;

  /** @param options `ratePpm`: how much too fast; `origin`: what the monotonic clock shows at the start of the run. */
  constructor({ origin, ratePpm, wallOffsetMs }: { readonly origin: Instant; readonly ratePpm: number; readonly wallOffsetMs: number }) {
    this.#origin = origin;
    this.#rate = 1 + ratePpm / 1e6;
    this.wallOffsetMs = wallOffsetMs;
  }

  /** What the node's monotonic clock shows at a time of the run. */
  local(at: Instant): Instant {
    return this.#origin + at * this.#rate;
  }

  /** The time of the run at which the node's monotonic clock shows this. */
  real(local: Instant): Instant {
    return (local - this.#origin) / this.#rate;
  }

  /** Unix ms when the monotonic clock shows `local`. */
  wallMs(local: Instant): number {
    return Math.floor(START_UNIX_MS + this.wallOffsetMs + local - this.#origin);
  }
}
