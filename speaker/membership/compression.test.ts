import assert from "node:assert/strict";

import fc from "fast-check";
import { describe, test } from "vitest";

import { compress } from "../../test/membership/lzw.ts";
import { decompress } from "./compression.ts";
import { PacketError } from "./packet-error.ts";

const LIMIT = 1 << 20;

function reasonOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    assert(error instanceof PacketError, String(error));
    return error.reason;
  }
  return "none";
}

/** Bytes of few values in long repeats: they make long entries, and the entry that is used while it is being made. */
const repetitive = fc.array(fc.tuple(fc.constantFrom(0, 1, 255), fc.integer({ min: 1, max: 2000 })), { maxLength: 20 }).map((runs) =>
  Uint8Array.from(runs.flatMap(([byte, count]) => Array.from({ length: count }, () => byte))),
);

describe("decompress", () => {
  test("gives back what was compressed, across widths and cleared tables", () => {
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 20_000, size: "max" }), repetitive), (plain) => {
        assert.deepEqual(Uint8Array.from(decompress(compress(plain), LIMIT)), plain);
      }),
      { numRuns: 200 },
    );
  });

  test("fills the table and clears it", () => {
    const plain = Uint8Array.from({ length: 30_000 }, (_, index) => (index * index) >> 3);
    assert.deepEqual(Uint8Array.from(decompress(compress(plain), LIMIT)), plain);
  });

  test("goes on with a full table that is never cleared", () => {
    // Literal codes only: 9 bits until 255 entries exist, then wider; entries stop at 4,096.
    const codes = Array.from({ length: 6000 }, () => 65);
    const packed = pack([...codes, 257]);
    assert.deepEqual(Uint8Array.from(decompress(packed, LIMIT)), new Uint8Array(6000).fill(65));
  });

  test("refuses a code that no entry has yet, first or later", () => {
    assert.equal(reasonOf(() => decompress(pack([258, 257]), LIMIT)), "malformed");
    assert.equal(reasonOf(() => decompress(pack([65, 259, 257]), LIMIT)), "malformed");
    assert.equal(reasonOf(() => decompress(pack([65, 256, 258, 257]), LIMIT)), "malformed");
  });

  test("refuses what has no end code", () => {
    const whole = compress(Uint8Array.of(1, 2, 3, 4, 5));
    for (let length = 0; length < whole.length - 1; length++) assert.equal(reasonOf(() => decompress(whole.subarray(0, length), LIMIT)), "malformed");
  });

  test("stops at its limit, not at the bomb's size", () => {
    const bomb = compress(new Uint8Array(1_000_000));
    assert(bomb.length < 3000, `${bomb.length} bytes are no bomb`);
    assert.equal(reasonOf(() => decompress(bomb, 999_999)), "decompressionBomb");
    assert.equal(decompress(bomb, 1_000_000).length, 1_000_000);
  });

  test("gives a value or a PacketError for any bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
        assert(["none", "malformed", "decompressionBomb"].includes(reasonOf(() => decompress(bytes, 10_000))));
      }),
    );
  });
});

/** Codes in the widths that a decoder reads them in: one entry more with each code after the first. */
function pack(codes: readonly number[]): Uint8Array {
  let [bits, count, width, next] = [0n, 0n, 9n, 257];
  for (const code of codes) {
    bits |= BigInt(code) << count;
    count += width;
    if (code === 256) [width, next] = [9n, 257];
    else if (next < 4096) next += 1;
    if (next === 2 ** Number(width) && width < 12n) width += 1n;
  }
  return Uint8Array.from({ length: Number((count + 7n) / 8n) }, (_, index) => Number((bits >> BigInt(8 * index)) & 0xffn));
}
