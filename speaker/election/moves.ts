/** How often a group moved lately though nobody died, and how long to wait before it moves again: views that contradict each other must not make it bounce at the speed of gossip. */
import type { Instant } from "../machine.ts";

/** What is displaced or handed over again waits so long, doubled with each move, up to MAX_BACK_OFF_MS. */
export const BACK_OFF_MS = 1000;
export const MAX_BACK_OFF_MS = 60_000;
/** Moves are forgotten when it stayed for so long. */
export const QUIET_MS = 120_000;
/** Moves that an owner may make of its own accord without waiting: a rolling update needs two. */
export const FREE_MOVES = 2;

export class Moves {
  #count = 0;
  #last: Instant = -Infinity;

  note(now: Instant): void {
    this.#count = this.#recent(now) + 1;
    this.#last = now;
  }

  /** Before this node takes it from an owner that is alive, ms. */
  displaceDelayMs(now: Instant): number {
    return Math.min(BACK_OFF_MS * 2 ** this.#recent(now), MAX_BACK_OFF_MS);
  }

  /** Before its owner hands it over, ms. */
  handoverDelayMs(now: Instant): number {
    const beyond = this.#recent(now) - FREE_MOVES;
    return beyond <= 0 ? 0 : Math.min(BACK_OFF_MS * 2 ** (beyond - 1), MAX_BACK_OFF_MS);
  }

  #recent(now: Instant): number {
    return now - this.#last >= QUIET_MS ? 0 : this.#count;
  }
}
