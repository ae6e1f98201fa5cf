/**
 * How long a suspected member has to speak up before it is declared dead. Lifeguard (Dadgar, Phillips, Currey, 2017),
 * "Local Health Aware Suspicion": a suspicion starts with a long timeout that shrinks as others confirm it.
 */

import type { Instant } from "../machine.ts";

/** Confirmations beyond the first suspicion that are waited for: memberlist's multiplier less two. */
const EXPECTED_BELOW_MULTIPLIER = 2;

/** The shortest suspicion: `multiplier` x max(1, log10 of the members) x the probe interval. Milliseconds. */
export function suspicionTimeoutMs({ multiplier, members, probeIntervalMs }: { readonly multiplier: number; readonly members: number; readonly probeIntervalMs: number }): number {
  const scale = Math.max(1, Math.log10(Math.max(1, members)));
  // Whole thousandths, as memberlist cuts them: members that judge alike must count alike.
  return (multiplier * Math.floor(scale * 1000) * probeIntervalMs) / 1000;
}

export interface SuspicionTime {
  /** Confirmations heard, the first suspicion not counted. */
  readonly confirmations: number;
  /** Confirmations that bring the timeout down to its minimum; at least 1. */
  readonly expected: number;
  readonly elapsedMs: number;
  readonly minMs: number;
  readonly maxMs: number;
}

/** What is left of a suspicion, in milliseconds; negative when it has run out already. */
export function remainingSuspicionMs({ confirmations, expected, elapsedMs, minMs, maxMs }: SuspicionTime): number {
  const fraction = Math.log(confirmations + 1) / Math.log(expected + 1);
  return Math.max(minMs, Math.floor(maxMs - fraction * (maxMs - minMs))) - elapsedMs;
}

export interface SuspicionOptions {
  /** Who suspected first: does not count as a confirmation when it comes around again. */
  readonly from: string;
  readonly multiplier: number;
  readonly maxTimeoutMultiplier: number;
  /** All known members, this one and the suspected one among them. */
  readonly members: number;
  readonly probeIntervalMs: number;
}

/** One suspicion under way. */
export class Suspicion {
  readonly #from = new Set<string>();
  readonly #expected: number;
  readonly #minMs: number;
  readonly #maxMs: number;
  #startedAt: Instant;

  constructor({ from, multiplier, maxTimeoutMultiplier, members, probeIntervalMs }: SuspicionOptions, now: Instant) {
    const wanted = multiplier - EXPECTED_BELOW_MULTIPLIER;
    // The suspected member and this one confirm nothing; with too few others there is nobody to wait for.
    this.#expected = members - 2 < wanted ? 0 : wanted;
    this.#minMs = suspicionTimeoutMs({ multiplier, members, probeIntervalMs });
    this.#maxMs = maxTimeoutMultiplier * this.#minMs;
    this.#startedAt = now;
    this.#from.add(from);
  }

  /** When the member is to be declared dead. */
  get deadline(): Instant {
    if (this.#expected < 1) return this.#startedAt + this.#minMs;
    return this.#startedAt + remainingSuspicionMs({ confirmations: this.#from.size - 1, expected: this.#expected, elapsedMs: 0, minMs: this.#minMs, maxMs: this.#maxMs });
  }

  /** Somebody else suspects, too. True when that is news worth passing on. */
  confirm(from: string): boolean {
    if (this.#from.size > this.#expected || this.#from.has(from)) return false;
    this.#from.add(from);
    return true;
  }

  /** Gives the member its full time again: this process slept and could not have heard it. Confirmations stay. */
  restart(now: Instant): void {
    this.#startedAt = now;
  }
}
