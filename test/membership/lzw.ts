/**
 * The compressing half of memberlist's LZW, which Herald itself never needs: least significant bits first, literals of 8 bits.
 */

import { encodeFields } from "../../speaker/membership/msgpack.ts";

const CLEAR = 256;
const END = 257;
const LAST_CODE = 4095;

/** Compresses; as Go does, the table is cleared before its last code is used. */
export function compress(plain: Uint8Array): Uint8Array {
  const writer = new CodeWriter();
  let table = new Map<number, number>();
  let width = 9;
  let next = END;
  let prefix: number | undefined;
  const emit = (code: number): void => {
    writer.write(code, width);
    next += 1;
    if (next === 1 << width) width += 1;
    if (next < LAST_CODE) return;
    writer.write(CLEAR, width);
    table = new Map();
    width = 9;
    next = END;
  };
  writer.write(CLEAR, width);
  for (const byte of plain) {
    if (prefix === undefined) {
      prefix = byte;
      continue;
    }
    const key = prefix * 256 + byte;
    const known = table.get(key);
    if (known !== undefined) {
      prefix = known;
      continue;
    }
    emit(prefix);
    if (next > END) table.set(key, next);
    prefix = byte;
  }
  if (prefix !== undefined) emit(prefix);
  writer.write(END, width);
  return writer.finish();
}

/** A whole message with something compressed in it. */
export function compressedMessage(plain: Uint8Array): Uint8Array {
  return Uint8Array.of(9, ...encodeFields({ Algo: 0, Buf: compress(plain) }));
}

class CodeWriter {
  readonly #bytes: number[] = [];
  #bits = 0;
  #count = 0;

  write(code: number, width: number): void {
    this.#bits |= code << this.#count;
    this.#count += width;
    while (this.#count >= 8) {
      this.#bytes.push(this.#bits & 0xff);
      this.#bits >>>= 8;
      this.#count -= 8;
    }
  }

  finish(): Uint8Array {
    if (this.#count > 0) this.#bytes.push(this.#bits & 0xff);
    return Uint8Array.from(this.#bytes);
  }
}
