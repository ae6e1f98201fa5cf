/**
 * Who holds what, by the Service's name, for a million of them: a hash table with open addressing and linear probing. A Map
 * of objects would do, but it chains its entries, and each one on the way, dead ones too where names come and go, has it
 * look into another string far away in memory: a look-up among half a million names took a microsecond, half the time of
 * an allocation; and the objects, which live for long, kept the garbage collector busy for a quarter of it.
 *
 * What nearly all Services hold, one address for themselves, is four words that lie side by side: the hash of the name, the
 * number of the range's place, and the offset. It is made into an object when somebody asks; what else there is, is kept
 * as one. Memory is O(entries): a table that gets empty halves itself.
 */
import { HeldAddresses } from "./held-addresses.ts";
import { emptySlots } from "./offset-table.ts";
import { loadWords, offsetOfWords, words as offsetWords } from "./offset-words.ts";
import type { AddressPlace } from "./pool-table.ts";

/** Slots at least. */
const MIN_CAPACITY = 16;
/** Fullest before the table doubles: above that, probes get long. */
const MAX_LOAD = 0.75;
/** Emptiest before it halves; far enough from half of the above that a few come and go without effect. */
const MIN_LOAD = 0.15;

/** Words of a slot. */
const WIDTH = 4;
const HASH = 0;
const PLACE = 1;
const LOW = 2;
const HIGH = 3;
/** In place of a hash, in a slot that is free. */
const EMPTY = 0;

export class HoldingTable {
  readonly #places: readonly AddressPlace[];
  #size = 0;
  #mask = MIN_CAPACITY - 1;
  #words = new Int32Array(MIN_CAPACITY * WIDTH);
  /** By slot: the name, where the words say what it holds, or what is held; undefined where the slot is free. */
  #holders: (string | HeldAddresses | undefined)[] = emptySlots(MIN_CAPACITY);
  /** The name last searched for, unless things were moved since; its hash, and the slot where it is or, while it is not there, would go. */
  #lastName: string | undefined;
  #lastHash = EMPTY;
  #lastSlot = 0;

  /** @param places all places that anything held may be in, each under its `number`. */
  constructor(places: readonly AddressPlace[]) {
    this.#places = places;
  }

  /** Number of holders. */
  get size(): number {
    return this.#size;
  }

  /** Number of slots: what the memory follows. */
  get capacity(): number {
    return this.#mask + 1;
  }

  /** Whether the Service holds anything. */
  has(service: string): boolean {
    return this.#holders[this.#find(service)] !== undefined;
  }

  /** What the Service holds; an object of its own for each call. */
  get(service: string): HeldAddresses | undefined {
    return this.#at(this.#find(service));
  }

  /** Notes what its Service holds from now on. Amortised O(1). */
  set(held: HeldAddresses): void {
    const slot = this.#find(held.service);
    const at = slot * WIDTH;
    if (this.#holders[slot] === undefined) {
      this.#words[at + HASH] = this.#lastHash;
      this.#size++;
    }
    if (held.second === undefined && held.sharing === undefined && held.place.range.width <= 2) {
      loadWords(held.offset, 2);
      this.#words[at + PLACE] = held.place.number;
      this.#words[at + LOW] = offsetWords[0] ?? 0;
      this.#words[at + HIGH] = offsetWords[1] ?? 0;
      this.#holders[slot] = held.service;
    } else this.#holders[slot] = held;
    if (this.#size > MAX_LOAD * this.capacity) this.#resize(2 * this.capacity);
  }

  /** The Service holds nothing any more. Returns what it held, or undefined. Amortised O(1). */
  take(service: string): HeldAddresses | undefined {
    const slot = this.#find(service);
    const held = this.#at(slot);
    if (held === undefined) return undefined;
    this.#size--;
    this.#close(slot);
    if (this.#size < MIN_LOAD * this.capacity && this.capacity > MIN_CAPACITY) this.#resize(this.capacity / 2);
    return held;
  }

  /** All that is held, in no order that means anything; the table must not change meanwhile. */
  *values(): Generator<HeldAddresses, void, undefined> {
    for (let slot = 0; slot < this.#holders.length; slot++) {
      const held = this.#at(slot);
      if (held !== undefined) yield held;
    }
  }

  #at(slot: number): HeldAddresses | undefined {
    const holder = this.#holders[slot];
    if (typeof holder !== "string") return holder;
    const at = slot * WIDTH;
    const place = this.#places[this.#words[at + PLACE] ?? 0];
    const offset = offsetOfWords(this.#words[at + LOW] ?? 0, this.#words[at + HIGH] ?? 0);
    return place === undefined ? undefined : new HeldAddresses(holder, { place, offset }, undefined, undefined);
  }

  /** The slot where the Service is, or the free one where it would go. Leaves its hash in `#lastHash`. */
  #find(service: string): number {
    // Callers ask several times for one before they ask for another.
    if (service !== this.#lastName) {
      this.#lastHash = hashOf(service);
      this.#lastSlot = this.#search(service, this.#lastHash);
      this.#lastName = service;
    }
    return this.#lastSlot;
  }

  #search(service: string, hash: number): number {
    const words = this.#words;
    const mask = this.#mask;
    let slot = hash & mask;
    for (let there = words[slot * WIDTH]; there !== EMPTY; there = words[slot * WIDTH]) {
      if (there === hash && nameOf(this.#holders[slot]) === service) break;
      slot = (slot + 1) & mask;
    }
    return slot;
  }

  /** Frees a slot and moves those behind it that a search would no longer reach. Knuth, TAOCP 6.4, algorithm R. */
  #close(start: number): void {
    const words = this.#words;
    const mask = this.#mask;
    let gap = start;
    for (let slot = (start + 1) & mask; words[slot * WIDTH] !== EMPTY; slot = (slot + 1) & mask) {
      const way = (slot - (words[slot * WIDTH] ?? EMPTY)) & mask;
      if (way < ((slot - gap) & mask)) continue;
      for (let word = 0; word < WIDTH; word++) words[gap * WIDTH + word] = words[slot * WIDTH + word] ?? 0;
      this.#holders[gap] = this.#holders[slot];
      gap = slot;
    }
    words[gap * WIDTH] = EMPTY;
    this.#holders[gap] = undefined;
    this.#lastName = undefined;
  }

  #resize(capacity: number): void {
    const words = this.#words;
    const holders = this.#holders;
    this.#mask = capacity - 1;
    this.#words = new Int32Array(capacity * WIDTH);
    this.#holders = emptySlots(capacity);
    for (let old = 0; old < holders.length; old++) {
      const hash = words[old * WIDTH] ?? EMPTY;
      if (hash === EMPTY) continue;
      let slot = hash & this.#mask;
      while (this.#words[slot * WIDTH] !== EMPTY) slot = (slot + 1) & this.#mask;
      for (let word = 0; word < WIDTH; word++) this.#words[slot * WIDTH + word] = words[old * WIDTH + word] ?? 0;
      this.#holders[slot] = holders[old];
    }
    this.#lastName = undefined;
  }
}

function nameOf(holder: string | HeldAddresses | undefined): string | undefined {
  return typeof holder === "object" ? holder.service : holder;
}

/** FNV-1a over UTF-16 units, then MurmurHash3's finalizer, as names that differ in the last digit only would lie side by side otherwise. 32 bits, never EMPTY. */
export function hashOf(name: string): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < name.length; index++) hash = Math.imul(hash ^ name.charCodeAt(index), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  hash ^= hash >>> 16;
  return hash === EMPTY ? 1 : hash;
}
