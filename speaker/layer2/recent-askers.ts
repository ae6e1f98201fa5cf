/**
 * Who asked for something on a segment lately, by ARP or by a neighbour solicitation: stations that are there and answer.
 * When nobody else is left to be asked whether this node hears its segment, they are. RFC 826; RFC 4861 §7.2.2.
 */

import { DecodeError } from "../../wire/decode-error.ts";
import { formatIpAddress } from "../../wire/ip-address.ts";
import type { IpAddress } from "../../wire/ip-address.ts";
import type { MacAddress } from "../../wire/mac-address.ts";
import { ArpOperation, decodeArpPacket } from "./arp-packet.ts";
import { decodeNeighborMessage } from "./ndp-packet.ts";
import { isStation } from "./ndp-responder.ts";

/** Askers remembered of each interface; the one that asked longest ago gives way. */
export const MAX_RECENT_ASKERS = 8;

/** Address: canonical text. */
export interface Asker {
  readonly address: string;
  readonly mac: MacAddress;
}

export class RecentAskers {
  /** By interface and address, who asked last at the end. */
  readonly #askers = new Map<number, Map<string, MacAddress>>();

  /** Takes in a frame from another station. Anything at all may be in it. */
  note(interfaceIndex: number, bytes: Uint8Array, isIpv6: boolean): void {
    const asker = askerIn(bytes, isIpv6);
    if (asker === undefined) return;
    const askers = this.#askers.get(interfaceIndex) ?? new Map<string, MacAddress>();
    this.#askers.set(interfaceIndex, askers);
    askers.delete(asker.address);
    askers.set(asker.address, asker.mac);
    for (const oldest of askers.keys()) {
      if (askers.size <= MAX_RECENT_ASKERS) return;
      askers.delete(oldest);
    }
  }

  /** Those of an interface, who asked last first. */
  on(interfaceIndex: number): Asker[] {
    return [...(this.#askers.get(interfaceIndex) ?? [])].map(([address, mac]) => ({ address, mac })).toReversed();
  }

  /** Forgets those of interfaces that are none any more. */
  keep(isThere: (interfaceIndex: number) => boolean): void {
    for (const interfaceIndex of this.#askers.keys()) if (!isThere(interfaceIndex)) this.#askers.delete(interfaceIndex);
  }
}

function askerIn(bytes: Uint8Array, isIpv6: boolean): Asker | undefined {
  try {
    const found = isIpv6 ? solicitorIn(bytes) : requesterIn(bytes);
    return found === undefined || found.source.value === 0n || !isStation(found.mac) ? undefined : { address: formatIpAddress(found.source), mac: found.mac };
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error;
    return undefined;
  }
}

interface Sender {
  readonly source: IpAddress;
  readonly mac: MacAddress;
}

/** Not of announcements: whoever sends them may have the address in name only. */
function requesterIn(bytes: Uint8Array): Sender | undefined {
  const { operation, ethernetSource: mac, senderHardwareAddress, senderProtocolAddress: source, targetProtocolAddress } = decodeArpPacket(bytes);
  return operation === ArpOperation.request && senderHardwareAddress === mac && source.value !== targetProtocolAddress.value ? { source, mac } : undefined;
}

function solicitorIn(bytes: Uint8Array): Sender | undefined {
  const message = decodeNeighborMessage(bytes);
  return message.kind === "solicitation" ? { source: message.source, mac: message.ethernetSource } : undefined;
}
