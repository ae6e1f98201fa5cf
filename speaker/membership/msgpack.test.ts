import assert from "node:assert/strict";

import fc from "fast-check";
import { describe, test } from "vitest";

import { ByteReader } from "../../wire/byte-reader.ts";
import { DecodeError } from "../../wire/decode-error.ts";
import { encodeFields, MAX_MAP_FIELDS, MAX_UNKNOWN_VALUES, readFields } from "./msgpack.ts";
import type { Fields } from "./msgpack.ts";
import { PacketError } from "./packet-error.ts";

const read = (hex: string): Fields => readFields(new ByteReader(Uint8Array.from(Buffer.from(hex.replaceAll(" ", ""), "hex")), { clause: "test" }));
/** A map of one field "a" with this value. */
const one = (value: string): Fields => read(`81 a161 ${value}`);

function reasonOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (error instanceof PacketError) return error.reason;
    assert(error instanceof DecodeError, String(error));
    return "short";
  }
  return "none";
}

describe("readFields", () => {
  test.each([
    ["00", 0],
    ["7f", 0x7f],
    ["cc ff", 0xff],
    ["cd ffff", 0xffff],
    ["ce ffffffff", 0xffff_ffff],
    ["cf 0000000100000000", 2 ** 32],
    ["d0 7f", 0x7f],
    ["d1 7fff", 0x7fff],
    ["d2 7fffffff", 0x7fff_ffff],
    ["d3 0000000000000005", 5],
    ["c0", 0],
  ])("integer %s is %d", (value, expected) => {
    assert.equal(one(value).integer("a", Number.MAX_SAFE_INTEGER), expected);
  });

  test.each(["ff", "d0 80", "d1 8000", "d2 80000000", "d3 ffffffffffffffff", "cf ffffffffffffffff", "ca 3f800000", "cb 3ff0000000000000", "a131", "c3", "90", "80"])(
    "%s is no integer of 0..2^32-1",
    (value) => assert.equal(reasonOf(() => one(value).integer("a", 0xffff_ffff)), "malformed"),
  );

  test.each(["a3 666f6f", "d9 03 666f6f", "da 0003 666f6f", "db 00000003 666f6f", "c4 03 666f6f", "c5 0003 666f6f", "c6 00000003 666f6f"])("text and bytes as %s", (value) => {
    assert.equal(one(value).text("a", 3), "foo");
    assert.deepEqual(one(value).bytes("a", 3), Uint8Array.of(0x66, 0x6f, 0x6f));
    assert.equal(reasonOf(() => one(value).bytes("a", 2)), "tooLong");
    assert.equal(one(value).beginning("a", 2), "fo");
  });

  test("text must be UTF-8, the beginning of one need not", () => {
    assert.equal(reasonOf(() => one("a2 c328").text("a", 9)), "malformed");
    assert.equal(one("a2 c328").beginning("a", 9), "\ufffd(");
    assert.equal(one("a3 efbbbf").text("a", 9), "\ufeff");
  });

  test("absent and nil are zero, another type is refused", () => {
    for (const fields of [read("80"), one("c0")]) {
      assert.equal(fields.integer("a", 9), 0);
      assert.equal(fields.flag("a"), false);
      assert.equal(fields.text("a", 9), "");
      assert.deepEqual(fields.bytes("a", 9), new Uint8Array(0));
    }
    assert.equal(one("c3").flag("a"), true);
    assert.equal(reasonOf(() => one("01").flag("a")), "malformed");
    assert.equal(reasonOf(() => one("01").text("a", 9)), "malformed");
    assert.equal(reasonOf(() => one("90").bytes("a", 9)), "malformed");
  });

  test.each(["92 01 91 c0", "82 01 02 a0 93 010203", "dc 0001 c2", "dd 00000001 c2", "de 0001 c2 c3", "df 00000001 c2 c3", "d4 01 00", "d8 01 00000000000000000000000000000000", "c7 02 01 0000", "c8 0001 01 00", "c9 00000001 01 00", "ca 00000000", "cb 0000000000000000"])(
    "passes over a field it does not know: %s",
    (value) => assert.equal(read(`82 a178 ${value} a161 05`).integer("a", 9), 5),
  );

  test("passes over names that are long, or no UTF-8", () => {
    assert.equal(read(`83 d9 40 ${"61".repeat(64)} 01 a2 c328 01 a161 05`).integer("a", 9), 5);
  });

  test("refuses what is no map, a name that is no text, and the byte that starts nothing", () => {
    for (const bytes of ["c0", "90", "05", "c1", "a161", "81 01 01", "81 c0 01", "81 90 01", "81 a161 c1"]) assert.equal(reasonOf(() => read(bytes)), "malformed", bytes);
  });

  test("has bounds: fields, nested values, depth", () => {
    assert.equal(reasonOf(() => read(`de 00${(MAX_MAP_FIELDS + 1).toString(16)}`)), "tooLong");
    assert.equal(reasonOf(() => read("df ffffffff")), "tooLong");
    assert.equal(reasonOf(() => one("dd ffffffff")), "tooLong");
    assert.equal(reasonOf(() => one("91".repeat(MAX_UNKNOWN_VALUES + 1))), "tooLong");
    assert.equal(reasonOf(() => one(`${"91".repeat(MAX_UNKNOWN_VALUES)} 00`)), "none");
    assert.equal(reasonOf(() => one("db ffffffff 00")), "short");
  });

  test("a beginning of a map is short, wherever it ends", () => {
    const whole = encodeFields({ Node: "node-a", SeqNo: 70_000, Nack: true, Addr: Uint8Array.of(1, 2, 3, 4), Long: "x".repeat(300) });
    for (let length = 0; length < whole.length; length++) assert.equal(reasonOf(() => readFields(new ByteReader(whole.subarray(0, length), { clause: "test" }))), "short");
  });

  test("gives fields or fails in the two ways for any bytes", () => {
    const likely = fc.array(fc.oneof(fc.constantFrom(0x81, 0x82, 0xa1, 0x61, 0xc0, 0xc4, 0xd9, 0xdc, 0xde, 0xc7), fc.integer({ min: 0, max: 255 })), { maxLength: 60 });
    fc.assert(fc.property(likely, (bytes) => void reasonOf(() => readFields(new ByteReader(Uint8Array.from(bytes), { clause: "test" })))), { numRuns: 2000 });
  });
});

describe("encodeFields", () => {
  test("sorts by name, writes bytes as text and empty bytes as nil, as memberlist does", () => {
    const bytes = encodeFields({ SeqNo: 1, Node: "", Addr: Uint8Array.of(10, 0, 0, 1), Payload: new Uint8Array(0), Port: 7946, Nack: false });
    assert.equal(Buffer.from(bytes).toString("hex"), "86a441646472a40a000001a44e61636bc2a44e6f6465a0a75061796c6f6164c0a4506f7274cd1f0aa55365714e6f01");
    // The 8-bit form of text is left out.
    assert.equal(Buffer.from(encodeFields({ a: "x".repeat(32) }).subarray(0, 6)).toString("hex"), "81a161da0020");
  });

  test("round trip", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 0xffff_ffff }), fc.boolean(), fc.string({ unit: "grapheme" }), fc.uint8Array({ maxLength: 70_000, size: "max" }), (number, flag, text, bytes) => {
        const fields = readFields(new ByteReader(encodeFields({ number, flag, text, bytes }), { clause: "test" }));
        assert.deepEqual([fields.integer("number", 0xffff_ffff), fields.flag("flag"), fields.text("text", 1e6), fields.bytes("bytes", 1e6)], [number, flag, text, bytes]);
      }),
    );
  });

  test("refuses numbers that do not fit", () => {
    for (const number of [-1, 0.5, 2 ** 32]) assert.throws(() => encodeFields({ number }), RangeError);
  });
});
