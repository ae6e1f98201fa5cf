/**
 * Answers neighbour solicitations for the addresses that this node announces. RFC 4861 §7.2.3 and §7.2.4; RFC 4862 §5.4
 * and RFC 7527 for probes.
 *
 * State: the usable interfaces with their MAC, and for each owned address the interfaces it is announced on. No deadlines.
 * The answer leaves by the interface the solicitation came in on, from the address itself, as the kernel of a host that has
 * it would answer: S, O and not R, with that interface's MAC. It goes to the asker alone; a probe for duplicates (source
 * "::") has no address to answer to, so that the answer goes to all nodes, without S: that is how a host which is about to
 * take our address learns that it is in use.
 *
 * A probe with a nonce is answered like one without: this node probes for nothing itself, and what its own interface sent
 * is told by the MAC. A solicitation whose source is the target asks nothing. The asker is believed about its MAC as far as
 * it names one station; what it says about itself is kept nowhere here (the kernel keeps its own table).
 */

import type { Instant, Machine } from "../machine.ts";
import { DecodeError } from "../../wire/decode-error.ts";
import { formatIpAddress } from "../../wire/ip-address.ts";
import { ALL_NODES, multicastMac } from "../../wire/ipv6-multicast.ts";
import { macAddressToBytes, ZERO_MAC } from "../../wire/mac-address.ts";
import type { MacAddress } from "../../wire/mac-address.ts";
import { decodeNeighborMessage, encodeNeighborMessage } from "./ndp-packet.ts";
import type { NeighborMessage, NeighborSolicitation } from "./ndp-packet.ts";
import { OwnedAddresses } from "./owned-addresses.ts";
import type { ResponderInput, ResponderOutput } from "./responder.ts";

const MULTICAST_PREFIX = "33:33:";

export class NdpResponder implements Machine<ResponderInput, ResponderOutput> {
  readonly #addresses = new OwnedAddresses();

  /** Addresses of inputs are canonical text of IPv6. Every frame has one output. */
  handle(input: ResponderInput, _now: Instant): ResponderOutput[] {
    if (input.kind === "frame") return [this.#answer(input.interfaceIndex, input.bytes)];
    this.#addresses.take(input);
    return [];
  }

  nextTimeout(): undefined {
    return undefined;
  }

  #answer(interfaceIndex: number, bytes: Uint8Array): ResponderOutput {
    const mac = this.#addresses.macOf(interfaceIndex);
    if (mac === undefined) return { kind: "dropped", reason: "interfaceDown" };
    let solicitation: NeighborMessage;
    try {
      solicitation = decodeNeighborMessage(bytes);
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
      return { kind: "dropped", reason: "malformed" };
    }
    if (solicitation.kind !== "solicitation") return { kind: "dropped", reason: "notRequest" };
    const { ethernetDestination, ethernetSource, source, target } = solicitation;
    if (ethernetDestination !== mac && !ethernetDestination.startsWith(MULTICAST_PREFIX)) return { kind: "dropped", reason: "notForUs" };
    if (ethernetSource === mac) return { kind: "dropped", reason: "ownFrame" };
    const address = formatIpAddress(target);
    const interfaces = this.#addresses.interfacesOf(address);
    if (interfaces === undefined) return { kind: "dropped", reason: "notOwner" };
    if (source.value === target.value) return { kind: "dropped", reason: "announcement", address };
    if (!interfaces.has(interfaceIndex)) return { kind: "dropped", reason: "notOnInterface", address };
    const asker = macOfAsker(solicitation);
    if (asker === undefined) return { kind: "dropped", reason: "malformed", address };
    const isProbe = source.value === 0n;
    const answer = encodeNeighborMessage({
      kind: "advertisement",
      ethernetDestination: isProbe ? multicastMac(ALL_NODES) : asker,
      ethernetSource: mac,
      source: target,
      destination: isProbe ? ALL_NODES : source,
      target,
      fromRouter: false,
      solicited: !isProbe,
      override: true,
      options: [{ kind: "targetLinkLayerAddress", mac }],
    });
    return { kind: "frame", interfaceIndex, bytes: answer, address, asker: formatIpAddress(source) };
  }
}

/** The MAC that the asker names, or else that its frame came from; undefined when neither is one station's. */
function macOfAsker({ options, ethernetSource }: NeighborSolicitation): MacAddress | undefined {
  for (const option of options) if (option.kind === "sourceLinkLayerAddress" && isStation(option.mac)) return option.mac;
  return isStation(ethernetSource) ? ethernetSource : undefined;
}

/** Whether the address is of one station: neither a group's nor "not known". */
export function isStation(mac: MacAddress): boolean {
  return mac !== ZERO_MAC && ((macAddressToBytes(mac)[0] ?? 1) & 1) === 0;
}
