/**
 * A node's own list of claims, as it travels: entries, facts, a version that grows by one with each step, and a hash that
 * says whether two copies are the same. The hash is the XOR of a 48-bit hash of the facts and of each entry, so that it
 * follows a change without looking at the rest of the list.
 */
import { hash } from "node:crypto";

import type { ClaimEntry, ClaimsDigest, ClaimsUpdate, NodeFacts } from "./claims-protocol.ts";

/** Entries of one owner that are kept; an update beyond that is cut. */
export const MAX_ENTRIES_PER_OWNER = 20_000;
/** Most entries and removed addresses of one delta. */
export const MAX_DELTA_ENTRIES = 90;
/** Most bytes that a delta may need, for it to fit a datagram; its fixed part, and its names, are taken off. */
export const MAX_DELTA_BYTES = 1250;
const DELTA_FIXED_BYTES = 60;

/** 2^24: numbers of 48 bits are XORed as two halves, since `^` knows only 32 bits. */
const HALF = 0x100_0000;
const HEX_DIGITS_OF_48_BITS = 12;

/** The first 48 bits of the text's SHA-256. */
export function hash48(text: string): number {
  return Number.parseInt(hash("sha256", text, "hex").slice(0, HEX_DIGITS_OF_48_BITS), 16);
}

/** XOR of two numbers of 48 bits. */
export function xor48(a: number, b: number): number {
  const high = Math.floor(a / HALF) ^ Math.floor(b / HALF);
  return high * HALF + ((a % HALF) ^ (b % HALF));
}

/** What an entry adds to its list's hash: 48 bits. */
export function entryHash(entry: ClaimEntry): number {
  return hash48(`${entry.address} ${entry.state} ${entry.term} ${entry.witnessed ? 1 : 0} ${entry.successor}`);
}

/** What the facts add to the list's hash: 48 bits. */
export function factsHash(facts: NodeFacts): number {
  return hash48(`facts ${facts.ready ? 1 : 0}${facts.fresh ? 1 : 0}${facts.settled ? 1 : 0} ${facts.template}`);
}

/** Whether two entries say the same. */
export function sameEntry(a: ClaimEntry, b: ClaimEntry): boolean {
  return a.term === b.term && a.state === b.state && a.witnessed === b.witnessed && a.successor === b.successor && a.address === b.address;
}

/** Whether the entry's owner announces the address: it claims it, or still answers while it hands it over. */
export function isHolding(entry: ClaimEntry): boolean {
  return entry.state === "claim" || entry.state === "releasing";
}

/** See the head of the file. Changes gather until `takeDeltas` makes versions of them. */
export class OwnList {
  readonly #owner: string;
  #boot: number;
  readonly #entries = new Map<string, { readonly entry: ClaimEntry; readonly hash: number }>();
  readonly #changed = new Set<string>();
  #facts: NodeFacts;
  /** True until the first delta, which is the whole list. */
  #isNew = true;
  #factsChanged = true;
  #version = 0;
  /** Of the last version: of what others can know. */
  #hash: number;
  /** The entries as the last version has them, of those that changed since. */
  readonly #before = new Map<string, number>();
  #factsBefore: number;

  constructor({ owner, boot, facts }: { owner: string; boot: number; facts: NodeFacts }) {
    this.#owner = owner;
    this.#boot = boot;
    this.#facts = facts;
    this.#factsBefore = factsHash(facts);
    this.#hash = this.#factsBefore;
  }

  get boot(): number {
    return this.#boot;
  }

  /** Others take the list for that of an earlier start: it goes on under a later one. */
  restartAs(boot: number): void {
    this.#boot = boot;
    // A version of its own, so that others ask for the list.
    this.#factsChanged = true;
  }

  get facts(): NodeFacts {
    return this.#facts;
  }

  get size(): number {
    return this.#entries.size;
  }

  get(address: string): ClaimEntry | undefined {
    return this.#entries.get(address)?.entry;
  }

  set(entry: ClaimEntry): void {
    const before = this.#entries.get(entry.address);
    if (before !== undefined && sameEntry(before.entry, entry)) return;
    this.#touch(entry.address, before?.hash);
    this.#entries.set(entry.address, { entry, hash: entryHash(entry) });
  }

  remove(address: string): void {
    const before = this.#entries.get(address);
    if (before === undefined) return;
    this.#touch(address, before.hash);
    this.#entries.delete(address);
  }

  setFacts(change: Partial<NodeFacts>): void {
    const facts = { ...this.#facts, ...change };
    if (facts.ready === this.#facts.ready && facts.fresh === this.#facts.fresh && facts.settled === this.#facts.settled) return;
    this.#facts = facts;
    this.#factsChanged = true;
  }

  /** The last version that `takeDeltas` made. */
  digest(): ClaimsDigest {
    return { owner: this.#owner, boot: this.#boot, version: this.#version, hash: this.#hash };
  }

  /** The whole list, as of the last version. Call it when nothing has changed since. */
  whole(): ClaimsUpdate {
    return { ...this.digest(), facts: this.#facts, base: undefined, entries: [...this.#entries.values()].map(({ entry }) => entry), removed: [] };
  }

  /** These entries once more, as a step that changes nothing: whoever has another version sees that it is behind. */
  repeat(addresses: readonly string[]): ClaimsUpdate {
    const entries = addresses.flatMap((address) => this.get(address) ?? []);
    return { ...this.digest(), facts: this.#facts, base: this.#version, entries, removed: [] };
  }

  /** Whether the entries of an update of this list are still in it, with the same terms. */
  stillSays(update: ClaimsUpdate): boolean {
    return update.entries.every(({ address, term }) => this.get(address)?.term === term);
  }

  /** What changed since the last call, in steps that each fit a datagram and make one version; [] when nothing did. */
  takeDeltas(): ClaimsUpdate[] {
    if (this.#changed.size === 0 && !this.#factsChanged) return [];
    this.#hash = xor48(this.#hash, xor48(this.#factsBefore, factsHash(this.#facts)));
    this.#factsBefore = factsHash(this.#facts);
    this.#factsChanged = false;
    const updates: ClaimsUpdate[] = [];
    // The owner's name is in there twice: once as the sender's.
    const room = MAX_DELTA_BYTES - DELTA_FIXED_BYTES - 2 * this.#owner.length - this.#facts.template.length;
    let step: string[] = [];
    let bytes = 0;
    for (const address of this.#changed) {
      const needed = entryBytes(address, this.get(address)?.successor ?? "");
      if (step.length >= MAX_DELTA_ENTRIES || (step.length > 0 && bytes + needed > room)) {
        updates.push(this.#delta(step));
        step = [];
        bytes = 0;
      }
      step.push(address);
      bytes += needed;
    }
    updates.push(this.#delta(step));
    this.#changed.clear();
    this.#before.clear();
    return updates;
  }

  #touch(address: string, hashBefore: number | undefined): void {
    if (this.#changed.has(address)) return;
    this.#changed.add(address);
    if (hashBefore !== undefined) this.#before.set(address, hashBefore);
  }

  #delta(addresses: readonly string[]): ClaimsUpdate {
    const entries: ClaimEntry[] = [];
    const removed: string[] = [];
    for (const address of addresses) {
      const before = this.#before.get(address);
      if (before !== undefined) this.#hash = xor48(this.#hash, before);
      const now = this.#entries.get(address);
      if (now === undefined) {
        removed.push(address);
        continue;
      }
      this.#hash = xor48(this.#hash, now.hash);
      entries.push(now.entry);
    }
    const base = this.#isNew ? undefined : this.#version;
    this.#isNew = false;
    this.#version += 1;
    return { ...this.digest(), facts: this.#facts, base, entries, removed };
  }
}

/** What an entry needs at most on the wire: a byte of state and flags, the address with its length, 48 bits of term, and the successor's name and its number. */
function entryBytes(address: string, successor: string): number {
  const addressBytes = address.includes(":") ? 16 : 4;
  return 1 + 1 + addressBytes + 6 + (successor === "" ? 0 : 3 + successor.length);
}
