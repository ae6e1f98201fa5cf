/**
 * Which of a sender's sequence numbers were seen: the memberlist frame has no replay counter, so Herald's messages carry
 * one. The shape is that of RFC 4303 §3.4.3: a window below the highest number, so that reordering is no replay.
 */

/** Numbers below the highest one that are told apart; anything older is taken for a replay. */
export const REPLAY_WINDOW = 256;

const WORD_BITS = 32;

export class ReplayWindow {
  #highest = -1;
  /** A bit for each number of the window, at its remainder. One window is kept for each member, so it had better be small. */
  readonly #seen = new Uint32Array(REPLAY_WINDOW / WORD_BITS);

  /** The highest number seen; -1 before the first. */
  get highest(): number {
    return this.#highest;
  }

  /** Takes a number in, a whole one of at most 53 bits; false when it was seen before, or is too old to tell. */
  take(sequence: number): boolean {
    if (sequence <= this.#highest - REPLAY_WINDOW) return false;
    if (sequence > this.#highest) {
      const first = Math.max(this.#highest + 1, sequence - REPLAY_WINDOW + 1);
      for (let skipped = first; skipped < sequence; skipped++) this.#mark(skipped, false);
      this.#highest = sequence;
    } else if (this.#isMarked(sequence)) {
      return false;
    }
    this.#mark(sequence, true);
    return true;
  }

  #isMarked(sequence: number): boolean {
    const bit = sequence % REPLAY_WINDOW;
    return ((this.#seen[Math.floor(bit / WORD_BITS)] ?? 0) & (1 << (bit % WORD_BITS))) !== 0;
  }

  #mark(sequence: number, isSeen: boolean): void {
    const bit = sequence % REPLAY_WINDOW;
    const at = Math.floor(bit / WORD_BITS);
    const mask = 1 << (bit % WORD_BITS);
    const word = this.#seen[at] ?? 0;
    this.#seen[at] = isSeen ? word | mask : word & ~mask;
  }
}
