/**
 * Which of a sender's sequence numbers were seen: the memberlist frame has no replay counter, so Herald's messages carry
 * one. The shape is that of RFC 4303 §3.4.3: a window below the highest number, so that reordering is no replay.
 */

/** Numbers below the highest one that are told apart; anything older is taken for a replay. */
export const REPLAY_WINDOW = 256;

export class ReplayWindow {
  #highest = -1;
  readonly #seen = new Set<number>();

  /** The highest number seen; -1 before the first. */
  get highest(): number {
    return this.#highest;
  }

  /** Takes a number in; false when it was seen before, or is too old to tell. */
  take(sequence: number): boolean {
    if (sequence <= this.#highest - REPLAY_WINDOW || this.#seen.has(sequence)) return false;
    this.#seen.add(sequence);
    if (sequence > this.#highest) {
      this.#highest = sequence;
      // Twice the window before the sweep: a sweep per message would cost more than the memory.
      if (this.#seen.size > 2 * REPLAY_WINDOW) for (const old of this.#seen) if (old <= sequence - REPLAY_WINDOW) this.#seen.delete(old);
    }
    return true;
  }
}
