import fc from "fast-check";
import { describe, expect, test } from "vitest";

import { ByteReader } from "../wire/byte-reader.ts";
import type { ByteOrder } from "../wire/byte-reader.ts";
import { ByteWriter } from "../wire/byte-writer.ts";
import { DecodeError } from "../wire/decode-error.ts";
import { decodeNetlinkMessages, encodeAddressDumpRequest, encodeLinkDumpRequest } from "./netlink-message.ts";

interface Attribute {
  readonly type: number;
  readonly value: Uint8Array;
}

/** A message as the kernel writes it, for the tests only. */
function message(type: number, body: Uint8Array, order: ByteOrder, flags = 0): Uint8Array {
  const writer = new ByteWriter(16 + body.length + 4, order);
  return writer.u32(16 + body.length).u16(type).u16(flags).u32(0).u32(0).bytes(body).align(4).finish();
}

function link(options: { family?: number; index: number; flags: number; attributes: readonly Attribute[] }, order: ByteOrder): Uint8Array {
  const writer = new ByteWriter(4096, order);
  writer.u8(options.family ?? 0).u8(0).u16(1).u32(options.index).u32(options.flags).u32(0);
  for (const { type, value } of options.attributes) writer.u16(4 + value.length).u16(type).bytes(value).align(4);
  return writer.finish();
}

function u32(value: number, order: ByteOrder): Uint8Array {
  return new ByteWriter(4, order).u32(value).finish();
}

const name = { type: 3, value: new TextEncoder().encode("eth0\0") };
const mac = { type: 1, value: Uint8Array.of(2, 0, 0, 0, 0, 10) };

describe.each<ByteOrder>(["little", "big"])("netlink messages, %s-endian", (order) => {
  test("a link with what we look at, among attributes that we do not know", () => {
    const attributes = [{ type: 99, value: Uint8Array.of(1, 2, 3) }, mac, name, { type: 10, value: u32(7, order) }];
    const bytes = message(16, link({ index: 2, flags: 0x1 | 0x2 | 0x10000, attributes }, order), order);
    expect(decodeNetlinkMessages(bytes, order)).toEqual([
      { kind: "link", link: { index: 2, name: "eth0", up: true, carrier: true, broadcast: true, noArp: false, master: 7, mac: "02:00:00:00:00:0a" } },
    ]);
  });

  test("an address of another length is none", () => {
    const bytes = message(16, link({ index: 3, flags: 0x80, attributes: [{ type: 1, value: new Uint8Array(4) }, name] }, order), order);
    expect(decodeNetlinkMessages(bytes, order)).toEqual([{ kind: "link", link: { index: 3, name: "eth0", up: false, carrier: false, broadcast: false, noArp: true } }]);
  });

  test("a dump that a change interrupted may lack a link: it counts as an overrun", () => {
    const bytes = message(3, u32(0, order), order, 0x2 | 0x10);
    expect(decodeNetlinkMessages(bytes, order)).toEqual([{ kind: "overrun" }, { kind: "done" }]);
  });

  test("news of a radio are none of the link: they come without its address", () => {
    const bytes = message(16, link({ index: 2, flags: 0x1, attributes: [name, { type: 11, value: new Uint8Array(20) }] }, order), order);
    expect(decodeNetlinkMessages(bytes, order)).toEqual([]);
  });

  test("several in one datagram, in order, the unknown ones left out", () => {
    const parts = [
      message(17, link({ index: 4, flags: 0, attributes: [name] }, order), order),
      message(16, link({ family: 7, index: 4, flags: 1, attributes: [name] }, order), order),
      message(24, new Uint8Array(12), order),
      message(4, new Uint8Array(0), order),
      message(2, u32(0x1_0000_0000 - 16, order), order),
      message(3, u32(0, order), order),
    ];
    expect(decodeNetlinkMessages(Uint8Array.from(parts.flatMap((part) => [...part])), order)).toEqual([
      { kind: "linkRemoved", index: 4 },
      { kind: "overrun" },
      { kind: "error", errno: 16 },
      { kind: "done" },
    ]);
  });

  test("addresses of both families come and go; a link's other end is none of ours", () => {
    const address = (options: { family: number; prefixLength: number; index: number; attributes: readonly Attribute[] }): Uint8Array => {
      const writer = new ByteWriter(4096, order);
      writer.u8(options.family).u8(options.prefixLength).u16(0).u32(options.index);
      for (const { type, value } of options.attributes) writer.u16(4 + value.length).u16(type).bytes(value).align(4);
      return writer.finish();
    };
    const own = { type: 2, value: Uint8Array.of(10, 9, 0, 2) };
    const other = { type: 1, value: Uint8Array.of(10, 9, 0, 9) };
    const ipv6 = Uint8Array.of(0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7);
    const parts = [
      message(20, address({ family: 2, prefixLength: 24, index: 3, attributes: [other, own] }), order),
      message(20, address({ family: 10, prefixLength: 64, index: 3, attributes: [{ type: 1, value: ipv6 }] }), order),
      message(20, address({ family: 10, prefixLength: 128, index: 3, attributes: [{ type: 1, value: new Uint8Array(16) }, { type: 2, value: ipv6 }] }), order),
      message(20, address({ family: 28, prefixLength: 8, index: 3, attributes: [own] }), order),
      message(20, address({ family: 2, prefixLength: 24, index: 3, attributes: [other] }), order),
      message(21, address({ family: 2, prefixLength: 32, index: 4, attributes: [own] }), order),
    ];
    expect(decodeNetlinkMessages(Uint8Array.from(parts.flatMap((part) => [...part])), order)).toEqual([
      { kind: "address", address: { interfaceIndex: 3, address: "10.9.0.2", prefixLength: 24 } },
      { kind: "address", address: { interfaceIndex: 3, address: "fe80::7", prefixLength: 64 } },
      { kind: "address", address: { interfaceIndex: 3, address: "fe80::7", prefixLength: 128 } },
      { kind: "addressRemoved", address: { interfaceIndex: 4, address: "10.9.0.2", prefixLength: 32 } },
    ]);
    for (const [family, prefixLength] of [[2, 33], [10, 129]] as const) {
      expect(() => decodeNetlinkMessages(message(20, address({ family, prefixLength, index: 3, attributes: [own] }), order), order)).toThrow(DecodeError);
    }
  });

  test.each([["all" as const, 0], ["IPv6" as const, 10]])("the request for addresses (%s) is a dump of RTM_GETADDR", (of, family) => {
    const reader = new ByteReader(encodeAddressDumpRequest(7, order, of), { clause: "test", order });
    expect([reader.u32(), reader.u16(), reader.u16(), reader.u32(), reader.u32(), reader.u8(), reader.remaining]).toEqual([24, 22, 0x301, 7, 0, family, 7]);
  });

  test("the request for all links is a dump of RTM_GETLINK", () => {
    const reader = new ByteReader(encodeLinkDumpRequest(7, order), { clause: "test", order });
    expect([reader.u32(), reader.u16(), reader.u16(), reader.u32(), reader.u32(), reader.remaining]).toEqual([32, 18, 0x301, 7, 0, 16]);
  });

  test.each([
    ["a message shorter than its header", u32(15, order)],
    ["a message longer than the datagram", u32(400, order)],
  ])("%s is refused", (_what, length) => {
    const bytes = new Uint8Array(32);
    bytes.set(length);
    expect(() => decodeNetlinkMessages(bytes, order)).toThrow(DecodeError);
  });

  test("an attribute that claims to be longer than the message is refused", () => {
    const bytes = message(16, link({ index: 1, flags: 0, attributes: [name] }, order), order);
    const lying = bytes.slice();
    lying.set(new ByteWriter(2, order).u16(400).finish(), 32);
    expect(() => decodeNetlinkMessages(lying, order)).toThrow(DecodeError);
  });

  test("any bytes are messages or a DecodeError, and end", () => {
    const wild = fc.array(fc.tuple(fc.constantFrom(2, 3, 16, 17, 20, 21, 24), fc.uint8Array({ maxLength: 60 }))).map((parts) => Uint8Array.from(parts.flatMap(([type, body]) => [...message(type, body, order)])));
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 200 }), wild), (bytes) => {
        try {
          decodeNetlinkMessages(bytes, order);
        } catch (error) {
          expect(error).toBeInstanceOf(DecodeError);
        }
      }),
    );
  });
});
