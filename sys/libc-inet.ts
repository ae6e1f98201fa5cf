/**
 * The part of libc that IP sockets need: descriptors, endpoints and bytes. Every function fails as SysError.
 */

import { ByteWriter } from "../wire/byte-writer.ts";
import {
  checked,
  close,
  errnoName,
  hostByteOrder,
  lastErrno,
  libc,
  MSG_DONTWAIT,
  SOCK_FLAGS,
  SOCK_RAW,
  SOL_SOCKET,
} from "./libc.ts";
import { decodeSocketAddress, encodeSocketAddress, familyNumber, familyOf, SOCKADDR_IN6_LENGTH } from "./socket-address.ts";
import type { IpEndpoint } from "./socket-address.ts";
import { SysError } from "./sys-error.ts";

const SOCK_STREAM = 1;
const SOCK_DGRAM = 2;
const IPPROTO_ICMP = 1;
const IPPROTO_TCP = 6;
const IPPROTO_IPV6 = 41;
const IPPROTO_ICMPV6 = 58;
const SO_REUSEADDR = 2;
const SO_ERROR = 4;
const SO_LINGER = 13;
const IPV6_JOIN_GROUP = 20;
const IPV6_LEAVE_GROUP = 21;
const IPV6_V6ONLY = 26;
/** Bytes of `struct ipv6_mreq`: the group, and the interface's index. */
const IPV6_MREQ_LENGTH = 20;
const TCP_NODELAY = 1;
const MSG_NOSIGNAL = 0x4000;
const SHUT_WR = 1;

const yes = Int32Array.of(1);
/** Reused by every call: the packet thread makes one call at a time, and so does each other thread with its own copy. */
const nameBuffer = new Uint8Array(SOCKADDR_IN6_LENGTH);
const nameLength = new Uint32Array(1);
const integer = new Int32Array(1);

/** What was received, and from whom. */
export interface Received extends IpEndpoint {
  readonly length: number;
}

/** Opens a socket of the address's family. Non-blocking. @throws SysError EPERM for "icmp" without CAP_NET_RAW, EMFILE */
export function openIpDescriptor(address: string, kind: "udp" | "tcp" | "icmp"): number {
  const isIpv6 = familyOf(address) === "IPv6";
  const type = kind === "udp" ? SOCK_DGRAM : kind === "tcp" ? SOCK_STREAM : SOCK_RAW;
  const protocol = kind === "icmp" ? (isIpv6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP) : 0;
  const fd = checked("socket", libc().socket(familyNumber(address), type | SOCK_FLAGS, protocol));
  try {
    // "::" is all of IPv6 and nothing else, whatever the host's default.
    if (isIpv6 && kind !== "icmp") setOption(fd, { level: IPPROTO_IPV6, name: IPV6_V6ONLY, value: yes });
    if (kind === "tcp") setOption(fd, { level: IPPROTO_TCP, name: TCP_NODELAY, value: yes });
  } catch (error) {
    close(fd);
    throw error;
  }
  return fd;
}

function setOption(fd: number, option: { readonly level: number; readonly name: number; readonly value: Int32Array }): void {
  checked("setsockopt", libc().setsockopt(fd, option.level, option.name, option.value, option.value.byteLength));
}

/**
 * Joins an IPv6 multicast group on an interface, for as long as the socket is open, or leaves it; the kernel tells the segment
 * (MLD, RFC 3810). `group`: 16 bytes.
 * @throws SysError ENODEV without the interface or IPv6 on it, EADDRINUSE when it is joined already, ENOBUFS when the socket has no room, EADDRNOTAVAIL when it was not joined
 */
export function changeIpv6Group(fd: number, change: "join" | "leave", options: { readonly interfaceIndex: number; readonly group: Uint8Array }): void {
  const request = new ByteWriter(IPV6_MREQ_LENGTH, hostByteOrder).bytes(options.group).u32(options.interfaceIndex).finish();
  const name = change === "join" ? IPV6_JOIN_GROUP : IPV6_LEAVE_GROUP;
  checked("setsockopt", libc().setsockopt(fd, IPPROTO_IPV6, name, request, request.length));
}

/** Lets a listening socket have a port on which connections of an earlier process are still dying. */
export function setReuseAddress(fd: number): void {
  setOption(fd, { level: SOL_SOCKET, name: SO_REUSEADDR, value: yes });
}

/** Makes `close` send a reset and forget everything at once. */
export function setResetOnClose(fd: number): void {
  setOption(fd, { level: SOL_SOCKET, name: SO_LINGER, value: Int32Array.of(1, 0) });
}

/** @throws SysError EADDRINUSE, EADDRNOTAVAIL, EACCES */
export function bindIp(fd: number, endpoint: IpEndpoint): void {
  const address = encodeSocketAddress(endpoint, hostByteOrder);
  checked("bind", libc().bind(fd, address, address.length));
}

/** Where the socket is bound. */
export function localEndpoint(fd: number): IpEndpoint {
  nameLength[0] = nameBuffer.length;
  checked("getsockname", libc().getsockname(fd, nameBuffer, nameLength));
  return takeName();
}

function takeName(): IpEndpoint {
  return decodeSocketAddress(nameBuffer.subarray(0, nameLength[0]), hostByteOrder);
}

/** Begins to connect: `connectionState` tells how it went. @throws SysError (ENETUNREACH, ECONNREFUSED by a host that answered at once) */
export function connectIp(fd: number, endpoint: IpEndpoint): void {
  const address = encodeSocketAddress(endpoint, hostByteOrder);
  if (libc().connect(fd, address, address.length) === 0) return;
  const code = lastErrno();
  if (code !== "EINPROGRESS" && code !== "EINTR") throw new SysError({ code, syscall: "connect" });
}

/** @throws SysError with the error that the connection met, once */
export function connectionState(fd: number): "pending" | "connected" {
  nameLength[0] = integer.byteLength;
  checked("getsockopt", libc().getsockopt(fd, SOL_SOCKET, SO_ERROR, integer, nameLength));
  const errno = integer[0] ?? 0;
  if (errno !== 0) throw new SysError({ code: errnoName(errno), syscall: "connect" });
  nameLength[0] = nameBuffer.length;
  if (libc().getpeername(fd, nameBuffer, nameLength) === 0) return "connected";
  const code = lastErrno();
  if (code === "ENOTCONN") return "pending";
  throw new SysError({ code, syscall: "getpeername" });
}

/** Connections that wait to be accepted: at most `backlog`, and no more than net.core.somaxconn. */
export function listenIp(fd: number, backlog: number): void {
  checked("listen", libc().listen(fd, backlog));
}

/** The next connection, non-blocking; undefined when none waits. @throws SysError EMFILE, ENFILE, ENOBUFS, ENOMEM: it waits on */
export function acceptIp(fd: number): { readonly fd: number; readonly peer: IpEndpoint } | undefined {
  nameLength[0] = nameBuffer.length;
  const accepted = libc().accept4(fd, nameBuffer, nameLength, SOCK_FLAGS);
  if (accepted < 0) {
    const code = lastErrno();
    // accept(2): errors that the new connection already met are passed on here; they say nothing about the listener.
    if (["EAGAIN", "EINTR", "ECONNABORTED", "ENETDOWN", "EPROTO", "ENOPROTOOPT", "EHOSTDOWN", "ENONET", "EHOSTUNREACH", "EOPNOTSUPP", "ENETUNREACH"].includes(code)) return undefined;
    throw new SysError({ code, syscall: "accept4" });
  }
  const peer = takeName();
  try {
    setOption(accepted, { level: IPPROTO_TCP, name: TCP_NODELAY, value: yes });
  } catch (error) {
    close(accepted);
    throw error;
  }
  return { fd: accepted, peer };
}

/** Sends one datagram, without waiting. @throws SysError (EAFNOSUPPORT for an address of the other family, EMSGSIZE, ENETUNREACH, EAGAIN) */
export function sendToIp(fd: number, bytes: Uint8Array, endpoint: IpEndpoint): void {
  const address = encodeSocketAddress(endpoint, hostByteOrder);
  checked("sendto", libc().sendto(fd, bytes, bytes.length, MSG_DONTWAIT, address, address.length));
}

/** Receives one datagram into `buffer`, cut to its length; undefined when none waits. */
export function receiveFromIp(fd: number, buffer: Uint8Array): Received | undefined {
  nameLength[0] = nameBuffer.length;
  const length = libc().recvfrom(fd, buffer, buffer.length, MSG_DONTWAIT, nameBuffer, nameLength);
  if (length >= 0) return { length, ...takeName() };
  const code = lastErrno();
  if (code === "EAGAIN" || code === "EINTR") return undefined;
  throw new SysError({ code, syscall: "recvfrom" });
}

/** Sends part of a stream, and returns how many bytes were taken: 0 when there is no room. @throws SysError EPIPE, ECONNRESET */
export function sendSome(fd: number, bytes: Uint8Array): number {
  const length = libc().send(fd, bytes, bytes.length, MSG_DONTWAIT | MSG_NOSIGNAL);
  if (length >= 0) return length;
  const code = lastErrno();
  if (code === "EAGAIN" || code === "EINTR") return 0;
  throw new SysError({ code, syscall: "send" });
}

/** Tells the peer that nothing more comes. Nothing happens when the connection has gone already. */
export function shutdownWriting(fd: number): void {
  if (libc().shutdown(fd, SHUT_WR) === 0) return;
  const code = lastErrno();
  if (code !== "ENOTCONN") throw new SysError({ code, syscall: "shutdown" });
}
