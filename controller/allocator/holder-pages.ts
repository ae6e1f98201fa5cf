/**
 * Values by offset, for a range's lowest offsets: pages from 0 up to a watermark that stands above all that was handed out
 * in order. They know their lowest offset that has none. A page is made when it is first used, and dropped when it is
 * empty. What is above the watermark belongs to somebody else, and comes here when the watermark passes it.
 */
import { LowestSet } from "./lowest-set.ts";

/** Offsets on a page. */
export const PAGE_SIZE = 256;
const WORD_BITS = 32;
const FULL_WORD = -1;

interface Page<T> {
  readonly values: (T | undefined)[];
  /** A set bit is an offset that can't be handed out: taken, or never to be. */
  readonly blocked: Int32Array;
  /** How many offsets have a value. */
  taken: number;
}

export class HolderPages<T> {
  readonly #lastOffset: number;
  readonly #isExcluded: ((offset: number) => boolean) | undefined;
  readonly #pages: (Page<T> | undefined)[] = [];
  /** Numbers of pages that may have room: all that do, and some that are full again. */
  readonly #roomy = new LowestSet();
  #taken = 0;

  /**
   * @param lastOffset the highest offset of the range, or any that the watermark can't reach.
   * @param isExcluded which offsets are never handed out; absent: all may be.
   */
  constructor(lastOffset: number, isExcluded?: (offset: number) => boolean) {
    this.#lastOffset = lastOffset;
    this.#isExcluded = isExcluded;
  }

  /** How many offsets have a value. */
  get taken(): number {
    return this.#taken;
  }

  /** The lowest offset that does not belong here. */
  get watermark(): number {
    return this.#pages.length * PAGE_SIZE;
  }

  /** Number of pages in memory. */
  get pageCount(): number {
    return this.#pages.reduce((count, page) => (page === undefined ? count : count + 1), 0);
  }

  /** The value of an offset below the watermark. */
  get(offset: number): T | undefined {
    const number = Math.floor(offset / PAGE_SIZE);
    return this.#pages[number]?.values[offset - number * PAGE_SIZE];
  }

  /** Gives an offset below the watermark a value, or another one. */
  set(offset: number, value: T): void {
    const number = Math.floor(offset / PAGE_SIZE);
    if (put(this.#pageAt(number), offset - number * PAGE_SIZE, value)) this.#taken++;
  }

  /** Takes the value away from an offset below the watermark. */
  delete(offset: number): void {
    const number = Math.floor(offset / PAGE_SIZE);
    const page = this.#pages[number];
    const index = offset - number * PAGE_SIZE;
    if (page?.values[index] === undefined) return;
    page.values[index] = undefined;
    page.blocked[index >>> 5] = wordOf(page, index) & ~(1 << index % WORD_BITS);
    page.taken--;
    this.#taken--;
    if (page.taken === 0) this.#pages[number] = undefined;
    this.#roomy.add(number);
  }

  /** Takes everything away and puts the watermark to 0. */
  clear(): void {
    this.#pages.length = 0;
    this.#roomy.clear();
    this.#taken = 0;
  }

  /**
   * The lowest offset that may be handed out; undefined when there is none. Moves the watermark up where all below is taken.
   * @param pull gives away the value that an offset above the watermark has; absent: none has any.
   */
  lowestFree(pull?: (offset: number) => T | undefined): number | undefined {
    for (;;) {
      const number = this.#roomy.lowest() ?? this.#open(pull);
      if (number === undefined) return undefined;
      const index = lowestZero(this.#pageAt(number).blocked);
      if (index !== undefined) return number * PAGE_SIZE + index;
      this.#roomy.removeLowest();
    }
  }

  /** Moves the watermark up by a page; returns its number, or undefined at the end of the range. */
  #open(pull: ((offset: number) => T | undefined) | undefined): number | undefined {
    const first = this.watermark;
    if (first > this.#lastOffset) return undefined;
    const number = this.#pages.length;
    const page = this.#newPage(number);
    this.#pages.push(page);
    this.#roomy.add(number);
    if (pull === undefined) return number;
    for (let index = 0; index < PAGE_SIZE; index++) {
      const value = pull(first + index);
      if (value !== undefined && put(page, index, value)) this.#taken++;
    }
    return number;
  }

  #pageAt(number: number): Page<T> {
    return this.#pages[number] ?? (this.#pages[number] = this.#newPage(number));
  }

  #newPage(number: number): Page<T> {
    const first = number * PAGE_SIZE;
    const values = Array.from<T | undefined>({ length: PAGE_SIZE }).fill(undefined);
    const page = { values, blocked: new Int32Array(PAGE_SIZE / WORD_BITS), taken: 0 };
    if (this.#isExcluded === undefined && first + PAGE_SIZE - 1 <= this.#lastOffset) return page;
    for (let index = 0; index < PAGE_SIZE; index++) {
      if (first + index > this.#lastOffset || this.#isExcluded?.(first + index) === true) block(page, index);
    }
    return page;
  }
}

/** Returns whether the place was empty. */
function put<T>(page: Page<T>, index: number, value: T): boolean {
  const isNew = page.values[index] === undefined;
  page.values[index] = value;
  if (!isNew) return false;
  block(page, index);
  page.taken++;
  return true;
}

function block(page: Page<unknown>, index: number): void {
  page.blocked[index >>> 5] = wordOf(page, index) | (1 << index % WORD_BITS);
}

function wordOf(page: Page<unknown>, index: number): number {
  return page.blocked[index >>> 5] ?? 0;
}

function lowestZero(words: Int32Array): number | undefined {
  for (let index = 0; index < words.length; index++) {
    const word = words[index] ?? FULL_WORD;
    // The lowest zero of a word is the lowest one of its complement, which x & -x leaves alone.
    if (word !== FULL_WORD) return index * WORD_BITS + WORD_BITS - 1 - Math.clz32(~word & -~word);
  }
  return undefined;
}
