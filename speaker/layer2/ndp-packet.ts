/**
 * Neighbour solicitations and advertisements over Ethernet, all headers included: what they look like, not what they mean.
 * RFC 4861 §4.3, §4.4 and §4.6; RFC 8200 §3 for the header, RFC 4443 §2.3 for the checksum, RFC 2464 §3 for the frame.
 */

import { ByteReader } from "../../wire/byte-reader.ts";
import { ByteWriter } from "../../wire/byte-writer.ts";
import { ipAddressFromBytes, ipAddressToBytes } from "../../wire/ip-address.ts";
import type { IpAddress } from "../../wire/ip-address.ts";
import { isMulticast, solicitedNodeGroup } from "../../wire/ipv6-multicast.ts";
import { MAC_LENGTH, macAddressFromBytes, macAddressToBytes } from "../../wire/mac-address.ts";
import type { MacAddress } from "../../wire/mac-address.ts";

interface NeighborHeaders {
  readonly ethernetDestination: MacAddress;
  readonly ethernetSource: MacAddress;
  /** Addresses of the packet; the source of a probe for duplicates is the unspecified one. */
  readonly source: IpAddress;
  readonly destination: IpAddress;
  /** The address that is asked for, or told of. */
  readonly target: IpAddress;
  readonly options: readonly NeighborOption[];
}

/** "Who has target?" RFC 4861 §4.3. */
export interface NeighborSolicitation extends NeighborHeaders {
  readonly kind: "solicitation";
}

/** "Target is here." RFC 4861 §4.4. */
export interface NeighborAdvertisement extends NeighborHeaders {
  readonly kind: "advertisement";
  /** R: the sender is a router. */
  readonly fromRouter: boolean;
  /** S: it answers a solicitation, so that the asker knows that its neighbour is reachable. */
  readonly solicited: boolean;
  /** O: it replaces what the receiver knew. */
  readonly override: boolean;
}

export type NeighborMessage = NeighborSolicitation | NeighborAdvertisement;

export type NeighborOption =
  | { readonly kind: "sourceLinkLayerAddress" | "targetLinkLayerAddress"; readonly mac: MacAddress }
  /** Tells a probe of one's own that came back from another's: RFC 7527 §4. At least 6 bytes, and 8 less than a multiple of 8. */
  | { readonly kind: "nonce"; readonly bytes: Uint8Array }
  /** Any other, or one whose length is not what Ethernet wants: passed over by whoever reads it. 6 bytes, or 6 more than a multiple of 8. */
  | { readonly kind: "raw"; readonly type: number; readonly bytes: Uint8Array };

export const ETHER_TYPE_IPV6 = 0x86dd;
/** EtherTypes that announce a VLAN tag: 802.1Q and 802.1ad. */
const VLAN_ETHER_TYPES: readonly number[] = [0x8100, 0x88a8];
const ETHERNET_HEADER_LENGTH = 14;
const IPV6_HEADER_LENGTH = 40;
const IP_VERSION = 6;
const NEXT_HEADER_ICMPV6 = 58;
/** A router takes one off: a packet that has all of it left comes from this segment. RFC 4861 §7.1. */
const HOP_LIMIT = 255;
const ICMP_SOLICITATION = 135;
const ICMP_ADVERTISEMENT = 136;
const ADDRESS_LENGTH = 16;
/** Bytes of the message without options. */
const MESSAGE_LENGTH = 24;
const ROUTER_FLAG = 0x80000000;
const SOLICITED_FLAG = 0x40000000;
const OVERRIDE_FLAG = 0x20000000;
const SOURCE_LINK_LAYER_ADDRESS = 1;
const TARGET_LINK_LAYER_ADDRESS = 2;
const NONCE = 14;
/** Options count in units of so many bytes, type and length included. */
const OPTION_UNIT = 8;
const OPTION_HEADER_LENGTH = 2;
/** Most options of one message; those in use have one or two. */
export const MAX_NEIGHBOR_OPTIONS = 16;

const PACKET_CLAUSE = "RFC 8200 3";

/**
 * Decodes an Ethernet frame with a neighbour solicitation or advertisement; what follows the packet is padding and is
 * ignored. All checks of RFC 4861 §7.1.1 and §7.1.2 are made here. Extension headers are refused: nobody sends them with
 * these messages, and fragments are forbidden (RFC 6980 §5). A frame with a VLAN tag belongs to another segment.
 * @throws DecodeError when a rule fails; the clause names the rule.
 */
export function decodeNeighborMessage(bytes: Uint8Array): NeighborMessage {
  const reader = new ByteReader(bytes, { clause: PACKET_CLAUSE });
  const ethernetDestination = macAddressFromBytes(reader.bytes(MAC_LENGTH));
  const ethernetSource = macAddressFromBytes(reader.bytes(MAC_LENGTH));
  const etherType = reader.u16();
  if (VLAN_ETHER_TYPES.includes(etherType)) throw reader.error("frame has a VLAN tag", "IEEE 802.1Q 9.6");
  if (etherType !== ETHER_TYPE_IPV6) throw reader.error(`EtherType 0x${etherType.toString(16)} is not IPv6`, "RFC 2464 3");
  const version = reader.u32() >>> 28;
  if (version !== IP_VERSION) throw reader.error(`version ${version} is not 6`);
  const length = reader.u16();
  const nextHeader = reader.u8();
  if (nextHeader !== NEXT_HEADER_ICMPV6) throw reader.error(`next header ${nextHeader} is not ICMPv6`, "RFC 4443 2.1");
  const hopLimit = reader.u8();
  const source = ipAddressFromBytes(reader.bytes(ADDRESS_LENGTH));
  const destination = ipAddressFromBytes(reader.bytes(ADDRESS_LENGTH));
  if (isMulticast(source)) throw reader.error("source is a multicast address", "RFC 4291 2.7");
  const message = decodeMessage(reader.within(length), { source, destination, hopLimit });
  const at = ETHERNET_HEADER_LENGTH + IPV6_HEADER_LENGTH;
  const sum = checksum(bytes.subarray(at, at + length), source, destination);
  if (sum !== 0) throw reader.error("checksum is wrong", "RFC 4443 2.3");
  return { ethernetDestination, ethernetSource, source, destination, ...message };
}

type Message = Pick<NeighborSolicitation, "kind" | "target" | "options"> | Pick<NeighborAdvertisement, "kind" | "target" | "options" | "fromRouter" | "solicited" | "override">;

function decodeMessage(reader: ByteReader, packet: { readonly source: IpAddress; readonly destination: IpAddress; readonly hopLimit: number }): Message {
  const type = reader.u8();
  if (type !== ICMP_SOLICITATION && type !== ICMP_ADVERTISEMENT) throw reader.error(`ICMP type ${type} is neither solicitation nor advertisement`, "RFC 4861 4");
  const clause = type === ICMP_SOLICITATION ? "RFC 4861 7.1.1" : "RFC 4861 7.1.2";
  if (packet.hopLimit !== HOP_LIMIT) throw reader.error(`hop limit ${packet.hopLimit} is not 255`, clause);
  const code = reader.u8();
  if (code !== 0) throw reader.error(`code ${code} is not 0`, clause);
  if (reader.remaining < MESSAGE_LENGTH - 2) throw reader.error(`message of ${reader.remaining + 2} bytes is shorter than 24`, clause);
  reader.skip(2);
  const flags = reader.u32();
  const target = ipAddressFromBytes(reader.bytes(ADDRESS_LENGTH));
  if (isMulticast(target)) throw reader.error("target is a multicast address", clause);
  const options = decodeOptions(reader, clause);
  if (type === ICMP_ADVERTISEMENT) {
    const solicited = (flags & SOLICITED_FLAG) !== 0;
    if (solicited && isMulticast(packet.destination)) throw reader.error("says to all that it was solicited", clause);
    return { kind: "advertisement", fromRouter: (flags & ROUTER_FLAG) !== 0, solicited, override: (flags & OVERRIDE_FLAG) !== 0, target, options };
  }
  if (packet.source.value === 0n) {
    if (packet.destination.value !== solicitedNodeGroup(target).value) throw reader.error("probe is not for the target's solicited-node group", clause);
    if (options.some(({ kind }) => kind === "sourceLinkLayerAddress")) throw reader.error("probe has a source link-layer address", clause);
  }
  return { kind: "solicitation", target, options };
}

function decodeOptions(reader: ByteReader, clause: string): NeighborOption[] {
  const options: NeighborOption[] = [];
  while (reader.remaining > 0) {
    if (options.length === MAX_NEIGHBOR_OPTIONS) throw reader.error(`more than ${MAX_NEIGHBOR_OPTIONS} options`, "RFC 4861 4.6");
    const type = reader.u8();
    if (reader.remaining === 0) throw reader.error("option without a length", "RFC 4861 4.6");
    const units = reader.u8();
    if (units === 0) throw reader.error("option of length 0", clause);
    const length = units * OPTION_UNIT - OPTION_HEADER_LENGTH;
    if (length > reader.remaining) throw reader.error(`option of ${length} bytes where ${reader.remaining} are left`, "RFC 4861 4.6");
    options.push(readableOption(type, reader.bytes(length)));
  }
  return options;
}

function readableOption(type: number, bytes: Uint8Array): NeighborOption {
  if (type === NONCE) return { kind: "nonce", bytes };
  if (bytes.length === MAC_LENGTH) {
    if (type === SOURCE_LINK_LAYER_ADDRESS) return { kind: "sourceLinkLayerAddress", mac: macAddressFromBytes(bytes) };
    if (type === TARGET_LINK_LAYER_ADDRESS) return { kind: "targetLinkLayerAddress", mac: macAddressFromBytes(bytes) };
  }
  return { kind: "raw", type, bytes };
}

/**
 * Encodes a frame, unpadded: with one link-layer address it has 86 bytes, which no interface pads. Hop limit, checksum and
 * reserved fields are filled in; traffic class and flow label are 0.
 * @throws RangeError when an address is not IPv6, or an option's length is none.
 */
export function encodeNeighborMessage(message: NeighborMessage): Uint8Array {
  const options = message.options.map(encodeOption);
  const length = MESSAGE_LENGTH + options.reduce((sum, option) => sum + option.length, 0);
  const source = ipv6Bytes(message.source);
  const destination = ipv6Bytes(message.destination);
  const writer = new ByteWriter(ETHERNET_HEADER_LENGTH + IPV6_HEADER_LENGTH + length)
    .bytes(macAddressToBytes(message.ethernetDestination))
    .bytes(macAddressToBytes(message.ethernetSource))
    .u16(ETHER_TYPE_IPV6)
    .u32(IP_VERSION * 2 ** 28)
    .u16(length)
    .u8(NEXT_HEADER_ICMPV6)
    .u8(HOP_LIMIT)
    .bytes(source)
    .bytes(destination)
    .u8(message.kind === "solicitation" ? ICMP_SOLICITATION : ICMP_ADVERTISEMENT)
    .u8(0)
    .u16(0)
    .u32(flagsOf(message))
    .bytes(ipv6Bytes(message.target));
  for (const option of options) writer.bytes(option);
  const frame = writer.finish();
  const packet = frame.subarray(ETHERNET_HEADER_LENGTH + IPV6_HEADER_LENGTH);
  const sum = checksum(packet, message.source, message.destination);
  packet.set([sum >> 8, sum & 0xff], 2);
  return frame;
}

function flagsOf(message: NeighborMessage): number {
  if (message.kind === "solicitation") return 0;
  return (message.fromRouter ? ROUTER_FLAG : 0) + (message.solicited ? SOLICITED_FLAG : 0) + (message.override ? OVERRIDE_FLAG : 0);
}

function encodeOption(option: NeighborOption): Uint8Array {
  const value = "mac" in option ? macAddressToBytes(option.mac) : option.bytes;
  const length = OPTION_HEADER_LENGTH + value.length;
  if (length % OPTION_UNIT !== 0) throw new RangeError(`option of ${length} bytes is no multiple of 8`);
  return new ByteWriter(length).u8(optionType(option)).u8(length / OPTION_UNIT).bytes(value).finish();
}

function optionType(option: NeighborOption): number {
  switch (option.kind) {
    case "sourceLinkLayerAddress":
      return SOURCE_LINK_LAYER_ADDRESS;
    case "targetLinkLayerAddress":
      return TARGET_LINK_LAYER_ADDRESS;
    case "nonce":
      return NONCE;
    case "raw":
      return option.type;
  }
}

function ipv6Bytes(address: IpAddress): Uint8Array {
  if (address.family !== "IPv6") throw new RangeError("neighbour discovery carries IPv6 addresses only");
  return ipAddressToBytes(address);
}

/** The Internet checksum over the message and the pseudo-header: 0 over a message that carries the right one. RFC 8200 §8.1. */
function checksum(message: Uint8Array, source: IpAddress, destination: IpAddress): number {
  let sum = message.length + NEXT_HEADER_ICMPV6;
  for (const bytes of [ipAddressToBytes(source), ipAddressToBytes(destination), message]) {
    for (let index = 0; index < bytes.length; index += 2) sum += (bytes[index] ?? 0) * 256 + (bytes[index + 1] ?? 0);
  }
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 0x10000);
  return ~sum & 0xffff;
}
