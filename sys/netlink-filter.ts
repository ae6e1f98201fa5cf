/**
 * Filters by which the kernel keeps netlink events that nobody here needs to itself: they wake nobody, and take no room in
 * the socket. An answer to a request (a dump) passes whole, for a part of it that is kept back ends it. The kernel
 * runs them on each message, in host byte order.
 */

import type { ByteOrder } from "../wire/byte-reader.ts";
import { JUMP_IF_EQUAL, JUMP_IF_SET, LOAD_BYTE, LOAD_WORD, RETURN } from "./bpf.ts";
import type { BpfInstruction } from "./libc.ts";
import { RTM_DELADDR, RTM_NEWADDR } from "./netlink-message.ts";
import { NLM_F_MULTI, RTM_DELROUTE, RTM_NEWROUTE } from "./route-message.ts";

const WHOLE_MESSAGE = 0xffff_ffff;

const TYPE_OFFSET = 4;
const FLAGS_OFFSET = 6;
/** In `struct rtmsg`, behind the header. */
const DESTINATION_LENGTH_OFFSET = 16 + 1;
/** In `struct ifaddrmsg`, behind the header. */
const ADDRESS_INTERFACE_OFFSET = 16 + 4;

const PASS: BpfInstruction = { code: RETURN, jt: 0, jf: 0, k: WHOLE_MESSAGE };
const REFUSE: BpfInstruction = { code: RETURN, jt: 0, jf: 0, k: 0 };

/** Lets everything pass. */
export const anyMessageFilter: readonly BpfInstruction[] = [PASS];

/** Lets of the events of routes pass those whose destination has length 0, and all that is no such event. */
export function defaultRouteFilter(order: ByteOrder): readonly BpfInstruction[] {
  return [
    ...eventsOf(RTM_NEWROUTE, RTM_DELROUTE, order),
    { code: LOAD_BYTE, jt: 0, jf: 0, k: DESTINATION_LENGTH_OFFSET },
    { code: JUMP_IF_EQUAL, jt: 0, jf: 1, k: 0 },
    PASS,
    REFUSE,
  ];
}

/** Lets of the events of addresses pass those of these interfaces, and all that is no such event. */
export function addressFilter(interfaceIndexes: readonly number[], order: ByteOrder): readonly BpfInstruction[] {
  return [
    ...eventsOf(RTM_NEWADDR, RTM_DELADDR, order),
    { code: LOAD_WORD, jt: 0, jf: 0, k: ADDRESS_INTERFACE_OFFSET },
    ...interfaceIndexes.flatMap((index) => [{ code: JUMP_IF_EQUAL, jt: 0, jf: 1, k: order === "little" ? swapped(index) : index }, PASS]),
    REFUSE,
  ];
}

/** Lets pass what is no event of these types; what is one goes on behind. */
function eventsOf(added: number, removed: number, order: ByteOrder): readonly BpfInstruction[] {
  // The types and flags that matter fit in the lower one of two bytes.
  const lower = order === "little" ? 0 : 1;
  return [
    { code: LOAD_BYTE, jt: 0, jf: 0, k: TYPE_OFFSET + lower },
    { code: JUMP_IF_EQUAL, jt: 2, jf: 0, k: added },
    { code: JUMP_IF_EQUAL, jt: 1, jf: 0, k: removed },
    PASS,
    { code: LOAD_BYTE, jt: 0, jf: 0, k: FLAGS_OFFSET + lower },
    { code: JUMP_IF_SET, jt: 0, jf: 1, k: NLM_F_MULTI },
    PASS,
  ];
}

/** A number of 32 bits as the program reads it, which reads in network order. */
function swapped(value: number): number {
  return (((value & 0xff) << 24) | ((value & 0xff00) << 8) | ((value >>> 8) & 0xff00) | (value >>> 24)) >>> 0;
}
