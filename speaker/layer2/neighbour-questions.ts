/**
 * Questions by ARP and NDP, and the proof that a segment is heard. RFC 826 for the packets, RFC 5227 §1.1 for the probe;
 * RFC 4861 for IPv6.
 *
 * State: this host's own interfaces, the addresses asked lately with the MAC that answered, a few stations that asked for
 * something lately, and the default gateway, which is asked once a second in any case, so that its silence is known when it
 * matters.
 *
 * A question goes to the MAC that answered before, by unicast: fabrics exist that answer broadcast requests for hosts they
 * remember, dead ones included. It is broadcast (for IPv6: sent to the solicited-node group) while no MAC is known, and again
 * after many questions in vain. Only an answer to a question counts as one.
 */

import type { Instant } from "../machine.ts";
import { formatIpAddress, parseIpAddress } from "../../wire/ip-address.ts";
import type { IpAddress } from "../../wire/ip-address.ts";
import { macAddressToBytes } from "../../wire/mac-address.ts";
import type { MacAddress } from "../../wire/mac-address.ts";
import { decodeAnswer, encodeQuestion, ownAddressFor } from "./neighbour-frames.ts";
import type { Subnet } from "./neighbour-frames.ts";
import { ETHER_TYPE_IPV6 } from "./ndp-packet.ts";
import { RecentAskers } from "./recent-askers.ts";

/** One of this host's interfaces. Addresses: canonical text. */
export interface OwnSegment {
  readonly interfaceIndex: number;
  readonly mac: MacAddress;
  readonly addresses: readonly { readonly address: string; readonly prefixLength: number }[];
}

/** Where the default route leads. */
export interface SegmentGateway {
  readonly interfaceIndex: number;
  readonly address: string;
}

/** A question to send. */
export interface QuestionFrame {
  readonly interfaceIndex: number;
  readonly bytes: Uint8Array;
}

/** What frames told. */
export type NeighbourFact =
  /** A frame came in that another station sent. At most one in HEARD_INTERVAL_MS for each interface, and one with each answer: nothing may come after it. */
  | { readonly kind: "frame"; readonly interfaceIndex: number }
  /** `arp` stands for NDP too. */
  | { readonly kind: "answer"; readonly address: string; readonly question: "arp"; readonly result: "answered" }
  /** The gateway answers now, or does not any more. */
  | { readonly kind: "gateway"; readonly heard: boolean };

/** Frames heard are told so often. */
export const HEARD_INTERVAL_MS = 20;
/** How long an answer counts. */
export const ANSWER_WITHIN_MS = 1_000;
/** After so many questions in vain to a known MAC they are broadcast. */
export const BROADCAST_AFTER = 10;
/** Addresses remembered, each by interface; the one asked longest ago gives way. */
export const MAX_NEIGHBOURS = 1_024;
/** Recent askers that are asked with each question to a segment, besides the addresses that were named. */
export const ASKERS_ASKED = 4;
/** Interfaces on which one address is asked: those whose subnet it is in. */
const MAX_INTERFACES_PER_QUESTION = 4;
/** Between two questions to the gateway: while it answers, or has been given up; while it is in doubt; while a node is asked. */
export const GATEWAY_INTERVAL_MS = 1_000;
export const GATEWAY_DOUBT_INTERVAL_MS = 50;
const GATEWAY_MIN_INTERVAL_MS = 25;
/** The gateway is not heard any more after so many questions in vain, over at least so long. */
export const GATEWAY_MISSES = 3;
export const GATEWAY_SILENT_FOR_MS = 120;

const SOURCE_OFFSET = 6;
const ETHER_TYPE_OFFSET = 12;

interface Segment {
  readonly mac: MacAddress;
  readonly subnets: readonly Subnet[];
}

interface Neighbour {
  mac: MacAddress | undefined;
  /** Questions since the last answer. */
  unanswered: number;
  firstUnanswered: Instant;
  lastAsked: Instant;
}

export class NeighbourQuestions {
  readonly #segments = new Map<number, Segment>();
  /** MACs of this host, as numbers of 48 bits. */
  readonly #ownMacs = new Set<number>();
  /** By interface and address, the one asked last at the end. */
  readonly #neighbours = new Map<string, Neighbour>();
  readonly #lastHeard = new Map<number, Instant>();
  readonly #askers = new RecentAskers();
  #gateway: SegmentGateway | undefined;
  #gatewayHeard = false;
  #gatewayToldHeard = false;
  #askGatewayAt: Instant = -Infinity;

  /** All interfaces of this host that can carry questions; replaces those before. */
  setSegments(segments: readonly OwnSegment[]): void {
    this.#segments.clear();
    this.#ownMacs.clear();
    for (const { interfaceIndex, mac, addresses } of segments) {
      const subnets = addresses.map(({ address, prefixLength }) => subnetOf(parseIpAddress(address), prefixLength));
      this.#segments.set(interfaceIndex, { mac, subnets });
      this.#ownMacs.add(macNumber(macAddressToBytes(mac), 0));
    }
    // What was heard on an interface that has gone is over.
    if (this.#gateway !== undefined && !this.#segments.has(this.#gateway.interfaceIndex)) this.#gatewayHeard = false;
    for (const index of this.#lastHeard.keys()) if (!this.#segments.has(index)) this.#lastHeard.delete(index);
    this.#askers.keep((index) => this.#segments.has(index));
  }

  /** The default gateway, undefined when there is none. */
  setGateway(gateway: SegmentGateway | undefined): void {
    if (gateway?.address === this.#gateway?.address && gateway?.interfaceIndex === this.#gateway?.interfaceIndex) return;
    this.#gateway = gateway;
    this.#gatewayHeard = false;
    this.#askGatewayAt = -Infinity;
  }

  /** Asks a node on the segments that its address belongs to; the gateway too, so that whoever hears neither suspects itself. */
  ask(address: string, now: Instant): QuestionFrame[] {
    const target = parseIpAddress(address);
    const frames: QuestionFrame[] = [];
    for (const [interfaceIndex, segment] of this.#segments) {
      const isWanted = frames.length < MAX_INTERFACES_PER_QUESTION && ownAddressFor(segment.subnets, target) !== undefined;
      if (isWanted) frames.push(...this.#question(interfaceIndex, { segment, target, address, now }));
    }
    return [...frames, ...this.#askGatewaySoon(now)];
  }

  /**
   * Asks these addresses on one segment, whether they belong there or not, the gateway if it is there, and some who asked for
   * something there lately: a segment without a gateway may have nobody else that lives.
   */
  askSegment(interfaceIndex: number, addresses: readonly string[], now: Instant): QuestionFrame[] {
    const segment = this.#segments.get(interfaceIndex);
    if (segment === undefined) return [];
    const askers = this.#askers.on(interfaceIndex).filter(({ address }) => !addresses.includes(address) && address !== this.#gateway?.address);
    const wanted = [...addresses.map((address) => ({ address, mac: undefined })), ...askers.slice(0, ASKERS_ASKED)];
    const frames = wanted.flatMap(({ address, mac }) => this.#question(interfaceIndex, { segment, target: parseIpAddress(address), address, mac, now }));
    return this.#gateway?.interfaceIndex === interfaceIndex ? [...frames, ...this.#askGatewaySoon(now)] : frames;
  }

  /** Looks at a frame that an interface received. Anything at all may be in it. */
  frame(interfaceIndex: number, bytes: Uint8Array, now: Instant): NeighbourFact[] {
    const facts: NeighbourFact[] = [];
    if (!this.#segments.has(interfaceIndex) || bytes.length < SOURCE_OFFSET + 6 || this.#ownMacs.has(macNumber(bytes, SOURCE_OFFSET))) return facts;
    const isIpv6 = (bytes[ETHER_TYPE_OFFSET] ?? 0) * 256 + (bytes[ETHER_TYPE_OFFSET + 1] ?? 0) === ETHER_TYPE_IPV6;
    const isNews = now - (this.#lastHeard.get(interfaceIndex) ?? -Infinity) >= HEARD_INTERVAL_MS;
    if (isNews) {
      facts.push(this.#hear(interfaceIndex, now));
      this.#askers.note(interfaceIndex, bytes, isIpv6);
    }
    const answer = decodeAnswer(bytes, isIpv6);
    if (answer === undefined || answer.ethernetDestination !== this.#segments.get(interfaceIndex)?.mac) return facts;
    const address = formatIpAddress(answer.target);
    const neighbour = this.#neighbours.get(keyOf(interfaceIndex, address));
    if (neighbour === undefined || neighbour.unanswered === 0 || now - neighbour.lastAsked > ANSWER_WITHIN_MS) return facts;
    neighbour.mac = answer.mac;
    neighbour.unanswered = 0;
    if (!isNews) facts.push(this.#hear(interfaceIndex, now));
    facts.push({ kind: "answer", address, question: "arp", result: "answered" });
    if (address === this.#gateway?.address && interfaceIndex === this.#gateway.interfaceIndex) {
      this.#gatewayHeard = true;
      this.#askGatewayAt = now + GATEWAY_INTERVAL_MS;
    }
    return [...facts, ...this.#tellGateway()];
  }

  #hear(interfaceIndex: number, now: Instant): NeighbourFact {
    this.#lastHeard.set(interfaceIndex, now);
    return { kind: "frame", interfaceIndex };
  }

  /** Asks the gateway when that is due, and says when it fell silent. */
  timeout(now: Instant): { readonly frames: readonly QuestionFrame[]; readonly inputs: readonly NeighbourFact[] } {
    if (now >= this.#gatewaySilentAt()) this.#gatewayHeard = false;
    const frames = now < this.#askGatewayAt ? [] : this.#askGateway(now);
    return { frames, inputs: this.#tellGateway() };
  }

  nextTimeout(): Instant | undefined {
    if (this.#gateway === undefined) return this.#gatewayHeard === this.#gatewayToldHeard ? undefined : -Infinity;
    return Math.min(this.#askGatewayAt, this.#gatewaySilentAt());
  }

  /** When the gateway counts as silent if it does not answer what it was asked. */
  #gatewaySilentAt(): Instant {
    const gateway = this.#neighbourOfGateway();
    if (!this.#gatewayHeard || gateway === undefined || gateway.unanswered < GATEWAY_MISSES) return Infinity;
    return gateway.firstUnanswered + GATEWAY_SILENT_FOR_MS;
  }

  #tellGateway(): NeighbourFact[] {
    if (this.#gatewayHeard === this.#gatewayToldHeard) return [];
    this.#gatewayToldHeard = this.#gatewayHeard;
    return [{ kind: "gateway", heard: this.#gatewayHeard }];
  }

  #neighbourOfGateway(): Neighbour | undefined {
    return this.#gateway === undefined ? undefined : this.#neighbours.get(keyOf(this.#gateway.interfaceIndex, this.#gateway.address));
  }

  /** Asks the gateway out of turn, as something may be wrong, but not with every question. */
  #askGatewaySoon(now: Instant): QuestionFrame[] {
    const lastAsked = this.#neighbourOfGateway()?.lastAsked ?? -Infinity;
    return now - lastAsked < GATEWAY_MIN_INTERVAL_MS ? [] : this.#askGateway(now);
  }

  #askGateway(now: Instant): QuestionFrame[] {
    if (this.#gateway === undefined) return [];
    const { interfaceIndex, address } = this.#gateway;
    const segment = this.#segments.get(interfaceIndex);
    this.#askGatewayAt = now + GATEWAY_INTERVAL_MS;
    if (segment === undefined) return [];
    // While it is in doubt it is asked faster: until it answers, or counts as silent.
    if (this.#gatewayHeard) this.#askGatewayAt = now + GATEWAY_DOUBT_INTERVAL_MS;
    return this.#question(interfaceIndex, { segment, target: parseIpAddress(address), address, now });
  }

  /** One frame; none when the interface has no address to ask from. */
  #question(interfaceIndex: number, question: { readonly segment: Segment; readonly target: IpAddress; readonly address: string; readonly mac?: MacAddress | undefined; readonly now: Instant }): QuestionFrame[] {
    const { segment, target, address, mac, now } = question;
    const neighbour = this.#remember(keyOf(interfaceIndex, address), now);
    neighbour.mac ??= mac;
    const to = neighbour.unanswered > BROADCAST_AFTER ? undefined : neighbour.mac;
    const bytes = encodeQuestion({ ...segment, target, to });
    return bytes === undefined ? [] : [{ interfaceIndex, bytes }];
  }

  #remember(key: string, now: Instant): Neighbour {
    const neighbour = this.#neighbours.get(key) ?? { mac: undefined, unanswered: 0, firstUnanswered: now, lastAsked: now };
    this.#neighbours.delete(key);
    this.#neighbours.set(key, neighbour);
    if (neighbour.unanswered === 0) neighbour.firstUnanswered = now;
    neighbour.unanswered += 1;
    neighbour.lastAsked = now;
    for (const [oldest] of this.#neighbours) {
      if (this.#neighbours.size <= MAX_NEIGHBOURS) break;
      this.#neighbours.delete(oldest);
    }
    return neighbour;
  }
}

function subnetOf(own: IpAddress, prefixLength: number): Subnet {
  const bits = own.family === "IPv4" ? 32 : 128;
  return { own, mask: ((1n << BigInt(prefixLength)) - 1n) << BigInt(bits - prefixLength) };
}

function keyOf(interfaceIndex: number, address: string): string {
  return `${interfaceIndex} ${address}`;
}

function macNumber(bytes: Uint8Array, at: number): number {
  let value = 0;
  for (let index = at; index < at + 6; index++) value = value * 256 + (bytes[index] ?? 0);
  return value;
}
