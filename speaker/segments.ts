/**
 * The interfaces of this node that can carry announcements, each with its ARP socket: opened when an interface becomes
 * usable, closed when it is not any more. What the network does to a packet is counted, never thrown.
 */

import type { InterfaceMonitor } from "../sys/interfaces.ts";
import type { PacketSocket } from "../sys/packet-socket.ts";
import type { Poller } from "../sys/poll.ts";
import { SysError } from "../sys/sys-error.ts";
import { parseMacAddress } from "../wire/mac-address.ts";
import type { MacAddress } from "../wire/mac-address.ts";
import { interfaceFacts, sameInterfaceFacts } from "./layer2/interface-fact.ts";
import { isInterfaceDown, NetworkFailures } from "./network-failures.ts";
import type { InterfaceFact } from "./packet-protocol.ts";

export interface SegmentsPorts {
  readonly poller: Poller;
  readonly interfaces: InterfaceMonitor;
  /** @throws SysError */
  openSocket(interfaceIndex: number): PacketSocket;
  /** An interface is usable from now on, or has another MAC. */
  up(interfaceIndex: number, mac: MacAddress): void;
  down(interfaceIndex: number): void;
  /** A packet went nowhere; for counters. */
  dropped(reason: string): void;
  /** The network did something unusual, for the first time. */
  warn(event: string, fields: Readonly<Record<string, string | number>>): void;
}

/** Frames read from one socket per turn, so that a flood on one interface leaves the others their turn. */
export const MAX_FRAMES_PER_SOCKET = 64;
/** Bytes kept of a frame: an ARP packet has 42. */
const FRAME_BYTES = 2048;

export class Segments {
  readonly #ports: SegmentsPorts;
  readonly #exclude: readonly RegExp[];
  readonly #sockets = new Map<number, PacketSocket>();
  readonly #indexByFd = new Map<number, number>();
  /** Interfaces whose socket says that the device went, though netlink has not said so. */
  readonly #doubted = new Set<number>();
  readonly #buffer = new Uint8Array(FRAME_BYTES);
  readonly #failures: NetworkFailures;
  #facts: readonly InterfaceFact[] = [];

  constructor(ports: SegmentsPorts, exclude: readonly RegExp[]) {
    this.#ports = ports;
    this.#failures = new NetworkFailures(ports);
    this.#exclude = exclude;
  }

  get facts(): readonly InterfaceFact[] {
    return this.#facts;
  }

  owns(fd: number): boolean {
    return this.#indexByFd.has(fd);
  }

  /** Opens and closes sockets after the interfaces as they are. True when something about them changed. */
  apply(): boolean {
    const links = this.#ports.interfaces.links().map((link) => (this.#doubted.has(link.index) ? { ...link, up: false } : link));
    const facts = interfaceFacts(links, this.#exclude).map((fact) => (fact.usable ? this.#raise(fact) : fact));
    const usable = new Set(facts.filter((fact) => fact.usable).map((fact) => fact.index));
    for (const index of this.#sockets.keys()) if (!usable.has(index)) this.#lower(index);
    const before = this.#facts;
    this.#facts = facts;
    return !sameInterfaceFacts(before, facts);
  }

  /** True while an interface is taken to be down although netlink says otherwise: apply() once, settle(), and apply() again. */
  get isInDoubt(): boolean {
    return this.#doubted.size > 0;
  }

  /** Believes netlink again. */
  settle(): void {
    this.#doubted.clear();
  }

  /** Reads what waits, up to MAX_FRAMES_PER_SOCKET frames. The bytes are reused after `take` returns. */
  receive(fd: number, take: (interfaceIndex: number, bytes: Uint8Array) => void): void {
    const interfaceIndex = this.#indexByFd.get(fd);
    const socket = interfaceIndex === undefined ? undefined : this.#sockets.get(interfaceIndex);
    // The socket was closed earlier in this turn.
    if (interfaceIndex === undefined || socket === undefined) return;
    for (let count = 0; count < MAX_FRAMES_PER_SOCKET; count++) {
      let length: number | undefined;
      try {
        length = socket.receive(this.#buffer);
      } catch (error) {
        if (isInterfaceDown(this.#failures.record(error, "receive"))) this.#doubt(interfaceIndex);
        return;
      }
      if (length === undefined) return;
      take(interfaceIndex, this.#buffer.subarray(0, length));
    }
  }

  /** Sends a frame; false when it went nowhere, which was counted. */
  send(interfaceIndex: number, bytes: Uint8Array): boolean {
    try {
      const socket = this.#sockets.get(interfaceIndex);
      if (socket === undefined) return false;
      socket.send(bytes);
      return true;
    } catch (error) {
      this.#failures.record(error, "send");
      return false;
    }
  }

  closeAll(): void {
    for (const index of this.#sockets.keys()) this.#lower(index);
  }

  /** Events may have been lost in which the device went and another came under its index: asks netlink how it is now. */
  #doubt(interfaceIndex: number): void {
    this.#doubted.add(interfaceIndex);
    this.#ports.interfaces.refresh();
  }

  /** Opens the interface's socket where it has none, and tells its MAC. */
  #raise(fact: InterfaceFact): InterfaceFact {
    const interfaceIndex = fact.index;
    if (!this.#sockets.has(interfaceIndex)) {
      try {
        const socket = this.#ports.openSocket(interfaceIndex);
        this.#sockets.set(interfaceIndex, socket);
        this.#indexByFd.set(socket.fd, interfaceIndex);
        this.#ports.poller.add(socket.fd);
      } catch (error) {
        if (!(error instanceof SysError) || !isInterfaceDown(error)) throw error;
        // It went between the kernel's telling and our binding; the event that says so is on its way.
        return { ...fact, usable: false, reason: "down" };
      }
    } else if (this.#facts.some((known) => known.index === interfaceIndex && known.usable && known.mac === fact.mac)) {
      return fact;
    }
    this.#ports.up(interfaceIndex, parseMacAddress(fact.mac));
    return fact;
  }

  #lower(interfaceIndex: number): void {
    const socket = this.#sockets.get(interfaceIndex);
    if (socket === undefined) return;
    this.#sockets.delete(interfaceIndex);
    this.#indexByFd.delete(socket.fd);
    this.#ports.poller.remove(socket.fd);
    socket.close();
    this.#ports.down(interfaceIndex);
  }
}
