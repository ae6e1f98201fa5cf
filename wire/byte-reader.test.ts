import fc from "fast-check";
import { describe, expect, test } from "vitest";

import { ByteReader } from "./byte-reader.ts";
import type { ByteOrder } from "./byte-reader.ts";
import { ByteWriter } from "./byte-writer.ts";
import { DecodeError } from "./decode-error.ts";

const clause = "test";

describe("byte reader", () => {
  test("reads network order unless told otherwise", () => {
    const bytes = Uint8Array.of(1, 2, 3, 4);
    expect(new ByteReader(bytes, { clause }).u32()).toBe(0x01020304);
    expect(new ByteReader(bytes, { clause, order: "little" }).u16()).toBe(0x0201);
  });

  test("bytes are copied, of a Buffer too", () => {
    const buffer = Buffer.from([1, 2, 3]);
    const copy = new ByteReader(buffer, { clause }).bytes(2);
    buffer[0] = 9;
    expect(copy).toEqual(Uint8Array.of(1, 2));
  });

  test("a read past the end names offset and clause, and moves nothing", () => {
    const reader = new ByteReader(Uint8Array.of(1, 2, 3), { clause: "RFC 826" });
    reader.u16();
    expect(() => reader.u32()).toThrow(new DecodeError("4 bytes needed, 1 left", { offset: 2, clause: "RFC 826" }));
    expect(reader.remaining).toBe(1);
  });

  test("what it hands out is a copy", () => {
    const buffer = Uint8Array.of(1, 2);
    const copy = new ByteReader(buffer, { clause }).bytes(2);
    buffer[0] = 9;
    expect(copy).toEqual(Uint8Array.of(1, 2));
  });

  test("a sub-reader can't reach its neighbour, and its errors point into the whole message", () => {
    const reader = new ByteReader(Uint8Array.of(0, 1, 2, 3, 4), { clause });
    reader.u8();
    const inner = reader.within(2);
    expect(inner.u16()).toBe(0x0102);
    expect(() => inner.u8()).toThrow("at byte 3");
    expect(reader.u8()).toBe(3);
  });

  test.each([-1, 1.5, Number.NaN, 6])("refuses a length of %d", (length) => {
    expect(() => new ByteReader(new Uint8Array(5), { clause }).within(length)).toThrow(DecodeError);
  });

  test("reads what a writer wrote, in either order", () => {
    const field = fc.oneof(
      fc.record({ kind: fc.constant("u8" as const), value: fc.integer({ min: 0, max: 0xff }) }),
      fc.record({ kind: fc.constant("u16" as const), value: fc.integer({ min: 0, max: 0xffff }) }),
      fc.record({ kind: fc.constant("u32" as const), value: fc.integer({ min: 0, max: 0xffffffff }) }),
    );
    fc.assert(
      fc.property(fc.array(field), fc.constantFrom<ByteOrder>("big", "little"), fc.uint8Array(), (fields, order, tail) => {
        const writer = new ByteWriter(fields.length * 4 + tail.length, order);
        for (const { kind, value } of fields) writer[kind](value);
        const reader = new ByteReader(writer.bytes(tail).finish(), { clause, order });
        for (const { kind, value } of fields) expect(reader[kind]()).toBe(value);
        expect(reader.bytes(tail.length)).toEqual(tail);
        expect(reader.remaining).toBe(0);
      }),
    );
  });
});

describe("byte writer", () => {
  test.each([-1, 256, 0.5])("refuses %d as a byte", (value) => {
    expect(() => new ByteWriter(1).u8(value)).toThrow(RangeError);
  });

  test("refuses to write past its capacity", () => {
    expect(() => new ByteWriter(3).u16(1).u16(1)).toThrow("message is full");
  });

  test("aligns with zeros", () => {
    expect(new ByteWriter(8).u8(1).align(4).align(4).u8(2).finish()).toEqual(Uint8Array.of(1, 0, 0, 0, 2));
  });
});
