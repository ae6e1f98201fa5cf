import fc from "fast-check";
import { describe, expect, test } from "vitest";

import type { ByteOrder } from "../wire/byte-reader.ts";
import { ByteWriter } from "../wire/byte-writer.ts";
import { DecodeError } from "../wire/decode-error.ts";
import { ipAddressToBytes, parseIpAddress } from "../wire/ip-address.ts";
import { decodeRouteMessages, encodeRouteDumpRequest } from "./route-message.ts";

interface Attribute {
  readonly type: number;
  readonly value: Uint8Array;
}

interface RouteFields {
  readonly type?: number;
  readonly flags?: number;
  readonly family?: number;
  readonly lengths?: readonly [number, number];
  readonly table?: number;
  readonly routeType?: number;
  readonly attributes?: readonly Attribute[];
}

/** A message as the kernel writes it, for the tests only. */
function message(type: number, body: Uint8Array, order: ByteOrder, flags = 0): Uint8Array {
  const writer = new ByteWriter(16 + body.length + 4, order);
  return writer.u32(16 + body.length).u16(type).u16(flags).u32(0).u32(0).bytes(body).align(4).finish();
}

function writeAttributes(writer: ByteWriter, attributes: readonly Attribute[]): ByteWriter {
  for (const { type, value } of attributes) writer.u16(4 + value.length).u16(type).bytes(value).align(4);
  return writer;
}

function route(order: ByteOrder, { type = 24, flags = 0, family = 10, lengths = [0, 0], table = 254, routeType = 1, attributes = [] }: RouteFields): Uint8Array {
  const writer = new ByteWriter(4096, order).u8(family).u8(lengths[0]).u8(lengths[1]).u8(0).u8(table).u8(9).u8(0).u8(routeType).u32(0);
  return message(type, writeAttributes(writer, attributes).finish(), order, flags);
}

const u32 = (value: number, order: ByteOrder): Uint8Array => new ByteWriter(4, order).u32(value).finish();
const oif = (index: number, order: ByteOrder): Attribute => ({ type: 4, value: u32(index, order) });
const metric = (value: number, order: ByteOrder): Attribute => ({ type: 6, value: u32(value, order) });
const gateway = (text: string): Attribute => ({ type: 5, value: ipAddressToBytes(parseIpAddress(text)) });

function multipath(order: ByteOrder, hops: readonly { readonly index: number; readonly attributes: readonly Attribute[] }[]): Attribute {
  const writer = new ByteWriter(4096, order);
  for (const { index, attributes } of hops) {
    const inner = writeAttributes(new ByteWriter(1024, order), attributes).finish();
    writer.u16(8 + inner.length).u8(0).u8(0).u32(index).bytes(inner);
  }
  return { type: 9, value: writer.finish() };
}

describe.each<ByteOrder>(["little", "big"])("messages of routes, %s-endian", (order) => {
  const attributes = [{ type: 99, value: Uint8Array.of(1) }, metric(1024, order), oif(2, order), gateway("fe80::1")];
  const known = { metric: 1024, hops: [{ address: "fe80::1", interfaceIndex: 2 }] };

  test.each([
    { what: "part of a dump", fields: { flags: 0x2 }, change: "known" },
    { what: "one that comes", fields: { flags: 0x400 }, change: "added" },
    { what: "one that takes the place of others", fields: { flags: 0x100 }, change: "replaced" },
    { what: "one that goes", fields: { type: 25 }, change: "removed" },
  ])("a default route: $what", ({ fields, change }) => {
    expect(decodeRouteMessages(route(order, { ...fields, attributes }), order)).toEqual([{ kind: "route", change, route: known }]);
  });

  test("each next hop with a gateway, in their order", () => {
    const hops = multipath(order, [
      { index: 3, attributes: [gateway("fe80::3")] },
      { index: 4, attributes: [] },
      { index: 2, attributes: [{ type: 12, value: Uint8Array.of(9) }, gateway("fd00::2")] },
    ]);
    expect(decodeRouteMessages(route(order, { attributes: [metric(7, order), hops] }), order)).toEqual([
      { kind: "route", change: "added", route: { metric: 7, hops: [{ address: "fe80::3", interfaceIndex: 3 }, { address: "fd00::2", interfaceIndex: 2 }] } },
    ]);
  });

  test.each([
    { what: "to a device", fields: { attributes: [metric(7, order), oif(2, order)] } },
    { what: "that is unreachable", fields: { routeType: 7, attributes: [metric(7, order), oif(1, order), gateway("fe80::1")] } },
    { what: "to a gateway of another length", fields: { attributes: [metric(7, order), oif(1, order), { type: 5, value: new Uint8Array(4) }] } },
  ])("a default route $what has no gateway", ({ fields }) => {
    expect(decodeRouteMessages(route(order, fields), order)).toEqual([{ kind: "route", change: "added", route: { metric: 7, hops: [] } }]);
  });

  test.each([
    { what: "to a subnet", fields: { lengths: [64, 0] as const } },
    { what: "of some sources", fields: { lengths: [0, 64] as const } },
    { what: "of IPv4", fields: { family: 2 } },
    { what: "of another table", fields: { table: 100 } },
    { what: "of a table with a long number", fields: { table: 252, attributes: [...attributes, { type: 15, value: u32(1000, order) }] } },
  ])("a route $what is passed over", ({ fields }) => {
    expect(decodeRouteMessages(route(order, { attributes, ...fields }), order)).toEqual([]);
  });

  test("the table's long number counts", () => {
    expect(decodeRouteMessages(route(order, { table: 252, attributes: [...attributes, { type: 15, value: u32(254, order) }] }), order)).toHaveLength(1);
  });

  test("the conversation itself", () => {
    const bytes = [message(16, new Uint8Array(16), order), message(2, u32(-95 >>> 0, order), order), message(4, new Uint8Array(4), order), message(3, new Uint8Array(4), order, 0x12)];
    expect(decodeRouteMessages(Uint8Array.from(bytes.flatMap((part) => [...part])), order)).toEqual([{ kind: "error", errno: 95 }, { kind: "overrun" }, { kind: "overrun" }, { kind: "done" }]);
  });

  test.each([
    { what: "a message shorter than its header", bytes: new ByteWriter(16, order).u32(15).u16(24).u16(0).u32(0).u32(0).finish() },
    { what: "a message without the header of a route", bytes: message(24, Uint8Array.of(10, 0), order) },
    { what: "an attribute beyond the message", bytes: message(24, new ByteWriter(16, order).u8(10).u8(0).u16(0).u32(0).u32(0).u16(40).u16(5).finish(), order) },
    { what: "a next hop of no length", bytes: route(order, { attributes: [{ type: 9, value: new Uint8Array(8) }] }) },
    { what: "a next hop beyond its attribute", bytes: route(order, { attributes: [{ type: 9, value: new ByteWriter(8, order).u16(99).u16(0).u32(0).finish() }] }) },
  ])("$what is refused", ({ bytes }) => {
    expect(() => decodeRouteMessages(bytes, order)).toThrow(DecodeError);
  });

  test("any bytes give messages or a DecodeError", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.uint8Array({ maxLength: 64 }), (noise, tail) => {
        for (const bytes of [noise, message(24, Uint8Array.of(10, 0, 0, 0, 254, 9, 0, 1, 0, 0, 0, 0, ...tail), order)]) {
          try {
            decodeRouteMessages(bytes, order);
          } catch (error) {
            if (!(error instanceof DecodeError)) throw error;
          }
        }
      }),
    );
  });

  test("asks for all routes of IPv6", () => {
    expect([...encodeRouteDumpRequest(7, order)]).toEqual([...message(26, Uint8Array.of(10, ...new Uint8Array(11)), order, 0x301).subarray(0, 8), ...u32(7, order), ...new Uint8Array(4), 10, ...new Uint8Array(11)]);
  });
});
