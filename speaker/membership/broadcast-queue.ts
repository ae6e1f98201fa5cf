/**
 * News that wait to be gossiped: one message per member, the newest. Each is sent a number of times that grows with the
 * logarithm of the members, the least sent first, so that fresh news pass old ones. SWIM (Das, Gupta, Motivala, 2002), §4.1.
 */

import type { AliveMessage, DeadMessage, SuspectMessage } from "./message.ts";

/** News about a member. */
export type News = AliveMessage | SuspectMessage | DeadMessage;

/** How many messages that do not fit may be looked at in vain before a packet is called full. */
const MAX_MISFITS = 16;

/** How often each piece of news is sent among so many members. */
export function retransmitLimit(multiplier: number, members: number): number {
  return multiplier * Math.ceil(Math.log10(members + 1));
}

interface Entry {
  readonly message: News;
  readonly bytes: number;
  sent: number;
}

export interface Room {
  /** Bytes that are free in the packet. */
  readonly bytes: number;
  /** After being sent so often a message has done its work. */
  readonly limit: number;
}

/** As many entries as members are named to it: the list of members is what bounds it. */
export class BroadcastQueue {
  readonly #entries = new Map<string, Entry>();
  /** By how often they were sent; in each, the oldest first. */
  readonly #tiers: Map<string, Entry>[] = [];

  get length(): number {
    return this.#entries.size;
  }

  has(node: string): boolean {
    return this.#entries.has(node);
  }

  /** Replaces what was queued about the same member. `bytes`: what it takes in a packet. */
  add(message: News, bytes: number): void {
    this.#remove(message.node);
    const entry = { message, bytes, sent: 0 };
    this.#entries.set(message.node, entry);
    this.#tier(0).set(message.node, entry);
  }

  /** What to send now. Counts as sent. */
  take({ bytes, limit }: Room): News[] {
    if (this.#entries.size === 0) return [];
    const taken: Entry[] = [];
    let free = bytes;
    let misfits = 0;
    for (const tier of this.#tiers) {
      for (const entry of tier.values()) {
        if (entry.bytes > free) {
          misfits += 1;
          if (misfits >= MAX_MISFITS) break;
          continue;
        }
        free -= entry.bytes;
        taken.push(entry);
      }
      if (misfits >= MAX_MISFITS) break;
    }
    // Only now, so that nothing is met again in the next tier.
    for (const entry of taken) this.#countSent(entry, limit);
    return taken.map(({ message }) => message);
  }

  #countSent(entry: Entry, limit: number): void {
    const { node } = entry.message;
    this.#tier(entry.sent).delete(node);
    entry.sent += 1;
    if (entry.sent >= limit) this.#entries.delete(node);
    else this.#tier(entry.sent).set(node, entry);
  }

  #remove(node: string): void {
    const entry = this.#entries.get(node);
    if (entry === undefined) return;
    this.#entries.delete(node);
    this.#tier(entry.sent).delete(node);
  }

  #tier(sent: number): Map<string, Entry> {
    for (let next = this.#tiers.length; next <= sent; next += 1) this.#tiers.push(new Map());
    const tier = this.#tiers[sent];
    if (tier === undefined) throw new Error(`no tier ${sent}`);
    return tier;
  }
}
