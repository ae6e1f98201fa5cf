/**
 * The frames of a question to a neighbour, and of its answer: ARP for IPv4, neighbour discovery for IPv6.
 */

import { DecodeError } from "../../wire/decode-error.ts";
import type { IpAddress } from "../../wire/ip-address.ts";
import { isLinkLocal, multicastMac, solicitedNodeGroup } from "../../wire/ipv6-multicast.ts";
import { BROADCAST_MAC, ZERO_MAC } from "../../wire/mac-address.ts";
import type { MacAddress } from "../../wire/mac-address.ts";
import { ArpOperation, decodeArpPacket, encodeArpPacket } from "./arp-packet.ts";
import { decodeNeighborMessage, encodeNeighborMessage } from "./ndp-packet.ts";
import { isStation } from "./ndp-responder.ts";

/** An address of this host, and which others are in its subnet. */
export interface Subnet {
  readonly own: IpAddress;
  readonly mask: bigint;
}

export interface Question {
  readonly target: IpAddress;
  /** MAC and addresses of the interface that asks. */
  readonly mac: MacAddress;
  readonly subnets: readonly Subnet[];
  /** Whom it goes to; everybody (for IPv6: the target's solicited-node group) when undefined. */
  readonly to: MacAddress | undefined;
}

/** What an answer says: `target` is at `mac`. */
export interface NeighbourAnswer {
  readonly ethernetDestination: MacAddress;
  readonly target: IpAddress;
  readonly mac: MacAddress;
}

const UNSPECIFIED: IpAddress = { family: "IPv4", value: 0n };
const ARP_OPERATION_LOW_BYTE = 21;
const ICMP_TYPE_OFFSET = 54;
const NEIGHBOR_ADVERTISEMENT = 136;

/** This host's address in the target's subnet. */
export function ownAddressFor(subnets: readonly Subnet[], target: IpAddress): IpAddress | undefined {
  return subnets.find(({ own, mask }) => own.family === target.family && (own.value & mask) === (target.value & mask))?.own;
}

/**
 * The frame that asks. Where no own address is in the target's subnet, ARP asks as a probe (sender 0.0.0.0), which hosts
 * answer all the same; neighbour discovery asks from the link-local address, for its probes would have a host that is just
 * taking its address give it up (RFC 4862 §5.4.3). Undefined when an interface has no IPv6 address to ask from.
 */
export function encodeQuestion(question: Question): Uint8Array | undefined {
  const { target, mac, subnets, to } = question;
  const own = ownAddressFor(subnets, target);
  if (target.family === "IPv4") {
    return encodeArpPacket({
      ethernetDestination: to ?? BROADCAST_MAC,
      ethernetSource: mac,
      operation: ArpOperation.request,
      senderHardwareAddress: mac,
      senderProtocolAddress: own ?? UNSPECIFIED,
      targetHardwareAddress: ZERO_MAC,
      targetProtocolAddress: target,
    });
  }
  const source = own ?? subnets.find((subnet) => isLinkLocal(subnet.own))?.own;
  if (source === undefined) return undefined;
  const group = solicitedNodeGroup(target);
  return encodeNeighborMessage({
    kind: "solicitation",
    ethernetDestination: to ?? multicastMac(group),
    ethernetSource: mac,
    source,
    destination: to === undefined ? group : target,
    target,
    options: [{ kind: "sourceLinkLayerAddress", mac }],
  });
}

/** The answer in a frame, if it is one and its sender is somebody. Anything at all may be in the frame. */
export function decodeAnswer(bytes: Uint8Array, isIpv6: boolean): NeighbourAnswer | undefined {
  // Questions are most of what comes: they are not taken apart here.
  if (isIpv6 ? bytes[ICMP_TYPE_OFFSET] !== NEIGHBOR_ADVERTISEMENT : bytes[ARP_OPERATION_LOW_BYTE] !== ArpOperation.reply) return undefined;
  try {
    return isIpv6 ? advertisementIn(bytes) : replyIn(bytes);
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error;
    return undefined;
  }
}

function replyIn(bytes: Uint8Array): NeighbourAnswer | undefined {
  const { operation, ethernetDestination, senderProtocolAddress: target, senderHardwareAddress: mac } = decodeArpPacket(bytes);
  const isSomebody = mac !== BROADCAST_MAC && mac !== ZERO_MAC;
  return operation === ArpOperation.reply && isSomebody ? { ethernetDestination, target, mac } : undefined;
}

/** A solicited one: others are sent by nobody's asking. Without a MAC of its own it comes from whom it tells of (RFC 4861 §4.4). */
function advertisementIn(bytes: Uint8Array): NeighbourAnswer | undefined {
  const message = decodeNeighborMessage(bytes);
  if (message.kind !== "advertisement" || !message.solicited) return undefined;
  let mac = message.ethernetSource;
  for (const option of message.options) if (option.kind === "targetLinkLayerAddress") mac = option.mac;
  return isStation(mac) ? { ethernetDestination: message.ethernetDestination, target: message.target, mac } : undefined;
}
