import { describe, expect, test } from "vitest";

import type { ByteOrder } from "../wire/byte-reader.ts";
import { ByteWriter } from "../wire/byte-writer.ts";
import type { BpfInstruction } from "./libc.ts";
import { addressFilter, anyMessageFilter, defaultRouteFilter } from "./netlink-filter.ts";

const MULTI = 0x2;

/** A header and a body of `struct rtmsg` or `struct ifaddrmsg`, as far as the filters look. */
function message(order: ByteOrder, { type, flags = 0, length = 0, index = 0 }: { readonly type: number; readonly flags?: number; readonly length?: number; readonly index?: number }): Uint8Array {
  return new ByteWriter(28, order).u32(28).u16(type).u16(flags).u32(7).u32(0).u8(10).u8(length).u16(0).u32(index).u32(0).finish();
}

/** Runs a program of the instructions that the filters use, as the kernel does. True when the message passes whole. */
function passes(program: readonly BpfInstruction[], bytes: Uint8Array): boolean {
  let loaded = 0;
  for (let at = 0; at < program.length; at++) {
    const { code, jt, jf, k } = program[at] ?? { code: 0, jt: 0, jf: 0, k: 0 };
    if (code === 0x06) return k === 0xffff_ffff;
    if (code === 0x30) loaded = bytes[k] ?? 0;
    else if (code === 0x20) loaded = new DataView(bytes.buffer, bytes.byteOffset).getUint32(k);
    else if (code === 0x15) at += loaded === k ? jt : jf;
    else if (code === 0x45) at += (loaded & k) === 0 ? jf : jt;
    else throw new Error(`instruction ${code}`);
  }
  throw new Error("the program does not end");
}

describe.each<ByteOrder>(["little", "big"])("filters, %s-endian", (order) => {
  test.each([24, 25])("of the events of routes (type %i) those of default routes pass, and dumps whole", (type) => {
    const filter = defaultRouteFilter(order);
    expect(passes(filter, message(order, { type, flags: 0x500 }))).toBe(true);
    expect(passes(filter, message(order, { type, flags: 0x500, length: 64 }))).toBe(false);
    expect(passes(filter, message(order, { type, length: 128 }))).toBe(false);
    expect(passes(filter, message(order, { type, flags: MULTI, length: 64 }))).toBe(true);
  });

  test.each([20, 21])("of the events of addresses (type %i) those of some interfaces pass, and dumps whole", (type) => {
    const filter = addressFilter([2, 0x01020304, 0x80000001], order);
    for (const index of [2, 0x01020304, 0x80000001]) expect([index, passes(filter, message(order, { type, index }))]).toEqual([index, true]);
    for (const index of [0, 3, 0x02000000, 0x04030201]) expect([index, passes(filter, message(order, { type, index }))]).toEqual([index, false]);
    expect(passes(filter, message(order, { type, index: 3, flags: MULTI }))).toBe(true);
    expect(passes(addressFilter([], order), message(order, { type, index: 2 }))).toBe(false);
  });

  test.each([2, 3, 4, 16])("what is no such event (type %i) passes", (type) => {
    for (const filter of [defaultRouteFilter(order), addressFilter([2], order), anyMessageFilter]) expect(passes(filter, message(order, { type, length: 64, index: 3 }))).toBe(true);
  });
});
