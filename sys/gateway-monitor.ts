/**
 * The gateways of this host's default routes, kept current at a cost that does not grow with the routes that a turn of the
 * caller's loop finds: `update` does a bounded amount of work. Its twin for tests is `gateway-monitor-fake.ts`.
 *
 * IPv4's table begins with the default routes, so that its beginning is read each time. IPv6's ends with them, and the
 * kernel walks it from its start for each page that is read of it: 9,000 routes take it 55 ms and more. So the kernel tells
 * of changes by netlink, of default routes only, and the whole table is dumped in pieces, at the start and from time to
 * time. An event counts at once. A dump adds what it shows; while other routes go, the kernel may pass over some in
 * it, so that what it lacks has gone only when the next one lacks it too.
 */

import type { IpFamily } from "../wire/ip-address.ts";
import { attachFilter, bindRoute, close, hostByteOrder, openRouteDescriptor, receive, sendToKernel, setReceiveBuffer } from "./libc.ts";
import { defaultRouteFilter } from "./netlink-filter.ts";
import { decodeRouteMessages, encodeRouteDumpRequest, IPV6_ROUTE_GROUP } from "./route-message.ts";
import type { RouteHop, RouteMessage } from "./route-message.ts";
import { defaultGateways } from "./routes.ts";
import { SysError } from "./sys-error.ts";

/** `address` is canonical text; of an IPv6 gateway it is usually link-local. `via` is the interface it is reached by: its index, or its name where the kernel's table has only that. */
export interface Gateway {
  readonly address: string;
  readonly via: number | string;
  readonly metric: number;
}

export interface GatewayMonitor {
  /** The gateways as far as they are known, the lowest metric first. */
  gateways(): readonly Gateway[];
  /** Takes in what waits, a bounded amount. True when there may be more at once, for another call. @throws SysError; what was known stays, and another call tries again */
  update(): boolean;
  /** Something happened that only a look at everything tells the outcome of: call `refresh`, not too often. */
  readonly isInDoubt: boolean;
  /** Asks the kernel for everything again; the answer comes by `update`. @throws SysError */
  refresh(): void;
  close(): void;
}

/** Longest answer that the kernel gives to one `recv`: 32 KiB since Linux 4, some 250 routes. */
const RECEIVE_BUFFER_BYTES = 64 * 1024;
/** Events that the kernel may keep for us: hundreds of default routes that change. */
const SOCKET_BUFFER_BYTES = 256 * 1024;
/** Default gateways remembered. Whoever may send router advertisements can make the kernel have any number. */
export const MAX_GATEWAYS = 256;

/** Starts to watch. Those of IPv6 are known when it returns, those of IPv4 after the first update. Where netlink refuses, IPv6's table is read at each update too. */
export function watchGateways(family: IpFamily): GatewayMonitor {
  if (family === "IPv6") {
    try {
      return new NetlinkGateways();
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
    }
  }
  return new TableGateways(family);
}

/** Reads the kernel's table of text at each update. */
class TableGateways implements GatewayMonitor {
  readonly isInDoubt = false;
  readonly #family: IpFamily;
  #gateways: readonly Gateway[] = [];
  #open = true;

  constructor(family: IpFamily) {
    this.#family = family;
  }

  gateways(): readonly Gateway[] {
    return this.#gateways;
  }

  update(): boolean {
    if (!this.#open) throw new SysError({ code: "EBADF", syscall: "read" });
    this.#gateways = defaultGateways(this.#family).map(({ address, interfaceName, metric }) => ({ address, via: interfaceName, metric }));
    return false;
  }

  refresh(): void {}

  close(): void {
    this.#open = false;
  }
}

interface Known {
  readonly gateway: Gateway;
  /** The last dump did not show it. */
  isMissed: boolean;
}

/** IPv6's, by netlink. */
class NetlinkGateways implements GatewayMonitor {
  readonly #buffer = new Uint8Array(RECEIVE_BUFFER_BYTES);
  /** In the order in which they came, as the kernel has those of one metric. */
  readonly #known = new Map<string, Known>();
  #gateways: readonly Gateway[] | undefined;
  /** What the dump that runs has shown. */
  #seen: Set<string> | undefined;
  #isInDoubt = false;
  #sequence = 0;
  /** Undefined after a failure, until the next refresh. */
  #fd: number | undefined;
  #open = true;

  constructor() {
    this.refresh();
    // The kernel answers such a request at once, each piece when the one before it is taken.
    while (this.update());
    if (this.#fd === undefined) throw new SysError({ code: "EIO", syscall: "recv", detail: "netlink dump of routes" });
  }

  get isInDoubt(): boolean {
    return this.#isInDoubt;
  }

  gateways(): readonly Gateway[] {
    this.#gateways ??= [...this.#known.values()].map(({ gateway }) => gateway).sort((a, b) => a.metric - b.metric);
    return this.#gateways;
  }

  update(): boolean {
    if (!this.#open) throw new SysError({ code: "EBADF", syscall: "recv" });
    if (this.#fd === undefined) return false;
    try {
      const length = receive(this.#fd, this.#buffer);
      // A dump without anything to take has ended without its last word.
      if (length === undefined && this.#seen !== undefined) this.#giveUp();
      if (length === undefined) return false;
      for (const message of decodeRouteMessages(this.#buffer.subarray(0, length), hostByteOrder)) this.#apply(message);
      return true;
    } catch (error) {
      if (error instanceof SysError && error.code === "ENOBUFS") {
        // The kernel lost events for want of room.
        this.#isInDoubt = true;
        return true;
      }
      this.#giveUp();
      throw error;
    }
  }

  refresh(): void {
    if (!this.#open) throw new SysError({ code: "EBADF", syscall: "send" });
    // The kernel runs one dump at a time for a socket.
    if (this.#seen !== undefined) return;
    this.#fd ??= openSocket();
    this.#isInDoubt = false;
    this.#sequence += 1;
    try {
      sendToKernel(this.#fd, encodeRouteDumpRequest(this.#sequence, hostByteOrder));
    } catch (error) {
      this.#giveUp();
      throw error;
    }
    this.#seen = new Set();
  }

  close(): void {
    this.#giveUp();
    this.#open = false;
  }

  /** The next refresh begins with a new socket. */
  #giveUp(): void {
    if (this.#fd !== undefined) close(this.#fd);
    this.#fd = undefined;
    this.#seen = undefined;
    this.#isInDoubt = true;
  }

  #apply(message: RouteMessage): void {
    switch (message.kind) {
      case "route":
        if (message.change === "removed") this.#remove(message.route);
        else this.#add(message.route, message.change === "replaced");
        // A dump that runs may show what an event has overtaken.
        if (message.change !== "known") this.#isInDoubt = true;
        return;
      case "done":
        this.#endDump();
        return;
      case "overrun":
        this.#isInDoubt = true;
        return;
      case "error":
        if (message.errno !== 0) throw new SysError({ code: `E${message.errno}`, syscall: "netlink", detail: "route dump" });
        return;
    }
  }

  #add({ metric, hops }: { readonly metric: number; readonly hops: readonly RouteHop[] }, replaces: boolean): void {
    if (replaces) {
      // One too many may go here: the dump that follows brings it back.
      for (const [key, { gateway }] of this.#known) if (gateway.metric === metric) this.#known.delete(key);
      this.#gateways = undefined;
    }
    for (const { address, interfaceIndex } of hops) {
      const key = keyOf(metric, { address, interfaceIndex });
      const known = this.#known.get(key);
      if (known === undefined && this.#known.size >= MAX_GATEWAYS) return;
      this.#seen?.add(key);
      if (known !== undefined) {
        known.isMissed = false;
        continue;
      }
      this.#known.set(key, { gateway: { address, via: interfaceIndex, metric }, isMissed: false });
      this.#gateways = undefined;
    }
  }

  #remove({ metric, hops }: { readonly metric: number; readonly hops: readonly RouteHop[] }): void {
    for (const hop of hops) if (this.#known.delete(keyOf(metric, hop))) this.#gateways = undefined;
  }

  #endDump(): void {
    const seen = this.#seen;
    this.#seen = undefined;
    if (seen === undefined) return;
    for (const [key, known] of this.#known) {
      if (seen.has(key)) continue;
      if (known.isMissed) {
        this.#known.delete(key);
        this.#gateways = undefined;
      } else {
        known.isMissed = true;
        this.#isInDoubt = true;
      }
    }
  }
}

/** A socket to which events of default routes come. */
function openSocket(): number {
  const fd = openRouteDescriptor();
  try {
    setReceiveBuffer(fd, SOCKET_BUFFER_BYTES);
    attachFilter(fd, defaultRouteFilter(hostByteOrder));
    bindRoute(fd, IPV6_ROUTE_GROUP);
    return fd;
  } catch (error) {
    close(fd);
    throw error;
  }
}

function keyOf(metric: number, { address, interfaceIndex }: RouteHop): string {
  return `${metric} ${interfaceIndex} ${address}`;
}
