/**
 * The part of rtnetlink that tells of IPv6's default routes: the request for all routes, and what the kernel answers and
 * announces. Host byte order throughout, as <linux/rtnetlink.h> lays it out (rtnetlink(7)); sans-IO. Routes to anywhere else, and tables other than "main", are passed over by a look at their header.
 */

import type { ByteOrder, ByteReader } from "../wire/byte-reader.ts";
import { ByteWriter } from "../wire/byte-writer.ts";
import { formatIpAddress, ipAddressFromBytes } from "../wire/ip-address.ts";
import { decodeControlMessage, forEachAttribute, forEachNetlinkMessage, HEADER_LENGTH, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST } from "./netlink-message.ts";
import type { NetlinkControlMessage } from "./netlink-message.ts";
import { AF_INET6 } from "./socket-address.ts";

/** Bytes of `struct rtmsg`: family, lengths of destination and source, TOS, table, protocol, scope, type, flags. */
const ROUTE_HEADER_LENGTH = 12;
/** Bytes of `struct rtnexthop`: length, flags, weight, interface. */
const NEXT_HOP_HEADER_LENGTH = 8;
const ADDRESS_LENGTH = 16;

/** Type of the message of a route that is there now. */
export const RTM_NEWROUTE = 24;
/** Type of the message of a route that has gone. */
export const RTM_DELROUTE = 25;
const RTM_GETROUTE = 26;
/** Set in each message of a dump's answer, and in none of an event. */
export const NLM_F_MULTI = 0x002;
const NLM_F_REPLACE = 0x100;
const RT_TABLE_MAIN = 254;
const RTN_UNICAST = 1;
const RTA_OIF = 4;
const RTA_GATEWAY = 5;
const RTA_PRIORITY = 6;
const RTA_MULTIPATH = 9;
const RTA_TABLE = 15;

/** Multicast group of changes of IPv6's routes: RTMGRP_IPV6_ROUTE. */
export const IPV6_ROUTE_GROUP = 0x400;

/** A gateway of a default route. `address` is canonical text. */
export interface RouteHop {
  readonly address: string;
  readonly interfaceIndex: number;
}

/** A default route. `hops` is empty when it leads to no gateway (to a device, or nowhere). */
export interface DefaultRoute {
  readonly metric: number;
  readonly hops: readonly RouteHop[];
}

export type RouteMessage =
  /** `known`: part of a dump. `replaced`: another of the same metric has gone, of which nothing else is said. */
  | { readonly kind: "route"; readonly change: "known" | "added" | "replaced" | "removed"; readonly route: DefaultRoute }
  | NetlinkControlMessage;

/** Asks for all routes of IPv6. Shape: 28 bytes. */
export function encodeRouteDumpRequest(sequence: number, order: ByteOrder): Uint8Array {
  const writer = new ByteWriter(HEADER_LENGTH + ROUTE_HEADER_LENGTH, order);
  writer.u32(HEADER_LENGTH + ROUTE_HEADER_LENGTH).u16(RTM_GETROUTE).u16(NLM_F_REQUEST | NLM_F_DUMP).u32(sequence).u32(0);
  return writer.u8(AF_INET6).u8(0).u16(0).u32(0).u32(0).finish();
}

/** Decodes what one `recv` gave. @throws DecodeError when a length lies */
export function decodeRouteMessages(bytes: Uint8Array, order: ByteOrder): RouteMessage[] {
  const messages: RouteMessage[] = [];
  forEachNetlinkMessage(bytes, order, ({ type, flags, body }) => {
    if ((flags & NLM_F_DUMP_INTR) !== 0) messages.push({ kind: "overrun" });
    if (type !== RTM_NEWROUTE && type !== RTM_DELROUTE) {
      const message = decodeControlMessage(type, body);
      if (message !== undefined) messages.push(message);
      return;
    }
    const route = decodeDefaultRoute(body);
    if (route !== undefined) messages.push({ kind: "route", change: changeOf(type, flags), route });
  });
  return messages;
}

function changeOf(type: number, flags: number): "known" | "added" | "replaced" | "removed" {
  if (type === RTM_DELROUTE) return "removed";
  if ((flags & NLM_F_MULTI) !== 0) return "known";
  return (flags & NLM_F_REPLACE) === 0 ? "added" : "replaced";
}

function decodeDefaultRoute(body: ByteReader): DefaultRoute | undefined {
  const family = body.u8();
  const destinationLength = body.u8();
  const sourceLength = body.u8();
  if (family !== AF_INET6 || destinationLength !== 0 || sourceLength !== 0) return undefined;
  body.skip(1);
  let table = body.u8();
  body.skip(2);
  const type = body.u8();
  body.skip(4);
  let metric = 0;
  let interfaceIndex = 0;
  let gateway: string | undefined;
  const hops: RouteHop[] = [];
  forEachAttribute(body, (attribute, value) => {
    if (attribute === RTA_TABLE) table = value.u32();
    else if (attribute === RTA_PRIORITY) metric = value.u32();
    else if (attribute === RTA_OIF) interfaceIndex = value.u32();
    else if (attribute === RTA_GATEWAY) gateway = decodeGateway(value);
    else if (attribute === RTA_MULTIPATH) hops.push(...decodeNextHops(value));
  });
  if (table !== RT_TABLE_MAIN) return undefined;
  if (gateway !== undefined && hops.length === 0) hops.push({ address: gateway, interfaceIndex });
  // What replaces a route to a gateway may be one that leads nowhere.
  return { metric, hops: type === RTN_UNICAST ? hops : [] };
}

function decodeNextHops(body: ByteReader): RouteHop[] {
  const hops: RouteHop[] = [];
  while (body.remaining >= NEXT_HOP_HEADER_LENGTH) {
    const length = body.u16();
    if (length < NEXT_HOP_HEADER_LENGTH) throw body.error(`next hop of ${length} bytes is shorter than its header`, "rtnetlink(7)");
    body.skip(2);
    const interfaceIndex = body.u32();
    forEachAttribute(body.within(length - NEXT_HOP_HEADER_LENGTH), (attribute, value) => {
      const address = attribute === RTA_GATEWAY ? decodeGateway(value) : undefined;
      if (address !== undefined) hops.push({ address, interfaceIndex });
    });
  }
  return hops;
}

function decodeGateway(value: ByteReader): string | undefined {
  return value.remaining === ADDRESS_LENGTH ? formatIpAddress(ipAddressFromBytes(value.bytes(ADDRESS_LENGTH))) : undefined;
}
