/**
 * What this node itself sees of one peer that it observes: for how long it is silent, what its kernel answers, and what
 * class of death that amounts to.
 *
 * | silence | |
 * |---|---|
 * | up to `askAfterMs` | well |
 * | from then on | suspected: the kernel is asked every `askIntervalMs` |
 * | `powerOffAfterMs`, and no answer for `kernelSilentForMs` | class silent |
 * | TCP refused at any time of the suspicion | class refused |
 * | `pausedAfterMs`, the kernel answers | class paused |
 */

import type { Instant } from "../machine.ts";
import type { DetectionProfile, Question, ReportClass } from "./detection-protocol.ts";

export type DeathClass = Exclude<ReportClass, "heard">;

/**
 * A peer must have been heard so often before its process's silence means a pause: before that it may not know yet that
 * it should beat to this node. (That its kernel is silent or refuses means something from the start.)
 */
export const BEATS_BEFORE_PAUSE = 3;
/** Silence after which the kernel is asked SLOW_FACTOR times more rarely: some peers are never heard here, though they live. */
export const SLOW_AFTER_MS = 5_000;
export const SLOW_FACTOR = 10;

interface Suspicion {
  readonly since: Instant;
  nextAsk: Instant;
  /** When its kernel last answered anything. */
  answeredAt: Instant | undefined;
  refused: boolean;
}

export class PeerWatch {
  readonly #profile: DetectionProfile;
  #silentSince: Instant;
  #heardTimes = 0;
  #suspicion: Suspicion | undefined;

  /** Counts as heard now. */
  constructor(profile: DetectionProfile, now: Instant) {
    this.#profile = profile;
    this.#silentSince = now;
  }

  get silentSince(): Instant {
    return this.#silentSince;
  }

  /** Since when it is suspected, and its kernel asked. */
  get suspectedSince(): Instant | undefined {
    return this.#suspicion?.since;
  }

  heard(now: Instant): void {
    this.#heardTimes += 1;
    this.restart(now);
  }

  /** Silence and suspicion start anew: what was measured was not its silence. */
  restart(now: Instant): void {
    this.#silentSince = now;
    this.#suspicion = undefined;
  }

  /** Its kernel answered. Whoever is not suspected was not asked, or too long ago. */
  answered(question: Question, result: "answered" | "refused", now: Instant): void {
    if (this.#suspicion === undefined) return;
    this.#suspicion.answeredAt = now;
    // ARP and ICMP say nothing about the process; an accepted connection says that somebody listens (again).
    if (question === "tcp") this.#suspicion.refused = result === "refused";
  }

  /** Begins a suspicion if one is due, and says so. */
  suspect(now: Instant): boolean {
    if (this.#suspicion !== undefined || now < this.#silentSince + this.#profile.askAfterMs) return false;
    this.#suspicion = { since: now, nextAsk: now, answeredAt: undefined, refused: false };
    return true;
  }

  /** Whether its kernel is to be asked now; the next time is an interval later. */
  takeAsk(now: Instant): boolean {
    if (this.#suspicion === undefined || now < this.#suspicion.nextAsk) return false;
    this.#suspicion.nextAsk = now + this.#profile.askIntervalMs * this.#slowness(now);
    return true;
  }

  /** What it looks like at `now`. */
  class(now: Instant): DeathClass | undefined {
    if (this.#suspicion === undefined) return undefined;
    const silentFor = now - this.#silentSince;
    if (now >= this.#kernelSilentAt(this.#suspicion) && silentFor >= this.#profile.powerOffAfterMs) return "silent";
    if (this.#suspicion.refused) return "refused";
    const isPaused = this.#suspicion.answeredAt !== undefined && silentFor >= this.#profile.pausedAfterMs && this.#heardTimes >= BEATS_BEFORE_PAUSE;
    return isPaused ? "paused" : undefined;
  }

  /** When to look again, given that `now` has been looked at. */
  nextLook(now: Instant): Instant {
    if (this.#suspicion === undefined) return this.#silentSince + this.#profile.askAfterMs;
    const { powerOffAfterMs, pausedAfterMs } = this.#profile;
    let next = this.#suspicion.nextAsk;
    for (const turn of [this.#silentSince + powerOffAfterMs, this.#silentSince + pausedAfterMs, this.#kernelSilentAt(this.#suspicion)]) {
      if (turn > now && turn < next) next = turn;
    }
    return next;
  }

  #kernelSilentAt(suspicion: Suspicion): Instant {
    const { kernelSilentForMs, askIntervalMs } = this.#profile;
    const { since, answeredAt } = suspicion;
    // Right after an answer it may have stopped, and not been asked again for an interval.
    const from = answeredAt === undefined ? since : answeredAt + askIntervalMs;
    // Asked more rarely, it answers more rarely.
    return from + kernelSilentForMs * this.#slowness(from + kernelSilentForMs);
  }

  #slowness(now: Instant): number {
    return now - this.#silentSince >= SLOW_AFTER_MS ? SLOW_FACTOR : 1;
  }
}
