/**
 * How a speaker tells its node's default gateways: an annotation on its own ConfigurationState, addresses with commas
 * between them. The controller reads it, and so may people.
 */
import { AddressError, compareIpAddresses, formatIpAddress, type IpAddress, parseIpAddress } from "../wire/ip-address.ts";

/** Key of the annotation; empty when the node has no default gateway, absent when nobody looked. */
export const DEFAULT_GATEWAYS = "herald.io/default-gateways";

/** Addresses told of one node, and read of one object. */
export const MAX_DEFAULT_GATEWAYS = 16;

/** Characters that are read: longer than any text that is written. */
const MAX_TEXT = 1_024;

/** The annotation's text: canonical addresses in their order, each once, the first MAX_DEFAULT_GATEWAYS of them. */
export function formatDefaultGateways(gateways: readonly IpAddress[]): string {
  return distinct(gateways).slice(0, MAX_DEFAULT_GATEWAYS).map(formatIpAddress).join(",");
}

/** What the text tells, whoever wrote it: in order, each once, at most MAX_DEFAULT_GATEWAYS; what is no address is passed over. */
export function parseDefaultGateways(text: string): IpAddress[] {
  return distinct(text.slice(0, MAX_TEXT).split(",").flatMap(addressIn)).slice(0, MAX_DEFAULT_GATEWAYS);
}

function addressIn(text: string): IpAddress[] {
  try {
    return [parseIpAddress(text.trim())];
  } catch (error) {
    if (!(error instanceof AddressError)) throw error;
    return [];
  }
}

function distinct(addresses: readonly IpAddress[]): IpAddress[] {
  const sorted = addresses.toSorted(compareIpAddresses);
  return sorted.filter((address, index) => index === 0 || compareIpAddresses(address, sorted[index - 1] ?? address) !== 0);
}
