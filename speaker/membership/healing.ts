/**
 * Finding those that should be there and are not, without end. memberlist alone forgets its dead after half a minute, and
 * two halves of a split cluster then never meet again unless somebody joins them by hand.
 *
 * One absent peer after the other is pinged, a ping each interval. With the ping goes what is believed of it, so that it can
 * refute at once. Whoever answers, or is heard of in any other way, gets a push-pull. Peers that are new to the list are
 * pinged right away, and joined by push-pull without waiting for an answer, a few at a time.
 */

import type { Instant } from "../machine.ts";
import type { Context } from "./context.ts";
import type { MemberRecord } from "./member-list.ts";
import { isGone, MAX_MEMBERS } from "./member-list.ts";
import type { ExpectedPeer } from "./membership-protocol.ts";
import type { Endpoint, PacketMessage } from "./message.ts";
import type { PushPull } from "./push-pull.ts";

/** Push-pulls under way with peers that were heard. */
export const MAX_HEALING_EXCHANGES = 2;
/** Push-pulls under way with peers that were not: each may hang until TCP gives up. */
export const MAX_JOINING_EXCHANGES = 2;
/** Pings to newly listed peers that leave at once; the others wait for their turn. */
export const MAX_FIRST_PINGS = 128;
/**
 * In clusters larger than this, so many members on average give a push-pull to one that is heard: else each newcomer would
 * get the whole list from everybody, in a cluster of a thousand a hundred megabytes. Gossip tells the others.
 */
export const EAGER_MEMBERS = 16;
/** The same peer is not given another push-pull before this long. */
export const EXCHANGE_AGAIN_AFTER_MS = 1_000;
/** Pings whose ack is still recognised; older ones are forgotten. */
export const MAX_PINGS_REMEMBERED = 256;

export class Healing {
  readonly #context: Context;
  readonly #pushPull: PushPull;
  #expected: ReadonlyMap<string, ExpectedPeer> = new Map();
  /** Expected, and neither alive nor suspect; the next to be pinged comes first. */
  readonly #absent = new Map<string, ExpectedPeer>();
  readonly #absentByAddress = new Map<string, string>();
  /** Heard, or to be joined, but no exchange was free. */
  readonly #heard = new Set<string>();
  readonly #toJoin = new Set<string>();
  #healing = 0;
  #joining = 0;
  readonly #exchangedAt = new Map<string, Instant>();
  readonly #pings = new Map<number, string>();
  #nextAt: Instant | undefined;

  constructor(context: Context, pushPull: PushPull) {
    this.#context = context;
    this.#pushPull = pushPull;
  }

  /** Expected peers that are not there. */
  get absentCount(): number {
    return this.#absent.size;
  }

  nextDeadline(): Instant | undefined {
    return this.#absent.size === 0 || this.#context.leaving ? undefined : this.#nextAt;
  }

  /** All peers that should be there, in place of the list before. */
  expect(peers: readonly ExpectedPeer[]): void {
    const before = this.#expected;
    const self = this.#context.self.node;
    this.#expected = new Map(peers.filter(({ node }) => node !== self).slice(0, MAX_MEMBERS).map((peer) => [peer.node, peer]));
    this.#absent.clear();
    this.#absentByAddress.clear();
    for (const node of this.#exchangedAt.keys()) if (!this.#expected.has(node)) this.#exchangedAt.delete(node);
    let firstPings = 0;
    for (const peer of this.#expected.values()) {
      if (this.#isPresent(peer.node)) continue;
      this.#setAbsent(peer.node, peer);
      if (before.get(peer.node)?.address === peer.address || this.#context.leaving) continue;
      this.#toJoin.add(peer.node);
      if (firstPings < MAX_FIRST_PINGS) this.#ping(peer);
      firstPings += 1;
    }
    this.#startWaiting();
  }

  /** A member's state is another than before. */
  changed(record: MemberRecord): void {
    const peer = this.#expected.get(record.node);
    if (peer !== undefined) this.#setAbsent(record.node, isGone(record) ? peer : undefined);
  }

  /** A genuine packet came from that address. */
  heardFrom(address: string): void {
    if (this.#absentByAddress.size === 0) return;
    const node = this.#absentByAddress.get(address);
    if (node !== undefined) this.#heardOf(node);
  }

  /** True when the ack was for a ping of ours. */
  acked(sequence: number): boolean {
    const node = this.#pings.get(sequence);
    if (node === undefined) return false;
    this.#pings.delete(sequence);
    if (this.#absent.has(node)) this.#heardOf(node);
    return true;
  }

  run(): void {
    const { now, timing, leaving } = this.#context;
    if (leaving || this.#nextAt === undefined || this.#nextAt > now) return;
    this.#nextAt = now + timing.healIntervalMs;
    for (const [node, peer] of this.#absent) {
      // To the end of the line.
      this.#absent.delete(node);
      this.#absent.set(node, peer);
      this.#ping(peer);
      break;
    }
  }

  #heardOf(node: string): void {
    const { now, leaving, list, random } = this.#context;
    // Whoever does not now may when it is heard again: it is pinged, and pings, until it is back.
    if (list.size > EAGER_MEMBERS && random.next() >= EAGER_MEMBERS / list.size) return;
    if (leaving || now - (this.#exchangedAt.get(node) ?? Number.NEGATIVE_INFINITY) < EXCHANGE_AGAIN_AFTER_MS) return;
    this.#heard.add(node);
    // At once if an exchange is free, even if it turns out to be back: it may know others that are absent here.
    if (this.#healing < MAX_HEALING_EXCHANGES) this.#exchange(node, "healing");
  }

  #startWaiting(): void {
    for (const node of this.#heard) {
      if (this.#healing >= MAX_HEALING_EXCHANGES) break;
      if (this.#absent.has(node)) this.#exchange(node, "healing");
      else this.#heard.delete(node);
    }
    for (const node of this.#toJoin) {
      if (this.#joining >= MAX_JOINING_EXCHANGES) break;
      if (this.#absent.has(node)) this.#exchange(node, "joining");
      else this.#toJoin.delete(node);
    }
  }

  #exchange(node: string, why: "healing" | "joining"): void {
    const peer = this.#expected.get(node);
    this.#heard.delete(node);
    this.#toJoin.delete(node);
    if (peer === undefined) return;
    this.#exchangedAt.set(node, this.#context.now);
    this.#count(why, 1);
    const done = (): void => {
      this.#count(why, -1);
      this.#startWaiting();
    };
    if (!this.#pushPull.exchange({ to: this.#endpointOf(peer), join: true, done })) this.#count(why, -1);
  }

  #count(why: "healing" | "joining", delta: number): void {
    if (why === "healing") this.#healing += delta;
    else this.#joining += delta;
  }

  #ping(peer: ExpectedPeer): void {
    const { self, list } = this.#context;
    const sequence = this.#context.nextSequence();
    if (this.#pings.size >= MAX_PINGS_REMEMBERED) {
      for (const oldest of this.#pings.keys()) {
        this.#pings.delete(oldest);
        break;
      }
    }
    this.#pings.set(sequence, peer.node);
    const messages: PacketMessage[] = [{ kind: "ping", sequence, node: peer.node, source: self.endpoint, sourceNode: self.node }];
    const record = list.get(peer.node);
    if (record !== undefined) messages.push({ kind: "suspect", node: peer.node, incarnation: record.incarnation, from: self.node });
    this.#context.sendExactly(this.#endpointOf(peer), messages);
  }

  /** Where the API says that it is; the port is everybody's unless it told otherwise. */
  #endpointOf({ node, address }: ExpectedPeer): Endpoint {
    const known = this.#context.list.get(node)?.endpoint;
    return known?.address === address ? known : { address, port: this.#context.self.endpoint.port };
  }

  #isPresent(node: string): boolean {
    const record = this.#context.list.get(node);
    return record !== undefined && !isGone(record);
  }

  #setAbsent(node: string, peer: ExpectedPeer | undefined): void {
    const before = this.#absent.get(node);
    if (before !== undefined) {
      this.#absent.delete(node);
      if (this.#absentByAddress.get(before.address) === node) this.#absentByAddress.delete(before.address);
    }
    if (peer === undefined) return;
    const { now, timing } = this.#context;
    if (this.#absent.size === 0 && (this.#nextAt === undefined || this.#nextAt < now)) this.#nextAt = now + timing.healIntervalMs;
    this.#absent.set(node, peer);
    this.#absentByAddress.set(peer.address, node);
  }
}
