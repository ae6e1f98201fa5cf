import fc from "fast-check";
import { describe, expect, test } from "vitest";

import type { ByteOrder } from "../wire/byte-reader.ts";
import { DecodeError } from "../wire/decode-error.ts";
import { formatIpAddress, ipAddressFromBytes } from "../wire/ip-address.ts";
import { decodeSocketAddress, encodeSocketAddress } from "./socket-address.ts";

const address = fc.oneof(fc.uint8Array({ minLength: 4, maxLength: 4 }), fc.uint8Array({ minLength: 16, maxLength: 16 }))
  .map((bytes) => formatIpAddress(ipAddressFromBytes(bytes)))
  .filter((text) => !text.startsWith("::ffff:"));

describe.each<ByteOrder>(["little", "big"])("socket addresses, %s-endian", (order) => {
  test("the layout is that of struct sockaddr_in and sockaddr_in6", () => {
    const family = (number: number): number[] => (order === "little" ? [number, 0] : [0, number]);
    expect([...encodeSocketAddress({ address: "10.1.2.3", port: 7946 }, order)]).toEqual([...family(2), 0x1f, 0x0a, 10, 1, 2, 3, 0, 0, 0, 0, 0, 0, 0, 0]);
    expect([...encodeSocketAddress({ address: "fd00::1", port: 1 }, order)]).toEqual([...family(10), 0, 1, 0, 0, 0, 0, 0xfd, ...Array.from({ length: 14 }, () => 0), 1, 0, 0, 0, 0]);
  });

  test("what is encoded decodes to the same", () => {
    fc.assert(
      fc.property(address, fc.integer({ min: 0, max: 0xffff }), (text, port) => {
        expect(decodeSocketAddress(encodeSocketAddress({ address: text, port }, order), order)).toEqual({ address: text, port });
      }),
    );
  });

  test("any bytes are an endpoint or a DecodeError", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 30 }), (bytes) => {
        try {
          decodeSocketAddress(bytes, order);
        } catch (error) {
          expect(error).toBeInstanceOf(DecodeError);
        }
      }),
    );
  });
});

test.each([
  ["no address", "node1", 1],
  ["a zone", "fe80::1%eth0", 1],
  ["no port", "10.0.0.1", 65_536],
  ["half a port", "10.0.0.1", 0.5],
])("%s is EINVAL", (_what, text, port) => {
  expect(() => encodeSocketAddress({ address: text, port }, "little")).toThrow("EINVAL");
});
