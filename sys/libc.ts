/**
 * libc through koffi: descriptors and bytes in, bytes out; nothing is parsed here. It is the only file that knows koffi;
 * the C layouts of IP sockets are in `libc-inet.ts`. Every function fails as SysError. Linux only, on 64-bit machines with glibc or musl: loading it
 * elsewhere is harmless, calling it is refused.
 */

import koffi from "koffi";

import { ByteWriter } from "../wire/byte-writer.ts";
import type { ByteOrder } from "../wire/byte-reader.ts";
import { SysError } from "./sys-error.ts";

/** Order of bytes that the kernel uses in structures of its own (netlink, sockaddr). */
export const hostByteOrder: ByteOrder = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1 ? "little" : "big";

const AF_NETLINK = 16;
const AF_PACKET = 17;
export const SOCK_RAW = 3;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
/** Non-blocking, and not handed to a program that this one starts: how every socket here is opened. */
export const SOCK_FLAGS = SOCK_NONBLOCK | SOCK_CLOEXEC;
const NETLINK_ROUTE = 0;
export const SOL_SOCKET = 1;
const SO_RCVBUF = 8;
const SO_ATTACH_FILTER = 26;
export const MSG_DONTWAIT = 0x40;
const EFD_NONBLOCK = SOCK_NONBLOCK;
const EFD_CLOEXEC = SOCK_CLOEXEC;
const CLONE_NEWNET = 0x40000000;
const SOCKADDR_LL_LENGTH = 20;
const SOL_PACKET = 263;
const PACKET_ADD_MEMBERSHIP = 1;
const PACKET_DROP_MEMBERSHIP = 2;
const PACKET_MR_MULTICAST = 0;
/** Bytes of `struct packet_mreq`: interface (32 bits), type (16), length of the address (16), eight bytes of it. */
const PACKET_MREQ_LENGTH = 16;
const SOCKADDR_NL_LENGTH = 12;
/** Bytes of one `struct pollfd`: descriptor (32 bits), events (16), revents (16). */
const POLLFD_LENGTH = 8;
const POLLIN = 0x001;
const POLLOUT = 0x004;

/** Most descriptors that one `poll` looks at. */
export const MAX_POLL_DESCRIPTORS = 4096;

/** One instruction of classic BPF, `struct sock_filter`: operation, jumps when true and false, operand. */
export interface BpfInstruction {
  readonly code: number;
  readonly jt: number;
  readonly jf: number;
  readonly k: number;
}

type Call = (...args: readonly unknown[]) => number;

/** The calls that are used, as libc has them: a negative result is a failure. Pointers are typed arrays. */
interface Libc {
  readonly socket: Call;
  readonly bind: Call;
  readonly setFilter: Call;
  readonly setInteger: Call;
  readonly recv: Call;
  readonly send: Call;
  readonly sendto: Call;
  readonly recvfrom: Call;
  readonly connect: Call;
  readonly listen: Call;
  readonly accept4: Call;
  readonly shutdown: Call;
  readonly getsockname: Call;
  readonly getpeername: Call;
  readonly setsockopt: Call;
  readonly getsockopt: Call;
  readonly poll: Call;
  readonly eventfd: Call;
  readonly read: Call;
  readonly close: Call;
  readonly setns: Call;
}

let loaded: Libc | undefined;

/** For the files in sys/ that add calls of their own. @throws SysError ENOSYS when this is not Linux */
export function libc(): Libc {
  loaded ??= load();
  return loaded;
}

function load(): Libc {
  if (process.platform !== "linux") {
    throw new SysError({ code: "ENOSYS", syscall: "dlopen", detail: `packet sockets need Linux, this is ${process.platform}` });
  }
  // The running program has libc's symbols already, whichever libc it is.
  const library = koffi.load(null);
  const filter = koffi.struct("HeraldSockFilter", { code: "uint16_t", jt: "uint8_t", jf: "uint8_t", k: "uint32_t" });
  const program = koffi.struct("HeraldSockFprog", { len: "uint16_t", filter: koffi.pointer(filter) });
  return {
    socket: library.func("socket", "int", ["int", "int", "int"]),
    bind: library.func("bind", "int", ["int", "void *", "uint32_t"]),
    setFilter: library.func("setsockopt", "int", ["int", "int", "int", koffi.pointer(program), "uint32_t"]),
    setInteger: library.func("setsockopt", "int", ["int", "int", "int", "int *", "uint32_t"]),
    recv: library.func("recv", "long", ["int", "void *", "size_t", "int"]),
    send: library.func("send", "long", ["int", "void *", "size_t", "int"]),
    sendto: library.func("sendto", "long", ["int", "void *", "size_t", "int", "void *", "uint32_t"]),
    recvfrom: library.func("recvfrom", "long", ["int", "void *", "size_t", "int", "void *", "void *"]),
    connect: library.func("connect", "int", ["int", "void *", "uint32_t"]),
    listen: library.func("listen", "int", ["int", "int"]),
    accept4: library.func("accept4", "int", ["int", "void *", "void *", "int"]),
    shutdown: library.func("shutdown", "int", ["int", "int"]),
    getsockname: library.func("getsockname", "int", ["int", "void *", "void *"]),
    getpeername: library.func("getpeername", "int", ["int", "void *", "void *"]),
    setsockopt: library.func("setsockopt", "int", ["int", "int", "int", "void *", "uint32_t"]),
    getsockopt: library.func("getsockopt", "int", ["int", "int", "int", "void *", "void *"]),
    poll: library.func("poll", "int", ["void *", "unsigned long", "int"]),
    eventfd: library.func("eventfd", "int", ["unsigned int", "int"]),
    read: library.func("read", "long", ["int", "void *", "size_t"]),
    close: library.func("close", "int", ["int"]),
    setns: library.func("setns", "int", ["int", "int"]),
  };
}

const errnoNames = new Map<number, string>();

/** Name of the errno that the last call left behind. */
export function lastErrno(): string {
  return errnoName(koffi.errno());
}

/** Name of an errno, "E<number>" when it has none here. */
export function errnoName(errno: number): string {
  if (errnoNames.size === 0) {
    for (const [name, value] of Object.entries(koffi.os.errno)) if (!errnoNames.has(value)) errnoNames.set(value, name);
  }
  // EWOULDBLOCK is the same number on Linux: one name for it, whichever koffi lists first.
  if (errno === koffi.os.errno["EAGAIN"]) return "EAGAIN";
  return errnoNames.get(errno) ?? `E${errno}`;
}

/** The result, if it is none of failure. @throws SysError */
export function checked(syscall: string, result: number): number {
  if (result < 0) throw new SysError({ code: lastErrno(), syscall });
  return result;
}

/** A packet socket with link-layer headers that receives nothing until it is bound. Non-blocking. Needs CAP_NET_RAW. */
export function openPacketDescriptor(): number {
  return checked("socket", libc().socket(AF_PACKET, SOCK_RAW | SOCK_FLAGS, 0));
}

/** A NETLINK_ROUTE socket. Non-blocking. */
export function openRouteDescriptor(): number {
  return checked("socket", libc().socket(AF_NETLINK, SOCK_RAW | SOCK_FLAGS, NETLINK_ROUTE));
}

/** Binds a packet socket to one interface and one EtherType: frames arrive from then on. */
export function bindPacket(fd: number, options: { readonly interfaceIndex: number; readonly etherType: number }): void {
  const networkOrder = hostByteOrder === "little" ? ((options.etherType & 0xff) << 8) | (options.etherType >> 8) : options.etherType;
  const address = new ByteWriter(SOCKADDR_LL_LENGTH, hostByteOrder);
  address.u16(AF_PACKET).u16(networkOrder).u32(options.interfaceIndex).align(SOCKADDR_LL_LENGTH);
  checked("bind", libc().bind(fd, address.finish(), SOCKADDR_LL_LENGTH));
}

/** Makes an interface let frames to a multicast MAC in, for as long as the packet socket is open, or not any more. @throws SysError ENODEV, EADDRNOTAVAIL when it was not joined */
export function changeFrameGroup(fd: number, change: "join" | "leave", options: { readonly interfaceIndex: number; readonly mac: Uint8Array }): void {
  const request = new ByteWriter(PACKET_MREQ_LENGTH, hostByteOrder);
  request.u32(options.interfaceIndex).u16(PACKET_MR_MULTICAST).u16(options.mac.length).bytes(options.mac).align(PACKET_MREQ_LENGTH);
  const name = change === "join" ? PACKET_ADD_MEMBERSHIP : PACKET_DROP_MEMBERSHIP;
  checked("setsockopt", libc().setsockopt(fd, SOL_PACKET, name, request.finish(), PACKET_MREQ_LENGTH));
}

/** Binds a netlink socket to the multicast groups of the mask; the kernel picks the port id. */
export function bindRoute(fd: number, groups: number): void {
  const address = new ByteWriter(SOCKADDR_NL_LENGTH, hostByteOrder);
  address.u16(AF_NETLINK).u16(0).u32(0).u32(groups);
  checked("bind", libc().bind(fd, address.finish(), SOCKADDR_NL_LENGTH));
}

/** Makes the kernel drop what the program returns 0 for, before it wakes anybody. */
export function attachFilter(fd: number, program: readonly BpfInstruction[]): void {
  // struct sock_fprog: a 16-bit count, then an aligned pointer.
  checked("setsockopt", libc().setFilter(fd, SOL_SOCKET, SO_ATTACH_FILTER, [{ len: program.length, filter: program }], 16));
}

/** Asks for a receive buffer of `bytes` (the kernel doubles it and caps it at net.core.rmem_max). */
export function setReceiveBuffer(fd: number, bytes: number): void {
  checked("setsockopt", libc().setInteger(fd, SOL_SOCKET, SO_RCVBUF, [bytes], 4));
}

/** Receives one message into `buffer`, cut to its length. Returns its length, or undefined when none is waiting. */
export function receive(fd: number, buffer: Uint8Array): number | undefined {
  const length = libc().recv(fd, buffer, buffer.length, MSG_DONTWAIT);
  if (length >= 0) return length;
  const code = lastErrno();
  if (code === "EAGAIN" || code === "EINTR") return undefined;
  throw new SysError({ code, syscall: "recv" });
}

/** Sends one message on a bound socket, without waiting: a full queue is EAGAIN or ENOBUFS. */
export function send(fd: number, bytes: Uint8Array): void {
  checked("send", libc().send(fd, bytes, bytes.length, MSG_DONTWAIT));
}

/** Sends one netlink message to the kernel. */
export function sendToKernel(fd: number, bytes: Uint8Array): void {
  const address = new ByteWriter(SOCKADDR_NL_LENGTH, hostByteOrder);
  address.u16(AF_NETLINK).u16(0).u32(0).u32(0);
  checked("sendto", libc().sendto(fd, bytes, bytes.length, MSG_DONTWAIT, address.finish(), SOCKADDR_NL_LENGTH));
}

/** What is waited for on a descriptor. An error or a hang-up ends the wait in any case. */
export interface PollInterest {
  readonly readable?: boolean;
  readonly writable?: boolean;
}

/** A set of descriptors to wait on; made anew when the set changes, reused between waits. */
export class PollSet {
  readonly #descriptors: readonly number[];
  readonly #words: Int32Array;

  /** Without `interests`, and for a descriptor that has none there, it is "readable". @throws RangeError for more than MAX_POLL_DESCRIPTORS. */
  constructor(descriptors: readonly number[], interests: ReadonlyMap<number, PollInterest> = new Map()) {
    if (descriptors.length > MAX_POLL_DESCRIPTORS) throw new RangeError(`poll of ${descriptors.length} descriptors`);
    this.#descriptors = descriptors;
    this.#words = new Int32Array((descriptors.length * POLLFD_LENGTH) / 4);
    // The second word of a pollfd is two 16-bit halves, events first: on a big-endian host that is the upper half.
    descriptors.forEach((fd, index) => {
      const { readable = false, writable = false } = interests.get(fd) ?? { readable: true };
      const events = (readable ? POLLIN : 0) | (writable ? POLLOUT : 0);
      this.#words[2 * index] = fd;
      this.#words[2 * index + 1] = hostByteOrder === "little" ? events : events << 16;
    });
  }

  /** Waits until one is what was waited for (or in error: reading tells), or `timeoutMs` passed. Returns those that are. */
  wait(timeoutMs: number): readonly number[] {
    const count = libc().poll(this.#words, this.#descriptors.length, timeoutMs);
    if (count < 0) {
      const code = lastErrno();
      if (code === "EINTR") return [];
      throw new SysError({ code, syscall: "poll" });
    }
    if (count === 0) return [];
    return this.#descriptors.filter((_, index) => {
      const word = this.#words[2 * index + 1] ?? 0;
      return (hostByteOrder === "little" ? word >>> 16 : word & 0xffff) !== 0;
    });
  }
}

/** A counter descriptor: writing 8 bytes makes it readable until it is read. Non-blocking. */
export function openEventDescriptor(): number {
  return checked("eventfd", libc().eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
}

/** Reads at most `buffer.length` bytes; undefined when nothing is waiting. */
export function read(fd: number, buffer: Uint8Array): number | undefined {
  const length = libc().read(fd, buffer, buffer.length);
  if (length >= 0) return length;
  const code = lastErrno();
  if (code === "EAGAIN" || code === "EINTR") return undefined;
  throw new SysError({ code, syscall: "read" });
}

/** Closes a descriptor. */
export function close(fd: number): void {
  checked("close", libc().close(fd));
}

/** Moves the calling thread (threads started later inherit it) into the network namespace of an open descriptor. */
export function enterNetworkNamespace(fd: number): void {
  checked("setns", libc().setns(fd, CLONE_NEWNET));
}

/**
 * Gives free memory of all of malloc's arenas back to the kernel (malloc_trim(3)). Takes some milliseconds after a burst,
 * next to nothing otherwise. glibc only: where there is none, nothing happens.
 */
export function trimHeap(): void {
  const library = koffi.load(null);
  let trim: ((pad: number) => number) | undefined;
  try {
    trim = library.func("malloc_trim", "int", ["size_t"]);
  } catch {
    // musl gives memory back by itself and has no such function.
    return;
  }
  trim(0);
}
