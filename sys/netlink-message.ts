/**
 * The part of rtnetlink that tells of interfaces: the requests for all links and all addresses, and what the kernel
 * answers and announces.
 * Host byte order throughout, as <linux/netlink.h> and <linux/rtnetlink.h> lay it out (rtnetlink(7)); sans-IO.
 * Unknown messages and attributes are passed over: newer kernels add them freely.
 */

import { ByteReader } from "../wire/byte-reader.ts";
import type { ByteOrder } from "../wire/byte-reader.ts";
import { ByteWriter } from "../wire/byte-writer.ts";
import { formatIpAddress, ipAddressFromBytes } from "../wire/ip-address.ts";
import { MAC_LENGTH, macAddressFromBytes } from "../wire/mac-address.ts";
import type { MacAddress } from "../wire/mac-address.ts";

/** Bytes of the header of each message: length, type, flags, sequence, port id. */
export const HEADER_LENGTH = 16;
/** Bytes of `struct ifinfomsg`. */
const LINK_HEADER_LENGTH = 16;
/** Bytes of `struct ifaddrmsg`. */
const ADDRESS_HEADER_LENGTH = 8;
const ATTRIBUTE_HEADER_LENGTH = 4;
const ALIGNMENT = 4;

const NLMSG_ERROR = 2;
const NLMSG_DONE = 3;
const NLMSG_OVERRUN = 4;
const RTM_NEWLINK = 16;
const RTM_DELLINK = 17;
const RTM_GETLINK = 18;
/** Type of the message of an address that is there now. */
export const RTM_NEWADDR = 20;
/** Type of the message of an address that has gone. */
export const RTM_DELADDR = 21;
const RTM_GETADDR = 22;
/** Flag of a request. */
export const NLM_F_REQUEST = 0x001;
/** Flags of a request for everything (NLM_F_ROOT and NLM_F_MATCH). */
export const NLM_F_DUMP = 0x300;
/** Set by the kernel in a dump's messages after the list changed under it. */
export const NLM_F_DUMP_INTR = 0x010;
const IFLA_ADDRESS = 1;
const IFLA_IFNAME = 3;
const IFLA_MASTER = 10;
const IFLA_WIRELESS = 11;
const IFA_ADDRESS = 1;
const IFA_LOCAL = 2;
const AF_UNSPEC = 0;
const AF_INET = 2;
const AF_INET6 = 10;
const AF_BRIDGE = 7;

const IFF_UP = 0x1;
const IFF_BROADCAST = 0x2;
const IFF_NOARP = 0x80;
const IFF_LOWER_UP = 0x10000;

/** Multicast group of link changes: RTMGRP_LINK. */
export const LINK_GROUP = 1;
/** Multicast group of changes of IPv4 addresses: RTMGRP_IPV4_IFADDR. */
export const IPV4_ADDRESS_GROUP = 0x10;
/** Multicast group of changes of IPv6 addresses: RTMGRP_IPV6_IFADDR. */
export const IPV6_ADDRESS_GROUP = 0x100;

/** An interface as the kernel tells of it. */
export interface Link {
  readonly index: number;
  readonly name: string;
  /** Administratively up. */
  readonly up: boolean;
  /** The driver says that the cable is in (IFF_LOWER_UP). */
  readonly carrier: boolean;
  readonly broadcast: boolean;
  readonly noArp: boolean;
  /** Index of the bridge, bond or VRF it is enslaved to. */
  readonly master?: number;
  /** Absent when the link layer has no 6-byte address. */
  readonly mac?: MacAddress;
  /** Canonical text of its IPv6 link-local address, the first of several. Not in the kernel's news of links: its news of addresses tell. */
  readonly linkLocal?: string;
}

/** An address of an interface. `address` is canonical text. */
export interface InterfaceAddress {
  readonly interfaceIndex: number;
  readonly address: string;
  readonly prefixLength: number;
}

export type NetlinkMessage =
  | { readonly kind: "link"; readonly link: Link }
  | { readonly kind: "linkRemoved"; readonly index: number }
  | { readonly kind: "address" | "addressRemoved"; readonly address: InterfaceAddress }
  | NetlinkControlMessage;

/** What the kernel says of the conversation itself. */
export type NetlinkControlMessage =
  /** End of a dump. */
  | { readonly kind: "done" }
  /** An answer to a request of ours; errno is 0 for an acknowledgement. */
  | { readonly kind: "error"; readonly errno: number }
  /** Messages were lost, or a dump was interrupted by a change and may lack a link: ask for everything again. */
  | { readonly kind: "overrun" };

/** Asks for all links. Shape: 32 bytes. */
export function encodeLinkDumpRequest(sequence: number, order: ByteOrder): Uint8Array {
  const writer = new ByteWriter(HEADER_LENGTH + LINK_HEADER_LENGTH, order);
  writer.u32(HEADER_LENGTH + LINK_HEADER_LENGTH).u16(RTM_GETLINK).u16(NLM_F_REQUEST | NLM_F_DUMP).u32(sequence).u32(0);
  writer.u8(0).u8(0).u16(0).u32(0).u32(0).u32(0);
  return writer.finish();
}

/** Asks for all addresses, or those of IPv6. Shape: 24 bytes. */
export function encodeAddressDumpRequest(sequence: number, order: ByteOrder, of: "all" | "IPv6" = "all"): Uint8Array {
  const writer = new ByteWriter(HEADER_LENGTH + ADDRESS_HEADER_LENGTH, order);
  writer.u32(HEADER_LENGTH + ADDRESS_HEADER_LENGTH).u16(RTM_GETADDR).u16(NLM_F_REQUEST | NLM_F_DUMP).u32(sequence).u32(0);
  return writer.u8(of === "all" ? AF_UNSPEC : AF_INET6).u8(0).u16(0).u32(0).finish();
}

/**
 * Decodes what one `recv` gave: any number of messages, each padded to 4 bytes. Addresses of other interfaces than
 * `addressesOf` are passed over, if it is given.
 * @throws DecodeError when a length lies.
 */
export function decodeNetlinkMessages(bytes: Uint8Array, order: ByteOrder, addressesOf?: ReadonlySet<number>): NetlinkMessage[] {
  const messages: NetlinkMessage[] = [];
  forEachNetlinkMessage(bytes, order, ({ type, flags, body }) => {
    if ((flags & NLM_F_DUMP_INTR) !== 0) messages.push({ kind: "overrun" });
    const message = decodeBody(type, body, addressesOf);
    if (message !== undefined) messages.push(message);
  });
  return messages;
}

/** Calls `take` with each message of what one `recv` gave. @throws DecodeError when a length lies, and what `take` throws */
export function forEachNetlinkMessage(bytes: Uint8Array, order: ByteOrder, take: (message: { readonly type: number; readonly flags: number; readonly body: ByteReader }) => void): void {
  const reader = new ByteReader(bytes, { clause: "netlink(7)", order });
  while (reader.remaining >= HEADER_LENGTH) {
    const length = reader.u32();
    if (length < HEADER_LENGTH) throw reader.error(`message of ${length} bytes is shorter than its header`);
    const type = reader.u16();
    const flags = reader.u16();
    reader.skip(HEADER_LENGTH - 8);
    take({ type, flags, body: reader.within(length - HEADER_LENGTH) });
    reader.skip(Math.min(padding(length), reader.remaining));
  }
  if (reader.remaining > 0) throw reader.error("rest is shorter than a header");
}

function decodeBody(type: number, body: ByteReader, addressesOf: ReadonlySet<number> | undefined): NetlinkMessage | undefined {
  switch (type) {
    case RTM_NEWLINK:
    case RTM_DELLINK:
      return decodeLink(type, body);
    case RTM_NEWADDR:
    case RTM_DELADDR:
      return decodeAddress(type, body, addressesOf);
    default:
      return decodeControlMessage(type, body);
  }
}

/** What a message says of the conversation itself; undefined when it is of another type. @throws DecodeError when it is too short */
export function decodeControlMessage(type: number, body: ByteReader): NetlinkControlMessage | undefined {
  switch (type) {
    case NLMSG_DONE:
      return { kind: "done" };
    case NLMSG_OVERRUN:
      return { kind: "overrun" };
    case NLMSG_ERROR:
      // The field is a negative errno: turning the sign of its 32 bits gives errno.
      return { kind: "error", errno: -(body.u32() | 0) | 0 };
    default:
      return undefined;
  }
}

function decodeLink(type: number, body: ByteReader): NetlinkMessage | undefined {
  const family = body.u8();
  body.skip(3);
  const index = body.u32();
  const flags = body.u32();
  body.skip(4);
  // A bridge tells of its ports' forwarding state in the same words; it is not the link that comes or goes then.
  if (family === AF_BRIDGE) return undefined;
  if (type === RTM_DELLINK) return { kind: "linkRemoved", index };
  const attributes = decodeAttributes(body);
  // Wireless extensions send their own news in the shape of a link that has a name and little else.
  if (attributes.isWirelessNews === true) return undefined;
  if (attributes.name === undefined) throw body.error("link without a name", "rtnetlink(7)");
  return {
    kind: "link",
    link: {
      index,
      name: attributes.name,
      up: (flags & IFF_UP) !== 0,
      carrier: (flags & IFF_LOWER_UP) !== 0,
      broadcast: (flags & IFF_BROADCAST) !== 0,
      noArp: (flags & IFF_NOARP) !== 0,
      ...(attributes.master === undefined ? {} : { master: attributes.master }),
      ...(attributes.mac === undefined ? {} : { mac: attributes.mac }),
    },
  };
}

function decodeAddress(type: number, body: ByteReader, addressesOf: ReadonlySet<number> | undefined): NetlinkMessage | undefined {
  const family = body.u8();
  const prefixLength = body.u8();
  body.skip(2);
  const interfaceIndex = body.u32();
  if (family !== AF_INET && family !== AF_INET6) return undefined;
  if (addressesOf?.has(interfaceIndex) === false) return undefined;
  const length = family === AF_INET ? 4 : 16;
  let local: string | undefined;
  let other: string | undefined;
  forEachAttribute(body, (attribute, value) => {
    if ((attribute !== IFA_LOCAL && attribute !== IFA_ADDRESS) || value.remaining !== length) return;
    const text = formatIpAddress(ipAddressFromBytes(value.bytes(length)));
    if (attribute === IFA_LOCAL) local = text;
    else other = text;
  });
  if (prefixLength > length * 8) throw body.error(`prefix of ${prefixLength} bits`, "rtnetlink(7)");
  // IFA_ADDRESS is the other end's where a link has only two; IPv6 leaves IFA_LOCAL out unless it is such a link.
  const address = local ?? (family === AF_INET6 ? other : undefined);
  if (address === undefined) return undefined;
  return { kind: type === RTM_NEWADDR ? "address" : "addressRemoved", address: { interfaceIndex, address, prefixLength } };
}

interface LinkAttributes {
  name?: string;
  mac?: MacAddress;
  master?: number;
  isWirelessNews?: boolean;
}

function decodeAttributes(body: ByteReader): LinkAttributes {
  const found: LinkAttributes = {};
  forEachAttribute(body, (type, value) => {
    if (type === IFLA_IFNAME) {
      const name = new TextDecoder().decode(value.bytes(value.remaining));
      found.name = name.replace(/\0.*$/s, "");
    } else if (type === IFLA_ADDRESS && value.remaining === MAC_LENGTH) {
      found.mac = macAddressFromBytes(value.bytes(MAC_LENGTH));
    } else if (type === IFLA_MASTER) {
      found.master = value.u32();
    } else if (type === IFLA_WIRELESS) {
      found.isWirelessNews = true;
    }
  });
  return found;
}

/** Calls `take` with each attribute of the rest of a message. @throws DecodeError when a length lies, and what `take` throws */
export function forEachAttribute(body: ByteReader, take: (type: number, value: ByteReader) => void): void {
  while (body.remaining >= ATTRIBUTE_HEADER_LENGTH) {
    const length = body.u16();
    if (length < ATTRIBUTE_HEADER_LENGTH) throw body.error(`attribute of ${length} bytes is shorter than its header`, "rtnetlink(7)");
    const type = body.u16();
    take(type, body.within(length - ATTRIBUTE_HEADER_LENGTH));
    body.skip(Math.min(padding(length), body.remaining));
  }
}

function padding(length: number): number {
  return (ALIGNMENT - (length % ALIGNMENT)) % ALIGNMENT;
}
