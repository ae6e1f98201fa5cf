/**
 * The machine's interfaces and their IPv6 link-local addresses, kept current by netlink events. Its twin for tests is `interfaces-fake.ts`.
 */

import { isLinkLocal } from "../wire/ipv6-multicast.ts";
import { parseIpAddress } from "../wire/ip-address.ts";
import { bindRoute, close, hostByteOrder, openRouteDescriptor, PollSet, receive, sendToKernel, setReceiveBuffer } from "./libc.ts";
import { decodeNetlinkMessages, encodeAddressDumpRequest, encodeLinkDumpRequest, IPV6_ADDRESS_GROUP, LINK_GROUP } from "./netlink-message.ts";
import type { InterfaceAddress, Link, NetlinkMessage } from "./netlink-message.ts";
import { SysError } from "./sys-error.ts";

export type { Link } from "./netlink-message.ts";

export interface InterfaceMonitor {
  /** What a poller waits on: readable when something changed. */
  readonly fd: number;
  /** All interfaces, by index. */
  links(): readonly Link[];
  /** Takes in what waits (a bounded amount: it stays readable when there is more). True when an interface changed, or a `refresh` has ended. @throws SysError */
  update(): boolean;
  /** Asks the kernel for everything again; the answer comes by `update`. */
  refresh(): void;
  close(): void;
}

/** Longest answer that the kernel gives to one `recv`: 32 KiB since Linux 4. */
const RECEIVE_BUFFER_BYTES = 64 * 1024;
/** Events that the kernel may keep for us while the thread is busy. */
const SOCKET_BUFFER_BYTES = 1024 * 1024;
/** Datagrams taken in per `update`. */
const MAX_DATAGRAMS_PER_UPDATE = 64;
/** How long the first dump may take. */
const DUMP_TIMEOUT_MS = 5_000;

/**
 * Starts to watch and reads all interfaces, before it returns.
 * @throws SysError when netlink is refused, ETIMEDOUT when the first dump takes over 5 s.
 */
export function watchInterfaces(): InterfaceMonitor {
  const fd = openRouteDescriptor();
  try {
    setReceiveBuffer(fd, SOCKET_BUFFER_BYTES);
    bindRoute(fd, LINK_GROUP | IPV6_ADDRESS_GROUP);
    return new RouteMonitor(fd);
  } catch (error) {
    close(fd);
    throw error;
  }
}

class RouteMonitor implements InterfaceMonitor {
  readonly fd: number;
  readonly #buffer = new Uint8Array(RECEIVE_BUFFER_BYTES);
  readonly #links = new Map<number, Link>();
  /** Link-local addresses by interface, in the order in which they came. */
  readonly #linkLocals = new Map<number, Set<string>>();
  /** A dump that runs, links first and IPv6 addresses then; what it does not name has gone. */
  #dumped: { readonly kind: "links"; readonly seen: Set<number> } | { readonly kind: "addresses"; readonly seen: Set<string> } | undefined;
  /** Events were lost while a dump ran: another must follow it. */
  #dumpAgain = false;
  #wentDown = false;
  /** Somebody waits for the end of a dump. */
  #refreshing = false;
  #sequence = 0;
  #open = true;

  constructor(fd: number) {
    this.fd = fd;
    this.#requestDump();
    const waiting = new PollSet([fd]);
    while (this.#dumped !== undefined) {
      if (waiting.wait(DUMP_TIMEOUT_MS).length === 0) throw new SysError({ code: "ETIMEDOUT", syscall: "recv", detail: "netlink dump" });
      this.update();
    }
  }

  links(): readonly Link[] {
    return [...this.#links.values()].sort((a, b) => a.index - b.index).map((link) => {
      const [linkLocal] = this.#linkLocals.get(link.index) ?? [];
      return linkLocal === undefined ? link : { ...link, linkLocal };
    });
  }

  update(): boolean {
    let changed = false;
    for (let count = 0; count < MAX_DATAGRAMS_PER_UPDATE; count++) {
      let length: number | undefined;
      try {
        length = receive(this.fd, this.#buffer);
      } catch (error) {
        if (!(error instanceof SysError) || error.code !== "ENOBUFS") throw error;
        // The kernel lost events for want of room: what we know may be wrong, so ask for all of it again.
        this.#requestDump();
        continue;
      }
      if (length === undefined) break;
      for (const message of decodeNetlinkMessages(this.#buffer.subarray(0, length), hostByteOrder)) {
        if (this.#apply(message)) changed = true;
      }
      // A link that went down, or went for good, may be back in the next datagram. Whoever watches must see it down in
      // between, for its neighbours and switches have forgotten what they knew.
      if (this.#wentDown) break;
    }
    this.#wentDown = false;
    return changed;
  }

  refresh(): void {
    this.#refreshing = true;
    this.#requestDump();
  }

  close(): void {
    if (this.#open) close(this.fd);
    this.#open = false;
  }

  #requestDump(): void {
    // The kernel runs one dump at a time for a socket.
    if (this.#dumped !== undefined) {
      this.#dumpAgain = true;
      return;
    }
    this.#dumped = { kind: "links", seen: new Set() };
    this.#sequence += 1;
    sendToKernel(this.fd, encodeLinkDumpRequest(this.#sequence, hostByteOrder));
  }

  #apply(message: NetlinkMessage): boolean {
    switch (message.kind) {
      case "link": {
        if (this.#dumped?.kind === "links") this.#dumped.seen.add(message.link.index);
        const before = this.#links.get(message.link.index);
        this.#links.set(message.link.index, message.link);
        if (before !== undefined && isLive(before) && !isLive(message.link)) this.#wentDown = true;
        return before === undefined || !sameLink(before, message.link);
      }
      case "linkRemoved":
        if (this.#dumped?.kind === "links") this.#dumped.seen.delete(message.index);
        this.#linkLocals.delete(message.index);
        if (!this.#links.delete(message.index)) return false;
        // A device made again may get the same index, and a socket of the old one is none of the new one's.
        this.#wentDown = true;
        return true;
      case "address":
      case "addressRemoved":
        return this.#applyAddress(message.kind, message.address);
      case "done":
        return this.#endDump();
      case "overrun":
        this.#requestDump();
        return false;
      case "error":
        if (message.errno !== 0) throw new SysError({ code: `E${message.errno}`, syscall: "netlink", detail: "link dump" });
        return false;
    }
  }

  #applyAddress(kind: "address" | "addressRemoved", { interfaceIndex, address }: InterfaceAddress): boolean {
    if (!isLinkLocal(parseIpAddress(address))) return false;
    const known = this.#linkLocals.get(interfaceIndex) ?? new Set();
    const [before] = known;
    const key = keyOf(interfaceIndex, address);
    if (kind === "address") {
      known.add(address);
      this.#linkLocals.set(interfaceIndex, known);
      if (this.#dumped?.kind === "addresses") this.#dumped.seen.add(key);
    } else {
      known.delete(address);
      if (known.size === 0) this.#linkLocals.delete(interfaceIndex);
      if (this.#dumped?.kind === "addresses") this.#dumped.seen.delete(key);
    }
    const [after] = known;
    return before !== after;
  }

  #endDump(): boolean {
    const dumped = this.#dumped;
    this.#dumped = undefined;
    if (dumped === undefined) return false;
    if (this.#dumpAgain) {
      // Part of this dump may be among what was lost.
      this.#dumpAgain = false;
      this.#requestDump();
      return false;
    }
    if (dumped.kind === "links") {
      let changed = false;
      for (const index of this.#links.keys()) {
        if (!dumped.seen.has(index)) changed = this.#links.delete(index) || changed;
      }
      this.#dumped = { kind: "addresses", seen: new Set() };
      this.#sequence += 1;
      sendToKernel(this.fd, encodeAddressDumpRequest(this.#sequence, hostByteOrder, "IPv6"));
      return changed;
    }
    let changed = this.#refreshing;
    this.#refreshing = false;
    for (const [index, known] of this.#linkLocals) {
      for (const address of known) if (!dumped.seen.has(keyOf(index, address))) changed = known.delete(address) || changed;
      if (known.size === 0) this.#linkLocals.delete(index);
    }
    return changed;
  }
}

function keyOf(interfaceIndex: number, address: string): string {
  return `${interfaceIndex} ${address}`;
}

function isLive(link: Link): boolean {
  return link.up && link.carrier;
}

function sameLink(a: Link, b: Link): boolean {
  return (
    a.name === b.name &&
    a.up === b.up &&
    a.carrier === b.carrier &&
    a.broadcast === b.broadcast &&
    a.noArp === b.noArp &&
    a.master === b.master &&
    a.mac === b.mac
  );
}
