/**
 * A bounded cursor over received bytes. Every read checks its bound first and fails as DecodeError, so a decoder can
 * be written as a list of fields. Network order (big-endian) unless told otherwise: netlink alone speaks the host's order.
 */

import { DecodeError } from "./decode-error.ts";
import { cachedAscii } from "./text-cache.ts";

/** Order of the bytes of a number. */
export type ByteOrder = "big" | "little";

export interface ByteReaderOptions {
  /** Rule that a read past the end breaks; it ends up in the DecodeError. */
  readonly clause: string;
  readonly order?: ByteOrder;
}

export class ByteReader {
  // No DataView: making one costs more than the few numbers of a message.
  readonly #bytes: Uint8Array;
  readonly #little: boolean;
  readonly #clause: string;
  /** Offset of this reader's first byte in the outermost message, so that errors of sub-readers point to the right place. */
  readonly #origin: number;
  #position = 0;

  /** Reads `bytes` without copying them: they must not change while the reader is in use. */
  constructor(bytes: Uint8Array, options: ByteReaderOptions, origin = 0) {
    this.#bytes = bytes;
    this.#little = options.order === "little";
    this.#clause = options.clause;
    this.#origin = origin;
  }

  /** Bytes left to read. */
  get remaining(): number {
    return this.#bytes.length - this.#position;
  }

  /** Offset of the next byte in the outermost message. */
  get offset(): number {
    return this.#origin + this.#position;
  }

  /** An error at the next byte, to be thrown by the caller. `clause` defaults to the reader's own. */
  error(message: string, clause?: string): DecodeError {
    return new DecodeError(message, { offset: this.offset, clause: clause ?? this.#clause });
  }

  /** @throws DecodeError when less than one byte is left. */
  u8(): number {
    return this.#at(this.#take(1));
  }

  /** @throws DecodeError when less than two bytes are left. */
  u16(): number {
    return this.#uint16(this.#take(2));
  }

  /** @throws DecodeError when less than four bytes are left. */
  u32(): number {
    const start = this.#take(4);
    const [first, second] = [this.#uint16(start), this.#uint16(start + 2)];
    return this.#little ? second * 0x1_0000 + first : first * 0x1_0000 + second;
  }

  /** A copy of the next `length` bytes: receive buffers are reused. @throws DecodeError when fewer are left. */
  bytes(length: number): Uint8Array {
    const start = this.#take(length);
    // Not slice(): a Buffer's is a view.
    return new Uint8Array(this.#bytes.subarray(start, start + length));
  }

  /** The next `length` bytes as text, read by `decoder`. @throws DecodeError when fewer are left, and what the decoder throws. */
  text(length: number, decoder: { decode(bytes: Uint8Array): string }): string {
    const start = this.#take(length);
    return cachedAscii(this.#bytes, start, length) ?? decoder.decode(this.#bytes.subarray(start, start + length));
  }

  /** Passes over `length` bytes. @throws DecodeError when fewer are left. */
  skip(length: number): void {
    this.#take(length);
  }

  /** A reader of exactly the next `length` bytes, which this reader passes over. @throws DecodeError when fewer are left. */
  within(length: number): ByteReader {
    const origin = this.offset;
    const start = this.#take(length);
    return new ByteReader(
      this.#bytes.subarray(start, start + length),
      { clause: this.#clause, order: this.#little ? "little" : "big" },
      origin,
    );
  }

  #at(index: number): number {
    return this.#bytes[index] ?? 0;
  }

  #uint16(start: number): number {
    const [first, second] = [this.#at(start), this.#at(start + 1)];
    return this.#little ? second * 0x100 + first : first * 0x100 + second;
  }

  #take(length: number): number {
    if (!Number.isInteger(length) || length < 0 || length > this.remaining) {
      throw this.error(`${length} bytes needed, ${this.remaining} left`);
    }
    const start = this.#position;
    this.#position += length;
    return start;
  }
}
