/**
 * Writes a message of a known maximum length. Writing past it, or a number that does not fit its field, is a mistake
 * of ours and not of a peer: it fails as RangeError.
 */

import type { ByteOrder } from "./byte-reader.ts";

export class ByteWriter {
  // No DataView: it would take small arrays off V8's heap, which costs more than all that is written.
  readonly #bytes: Uint8Array;
  readonly #little: boolean;
  #position = 0;

  /** @param capacity the most bytes this message may have. */
  constructor(capacity: number, order: ByteOrder = "big") {
    this.#bytes = new Uint8Array(capacity);
    this.#little = order === "little";
  }

  /** Bytes written so far. */
  get length(): number {
    return this.#position;
  }

  /** @throws RangeError when the value is no unsigned 8-bit integer, or the message is full. */
  u8(value: number): this {
    this.#bytes[this.#take(1)] = fits(value, 0xff);
    return this;
  }

  /** @throws RangeError when the value is no unsigned 16-bit integer, or the message is full. */
  u16(value: number): this {
    this.#put(this.#take(2), 2, fits(value, 0xffff));
    return this;
  }

  /** @throws RangeError when the value is no unsigned 32-bit integer, or the message is full. */
  u32(value: number): this {
    this.#put(this.#take(4), 4, fits(value, 0xffffffff));
    return this;
  }

  /** @throws RangeError when the message is full. */
  bytes(value: Uint8Array): this {
    this.#bytes.set(value, this.#take(value.length));
    return this;
  }

  /** Zeros up to a multiple of `alignment` bytes. @throws RangeError when the message is full. */
  align(alignment: number): this {
    this.#take((alignment - (this.#position % alignment)) % alignment);
    return this;
  }

  /** The message written so far. Shape: `length` bytes, not copied: write nothing afterwards. */
  finish(): Uint8Array {
    return this.#position === this.#bytes.length ? this.#bytes : this.#bytes.subarray(0, this.#position);
  }

  #put(start: number, length: number, value: number): void {
    for (let at = 0; at < length; at++) {
      const shift = 8 * (this.#little ? at : length - 1 - at);
      this.#bytes[start + at] = (value >>> shift) & 0xff;
    }
  }

  #take(length: number): number {
    if (length > this.#bytes.length - this.#position) {
      throw new RangeError(`message is full: ${this.#position} of ${this.#bytes.length} bytes written, ${length} more wanted`);
    }
    const start = this.#position;
    this.#position += length;
    return start;
  }
}

function fits(value: number, max: number): number {
  if (!Number.isInteger(value) || value < 0 || value > max) throw new RangeError(`${value} is not an integer of 0..${max}`);
  return value;
}
