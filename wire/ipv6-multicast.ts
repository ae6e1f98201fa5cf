/**
 * IPv6 multicast addresses that neighbour discovery uses, and the Ethernet addresses that stand for them. RFC 4291 §2.7, RFC 2464 §7.
 */

import { ipAddressToBytes, parseIpAddress } from "./ip-address.ts";
import type { IpAddress } from "./ip-address.ts";
import { macAddressFromBytes } from "./mac-address.ts";
import type { MacAddress } from "./mac-address.ts";

/** Every node of the segment. */
export const ALL_NODES: IpAddress = parseIpAddress("ff02::1");

/** ff02::1:ff00:0, whose last 24 bits are the address's. */
const SOLICITED_NODE_PREFIX = parseIpAddress("ff02::1:ff00:0").value;
const SOLICITED_NODE_BITS = 0xffffffn;

/** The group that a node with this address listens to; 2^24 of them, so that addresses share some. RFC 4291 §2.7.1. */
export function solicitedNodeGroup(address: IpAddress): IpAddress {
  return { family: "IPv6", value: SOLICITED_NODE_PREFIX | (address.value & SOLICITED_NODE_BITS) };
}

/** The Ethernet address that frames to an IPv6 multicast group carry: 33:33 and the group's last four bytes. RFC 2464 §7. */
export function multicastMac(group: IpAddress): MacAddress {
  return macAddressFromBytes(Uint8Array.of(0x33, 0x33, ...ipAddressToBytes(group).subarray(12)));
}

/** Whether the address names a group: ff00::/8. */
export function isMulticast(address: IpAddress): boolean {
  return address.family === "IPv6" && address.value >> 120n === 0xffn;
}

/** Whether the address is for one link only: fe80::/10. RFC 4291 §2.5.6. */
export function isLinkLocal(address: IpAddress): boolean {
  return address.family === "IPv6" && address.value >> 118n === 0x3fan;
}
