/** Steps of the own list on their way to all members: a few at a time, each of them twice. */
import type { Instant } from "../machine.ts";
import type { ClaimsUpdate } from "./claims-protocol.ts";

/** Updates that go out within PACE_MS. */
export const UPDATES_AT_ONCE = 8;
export const PACE_MS = 2;
/** Every update is sent once more after that time. */
export const REPEAT_AFTER_MS = 50;
/** Updates that may wait, and as many repetitions; whoever misses one asks for the whole list. */
export const MAX_QUEUED_UPDATES = 512;

export class Outbox {
  #fresh: ClaimsUpdate[] = [];
  readonly #repeats: { readonly update: ClaimsUpdate; readonly at: Instant }[] = [];
  #periodEnds: Instant = -Infinity;
  #left = UPDATES_AT_ONCE;

  /** Nothing waits to be sent for the first time. */
  get isDrained(): boolean {
    return this.#fresh.length === 0;
  }

  push(updates: readonly ClaimsUpdate[]): void {
    for (const update of updates) if (this.#fresh.length < MAX_QUEUED_UPDATES) this.#fresh.push(update);
  }

  /** What may be sent now. What is no longer true is not said again: whoever missed it will ask. */
  take(now: Instant, isTrue: (update: ClaimsUpdate) => boolean): ClaimsUpdate[] {
    if (now >= this.#periodEnds) {
      this.#periodEnds = now + PACE_MS;
      this.#left = UPDATES_AT_ONCE;
    }
    const taken = this.#fresh.slice(0, this.#left);
    if (taken.length > 0) this.#fresh = this.#fresh.slice(taken.length);
    for (const update of taken) if (this.#repeats.length < MAX_QUEUED_UPDATES) this.#repeats.push({ update, at: now + REPEAT_AFTER_MS });
    this.#left -= taken.length;
    for (let next = this.#repeats[0]; this.#left > 0 && next !== undefined && next.at <= now; next = this.#repeats[0]) {
      this.#repeats.shift();
      if (!isTrue(next.update)) continue;
      this.#left -= 1;
      taken.push(next.update);
    }
    return taken;
  }

  /** When something may be sent next. */
  next(): Instant | undefined {
    const at = this.#fresh.length > 0 ? this.#periodEnds : this.#repeats[0]?.at;
    return at === undefined || this.#left > 0 ? at : Math.max(at, this.#periodEnds);
  }
}
