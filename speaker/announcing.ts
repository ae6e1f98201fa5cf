/**
 * What this node says about the addresses that it owns, as the packet thread's loop sees it: the responders and announcers
 * of both families, what is counted of them, and the silence of a process that slept.
 */

import { Announcer, gratuitousArp, unsolicitedAdvertisement } from "./layer2/announcer.ts";
import type { AnnouncerInput } from "./layer2/announcer.ts";
import { NdpResponder } from "./layer2/ndp-responder.ts";
import { Responder } from "./layer2/responder.ts";
import type { Instant, Random } from "./machine.ts";
import type { PacketCounters } from "./packet-counters.ts";
import { isIpv6Frame } from "./segments.ts";
import type { FamilyInterface } from "./segments.ts";
import type { IpFamily } from "../wire/ip-address.ts";
import type { MacAddress } from "../wire/mac-address.ts";

export interface AnnouncingPorts {
  readonly random: Random;
  readonly counters: PacketCounters;
  now(): Instant;
  /** Sends a frame; false when it went nowhere. */
  send(interfaceIndex: number, bytes: Uint8Array): boolean;
  warn(event: string, fields: Readonly<Record<string, string | number>>): void;
}

interface Speaking {
  readonly responder: Responder | NdpResponder;
  readonly announcer: Announcer;
}

export class Announcing {
  readonly #ports: AnnouncingPorts;
  readonly #families: Readonly<Record<IpFamily, Speaking>>;
  /** Interfaces of what is announced, by address. */
  readonly #announcedOn = new Map<string, readonly number[]>();
  /** Owned, and being handed over: answered for, announced no more. */
  readonly #leaving = new Set<string>();
  /** Interfaces that carry each family. */
  readonly #carrying: Readonly<Record<IpFamily, Set<number>>> = { IPv4: new Set(), IPv6: new Set() };
  #warnedOfNoIpv6 = false;
  /** This process slept, and must not answer before it knows what it missed. */
  #isSilent = false;

  constructor(ports: AnnouncingPorts) {
    this.#ports = ports;
    this.#families = {
      IPv4: { responder: new Responder(), announcer: new Announcer(ports.random, gratuitousArp) },
      IPv6: { responder: new NdpResponder(), announcer: new Announcer(ports.random, unsolicitedAdvertisement) },
    };
  }

  /** An interface carries the family's frames from now on, or has another MAC: what is announced there is announced anew. */
  up({ family, interfaceIndex }: FamilyInterface, mac: MacAddress): void {
    this.#carrying[family].add(interfaceIndex);
    this.#families[family].responder.handle({ kind: "interfaceUp", interfaceIndex, mac }, 0);
    this.#announce(family, { kind: "interfaceUp", interfaceIndex, mac });
    for (const [address, interfaceIndexes] of this.#announcedOn) {
      const isConcerned = familyOf(address) === family && interfaceIndexes.includes(interfaceIndex) && !this.#leaving.has(address);
      if (isConcerned) this.#announce(family, { kind: "gained", address, interfaceIndexes });
    }
  }

  down({ family, interfaceIndex }: FamilyInterface): void {
    this.#carrying[family].delete(interfaceIndex);
    this.#families[family].responder.handle({ kind: "interfaceDown", interfaceIndex }, 0);
    this.#announce(family, { kind: "interfaceDown", interfaceIndex });
  }

  /** The address is this node's on exactly these interfaces; warns (once) of one that none of them can carry. */
  own(address: string, interfaceIndexes: readonly number[]): void {
    const family = familyOf(address);
    if (family === "IPv6" && !interfaceIndexes.some((index) => this.#carrying.IPv6.has(index))) this.#noIpv6(address);
    this.#ports.counters.watch(address);
    this.#announcedOn.set(address, interfaceIndexes);
    this.#leaving.delete(address);
    this.#families[family].responder.handle({ kind: "own", address, interfaceIndexes }, 0);
    this.#announce(family, { kind: "gained", address, interfaceIndexes });
  }

  disown(address: string): void {
    const family = familyOf(address);
    this.#announcedOn.delete(address);
    this.#leaving.delete(address);
    this.#families[family].responder.handle({ kind: "disown", address }, 0);
    this.#announce(family, { kind: "lost", address });
  }

  /** It is being handed over: still answered for, but announced no more. */
  handOver(address: string): void {
    this.#leaving.add(address);
    this.#announce(familyOf(address), { kind: "lost", address });
  }

  /** The schedule of an owned address starts anew. */
  again(address: string): void {
    const interfaceIndexes = this.#announcedOn.get(address);
    if (interfaceIndexes === undefined) return;
    this.#leaving.delete(address);
    this.#announce(familyOf(address), { kind: "lost", address });
    this.#announce(familyOf(address), { kind: "gained", address, interfaceIndexes });
  }

  /** While it is silent nothing leaves, and what would have is counted. */
  setSilent(isSilent: boolean): void {
    this.#isSilent = isSilent;
  }

  /** Takes in a frame that an interface received: an answer leaves at once. */
  frame(interfaceIndex: number, bytes: Uint8Array): void {
    const { counters } = this.#ports;
    const family = isIpv6Frame(bytes) ? "IPv6" : "IPv4";
    for (const output of this.#families[family].responder.handle({ kind: "frame", interfaceIndex, bytes }, 0)) {
      if (output.address !== undefined) counters.requestReceived(output.address);
      if (output.kind === "dropped") {
        counters.dropped(output.reason);
      } else if (this.#isSilent) {
        counters.dropped("silentAfterSleep");
      } else {
        if (this.#ports.send(output.interfaceIndex, output.bytes)) counters.responseSent(output.address);
        this.#announce(family, { kind: "asked", address: output.address });
      }
    }
  }

  /** Announces what is due. */
  timeout(): void {
    if (this.#isSilent) return;
    this.#announce("IPv4", { kind: "timeout" });
    this.#announce("IPv6", { kind: "timeout" });
  }

  nextTimeout(): Instant | undefined {
    if (this.#isSilent) return undefined;
    const [ipv4, ipv6] = [this.#families.IPv4.announcer.nextTimeout(), this.#families.IPv6.announcer.nextTimeout()];
    return ipv4 === undefined || ipv6 === undefined ? (ipv4 ?? ipv6) : Math.min(ipv4, ipv6);
  }

  /** Owned in name only, until one of the interfaces gets a link-local address. */
  #noIpv6(address: string): void {
    this.#ports.counters.dropped("ipv6NotAnnounced");
    if (this.#warnedOfNoIpv6) return;
    this.#warnedOfNoIpv6 = true;
    this.#ports.warn("ipv6NotAnnounced", { address, reason: "no interface with an IPv6 link-local address" });
  }

  #announce(family: IpFamily, input: AnnouncerInput): void {
    const { counters } = this.#ports;
    for (const output of this.#families[family].announcer.handle(input, this.#ports.now())) {
      if (output.kind === "dropped") counters.dropped(output.reason);
      else if (this.#isSilent) counters.dropped("silentAfterSleep");
      else if (this.#ports.send(output.interfaceIndex, output.bytes)) counters.gratuitousSent(output.address);
    }
  }
}

function familyOf(address: string): IpFamily {
  return address.includes(":") ? "IPv6" : "IPv4";
}
