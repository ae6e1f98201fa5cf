/**
 * LZW as memberlist compresses with it: least significant bits first, literals of 8 bits, codes of 9 to 12 bits (the GIF
 * flavour of Welch's algorithm). Decoding only; what we send is small enough as it is.
 */

import { PacketError } from "./packet-error.ts";

const LITERALS = 256;
const CLEAR = 256;
const END = 257;
const FIRST_WIDTH = 9;
const MAX_WIDTH = 12;
const TABLE_SIZE = 1 << MAX_WIDTH;
/** No code before this one. */
const NONE = 0xffff;

const CLAUSE = "memberlist compression";

/** Scratch space of one decompression; decompress neither waits nor calls itself. */
const prefixes = new Uint16Array(TABLE_SIZE);
const suffixes = new Uint8Array(TABLE_SIZE);
const expansion = new Uint8Array(TABLE_SIZE);

/**
 * Decompresses up to the end code; what follows it is ignored.
 * @param limit most bytes of the result.
 * @throws PacketError `decompressionBomb` past the limit, `malformed` for an impossible code or a missing end.
 */
export function decompress(bytes: Uint8Array, limit: number): Uint8Array {
  const output = new Output(limit);
  const codes = new CodeReader(bytes);
  let width = FIRST_WIDTH;
  // The code that the next entry will get; the entry is known only once the code after it is.
  let next = END;
  let last = NONE;
  for (;;) {
    const code = codes.read(width);
    if (code === END) return output.finish();
    if (code === CLEAR) {
      width = FIRST_WIDTH;
      next = END;
      last = NONE;
      continue;
    }
    if (code > next || (code === next && last === NONE)) throw new PacketError(`code ${code} before it is defined`, { reason: "malformed", clause: CLAUSE });
    // An entry not yet complete is the one before with its own first byte once more.
    let start = TABLE_SIZE;
    const known = code === next ? last : code;
    if (code === next) start -= 1;
    let at = known;
    while (at >= LITERALS) {
      start -= 1;
      expansion[start] = suffixes[at] ?? 0;
      at = prefixes[at] ?? 0;
    }
    start -= 1;
    expansion[start] = at;
    if (code === next) expansion[TABLE_SIZE - 1] = at;
    output.append(expansion.subarray(start));
    if (last !== NONE) {
      suffixes[next] = at;
      prefixes[next] = last;
    }
    last = code;
    if (next < TABLE_SIZE) next += 1;
    // A full table gets no further entry until the sender clears it.
    if (next === TABLE_SIZE) last = NONE;
    else if (next === 1 << width) width += 1;
  }
}

/** Codes of a changing width, least significant bits first. */
class CodeReader {
  readonly #bytes: Uint8Array;
  #position = 0;
  #bits = 0;
  #count = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  read(width: number): number {
    while (this.#count < width) {
      const byte = this.#bytes[this.#position];
      if (byte === undefined) throw new PacketError("no end code", { reason: "malformed", offset: this.#position, clause: CLAUSE });
      this.#position += 1;
      this.#bits |= byte << this.#count;
      this.#count += 8;
    }
    const code = this.#bits & ((1 << width) - 1);
    this.#bits >>>= width;
    this.#count -= width;
    return code;
  }
}

/** Grows with what is written, never past its limit. */
class Output {
  readonly #limit: number;
  #bytes = new Uint8Array(1024);
  #length = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  append(piece: Uint8Array): void {
    const length = this.#length + piece.length;
    if (length > this.#limit) throw new PacketError(`more than ${this.#limit} bytes decompressed`, { reason: "decompressionBomb", clause: CLAUSE });
    if (length > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(length, 2 * this.#bytes.length));
      grown.set(this.#bytes.subarray(0, this.#length));
      this.#bytes = grown;
    }
    this.#bytes.set(piece, this.#length);
    this.#length = length;
  }

  finish(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }
}
