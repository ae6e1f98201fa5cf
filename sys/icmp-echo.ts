/**
 * Echo request and reply, as a raw socket sends and receives them: what they look like, not what they mean.
 * RFC 792 (ICMP), RFC 4443 §4 (ICMPv6); checksum RFC 1071.
 */

import { ByteReader } from "../wire/byte-reader.ts";
import { ByteWriter } from "../wire/byte-writer.ts";
import type { IpFamily } from "../wire/ip-address.ts";

/** Bytes of an echo message without data. */
const ECHO_LENGTH = 8;
const MIN_IPV4_HEADER = 20;

/** Types of the messages, by family. RFC 792 page 14; RFC 4443 §4.1 and §4.2. */
export const EchoType = {
  IPv4: { request: 8, reply: 0 },
  IPv6: { request: 128, reply: 129 },
} as const;

/** Both are 16 bits. */
export interface Echo {
  readonly identifier: number;
  readonly sequence: number;
}

/** Encodes a request without data. Shape: 8 bytes. The kernel fills in the checksum of ICMPv6, which covers addresses that it chooses. RFC 3542 §3.1 */
export function encodeEchoRequest(family: IpFamily, echo: Echo): Uint8Array {
  const write = (checksum: number): Uint8Array =>
    new ByteWriter(ECHO_LENGTH).u8(EchoType[family].request).u8(0).u16(checksum).u16(echo.identifier).u16(echo.sequence).finish();
  const bytes = write(0);
  return family === "IPv4" ? write(internetChecksum(bytes)) : bytes;
}

/**
 * Decodes an echo reply as a raw socket gives it: behind its header for IPv4, without one for IPv6. The kernel has
 * checked ICMPv6's checksum, ICMP's it has not.
 * @throws DecodeError when it is anything else.
 */
export function decodeEchoReply(family: IpFamily, bytes: Uint8Array): Echo {
  const clause = family === "IPv4" ? "RFC 792 Echo Reply" : "RFC 4443 4.2";
  const reader = new ByteReader(bytes, { clause });
  let message = bytes;
  if (family === "IPv4") {
    const headerLength = (reader.u8() & 0x0f) * 4;
    if (headerLength < MIN_IPV4_HEADER) throw reader.error(`header of ${headerLength} bytes`, "RFC 791 3.1, IHL");
    reader.skip(headerLength - 1);
    message = bytes.subarray(headerLength);
  }
  const type = reader.u8();
  const code = reader.u8();
  if (type !== EchoType[family].reply || code !== 0) throw reader.error(`type ${type}, code ${code} is no echo reply`);
  reader.skip(2);
  const echo = { identifier: reader.u16(), sequence: reader.u16() };
  // A sum over a message with its checksum in it is zero when nothing was changed.
  if (family === "IPv4" && internetChecksum(message) !== 0) throw reader.error("checksum is wrong");
  return echo;
}

/** The 16-bit one's complement of the one's complement sum of all 16-bit words, an odd byte counting as if a zero followed. RFC 1071 §1 */
export function internetChecksum(bytes: Uint8Array): number {
  let sum = 0;
  for (let at = 0; at < bytes.length; at += 2) {
    sum += ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
    if (sum > 0xffff) sum = (sum & 0xffff) + 1;
  }
  return ~sum & 0xffff;
}
