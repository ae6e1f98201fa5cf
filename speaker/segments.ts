/**
 * The interfaces of this node that can carry announcements, each with its ARP socket, and with one for NDP while it has an
 * IPv6 link-local address (an interface without one speaks no IPv6): opened when an interface becomes usable, closed when it
 * is not any more. What the network does to a packet is counted, never thrown.
 */

import type { InterfaceMonitor } from "../sys/interfaces.ts";
import type { PacketSocket } from "../sys/packet-socket.ts";
import type { Poller } from "../sys/poll.ts";
import { SysError } from "../sys/sys-error.ts";
import type { IpFamily } from "../wire/ip-address.ts";
import { parseMacAddress } from "../wire/mac-address.ts";
import type { MacAddress } from "../wire/mac-address.ts";
import { interfaceFacts, sameInterfaceFacts } from "./layer2/interface-fact.ts";
import { ETHER_TYPE_IPV6 } from "./layer2/ndp-packet.ts";
import { isInterfaceDown, NetworkFailures } from "./network-failures.ts";
import type { InterfaceFact } from "./packet-protocol.ts";

export interface SegmentsPorts {
  readonly poller: Poller;
  readonly interfaces: InterfaceMonitor;
  /** A socket for ARP, or for NDP. @throws SysError */
  openSocket(interfaceIndex: number, family: IpFamily): PacketSocket;
  /** An interface carries the family's frames from now on, or has another MAC. */
  up(at: FamilyInterface, mac: MacAddress): void;
  down(at: FamilyInterface): void;
  /** A packet went nowhere; for counters. */
  dropped(reason: string): void;
  /** The network did something unusual, for the first time. */
  warn(event: string, fields: Readonly<Record<string, string | number>>): void;
}

/** Frames read from one socket per turn, so that a flood on one interface leaves the others their turn. */
export const MAX_FRAMES_PER_SOCKET = 64;
/** Bytes kept of a frame: an ARP packet has 42, a neighbour solicitation 86. */
const FRAME_BYTES = 2048;
const ETHER_TYPE_OFFSET = 12;

/** One interface, as far as one family goes. */
export interface FamilyInterface {
  readonly family: IpFamily;
  readonly interfaceIndex: number;
}

/** Whether a frame carries IPv6, by its EtherType. */
export function isIpv6Frame(frame: Uint8Array): boolean {
  return (frame[ETHER_TYPE_OFFSET] ?? 0) * 256 + (frame[ETHER_TYPE_OFFSET + 1] ?? 0) === ETHER_TYPE_IPV6;
}

export class Segments {
  readonly #ports: SegmentsPorts;
  readonly #exclude: readonly RegExp[];
  /** By interface: for ARP, and for NDP. */
  readonly #sockets: Readonly<Record<IpFamily, Map<number, PacketSocket>>> = { IPv4: new Map(), IPv6: new Map() };
  readonly #byFd = new Map<number, FamilyInterface>();
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
    return this.#byFd.has(fd);
  }

  /** Opens and closes sockets after the interfaces as they are. True when something about them changed. */
  apply(): boolean {
    const links = this.#ports.interfaces.links().map((link) => (this.#doubted.has(link.index) ? { ...link, up: false } : link));
    const facts = interfaceFacts(links, this.#exclude).map((fact) => (fact.usable ? this.#raise(fact) : fact));
    const usable = facts.filter((fact) => fact.usable);
    this.#lowerAllBut("IPv4", new Set(usable.map(({ index }) => index)));
    this.#lowerAllBut("IPv6", new Set(usable.flatMap(({ index, linkLocal }) => (linkLocal === undefined ? [] : [index]))));
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
    const at = this.#byFd.get(fd);
    const socket = at === undefined ? undefined : this.#sockets[at.family].get(at.interfaceIndex);
    // The socket was closed earlier in this turn.
    if (at === undefined || socket === undefined) return;
    const { interfaceIndex } = at;
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
      const socket = this.#sockets[isIpv6Frame(bytes) ? "IPv6" : "IPv4"].get(interfaceIndex);
      if (socket === undefined) return false;
      socket.send(bytes);
      return true;
    } catch (error) {
      this.#failures.record(error, "send");
      return false;
    }
  }

  closeAll(): void {
    this.#lowerAllBut("IPv6", new Set());
    this.#lowerAllBut("IPv4", new Set());
  }

  /** Events may have been lost in which the device went and another came under its index: asks netlink how it is now. */
  #doubt(interfaceIndex: number): void {
    this.#doubted.add(interfaceIndex);
    this.#ports.interfaces.refresh();
  }

  /** Opens the interface's sockets where it has none, and tells its MAC. */
  #raise(fact: InterfaceFact): InterfaceFact {
    const before = this.#facts.find(({ index, usable }) => usable && index === fact.index);
    const isSameMac = before?.mac === fact.mac;
    if (!this.#raiseFamily({ family: "IPv4", interfaceIndex: fact.index }, fact.mac, isSameMac)) {
      // It went between the kernel's telling and our binding; the event that says so is on its way.
      return { ...fact, usable: false, reason: "down" };
    }
    if (fact.linkLocal === undefined || this.#raiseFamily({ family: "IPv6", interfaceIndex: fact.index }, fact.mac, isSameMac)) return fact;
    const { linkLocal: _, ...without } = fact;
    return without;
  }

  /** False when there is no such interface any more. @throws SysError */
  #raiseFamily(at: FamilyInterface, mac: string, isSameMac: boolean): boolean {
    const sockets = this.#sockets[at.family];
    if (sockets.has(at.interfaceIndex)) {
      if (isSameMac) return true;
    } else {
      try {
        const socket = this.#ports.openSocket(at.interfaceIndex, at.family);
        sockets.set(at.interfaceIndex, socket);
        this.#byFd.set(socket.fd, at);
        this.#ports.poller.add(socket.fd);
      } catch (error) {
        if (!(error instanceof SysError) || !isInterfaceDown(error)) throw error;
        return false;
      }
    }
    this.#ports.up(at, parseMacAddress(mac));
    return true;
  }

  #lowerAllBut(family: IpFamily, kept: ReadonlySet<number>): void {
    const sockets = this.#sockets[family];
    for (const [interfaceIndex, socket] of sockets) {
      if (kept.has(interfaceIndex)) continue;
      sockets.delete(interfaceIndex);
      this.#byFd.delete(socket.fd);
      this.#ports.poller.remove(socket.fd);
      socket.close();
      this.#ports.down({ family, interfaceIndex });
    }
  }
}
