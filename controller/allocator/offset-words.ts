/**
 * Offsets in a range as 32-bit words, the lowest first: as many as tell the addresses of the range apart, one in a /8, two
 * in a /64, four in a range wider than that.
 */

/** Distance of an address from the first one of its range: a number as far as numbers are exact (2^53-1), a bigint beyond. */
export type Offset = number | bigint;

const WORD = 2 ** 32;
/** High words from here on make an offset that numbers are not exact for. */
const FIRST_INEXACT_HIGH = 2 ** 21;

/** The words of the offset that was loaded last. One for all: it is filled and read within one call. */
export const words = new Uint32Array(4);
const half = new BigUint64Array(1);
const halfWords = new Uint32Array(half.buffer);
/** Which of the two words of a 64-bit number is the lower one on this machine. */
const LOWER = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1 ? 0 : 1;

/** How many words an offset has in a range of so many addresses. */
export function widthFor(size: bigint): number {
  return size <= 2n ** 32n ? 1 : size <= 2n ** 64n ? 2 : 4;
}

/** Puts so many words of the offset into `words`. */
export function loadWords(offset: Offset, width: number): void {
  if (typeof offset === "number") {
    words[0] = offset;
    words[1] = offset / WORD;
    words[2] = 0;
    words[3] = 0;
    return;
  }
  loadHalf(offset, 0);
  if (width > 2) loadHalf(offset >> 64n, 2);
}

/** Puts the lowest 64 bits of a number into two words. */
function loadHalf(value: bigint, word: number): void {
  // Storing takes the number modulo 2^64.
  half[0] = value;
  words[word] = halfWords[LOWER] ?? 0;
  words[word + 1] = halfWords[1 - LOWER] ?? 0;
}

/** The offset that two words make, signed or not. */
export function offsetOfWords(low: number, high: number): Offset {
  if (high >>> 0 < FIRST_INEXACT_HIGH) return high * WORD + (low >>> 0);
  halfWords[LOWER] = low;
  halfWords[1 - LOWER] = high;
  return half[0] ?? 0n;
}
