/**
 * Which interfaces can announce an address.
 */

import type { InterfaceFact } from "../packet-protocol.ts";
import { ZERO_MAC } from "../../wire/mac-address.ts";
import type { MacAddress } from "../../wire/mac-address.ts";

/** What is known of an interface; the kernel's words. */
export interface LinkState {
  readonly index: number;
  readonly name: string;
  readonly up: boolean;
  readonly carrier: boolean;
  readonly broadcast: boolean;
  readonly noArp: boolean;
  readonly master?: number;
  readonly mac?: MacAddress;
  /** Canonical text of its IPv6 link-local address. */
  readonly linkLocal?: string;
}

/** Most interfaces that announce at once: each has up to two sockets. Those with the lowest index win. */
export const MAX_ANNOUNCING_INTERFACES = 1_000;

/**
 * The facts about each link, in their order, with the first reason that keeps it from announcing. What the operator
 * excluded comes before what the link's state says, so that the reason does not change while it goes up and down.
 */
export function interfaceFacts(links: readonly LinkState[], exclude: readonly RegExp[]): InterfaceFact[] {
  let usable = 0;
  return links.map((link) => {
    const reason = unusableReason(link, exclude) ?? (usable >= MAX_ANNOUNCING_INTERFACES ? "tooMany" : undefined);
    if (reason === undefined) usable += 1;
    const linkLocal = link.linkLocal === undefined ? {} : { linkLocal: link.linkLocal };
    const known = { name: link.name, index: link.index, mac: link.mac ?? ZERO_MAC, ...linkLocal };
    return reason === undefined ? { ...known, usable: true } : { ...known, usable: false, reason };
  });
}

function unusableReason(link: LinkState, exclude: readonly RegExp[]): InterfaceFact["reason"] {
  if (exclude.some((pattern) => pattern.test(link.name))) return "excluded";
  if (link.master !== undefined) return "enslaved";
  if (link.noArp) return "noArp";
  if (!link.broadcast) return "noBroadcast";
  if (link.mac === undefined || link.mac === ZERO_MAC) return "noMac";
  if (!link.up) return "down";
  if (!link.carrier) return "noCarrier";
  return undefined;
}

/** Whether two lists say the same. */
export function sameInterfaceFacts(a: readonly InterfaceFact[], b: readonly InterfaceFact[]): boolean {
  return (
    a.length === b.length &&
    a.every((fact, at) => {
      const other = b[at];
      return other !== undefined && fact.index === other.index && fact.name === other.name && fact.mac === other.mac && fact.linkLocal === other.linkLocal && fact.reason === other.reason;
    })
  );
}
