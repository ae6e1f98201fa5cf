/**
 * How well this member seems to do itself. Lifeguard, "Local Health Multiplier": who misses answers that others get
 * should probe more slowly and accuse later. 0 is healthy.
 */
export class Awareness {
  readonly #maxMultiplier: number;
  #score = 0;

  /** The score stays below `maxMultiplier`, so that timeouts are multiplied by it at most. */
  constructor(maxMultiplier: number) {
    this.#maxMultiplier = maxMultiplier;
  }

  get score(): number {
    return this.#score;
  }

  apply(delta: number): void {
    this.#score = Math.max(0, Math.min(this.#maxMultiplier - 1, this.#score + delta));
  }

  /** A timeout, longer the worse this member does. */
  scale(timeoutMs: number): number {
    return timeoutMs * (this.#score + 1);
  }
}
