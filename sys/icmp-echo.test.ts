import fc from "fast-check";
import { describe, expect, test } from "vitest";

import { DecodeError } from "../wire/decode-error.ts";
import type { IpFamily } from "../wire/ip-address.ts";
import { decodeEchoReply, encodeEchoRequest, internetChecksum } from "./icmp-echo.ts";

/** The reply that a host gives to a request, as a raw socket hands it over. */
function replyTo(family: IpFamily, request: Uint8Array): Uint8Array {
  const reply = request.slice();
  reply[0] = family === "IPv4" ? 0 : 129;
  if (family === "IPv6") return reply;
  reply.fill(0, 2, 4);
  const sum = internetChecksum(reply);
  reply.set([sum >> 8, sum & 0xff], 2);
  // A header of 24 bytes: with an option, as routers may add them.
  return Uint8Array.of(0x46, ...new Uint8Array(23), ...reply);
}

test("the checksum of RFC 1071's example, and of an odd number of bytes", () => {
  expect(internetChecksum(Uint8Array.of(0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7))).toBe(0xffff - 0xddf2);
  expect(internetChecksum(Uint8Array.of(0x12, 0x34, 0x56))).toBe(0xffff - (0x1234 + 0x5600));
  expect(internetChecksum(new Uint8Array(0))).toBe(0xffff);
});

test("a request is eight bytes; the kernel fills in ICMPv6's checksum", () => {
  expect([...encodeEchoRequest("IPv4", { identifier: 0x1234, sequence: 1 })]).toEqual([8, 0, 0xe5, 0xca, 0x12, 0x34, 0, 1]);
  expect([...encodeEchoRequest("IPv6", { identifier: 0x1234, sequence: 1 })]).toEqual([128, 0, 0, 0, 0x12, 0x34, 0, 1]);
});

describe.each<IpFamily>(["IPv4", "IPv6"])("%s", (family) => {
  const echo = fc.record({ identifier: fc.integer({ min: 0, max: 0xffff }), sequence: fc.integer({ min: 0, max: 0xffff }) });

  test("a reply carries what the request carried", () => {
    fc.assert(
      fc.property(echo, (asked) => {
        expect(decodeEchoReply(family, replyTo(family, encodeEchoRequest(family, asked)))).toEqual(asked);
      }),
    );
  });

  test("a request is no reply, and neither is an error message", () => {
    const request = encodeEchoRequest(family, { identifier: 1, sequence: 2 });
    const header = family === "IPv4" ? [0x45, ...new Uint8Array(19)] : [];
    expect(() => decodeEchoReply(family, Uint8Array.of(...header, ...request))).toThrow("no echo reply");
    request[0] = 3;
    expect(() => decodeEchoReply(family, Uint8Array.of(...header, ...request))).toThrow("no echo reply");
  });

  test("any bytes are a reply or a DecodeError", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => {
        try {
          decodeEchoReply(family, bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(DecodeError);
        }
      }),
    );
  });
});

test("a reply that was changed on its way is refused", () => {
  const reply = replyTo("IPv4", encodeEchoRequest("IPv4", { identifier: 1, sequence: 2 }));
  reply[31] = 3;
  expect(() => decodeEchoReply("IPv4", reply)).toThrow("checksum");
});

test("a header that claims to be shorter than it can be is refused", () => {
  const reply = replyTo("IPv4", encodeEchoRequest("IPv4", { identifier: 1, sequence: 2 }));
  reply[0] = 0x44;
  expect(() => decodeEchoReply("IPv4", reply)).toThrow("IHL");
});
