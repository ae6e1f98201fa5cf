/**
 * Values by offset, for offsets that lie anywhere in a range: a hash table with open addressing and linear probing over
 * typed arrays. A Map would do, but as its keys offsets beyond 2^31 are objects of their own, and it leaves dead entries in
 * its chains where keys come and go, which cost most of the time that an allocation took.
 *
 * A key is as many of the offset's 32-bit words, from the lowest on, as tell the offsets of the range apart: one in a /8,
 * two in a /64, four in a range wider than that. Memory is O(entries): a table that gets empty halves itself.
 */
import { loadWords, type Offset, widthFor, words } from "./offset-words.ts";

/** Keys and values are this many at least. */
const MIN_CAPACITY = 16;
/** Fullest before the table doubles: above that, probes get long. */
const MAX_LOAD = 0.75;
/** Emptiest before it halves; far enough from half of the above that a few come and go without effect. */
const MIN_LOAD = 0.15;

export class OffsetTable<T> {
  /** Words of a key. */
  readonly #width: number;
  #size = 0;
  #mask = MIN_CAPACITY - 1;
  #keys: Uint32Array;
  /** By slot; a slot with undefined is empty, whatever its key says. */
  #values: (T | undefined)[];
  /** The offset last searched for, unless things were moved since, and the slot where it is or, while it is not there, would go. */
  #lastOffset: Offset | undefined;
  #lastSlot = 0;

  /** @param size number of addresses in the range: offsets are below it. */
  constructor(size: bigint) {
    this.#width = widthFor(size);
    this.#keys = new Uint32Array(MIN_CAPACITY * this.#width);
    this.#values = emptySlots(MIN_CAPACITY);
  }

  /** Number of entries. */
  get size(): number {
    return this.#size;
  }

  /** Number of slots: what the memory follows. */
  get capacity(): number {
    return this.#mask + 1;
  }

  get(offset: Offset): T | undefined {
    return this.#values[this.#find(offset)];
  }

  /** Adds an entry or replaces its value. Amortised O(1). */
  set(offset: Offset, value: T): void {
    const slot = this.#find(offset);
    if (this.#values[slot] === undefined) {
      loadWords(offset, this.#width);
      for (let word = 0; word < this.#width; word++) this.#keys[slot * this.#width + word] = words[word] ?? 0;
      this.#size++;
    }
    this.#values[slot] = value;
    if (this.#size > MAX_LOAD * this.capacity) this.#resize(2 * this.capacity);
  }

  /** Removes an entry and returns its value; undefined when there is none. Amortised O(1). */
  take(offset: Offset): T | undefined {
    const slot = this.#find(offset);
    const value = this.#values[slot];
    if (value === undefined) return undefined;
    this.#size--;
    this.#close(slot);
    if (this.#size < MIN_LOAD * this.capacity && this.capacity > MIN_CAPACITY) this.#resize(this.capacity / 2);
    return value;
  }

  /** The slot that the offset is in, or the empty one where it would go. */
  #find(offset: Offset): number {
    // Callers ask who is there before they change it.
    if (offset !== this.#lastOffset) {
      this.#lastSlot = this.#search(offset);
      this.#lastOffset = offset;
    }
    return this.#lastSlot;
  }

  #search(offset: Offset): number {
    loadWords(offset, this.#width);
    let slot = this.#home(words, 0);
    while (this.#values[slot] !== undefined && !this.#isLoaded(slot)) slot = (slot + 1) & this.#mask;
    return slot;
  }

  /** Whether the slot has the key whose words are loaded. */
  #isLoaded(slot: number): boolean {
    for (let word = 0; word < this.#width; word++) if (this.#keys[slot * this.#width + word] !== words[word]) return false;
    return true;
  }

  /** The slot where a search for the key with this index begins. */
  #home(keys: Uint32Array, index: number): number {
    let hash = 0;
    for (let word = 0; word < this.#width; word++) hash = mixed(hash, keys[index * this.#width + word] ?? 0);
    return hash & this.#mask;
  }

  /** Empties a slot and moves those behind it that a search would no longer reach. Knuth, TAOCP 6.4, algorithm R. */
  #close(start: number): void {
    let gap = start;
    for (let slot = (start + 1) & this.#mask; this.#values[slot] !== undefined; slot = (slot + 1) & this.#mask) {
      const way = (slot - this.#home(this.#keys, slot)) & this.#mask;
      if (way < ((slot - gap) & this.#mask)) continue;
      this.#keys.copyWithin(gap * this.#width, slot * this.#width, (slot + 1) * this.#width);
      this.#values[gap] = this.#values[slot];
      gap = slot;
    }
    this.#values[gap] = undefined;
    this.#lastOffset = undefined;
  }

  #resize(capacity: number): void {
    const keys = this.#keys;
    const values = this.#values;
    this.#mask = capacity - 1;
    this.#keys = new Uint32Array(capacity * this.#width);
    this.#values = emptySlots(capacity);
    for (let old = 0; old < values.length; old++) {
      const value = values[old];
      if (value === undefined) continue;
      let slot = this.#home(keys, old);
      while (this.#values[slot] !== undefined) slot = (slot + 1) & this.#mask;
      for (let word = 0; word < this.#width; word++) this.#keys[slot * this.#width + word] = keys[old * this.#width + word] ?? 0;
      this.#values[slot] = value;
    }
    this.#lastOffset = undefined;
  }
}

/** So many slots with nothing in them, made at once rather than one by one. */
export function emptySlots<T>(count: number): (T | undefined)[] {
  const slots: (T | undefined)[] = [];
  slots.length = count;
  return slots.fill(undefined);
}

/** Spreads words over 32 bits. The finish of MurmurHash3 (Appleby, public domain), in which every bit changes every other. */
function mixed(hash: number, word: number): number {
  let bits = (hash + 0x9e3779b9) ^ word;
  bits = Math.imul(bits ^ (bits >>> 16), 0x85ebca6b);
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35);
  return bits ^ (bits >>> 16);
}
