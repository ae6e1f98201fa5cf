/**
 * Lets single keys through at once, and holds those of a burst back until it is over. What a speaker writes about its
 * Services is for people to read: while addresses are given to many Services, or a node's are taken over, the API server
 * and the processors are left to those who do that, and the status and the events of all follow when it is done.
 */
import type { Clock, Timer } from "../sys/clock.ts";

/** A burst is over when so long nothing has come (milliseconds). */
export const LULL_MS = 300;
/** Nothing is held back for longer (milliseconds). */
export const MAX_HOLD_MS = 5_000;

/** See the head of the file. Holds each key once: as many as there are Services. */
export class BurstGate {
  readonly #clock: Clock;
  readonly #pass: (key: string) => void;
  readonly #held = new Set<string>();
  #timer: Timer | undefined;
  #lastMs = 0;
  /** When the first of the held ones came. */
  #heldSinceMs = 0;

  /** @param pass takes a key that is let through, in the order of coming */
  constructor(clock: Clock, pass: (key: string) => void) {
    this.#clock = clock;
    this.#pass = pass;
  }

  add(key: string): void {
    this.#lastMs = this.#clock.now();
    if (this.#timer === undefined) {
      this.#arm(LULL_MS);
      this.#pass(key);
      return;
    }
    if (this.#held.size === 0) this.#heldSinceMs = this.#lastMs;
    this.#held.add(key);
  }

  /** Forgets what it holds. */
  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#held.clear();
  }

  /** One timer per lull rather than one per key: when it fires, what is left since the last key is waited for. */
  #arm(ms: number): void {
    this.#timer = this.#clock.after(ms, () => this.#look());
  }

  #look(): void {
    const now = this.#clock.now();
    const lullLeft = this.#lastMs + LULL_MS - now;
    const holdLeft = this.#heldSinceMs + MAX_HOLD_MS - now;
    if (this.#held.size > 0 && (lullLeft <= 0 || holdLeft <= 0)) {
      const keys = [...this.#held];
      this.#held.clear();
      for (const key of keys) this.#pass(key);
    }
    if (lullLeft <= 0) this.#timer = undefined;
    else this.#arm(this.#held.size > 0 ? Math.min(lullLeft, holdLeft) : lullLeft);
  }
}
