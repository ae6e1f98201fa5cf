/**
 * How often one Service may be written. Where somebody else writes the same status again and again (two load balancers that
 * both take the Service for theirs), each of our writes would be answered by one of his, as fast as the API server can.
 */

/** Writes of one Service that may follow each other at once, and the time after which one more may (milliseconds). */
const BURST = 10;
const REFILL_MS = 2_000;

export class WritePace {
  /** By Service, the time when it may be written as often as ever; longest not written first. */
  readonly #calmAt = new Map<string, number>();
  readonly #contested = new Set<string>();

  /** How long the next write of this Service has to wait (milliseconds); mostly 0. */
  waitMs(service: string, now: number): number {
    return Math.max(0, (this.#calmAt.get(service) ?? now) - now - (BURST - 1) * REFILL_MS);
  }

  /** Takes note of a write. */
  note(service: string, now: number): void {
    const calmAt = Math.max(this.#calmAt.get(service) ?? now, now) + REFILL_MS;
    this.#calmAt.delete(service);
    this.#calmAt.set(service, calmAt);
    for (const [oldest, at] of this.#calmAt) {
      if (at > now) break;
      this.forget(oldest);
    }
  }

  /** Whether this is the first time that it has to wait since it was written as seldom as others. */
  isNews(service: string): boolean {
    const { size } = this.#contested;
    return this.#contested.add(service).size > size;
  }

  /** It is gone. */
  forget(service: string): void {
    this.#calmAt.delete(service);
    this.#contested.delete(service);
  }

  /** Services remembered. */
  get size(): number {
    return this.#calmAt.size;
  }
}
