/**
 * A clock that stands still until a test moves it.
 */
import type { Clock, Timer } from "./clock.ts";

interface Pending {
  readonly at: number;
  readonly order: number;
  readonly callback: () => void;
}

/** Turns of the event loop given to promises between two timers; enough for the chains of awaits in this code base. */
const settleTurns = 5;

/** A virtual clock. Monotonic time starts at 0, wall time at `wallMs` (2026-01-01T00:00:00Z unless told). */
export class FakeClock implements Clock {
  #now = 0;
  #order = 0;
  readonly #wallOrigin: number;
  readonly #pending = new Set<Pending>();

  constructor(wallMs: number = Date.UTC(2026, 0, 1)) {
    this.#wallOrigin = wallMs;
  }

  now(): number {
    return this.#now;
  }

  wallMs(): number {
    return this.#wallOrigin + this.#now;
  }

  after(ms: number, callback: () => void): Timer {
    this.#order += 1;
    const pending: Pending = { at: this.#now + Math.max(ms, 0), order: this.#order, callback };
    this.#pending.add(pending);
    return { cancel: () => void this.#pending.delete(pending) };
  }

  /** Number of timers waiting. */
  get timers(): number {
    return this.#pending.size;
  }

  /** When the earliest timer fires (monotonic milliseconds); undefined when none waits. */
  get nextTimer(): number | undefined {
    return this.#earliest()?.at;
  }

  /**
   * Moves time forward by `ms`, firing every timer on the way in order and letting promises settle before, between
   * and after them.
   */
  async advance(ms: number): Promise<void> {
    const end = this.#now + ms;
    await settle();
    for (let next = this.#earliest(); next !== undefined && next.at <= end; next = this.#earliest()) {
      this.#pending.delete(next);
      this.#now = Math.max(this.#now, next.at);
      next.callback();
      await settle();
    }
    this.#now = end;
    await settle();
  }

  #earliest(): Pending | undefined {
    let best: Pending | undefined;
    for (const pending of this.#pending) {
      if (best === undefined || pending.at < best.at || (pending.at === best.at && pending.order < best.order)) best = pending;
    }
    return best;
  }
}

/** Lets every promise that can make progress without I/O do so. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < settleTurns; turn += 1) {
    await new Promise<void>((resolve) => {
      setImmediate(resolve);
    });
  }
}
