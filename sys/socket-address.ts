/**
 * IPv4 and IPv6 socket addresses: their text and what the kernel reads and writes. ip(7), ipv6(7).
 */

import { AddressError, formatIpAddress, ipAddressFromBytes, ipAddressToBytes, parseIpAddress } from "../wire/ip-address.ts";
import type { IpFamily } from "../wire/ip-address.ts";
import { ByteReader } from "../wire/byte-reader.ts";
import type { ByteOrder } from "../wire/byte-reader.ts";
import { ByteWriter } from "../wire/byte-writer.ts";
import { SysError } from "./sys-error.ts";

/** Where a socket is, or is to be. `address` is canonical text (RFC 5952), `port` 16 bits; 0 lets the kernel choose. */
export interface IpEndpoint {
  readonly address: string;
  readonly port: number;
}

export const AF_INET = 2;
export const AF_INET6 = 10;
/** Bytes of `struct sockaddr_in`, and of `struct sockaddr_in6`: also room for any of the two. */
const SOCKADDR_IN_LENGTH = 16;
export const SOCKADDR_IN6_LENGTH = 28;

/** The family of an address by its text. */
export function familyOf(address: string): IpFamily {
  return address.includes(":") ? "IPv6" : "IPv4";
}

/** The kernel's number of the family of an address. */
export function familyNumber(address: string): number {
  return familyOf(address) === "IPv4" ? AF_INET : AF_INET6;
}

/**
 * Encodes an endpoint. Shape: 16 bytes for IPv4, 28 for IPv6 without flow label and scope, so that link-local addresses
 * do not work. The family is in host byte order, all else in network byte order.
 * @throws SysError EINVAL when the text is no address, or the port no port: both may come from a peer.
 */
export function encodeSocketAddress(endpoint: IpEndpoint, order: ByteOrder): Uint8Array {
  const { family, bytes } = addressBytes(endpoint);
  const writer = new ByteWriter(family === "IPv4" ? SOCKADDR_IN_LENGTH : SOCKADDR_IN6_LENGTH, "big");
  const number = family === "IPv4" ? AF_INET : AF_INET6;
  writer.u16(order === "little" ? number << 8 : number).u16(endpoint.port);
  if (family === "IPv4") return writer.bytes(bytes).align(SOCKADDR_IN_LENGTH).finish();
  return writer.u32(0).bytes(bytes).u32(0).finish();
}

function addressBytes({ address, port }: IpEndpoint): { readonly family: IpFamily; readonly bytes: Uint8Array } {
  if (!Number.isInteger(port) || port < 0 || port > 0xffff) throw new SysError({ code: "EINVAL", syscall: "sockaddr", detail: `port ${port}` });
  try {
    const parsed = parseIpAddress(address);
    return { family: parsed.family, bytes: ipAddressToBytes(parsed) };
  } catch (error) {
    if (!(error instanceof AddressError)) throw error;
    throw new SysError({ code: "EINVAL", syscall: "sockaddr", detail: error.message });
  }
}

/** Decodes what the kernel wrote. @throws DecodeError when it is too short, or of another family. */
export function decodeSocketAddress(bytes: Uint8Array, order: ByteOrder): IpEndpoint {
  const reader = new ByteReader(bytes, { clause: "ip(7)" });
  const raw = reader.u16();
  const family = order === "little" ? raw >> 8 : raw;
  const port = reader.u16();
  if (family !== AF_INET && family !== AF_INET6) throw reader.error(`address family ${family}`);
  if (family === AF_INET6) reader.skip(4);
  return { address: formatIpAddress(ipAddressFromBytes(reader.bytes(family === AF_INET ? 4 : 16))), port };
}
