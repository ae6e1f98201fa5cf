/**
 * Who is known, and in what order they are probed: a shuffled ring, so that each member is probed once per round and a
 * failure is found within two rounds. SWIM §4.3.
 */

import type { Instant, Random } from "../machine.ts";
import type { Member, MemberState } from "./membership-protocol.ts";
import type { Endpoint, ProtocolVersions } from "./message.ts";
import type { Suspicion } from "./suspicion.ts";

/** Members beyond this many are not taken in: news of them are dropped. */
export const MAX_MEMBERS = 5_000;

export interface MemberRecord {
  readonly node: string;
  endpoint: Endpoint;
  state: MemberState;
  incarnation: number;
  meta: Uint8Array;
  versions: ProtocolVersions;
  stateChangedAt: Instant;
  /** There while the state is `suspect`. */
  suspicion: Suspicion | undefined;
}

/** Dead, or gone by itself. */
export function isGone({ state }: MemberRecord): boolean {
  return state === "dead" || state === "left";
}

/** The record as others may see it. */
export function memberOf({ node, endpoint, state, incarnation, meta }: MemberRecord): Member {
  return { node, endpoint, state, incarnation, meta };
}

export class MemberList {
  readonly #random: Random;
  readonly #byName = new Map<string, MemberRecord>();
  #ring: MemberRecord[] = [];
  #nextInRing = 0;

  constructor(random: Random) {
    this.#random = random;
  }

  /** All that are known, this node and the dead among them. */
  get size(): number {
    return this.#ring.length;
  }

  get(node: string): MemberRecord | undefined {
    return this.#byName.get(node);
  }

  values(): IterableIterator<MemberRecord> {
    return this.#byName.values();
  }

  /** Takes in a member that was not known, at a random place of the ring: else newcomers would all be probed last. */
  add(record: MemberRecord): void {
    this.#byName.set(record.node, record);
    this.#ring.push(record);
    this.#swap(this.#ring.length - 1, this.#below(this.#ring.length));
  }

  /**
   * The next of the ring that is not gone; `except` is passed over. At the end of the ring those that have been gone since
   * before `forgetBefore` are forgotten, and the rest is shuffled.
   */
  nextToProbe(except: string, forgetBefore: Instant): MemberRecord | undefined {
    for (let wraps = 0; wraps < 2; ) {
      const record = this.#ring[this.#nextInRing];
      if (record === undefined) {
        wraps += 1;
        this.#nextInRing = 0;
        this.#forget(forgetBefore);
        this.#shuffle(this.#ring);
        continue;
      }
      this.#nextInRing += 1;
      if (record.node !== except && !isGone(record)) return record;
    }
    return undefined;
  }

  /** Up to `count` members, different ones, at random among the wanted. */
  pick(count: number, wanted: (record: MemberRecord) => boolean): MemberRecord[] {
    const picked: MemberRecord[] = [];
    if (this.#ring.length < 3 * count) {
      // Few: look at everybody, so that nobody is missed.
      const all = [...this.#ring];
      this.#shuffle(all);
      for (const record of all) {
        if (picked.length >= count) break;
        if (wanted(record)) picked.push(record);
      }
      return picked;
    }
    for (let tries = 0; tries < 3 * this.#ring.length && picked.length < count; tries += 1) {
      const record = this.#ring[this.#below(this.#ring.length)];
      if (record !== undefined && wanted(record) && !picked.includes(record)) picked.push(record);
    }
    return picked;
  }

  #forget(before: Instant): void {
    this.#ring = this.#ring.filter((record) => {
      if (!isGone(record) || record.stateChangedAt >= before) return true;
      this.#byName.delete(record.node);
      return false;
    });
  }

  /** Fisher and Yates. */
  #shuffle(records: MemberRecord[]): void {
    for (let last = records.length - 1; last > 0; last -= 1) this.#swap(last, this.#below(last + 1), records);
  }

  #swap(left: number, right: number, records = this.#ring): void {
    const a = records[left];
    const b = records[right];
    if (a === undefined || b === undefined) return;
    records[left] = b;
    records[right] = a;
  }

  #below(limit: number): number {
    return Math.min(limit - 1, Math.floor(this.#random.next() * limit));
  }
}
