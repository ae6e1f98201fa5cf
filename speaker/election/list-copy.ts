/**
 * A copy of another node's list of claims, brought up to date by what its owner sends: whole lists and steps. The hash is
 * computed here and not believed, so that a copy that went wrong shows.
 */
import { entryHash, factsHash, isHolding, MAX_ENTRIES_PER_OWNER, sameEntry, xor48 } from "./claim-list.ts";
import type { ClaimEntry, ClaimsUpdate, NodeFacts } from "./claims-protocol.ts";

/**
 * Terms beyond this are not heeded: it is the year 6429 in milliseconds, and leaves room to count on from in 48 bits. Those of a
 * clock that is wrong are: who refused them would announce what their owner announces.
 */
export const MAX_TERM = 2 ** 47;

interface Kept {
  readonly entry: ClaimEntry;
  readonly hash: number;
  /** Its term is beyond MAX_TERM; it is kept, for the hash covers it. */
  readonly refused: boolean;
}

/** What an update did. */
export interface ListChange {
  /** Addresses whose entry is another now. */
  readonly changed: readonly string[];
  /** Entries whose term is further ahead than clocks should be apart. */
  readonly ahead: number;
  /** Entries left out for want of room. */
  readonly cut: number;
}

export class ListCopy {
  readonly owner: string;
  readonly boot: number;
  #facts: NodeFacts;
  #version: number;
  #hash: number;
  #vetoes = 0;
  readonly #entries = new Map<string, Kept>();

  /** Starts empty; `replace` or `step` fill it. */
  constructor({ owner, boot, facts }: { owner: string; boot: number; facts: NodeFacts }) {
    this.owner = owner;
    this.boot = boot;
    this.#facts = facts;
    this.#version = 0;
    this.#hash = factsHash(facts);
  }

  get facts(): NodeFacts {
    return this.#facts;
  }

  get version(): number {
    return this.#version;
  }

  get hash(): number {
    return this.#hash;
  }

  /** How many addresses its owner cannot announce. */
  get vetoes(): number {
    return this.#vetoes;
  }

  /** The entry that is to be heeded. */
  get(address: string): ClaimEntry | undefined {
    const kept = this.#entries.get(address);
    return kept === undefined || kept.refused ? undefined : kept.entry;
  }

  has(address: string): boolean {
    return this.#entries.has(address);
  }

  addresses(): IterableIterator<string> {
    return this.#entries.keys();
  }

  /** The entries by which the owner says that it announces an address. */
  *holding(): Generator<ClaimEntry> {
    for (const { entry, refused } of this.#entries.values()) if (!refused && isHolding(entry)) yield entry;
  }

  /** The whole list, to be passed on. */
  toUpdate(): ClaimsUpdate {
    const { owner, boot } = this;
    return { owner, boot, facts: this.#facts, base: undefined, version: this.#version, hash: this.#hash, entries: [...this.#entries.values()].map(({ entry }) => entry), removed: [] };
  }

  /** Becomes what the whole list says. Terms above `expectedTerm` are counted as ahead. */
  replace(update: ClaimsUpdate, expectedTerm: number): ListChange {
    const named = new Set<string>();
    for (const { address } of update.entries) named.add(address);
    const removed = [...this.#entries.keys()].filter((address) => !named.has(address));
    return this.#apply(update, update.entries, removed, expectedTerm);
  }

  /** Applies a step on top of the version that is here. */
  step(update: ClaimsUpdate, expectedTerm: number): ListChange {
    return this.#apply(update, update.entries, update.removed, expectedTerm);
  }

  #apply(update: ClaimsUpdate, entries: readonly ClaimEntry[], removed: readonly string[], expectedTerm: number): ListChange {
    const changed: string[] = [];
    let ahead = 0;
    let cut = 0;
    for (const address of removed) {
      const before = this.#entries.get(address);
      if (before === undefined) continue;
      this.#hash = xor48(this.#hash, before.hash);
      this.#entries.delete(address);
      if (before.entry.state === "veto") this.#vetoes -= 1;
      changed.push(address);
    }
    for (const entry of entries) {
      const before = this.#entries.get(entry.address);
      if (before !== undefined && sameEntry(before.entry, entry)) continue;
      if (before === undefined && this.#entries.size >= MAX_ENTRIES_PER_OWNER) {
        cut += 1;
        continue;
      }
      const kept: Kept = { entry, hash: entryHash(entry), refused: entry.term > MAX_TERM };
      if (entry.term > expectedTerm) ahead += 1;
      this.#hash = xor48(xor48(this.#hash, before?.hash ?? 0), kept.hash);
      this.#entries.set(entry.address, kept);
      this.#vetoes += Number(entry.state === "veto") - Number(before?.entry.state === "veto");
      changed.push(entry.address);
    }
    this.#hash = xor48(xor48(this.#hash, factsHash(this.#facts)), factsHash(update.facts));
    this.#facts = update.facts;
    this.#version = update.version;
    return { changed, ahead, cut };
  }
}
