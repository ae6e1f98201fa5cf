/**
 * Answers ARP requests for the addresses that this node announces. RFC 826 "Packet Reception", RFC 5227.
 *
 * State: the usable interfaces with their MAC, and for each owned address the interfaces it is announced on. No deadlines.
 * The answer leaves by the interface the request came in on, and carries that interface's MAC. The address itself is never
 * configured on an interface, so the kernel does not answer for it.
 *
 * Left out: RFC 826's merging of the sender into a translation table (the kernel keeps its own), and answers by broadcast.
 * A probe (sender protocol address 0.0.0.0, RFC 5227 §2.1.1) is answered like any request: that is how a host which is
 * about to take our address learns that it is in use. A request whose sender and target address are the same asks nothing
 * (RFC 5227 §2.3, an announcement), so there is no answer to it.
 */

import type { Instant, Machine } from "../machine.ts";
import { DecodeError } from "../../wire/decode-error.ts";
import { formatIpAddress } from "../../wire/ip-address.ts";
import { BROADCAST_MAC } from "../../wire/mac-address.ts";
import type { MacAddress } from "../../wire/mac-address.ts";
import { ArpOperation, decodeArpPacket, encodeArpPacket } from "./arp-packet.ts";
import type { ArpPacket } from "./arp-packet.ts";
import { OwnedAddresses } from "./owned-addresses.ts";

export type ResponderInput =
  /** A frame as the interface received it. */
  | { readonly kind: "frame"; readonly interfaceIndex: number; readonly bytes: Uint8Array }
  /** The address is ours on exactly these interfaces from now on. Address: canonical text, of the family that the machine answers for. */
  | { readonly kind: "own"; readonly address: string; readonly interfaceIndexes: readonly number[] }
  | { readonly kind: "disown"; readonly address: string }
  | { readonly kind: "interfaceUp"; readonly interfaceIndex: number; readonly mac: MacAddress }
  | { readonly kind: "interfaceDown"; readonly interfaceIndex: number };

/** Why a frame got no answer. */
export type DropReason =
  /** Not an ARP packet for IPv4 over Ethernet; not a neighbour solicitation or advertisement that RFC 4861 lets pass. */
  | "malformed"
  /** The interface went away while the frame waited. */
  | "interfaceDown"
  | "notRequest"
  /** Its Ethernet destination is neither broadcast (for NDP: an IPv6 multicast address) nor this interface. */
  | "notForUs"
  /** It came from this interface's own MAC: a loop, or an echo of ours. */
  | "ownFrame"
  /** Sender and target are the same: it asks nothing. */
  | "announcement"
  /** The target is not announced by this node. */
  | "notOwner"
  /** The target is announced by this node, but not on this interface. */
  | "notOnInterface";

export type ResponderOutput =
  /** An answer to send. `asker` is the canonical text of the asker's address. */
  | { readonly kind: "frame"; readonly interfaceIndex: number; readonly bytes: Uint8Array; readonly address: string; readonly asker: string }
  /** `address` is there when it is one of ours: the request counts as received. */
  | { readonly kind: "dropped"; readonly reason: DropReason; readonly address?: string };

export class Responder implements Machine<ResponderInput, ResponderOutput> {
  readonly #addresses = new OwnedAddresses();

  handle(input: ResponderInput, _now: Instant): ResponderOutput[] {
    if (input.kind === "frame") return [this.#answer(input.interfaceIndex, input.bytes)];
    this.#addresses.take(input);
    return [];
  }

  nextTimeout(): undefined {
    return undefined;
  }

  /** The owned addresses with their interfaces, for metrics and tests. */
  snapshot(): { readonly address: string; readonly interfaceIndexes: readonly number[] }[] {
    return this.#addresses.snapshot();
  }

  #answer(interfaceIndex: number, bytes: Uint8Array): ResponderOutput {
    const mac = this.#addresses.macOf(interfaceIndex);
    if (mac === undefined) return { kind: "dropped", reason: "interfaceDown" };
    let request: ArpPacket;
    try {
      request = decodeArpPacket(bytes);
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
      return { kind: "dropped", reason: "malformed" };
    }
    if (request.operation !== ArpOperation.request) return { kind: "dropped", reason: "notRequest" };
    if (request.ethernetDestination !== BROADCAST_MAC && request.ethernetDestination !== mac) return { kind: "dropped", reason: "notForUs" };
    if (request.ethernetSource === mac) return { kind: "dropped", reason: "ownFrame" };
    const address = formatIpAddress(request.targetProtocolAddress);
    const interfaces = this.#addresses.interfacesOf(address);
    if (interfaces === undefined) return { kind: "dropped", reason: "notOwner" };
    if (request.senderProtocolAddress.value === request.targetProtocolAddress.value) return { kind: "dropped", reason: "announcement", address };
    if (!interfaces.has(interfaceIndex)) return { kind: "dropped", reason: "notOnInterface", address };
    const bytesOfReply = encodeArpPacket({
      ethernetDestination: request.senderHardwareAddress,
      ethernetSource: mac,
      operation: ArpOperation.reply,
      senderHardwareAddress: mac,
      senderProtocolAddress: request.targetProtocolAddress,
      targetHardwareAddress: request.senderHardwareAddress,
      targetProtocolAddress: request.senderProtocolAddress,
    });
    return { kind: "frame", interfaceIndex, bytes: bytesOfReply, address, asker: formatIpAddress(request.senderProtocolAddress) };
  }
}
