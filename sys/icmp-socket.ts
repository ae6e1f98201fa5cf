/**
 * A door for asking other hosts' kernels for a sign of life: ICMP echo (RFC 792, RFC 4443 §4). Its in-memory twin is
 * `icmp-socket-fake.ts`; `icmp-socket.test.ts` holds both to the same suite.
 */

import { DecodeError } from "../wire/decode-error.ts";
import type { IpFamily } from "../wire/ip-address.ts";
import { decodeEchoReply, EchoType, encodeEchoRequest } from "./icmp-echo.ts";
import { attachFilter, close } from "./libc.ts";
import type { BpfInstruction } from "./libc.ts";
import { bindIp, openIpDescriptor, receiveFromIp, sendToIp } from "./libc-inet.ts";
import { familyOf } from "./socket-address.ts";
import { SysError } from "./sys-error.ts";

/** Who replied, and to which request. `address` is canonical text. */
export interface EchoReply {
  readonly address: string;
  readonly sequence: number;
}

export interface IcmpSocket {
  /** What a poller waits on. */
  readonly fd: number;
  readonly family: IpFamily;
  /** Sends one echo request. `sequence`: 16 bits. Never waits. @throws SysError (EAGAIN, ENOBUFS, ENETUNREACH, EHOSTUNREACH, EAFNOSUPPORT) */
  send(request: EchoReply): void;
  /** The next reply to a request with this socket's identifier; undefined when none waits. @throws SysError */
  receive(): EchoReply | undefined;
  /** Ends it; a second time does nothing. */
  close(): void;
}

export interface IcmpSocketOptions {
  /** Where requests come from, and which family it is. */
  readonly address: string;
  /** Tells our replies from those of others on this host: 16 bits. */
  readonly identifier: number;
}

/** Bytes kept of a reply: an IPv4 header of any length and what we look at. */
const REPLY_BYTES = 128;
/** Messages that are none of ours and are passed over in one call. */
const MAX_IGNORED = 16;

// Classic BPF, as <linux/bpf_common.h> and <linux/filter.h> number it.
const LOAD_BYTE_AT_X = 0x50;
const LOAD_HALF_AT_X = 0x48;
const LOAD_X_HEADER_LENGTH = 0xb1;
const LOAD_X = 0x01;
const JUMP_IF_EQUAL = 0x15;
const RETURN = 0x06;

/** Accepts echo replies with an identifier: every raw socket sees the replies to everybody's requests. */
function replyFilter(family: IpFamily, identifier: number): readonly BpfInstruction[] {
  return [
    // A raw IPv4 socket sees the header, of a length that its first byte tells; a raw IPv6 one does not.
    family === "IPv4" ? { code: LOAD_X_HEADER_LENGTH, jt: 0, jf: 0, k: 0 } : { code: LOAD_X, jt: 0, jf: 0, k: 0 },
    { code: LOAD_BYTE_AT_X, jt: 0, jf: 0, k: 0 },
    { code: JUMP_IF_EQUAL, jt: 0, jf: 3, k: EchoType[family].reply },
    { code: LOAD_HALF_AT_X, jt: 0, jf: 0, k: 4 },
    { code: JUMP_IF_EQUAL, jt: 0, jf: 1, k: identifier },
    { code: RETURN, jt: 0, jf: 0, k: 0xffff },
    { code: RETURN, jt: 0, jf: 0, k: 0 },
  ];
}

/** Opens a raw ICMP or ICMPv6 socket. Needs CAP_NET_RAW. @throws SysError EPERM without it, EADDRNOTAVAIL */
export function openIcmpSocket({ address, identifier }: IcmpSocketOptions): IcmpSocket {
  const family = familyOf(address);
  const fd = openIpDescriptor(address, "icmp");
  try {
    attachFilter(fd, replyFilter(family, identifier));
    bindIp(fd, { address, port: 0 });
  } catch (error) {
    close(fd);
    throw error;
  }
  const buffer = new Uint8Array(REPLY_BYTES);
  let isOpen = true;
  const mustBeOpen = (syscall: string): void => {
    if (!isOpen) throw new SysError({ code: "EBADF", syscall });
  };
  return {
    fd,
    family,
    send(request) {
      mustBeOpen("sendto");
      if (familyOf(request.address) !== family) throw new SysError({ code: "EAFNOSUPPORT", syscall: "sendto" });
      sendToIp(fd, encodeEchoRequest(family, { identifier, sequence: request.sequence }), { address: request.address, port: 0 });
    },
    receive() {
      mustBeOpen("recvfrom");
      for (let ignored = 0; ignored <= MAX_IGNORED; ignored++) {
        const received = receiveFromIp(fd, buffer);
        if (received === undefined) return undefined;
        try {
          const echo = decodeEchoReply(family, buffer.subarray(0, received.length));
          if (echo.identifier === identifier) return { address: received.address, sequence: echo.sequence };
        } catch (error) {
          if (!(error instanceof DecodeError)) throw error;
        }
      }
      return undefined;
    },
    close() {
      if (isOpen) close(fd);
      isOpen = false;
    },
  };
}
