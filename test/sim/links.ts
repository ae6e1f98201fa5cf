/**
 * Who reaches whom on the simulated segment, and how well. A direction may be cut by several faults at once; it carries
 * again when all of them are over.
 */

import type { Random } from "../../speaker/machine.ts";

/** Number of a host on the segment. */
export type HostId = number;

/** What the segment does to a packet that it carries. Probabilities are in [0, 1]; times in milliseconds. */
export interface LinkQuality {
  readonly latencyMs: number;
  /** Each packet takes up to so much longer: those sent close together overtake each other. */
  readonly jitterMs: number;
  readonly loss: number;
  readonly duplication: number;
  /** Part of the packets that take `lateMs` longer. */
  readonly late: number;
  readonly lateMs: number;
}

export const GOOD_LINKS: LinkQuality = { latencyMs: 0.1, jitterMs: 0.2, loss: 0, duplication: 0, late: 0, lateMs: 0 };

export interface LinkCounters {
  sent: number;
  /** Lost by chance. */
  lost: number;
  /** Lost because the direction was cut. */
  cut: number;
  duplicated: number;
  late: number;
}

export class Links {
  readonly counters: LinkCounters = { sent: 0, lost: 0, cut: 0, duplicated: 0, late: 0 };
  quality: LinkQuality = GOOD_LINKS;
  readonly #hosts: number;
  readonly #cuts: Uint8Array;
  readonly #random: Random;

  constructor(hosts: number, random: Random) {
    this.#hosts = hosts;
    this.#cuts = new Uint8Array(hosts * hosts);
    this.#random = random;
  }

  cut(from: HostId, to: HostId): void {
    const index = from * this.#hosts + to;
    this.#cuts[index] = (this.#cuts[index] ?? 0) + 1;
  }

  mend(from: HostId, to: HostId): void {
    const index = from * this.#hosts + to;
    const cuts = this.#cuts[index] ?? 0;
    if (cuts === 0) throw new Error(`the link from ${from} to ${to} is not cut`);
    this.#cuts[index] = cuts - 1;
  }

  isCut(from: HostId, to: HostId): boolean {
    return this.#cuts[from * this.#hosts + to] !== 0;
  }

  /** Time that a packet takes, or undefined when it does not get through. */
  transit(from: HostId, to: HostId): number | undefined {
    const { quality, counters } = this;
    counters.sent += 1;
    if (this.isCut(from, to)) {
      counters.cut += 1;
      return undefined;
    }
    if (quality.loss > 0 && this.#random.next() < quality.loss) {
      counters.lost += 1;
      return undefined;
    }
    return this.#time();
  }

  /** Time that a second copy of a packet takes, when there is one. */
  duplicate(): number | undefined {
    const { duplication } = this.quality;
    if (duplication === 0 || this.#random.next() >= duplication) return undefined;
    this.counters.duplicated += 1;
    return this.#time();
  }

  #time(): number {
    const { latencyMs, jitterMs, late, lateMs } = this.quality;
    const time = latencyMs + jitterMs * this.#random.next();
    if (late === 0 || this.#random.next() >= late) return time;
    this.counters.late += 1;
    return time + lateMs;
  }
}
