/**
 * A door to one interface for frames of one EtherType. Its in-memory twin is `packet-socket-fake.ts`;
 * `packet-socket.test.ts` holds both to the same suite.
 */

import { JUMP_IF_EQUAL, LOAD_BYTE, LOAD_HALF, RETURN } from "./bpf.ts";
import { attachFilter, bindPacket, close, openPacketDescriptor, receive, send } from "./libc.ts";
import type { BpfInstruction } from "./libc.ts";
import { SysError } from "./sys-error.ts";

/** Whole Ethernet frames, header included, checksum not. */
export interface PacketSocket {
  /** What a poller waits on. */
  readonly fd: number;
  /** Copies the next frame into `buffer` (cut to its length) and returns its length; undefined when none is waiting. @throws SysError (ENETDOWN after the link went down) */
  receive(buffer: Uint8Array): number | undefined;
  /** Sends a frame as it is. Never waits. @throws SysError (ENETDOWN, ENXIO, ENOBUFS, EAGAIN) */
  send(frame: Uint8Array): void;
  /** Ends it; a second time does nothing. */
  close(): void;
}

const ETHER_TYPE_ARP = 0x0806;
const ETHER_TYPE_IPV6 = 0x86dd;

/** Offset that stands for what the kernel thinks whom the frame is for. */
const PACKET_TYPE = 0xfffff000 + 4;
const PACKET_OTHERHOST = 3;
const WHOLE_FRAME = 0xffff;
/** Stands for "to the last instruction" until the program's length is known. */
const REFUSE = 0xff;

/**
 * Accepts ARP requests that are for this host or for all. The kernel takes a VLAN tag off before a packet socket sees the
 * frame, so that a request from a foreign VLAN looks like one of this segment; but a VLAN that has no device here makes
 * the frame one "for another host", and that the filter can tell. Priority tags (VLAN id 0) pass.
 */
export const arpRequestFilter: readonly BpfInstruction[] = [
  { code: LOAD_BYTE, jt: 0, jf: 0, k: PACKET_TYPE },
  { code: JUMP_IF_EQUAL, jt: 5, jf: 0, k: PACKET_OTHERHOST },
  { code: LOAD_HALF, jt: 0, jf: 0, k: 12 },
  { code: JUMP_IF_EQUAL, jt: 0, jf: 3, k: ETHER_TYPE_ARP },
  { code: LOAD_HALF, jt: 0, jf: 0, k: 20 },
  { code: JUMP_IF_EQUAL, jt: 0, jf: 1, k: 1 },
  { code: RETURN, jt: 0, jf: 0, k: WHOLE_FRAME },
  { code: RETURN, jt: 0, jf: 0, k: 0 },
];

/** Accepts what `arpRequestFilter` does, and replies as well: answers to questions of our own, and a sign that something was heard. */
export const arpFilter: readonly BpfInstruction[] = [
  { code: LOAD_BYTE, jt: 0, jf: 0, k: PACKET_TYPE },
  { code: JUMP_IF_EQUAL, jt: 6, jf: 0, k: PACKET_OTHERHOST },
  { code: LOAD_HALF, jt: 0, jf: 0, k: 12 },
  { code: JUMP_IF_EQUAL, jt: 0, jf: 4, k: ETHER_TYPE_ARP },
  { code: LOAD_HALF, jt: 0, jf: 0, k: 20 },
  { code: JUMP_IF_EQUAL, jt: 1, jf: 0, k: 1 },
  { code: JUMP_IF_EQUAL, jt: 0, jf: 1, k: 2 },
  { code: RETURN, jt: 0, jf: 0, k: WHOLE_FRAME },
  { code: RETURN, jt: 0, jf: 0, k: 0 },
];

/** Hop limit, next header and ICMP type of a frame with an IPv6 packet without extension headers. */
const NEXT_HEADER_OFFSET = 20;
const HOP_LIMIT_OFFSET = 21;
const ICMP_TYPE_OFFSET = 54;
const ICMPV6 = 58;
const NEIGHBOR_SOLICITATION = 135;
const NEIGHBOR_ADVERTISEMENT = 136;

/** Accepts neighbour solicitations of this segment (hop limit 255) that are for this host or for a group; VLANs as `arpRequestFilter` has them. RFC 4861 §7.1.1. */
export const solicitationFilter: readonly BpfInstruction[] = neighborFilter([
  { code: JUMP_IF_EQUAL, jt: 0, jf: 1, k: NEIGHBOR_SOLICITATION },
]);

/** Accepts what `solicitationFilter` does, and advertisements as well: answers to questions of our own. */
export const neighborMessageFilter: readonly BpfInstruction[] = neighborFilter([
  { code: JUMP_IF_EQUAL, jt: 1, jf: 0, k: NEIGHBOR_SOLICITATION },
  { code: JUMP_IF_EQUAL, jt: 0, jf: 1, k: NEIGHBOR_ADVERTISEMENT },
]);

/** `types` looks at the ICMP type, and is followed by "accept" and "refuse". */
function neighborFilter(types: readonly BpfInstruction[]): readonly BpfInstruction[] {
  const program: readonly BpfInstruction[] = [
    { code: LOAD_BYTE, jt: 0, jf: 0, k: NEXT_HEADER_OFFSET },
    { code: JUMP_IF_EQUAL, jt: 0, jf: REFUSE, k: ICMPV6 },
    { code: LOAD_BYTE, jt: 0, jf: 0, k: HOP_LIMIT_OFFSET },
    { code: JUMP_IF_EQUAL, jt: 0, jf: REFUSE, k: 255 },
    { code: LOAD_BYTE, jt: 0, jf: 0, k: PACKET_TYPE },
    { code: JUMP_IF_EQUAL, jt: REFUSE, jf: 0, k: PACKET_OTHERHOST },
    { code: LOAD_BYTE, jt: 0, jf: 0, k: ICMP_TYPE_OFFSET },
    ...types,
    { code: RETURN, jt: 0, jf: 0, k: WHOLE_FRAME },
    { code: RETURN, jt: 0, jf: 0, k: 0 },
  ];
  // A jump counts the instructions that it passes over.
  return program.map((instruction, index) => {
    const toRefusal = program.length - 2 - index;
    const { jt, jf } = instruction;
    return { ...instruction, jt: jt === REFUSE ? toRefusal : jt, jf: jf === REFUSE ? toRefusal : jf };
  });
}

/** Accepts every frame of the socket's EtherType: for clients in tests and benchmarks. */
export const acceptAllFilter: readonly BpfInstruction[] = [{ code: RETURN, jt: 0, jf: 0, k: WHOLE_FRAME }];

/**
 * Opens a packet socket for ARP on an interface, by index, with a filter in the kernel. Needs CAP_NET_RAW.
 * @throws SysError EPERM without the capability, ENODEV or ENXIO when the interface has gone.
 */
export function openArpSocket(interfaceIndex: number, filter: readonly BpfInstruction[] = arpRequestFilter): PacketSocket {
  return openPacketSocket({ interfaceIndex, etherType: ETHER_TYPE_ARP, filter });
}

/**
 * Opens a packet socket for IPv6 on an interface, by index, of which a filter in the kernel lets neighbour discovery pass.
 * Groups are joined elsewhere (`multicast-groups.ts`). Needs CAP_NET_RAW.
 * @throws SysError EPERM without the capability, ENODEV or ENXIO when the interface has gone.
 */
export function openNdpSocket(interfaceIndex: number, filter: readonly BpfInstruction[] = solicitationFilter): PacketSocket {
  return openPacketSocket({ interfaceIndex, etherType: ETHER_TYPE_IPV6, filter });
}

function openPacketSocket({ interfaceIndex, etherType, filter }: { readonly interfaceIndex: number; readonly etherType: number; readonly filter: readonly BpfInstruction[] }): PacketSocket {
  const fd = openPacketDescriptor();
  try {
    // The filter comes before the binding: not one unwanted frame gets in.
    attachFilter(fd, filter);
    bindPacket(fd, { interfaceIndex, etherType });
  } catch (error) {
    close(fd);
    throw error;
  }
  let open = true;
  const mustBeOpen = (syscall: string): void => {
    if (!open) throw new SysError({ code: "EBADF", syscall });
  };
  return {
    fd,
    receive(buffer) {
      mustBeOpen("recv");
      return receive(fd, buffer);
    },
    send(frame) {
      mustBeOpen("send");
      send(fd, frame);
    },
    close() {
      if (open) close(fd);
      open = false;
    },
  };
}
