/**
 * Tells the segment, unasked, where an address is: gratuitous ARP (RFC 5227 §3, "ARP announcement"), in the form of a
 * request with sender = target = the address, to everybody; for IPv6 an unsolicited neighbour advertisement with Override
 * (RFC 4861 §7.2.6) to all nodes. One machine for each of the two, alike in all but the frame.
 *
 * State per announced address: its interfaces and how far it is in the schedule: at 0, 50, 150, 500 and 1100 ms after it
 * was gained, then a refresh about once a minute. An interface that joins later gets the schedule to itself: pods come and
 * go on a node, and each may bring an interface. Each interface may send 2,000 broadcast frames a second; what is due
 * beyond that waits in the interface's queue, where addresses that somebody asked for lately go first. An address waits
 * at most once per interface, however often it comes due. An address that is lost leaves the queue at once.
 *
 * Left out for now: ARP's reply form, and unicast refreshes to recent askers.
 */

import type { Instant, Machine, Random } from "../machine.ts";
import { parseIpAddress } from "../../wire/ip-address.ts";
import { BROADCAST_MAC, ZERO_MAC } from "../../wire/mac-address.ts";
import type { MacAddress } from "../../wire/mac-address.ts";
import { ALL_NODES, multicastMac } from "../../wire/ipv6-multicast.ts";
import { ArpOperation, encodeArpPacket } from "./arp-packet.ts";
import { Deadlines } from "./deadlines.ts";
import { encodeNeighborMessage } from "./ndp-packet.ts";

/** Times of the first announcements, in milliseconds after the address was gained. */
export const ANNOUNCE_SCHEDULE_MS: readonly number[] = [0, 50, 150, 500, 1100];
/** The refresh that follows comes after this long... */
export const REFRESH_INTERVAL_MS = 60_000;
/** ...give or take this part of it, so that thousands of addresses do not come due together. */
export const REFRESH_JITTER = 0.25;
/** Most announcements of one family that leave one interface in any second. */
export const MAX_BROADCAST_FRAMES_PER_SECOND = 2_000;
/** Of these, so many may leave at once after a pause. */
export const BURST_FRAMES = 20;
/** Announcements that may wait on one interface; further ones are dropped and counted, and come again by the schedule. */
export const MAX_QUEUED_ANNOUNCEMENTS = 16_384;
/** An address counts as asked for this long after a request for it. */
export const RECENTLY_ASKED_MS = 60_000;

/** Tokens per millisecond: with a full bucket at its start, a second still sees no more than the maximum. */
const TOKENS_PER_MS = (MAX_BROADCAST_FRAMES_PER_SECOND - BURST_FRAMES) / 1000;
/** A frame's price, less a rounding error: else a wake-up at the very moment of the refill could find 0.9999 and never get on. */
const ONE_TOKEN = 1 - 1e-6;

export type AnnouncerInput =
  /**
   * The address is ours on exactly these interfaces: the schedule starts on those that are new to it, or have another MAC
   * than when it was announced there. Canonical text, of the family that the machine announces.
   */
  | { readonly kind: "gained"; readonly address: string; readonly interfaceIndexes: readonly number[] }
  | { readonly kind: "lost"; readonly address: string }
  /** Somebody asked for the address just now. */
  | { readonly kind: "asked"; readonly address: string }
  | { readonly kind: "interfaceUp"; readonly interfaceIndex: number; readonly mac: MacAddress }
  | { readonly kind: "interfaceDown"; readonly interfaceIndex: number }
  | { readonly kind: "timeout" };

export type AnnouncerOutput =
  | { readonly kind: "frame"; readonly interfaceIndex: number; readonly bytes: Uint8Array; readonly address: string }
  /** The interface's queue is full. */
  | { readonly kind: "dropped"; readonly reason: "announceQueueFull"; readonly address: string };

interface Announced {
  /** MAC that was announced, by interface; undefined where the interface was not up. */
  readonly macs: ReadonlyMap<number, MacAddress | undefined>;
  /** Interfaces that the schedule is for; refreshes go to all. */
  readonly fresh: ReadonlySet<number>;
  /** Index into the schedule of the announcement that is due next; past its end, refreshes. */
  step: number;
  readonly gainedAt: Instant;
}

interface Sender {
  readonly mac: MacAddress;
  tokens: number;
  refilledAt: Instant;
  /** Addresses that wait, in order: the ones asked for lately, and the others. */
  readonly urgent: Set<string>;
  readonly patient: Set<string>;
}

/** The frame that says "address is at mac" to the whole segment. */
export type Announcement = (address: string, mac: MacAddress) => Uint8Array;

export class Announcer implements Machine<AnnouncerInput, AnnouncerOutput> {
  readonly #random: Random;
  readonly #announcement: Announcement;
  readonly #announced = new Map<string, Announced>();
  readonly #senders = new Map<number, Sender>();
  readonly #askedAt = new Map<string, Instant>();
  readonly #deadlines = new Deadlines();
  #lastNow: Instant = Number.NEGATIVE_INFINITY;

  constructor(random: Random, announcement: Announcement = gratuitousArp) {
    this.#random = random;
    this.#announcement = announcement;
  }

  handle(input: AnnouncerInput, now: Instant): AnnouncerOutput[] {
    if (now < this.#lastNow) throw new Error(`time went back from ${this.#lastNow} to ${now}`);
    this.#lastNow = now;
    switch (input.kind) {
      case "gained":
        this.#gain(input.address, input.interfaceIndexes, now);
        break;
      case "lost":
        this.#lose(input.address);
        break;
      case "asked":
        if (this.#announced.has(input.address)) this.#ask(input.address, now);
        break;
      case "interfaceUp":
        this.#raise(input.interfaceIndex, input.mac, now);
        break;
      case "interfaceDown":
        this.#senders.delete(input.interfaceIndex);
        break;
      case "timeout":
        break;
    }
    return [...this.#queueDue(now), ...this.#send(now)];
  }

  nextTimeout(): Instant | undefined {
    let next = this.#deadlines.next();
    for (const sender of this.#senders.values()) {
      if (sender.urgent.size + sender.patient.size === 0) continue;
      const at = sender.refilledAt + Math.max(0, 1 - sender.tokens) / TOKENS_PER_MS;
      if (next === undefined || at < next) next = at;
    }
    return next;
  }

  /** How many addresses are announced, and how many announcements wait, for metrics and tests. */
  snapshot(): { readonly announced: number; readonly queued: number } {
    let queued = 0;
    for (const sender of this.#senders.values()) queued += sender.urgent.size + sender.patient.size;
    return { announced: this.#announced.size, queued };
  }

  #gain(address: string, interfaceIndexes: readonly number[], now: Instant): void {
    const before = this.#announced.get(address);
    const macs = new Map(interfaceIndexes.map((index) => [index, this.#senders.get(index)?.mac]));
    const joined = interfaceIndexes.filter((index) => before === undefined || !before.macs.has(index) || before.macs.get(index) !== macs.get(index));
    const underWay = before !== undefined && before.step < ANNOUNCE_SCHEDULE_MS.length;
    const waiting = underWay ? interfaceIndexes.filter((index) => before.fresh.has(index)) : [];
    const fresh = new Set([...waiting, ...joined]);
    for (const [index, sender] of this.#senders) if (!macs.has(index)) removeFrom(sender, address);
    if (before !== undefined && joined.length === 0) {
      this.#announced.set(address, { ...before, macs, fresh });
      return;
    }
    this.#announced.set(address, { macs, fresh, step: 0, gainedAt: now });
    this.#deadlines.set(address, now);
  }

  #lose(address: string): void {
    this.#announced.delete(address);
    this.#askedAt.delete(address);
    this.#deadlines.delete(address);
    for (const sender of this.#senders.values()) removeFrom(sender, address);
  }

  #ask(address: string, now: Instant): void {
    this.#askedAt.set(address, now);
    for (const sender of this.#senders.values()) if (sender.patient.delete(address)) sender.urgent.add(address);
  }

  #raise(interfaceIndex: number, mac: MacAddress, now: Instant): void {
    const known = this.#senders.get(interfaceIndex);
    // A change of the MAC alone is no reason for a fresh burst.
    const tokens = known?.tokens ?? BURST_FRAMES;
    this.#senders.set(interfaceIndex, { mac, tokens, refilledAt: known?.refilledAt ?? now, urgent: new Set(), patient: new Set() });
  }

  #queueDue(now: Instant): AnnouncerOutput[] {
    const dropped: AnnouncerOutput[] = [];
    for (let address = this.#deadlines.takeDue(now); address !== undefined; address = this.#deadlines.takeDue(now)) {
      const announced = this.#announced.get(address);
      if (announced === undefined) continue;
      const isRefresh = announced.step >= ANNOUNCE_SCHEDULE_MS.length;
      for (const index of isRefresh ? announced.macs.keys() : announced.fresh) {
        const sender = this.#senders.get(index);
        if (sender !== undefined && !this.#queue(sender, address, now)) dropped.push({ kind: "dropped", reason: "announceQueueFull", address });
      }
      announced.step += 1;
      const offset = ANNOUNCE_SCHEDULE_MS[announced.step];
      // After a late timeout the steps that were missed collapse into one, since the next is at least a millisecond away.
      const at = offset === undefined ? now + this.#refreshInterval() : Math.max(announced.gainedAt + offset, now + 1);
      this.#deadlines.set(address, at);
    }
    return dropped;
  }

  #queue(sender: Sender, address: string, now: Instant): boolean {
    if (sender.urgent.has(address) || sender.patient.has(address)) return true;
    if (sender.urgent.size + sender.patient.size >= MAX_QUEUED_ANNOUNCEMENTS) return false;
    const askedAt = this.#askedAt.get(address);
    const asked = askedAt !== undefined && now - askedAt <= RECENTLY_ASKED_MS;
    (asked ? sender.urgent : sender.patient).add(address);
    return true;
  }

  #refreshInterval(): number {
    return REFRESH_INTERVAL_MS * (1 + REFRESH_JITTER * (2 * this.#random.next() - 1));
  }

  #send(now: Instant): AnnouncerOutput[] {
    const frames: AnnouncerOutput[] = [];
    for (const [interfaceIndex, sender] of this.#senders) {
      sender.tokens = Math.min(BURST_FRAMES, sender.tokens + (now - sender.refilledAt) * TOKENS_PER_MS);
      sender.refilledAt = now;
      for (const queue of [sender.urgent, sender.patient]) {
        for (const address of queue) {
          if (sender.tokens < ONE_TOKEN) break;
          sender.tokens = Math.max(0, sender.tokens - 1);
          queue.delete(address);
          frames.push({ kind: "frame", interfaceIndex, bytes: this.#announcement(address, sender.mac), address });
        }
      }
    }
    return frames;
  }
}

function removeFrom(sender: Sender, address: string): void {
  sender.urgent.delete(address);
  sender.patient.delete(address);
}

/** For IPv4. Target hardware address zero, as RFC 5227 §3 wants it ignored. */
export function gratuitousArp(address: string, mac: MacAddress): Uint8Array {
  const protocolAddress = parseIpAddress(address);
  return encodeArpPacket({
    ethernetDestination: BROADCAST_MAC,
    ethernetSource: mac,
    operation: ArpOperation.request,
    senderHardwareAddress: mac,
    senderProtocolAddress: protocolAddress,
    targetHardwareAddress: ZERO_MAC,
    targetProtocolAddress: protocolAddress,
  });
}

/** For IPv6. From the address itself, as the kernel of a host that has it would say it. */
export function unsolicitedAdvertisement(address: string, mac: MacAddress): Uint8Array {
  const target = parseIpAddress(address);
  return encodeNeighborMessage({
    kind: "advertisement",
    ethernetDestination: multicastMac(ALL_NODES),
    ethernetSource: mac,
    source: target,
    destination: ALL_NODES,
    target,
    fromRouter: false,
    solicited: false,
    override: true,
    options: [{ kind: "targetLinkLayerAddress", mac }],
  });
}
