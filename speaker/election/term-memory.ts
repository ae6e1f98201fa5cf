/**
 * The highest term seen of each address, so that terms only grow: for ever while the address is in the table, and for a
 * minute after it left (or before it came), because gossip and watches overtake each other.
 */
import type { Instant } from "../machine.ts";

/** How long an address that is not in the table is remembered. */
export const UNKNOWN_KEPT_MS = 60_000;
/** Addresses remembered that are not in the table. */
export const MAX_UNKNOWN_ADDRESSES = 65_536;

export class TermMemory {
  readonly #known = new Map<string, number>();
  /** In the order in which they were last raised: the oldest goes first. */
  readonly #unknown = new Map<string, { readonly term: number; readonly at: Instant }>();

  /** The highest term seen, 0 for none. */
  get(address: string): number {
    return this.#known.get(address) ?? this.#unknown.get(address)?.term ?? 0;
  }

  /** The address is in the table from now on. */
  know(address: string): void {
    if (this.#known.has(address)) return;
    this.#known.set(address, this.#unknown.get(address)?.term ?? 0);
    this.#unknown.delete(address);
  }

  /** The address left the table. */
  unknow(address: string, now: Instant): void {
    const term = this.#known.get(address);
    if (term === undefined) return;
    this.#known.delete(address);
    this.#remember(address, term, now);
  }

  /** A claim of that term was seen. False when it is not remembered, for want of room. */
  raise(address: string, term: number, now: Instant): boolean {
    const known = this.#known.get(address);
    if (known !== undefined) {
      if (term > known) this.#known.set(address, term);
      return true;
    }
    return this.#remember(address, Math.max(term, this.#unknown.get(address)?.term ?? 0), now);
  }

  #remember(address: string, term: number, now: Instant): boolean {
    for (const [oldest, { at }] of this.#unknown) {
      if (now - at < UNKNOWN_KEPT_MS) break;
      this.#unknown.delete(oldest);
    }
    this.#unknown.delete(address);
    if (this.#unknown.size >= MAX_UNKNOWN_ADDRESSES) return false;
    this.#unknown.set(address, { term, at: now });
    return true;
  }
}
