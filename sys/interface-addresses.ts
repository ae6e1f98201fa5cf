/**
 * The addresses of this host's interfaces, of both families, kept current by netlink events: they wait in the socket until somebody
 * asks. The kernel keeps those of interfaces that nobody asks for to itself: kube-proxy gives one of its own thousands at once.
 * Its twin for tests is `interface-addresses-fake.ts`.
 */

import { attachFilter, bindRoute, close, hostByteOrder, openRouteDescriptor, PollSet, receive, sendToKernel, setReceiveBuffer } from "./libc.ts";
import { decodeNetlinkMessages, encodeAddressDumpRequest, IPV4_ADDRESS_GROUP, IPV6_ADDRESS_GROUP } from "./netlink-message.ts";
import { addressFilter, anyMessageFilter } from "./netlink-filter.ts";
import type { InterfaceAddress, NetlinkMessage } from "./netlink-message.ts";
import { SysError } from "./sys-error.ts";

export type { InterfaceAddress } from "./netlink-message.ts";

export interface InterfaceAddresses {
  /** Which interfaces' addresses are wanted: all of them until it is called. Those of others may be among them all the same. @throws SysError */
  watch(interfaceIndexes: readonly number[]): void;
  /** The wanted ones, as they are now: the same list as before when nothing changed. @throws SysError */
  list(): readonly InterfaceAddress[];
  close(): void;
}

/** Longest answer that the kernel gives to one `recv`: 32 KiB since Linux 4. */
const RECEIVE_BUFFER_BYTES = 64 * 1024;
/** Events that the kernel may keep for us. */
const SOCKET_BUFFER_BYTES = 256 * 1024;
/** Datagrams taken in per call: more than the socket keeps. */
const MAX_DATAGRAMS = 4_096;
/** Interfaces that are told from others: with more of them, all addresses are taken in. */
export const MAX_WATCHED_INTERFACES = 16;
/** How long a dump may take. */
const DUMP_TIMEOUT_MS = 5_000;

/** Starts to watch. @throws SysError when netlink is refused, ETIMEDOUT when the first dump takes over 5 s */
export function watchInterfaceAddresses(): InterfaceAddresses {
  const fd = openRouteDescriptor();
  try {
    setReceiveBuffer(fd, SOCKET_BUFFER_BYTES);
    bindRoute(fd, IPV4_ADDRESS_GROUP | IPV6_ADDRESS_GROUP);
    const watched = new RouteAddresses(fd);
    watched.list();
    return watched;
  } catch (error) {
    close(fd);
    throw error;
  }
}

class RouteAddresses implements InterfaceAddresses {
  readonly #fd: number;
  readonly #waiting: PollSet;
  readonly #buffer = new Uint8Array(RECEIVE_BUFFER_BYTES);
  readonly #known = new Map<string, InterfaceAddress>();
  /** Undefined stands for all interfaces. */
  #watched: ReadonlySet<number> | undefined;
  #list: readonly InterfaceAddress[] | undefined;
  /** What we know may be wrong: everything has to be asked for. */
  #isStale = true;
  #isDumping = false;
  #sequence = 0;
  #open = true;

  constructor(fd: number) {
    this.#fd = fd;
    this.#waiting = new PollSet([fd]);
  }

  watch(interfaceIndexes: readonly number[]): void {
    const isForAll = interfaceIndexes.length > MAX_WATCHED_INTERFACES;
    if (isForAll ? this.#watched === undefined : interfaceIndexes.every((index) => this.#watched?.has(index) === true)) return;
    const together = new Set([...(this.#watched ?? []), ...interfaceIndexes]);
    // One that was watched before may be back soon, as after its link went down.
    const watched = isForAll ? undefined : together.size > MAX_WATCHED_INTERFACES ? new Set(interfaceIndexes) : together;
    attachFilter(this.#fd, watched === undefined ? anyMessageFilter : addressFilter([...watched], hostByteOrder));
    this.#watched = watched;
    this.#isStale = true;
  }

  list(): readonly InterfaceAddress[] {
    if (!this.#open) throw new SysError({ code: "EBADF", syscall: "recv" });
    this.#take();
    if (this.#isStale) this.#dump();
    this.#list ??= [...this.#known.values()];
    return this.#list;
  }

  close(): void {
    if (this.#open) close(this.#fd);
    this.#open = false;
  }

  /** Asks for everything, and waits until it is there: the kernel answers such a request at once. Once more if it was disturbed. */
  #dump(): void {
    for (let tries = 0; tries < 3 && this.#isStale; tries++) {
      this.#isStale = false;
      this.#isDumping = true;
      this.#known.clear();
      this.#list = undefined;
      this.#sequence += 1;
      sendToKernel(this.#fd, encodeAddressDumpRequest(this.#sequence, hostByteOrder));
      while (this.#isDumping) {
        if (this.#waiting.wait(DUMP_TIMEOUT_MS).length === 0) throw new SysError({ code: "ETIMEDOUT", syscall: "recv", detail: "netlink dump of addresses" });
        this.#take();
      }
    }
  }

  #take(): void {
    for (let count = 0; count < MAX_DATAGRAMS; count++) {
      let length: number | undefined;
      try {
        length = receive(this.#fd, this.#buffer);
      } catch (error) {
        if (!(error instanceof SysError) || error.code !== "ENOBUFS") throw error;
        // The kernel lost events for want of room.
        this.#isStale = true;
        continue;
      }
      if (length === undefined) return;
      for (const message of decodeNetlinkMessages(this.#buffer.subarray(0, length), hostByteOrder, this.#watched)) this.#apply(message);
    }
  }

  #apply(message: NetlinkMessage): void {
    switch (message.kind) {
      case "address":
        // Its lifetimes have changed, say, which each router advertisement does.
        if (this.#known.has(keyOf(message.address))) return;
        this.#known.set(keyOf(message.address), message.address);
        this.#list = undefined;
        return;
      case "addressRemoved":
        if (this.#known.delete(keyOf(message.address))) this.#list = undefined;
        return;
      case "done":
        this.#isDumping = false;
        return;
      case "overrun":
        this.#isStale = true;
        return;
      case "error":
        if (message.errno !== 0) throw new SysError({ code: `E${message.errno}`, syscall: "netlink", detail: "address dump" });
        return;
      case "link":
      case "linkRemoved":
        return;
    }
  }
}

function keyOf({ interfaceIndex, address, prefixLength }: InterfaceAddress): string {
  return `${interfaceIndex} ${address}/${prefixLength}`;
}
