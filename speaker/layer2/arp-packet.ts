/**
 * ARP for IPv4 over Ethernet, header included: what it looks like, not what it means. RFC 826; RFC 894 for the frame.
 */

import { ipAddressFromBytes, ipAddressToBytes } from "../../wire/ip-address.ts";
import type { IpAddress } from "../../wire/ip-address.ts";
import { ByteReader } from "../../wire/byte-reader.ts";
import { ByteWriter } from "../../wire/byte-writer.ts";
import { MAC_LENGTH, macAddressFromBytes, macAddressToBytes } from "../../wire/mac-address.ts";
import type { MacAddress } from "../../wire/mac-address.ts";

export const ArpOperation = { request: 1, reply: 2 } as const;
export type ArpOperation = (typeof ArpOperation)[keyof typeof ArpOperation];

/** One Ethernet frame with an ARP packet in it. Protocol addresses are IPv4. */
export interface ArpPacket {
  readonly ethernetDestination: MacAddress;
  readonly ethernetSource: MacAddress;
  readonly operation: ArpOperation;
  readonly senderHardwareAddress: MacAddress;
  readonly senderProtocolAddress: IpAddress;
  readonly targetHardwareAddress: MacAddress;
  readonly targetProtocolAddress: IpAddress;
}

const ETHER_TYPE_ARP = 0x0806;
/** EtherTypes that announce a VLAN tag: 802.1Q and 802.1ad. */
const VLAN_ETHER_TYPES: readonly number[] = [0x8100, 0x88a8];
const HARDWARE_ETHERNET = 1;
const PROTOCOL_IPV4 = 0x0800;
const IPV4_LENGTH = 4;
/** Bytes of the Ethernet header and the packet, without the padding that a sender's hardware adds up to 60. */
export const ARP_FRAME_LENGTH = 42;

/**
 * Decodes an Ethernet frame with an ARP packet; what follows the packet is padding and is ignored.
 * Shape: at least 42 bytes. Checked in the order of RFC 826's "Packet Reception"; a frame with a VLAN tag is refused, for
 * it belongs to another segment.
 * @throws DecodeError when a rule fails; the clause names the rule.
 */
export function decodeArpPacket(bytes: Uint8Array): ArpPacket {
  const reader = new ByteReader(bytes, { clause: "RFC 826 Packet format" });
  const ethernetDestination = macAddressFromBytes(reader.bytes(MAC_LENGTH));
  const ethernetSource = macAddressFromBytes(reader.bytes(MAC_LENGTH));
  const etherType = reader.u16();
  if (VLAN_ETHER_TYPES.includes(etherType)) throw reader.error("frame has a VLAN tag", "IEEE 802.1Q 9.6");
  if (etherType !== ETHER_TYPE_ARP) throw reader.error(`EtherType 0x${etherType.toString(16)} is not ARP`, "RFC 826 Packet format");
  const hardwareType = reader.u16();
  if (hardwareType !== HARDWARE_ETHERNET) throw reader.error(`hardware type ${hardwareType} is not Ethernet`, "RFC 826 Packet Reception, ar$hrd");
  const protocolType = reader.u16();
  if (protocolType !== PROTOCOL_IPV4) throw reader.error(`protocol type 0x${protocolType.toString(16)} is not IPv4`, "RFC 826 Packet Reception, ar$pro");
  const hardwareLength = reader.u8();
  if (hardwareLength !== MAC_LENGTH) throw reader.error(`hardware address length ${hardwareLength} is not 6`, "RFC 826 Packet Reception, ar$hln");
  const protocolLength = reader.u8();
  if (protocolLength !== IPV4_LENGTH) throw reader.error(`protocol address length ${protocolLength} is not 4`, "RFC 826 Packet Reception, ar$pln");
  const operation = reader.u16();
  if (operation !== ArpOperation.request && operation !== ArpOperation.reply) {
    throw reader.error(`operation ${operation} is neither request nor reply`, "RFC 826 Packet Reception, ar$op");
  }
  return {
    ethernetDestination,
    ethernetSource,
    operation,
    senderHardwareAddress: macAddressFromBytes(reader.bytes(MAC_LENGTH)),
    senderProtocolAddress: ipAddressFromBytes(reader.bytes(IPV4_LENGTH)),
    targetHardwareAddress: macAddressFromBytes(reader.bytes(MAC_LENGTH)),
    targetProtocolAddress: ipAddressFromBytes(reader.bytes(IPV4_LENGTH)),
  };
}

/** Encodes a frame. Shape: 42 bytes, unpadded: the interface pads. @throws RangeError when a protocol address is not IPv4. */
export function encodeArpPacket(packet: ArpPacket): Uint8Array {
  return new ByteWriter(ARP_FRAME_LENGTH)
    .bytes(macAddressToBytes(packet.ethernetDestination))
    .bytes(macAddressToBytes(packet.ethernetSource))
    .u16(ETHER_TYPE_ARP)
    .u16(HARDWARE_ETHERNET)
    .u16(PROTOCOL_IPV4)
    .u8(MAC_LENGTH)
    .u8(IPV4_LENGTH)
    .u16(packet.operation)
    .bytes(macAddressToBytes(packet.senderHardwareAddress))
    .bytes(ipv4Bytes(packet.senderProtocolAddress))
    .bytes(macAddressToBytes(packet.targetHardwareAddress))
    .bytes(ipv4Bytes(packet.targetProtocolAddress))
    .finish();
}

function ipv4Bytes(address: IpAddress): Uint8Array {
  if (address.family !== "IPv4") throw new RangeError("ARP carries IPv4 addresses only");
  return ipAddressToBytes(address);
}
