/**
 * What all parts of the membership share: who this node is, who is known, what waits to be said, and the way out.
 */

import type { Instant, Random } from "../machine.ts";
import { Awareness } from "./awareness.ts";
import { BroadcastQueue, retransmitLimit } from "./broadcast-queue.ts";
import type { News } from "./broadcast-queue.ts";
import type { Keyring } from "./keyring.ts";
import { MemberList } from "./member-list.ts";
import type { MemberRecord } from "./member-list.ts";
import type { MembershipDropReason, MembershipOutput, MembershipTiming } from "./membership-protocol.ts";
import type { AliveMessage, Endpoint, PacketMessage } from "./message.ts";
import { MAX_META } from "./message-codec.ts";
import { encodedSize, encodePacket, packetOverhead } from "./packet-codec.ts";

/** Bytes of a datagram's payload that gossip fills at most: memberlist's buffer, below any Ethernet MTU. */
export const MAX_DATAGRAM_BYTES = 1400;
/** Protocol 1 to 5, speaking 2; no delegate protocol. What MetalLB's speakers say of themselves. */
export const OUR_VERSIONS: Uint8Array = Uint8Array.of(1, 5, 2, 0, 0, 0);
/** Sequence numbers and incarnations have 32 bits. */
export const MAX_UINT32 = 0xffff_ffff;

export interface MembershipOptions {
  readonly node: string;
  /** Where others reach this node. */
  readonly endpoint: Endpoint;
  readonly keyring: Keyring;
  /** The first incarnation: Unix seconds, so that a restarted process is newer than it was. */
  readonly incarnation: number;
  /** At most 512 bytes; said once and never changed, for each change makes MetalLB's speakers announce everything again. */
  readonly meta: Uint8Array;
  readonly timing: MembershipTiming;
  /** Whether this node has its own reason to take the member to be alive: whom others declare dead is then only suspected. */
  readonly vouchesFor?: (node: string) => boolean;
}

export class Context {
  readonly options: MembershipOptions;
  readonly timing: MembershipTiming;
  readonly random: Random;
  readonly list: MemberList;
  readonly self: MemberRecord;
  readonly broadcasts = new BroadcastQueue();
  readonly awareness: Awareness;
  /** The input's time. */
  now: Instant = 0;
  /** This node says goodbye, or has. */
  leaving = false;
  #outputs: MembershipOutput[] = [];
  #sequence: number;
  readonly #room: number;

  constructor(options: MembershipOptions, random: Random) {
    if (options.meta.length > MAX_META) throw new Error(`meta has ${options.meta.length} bytes, more than ${MAX_META}`);
    this.options = options;
    this.timing = options.timing;
    this.random = random;
    this.list = new MemberList(random);
    this.awareness = new Awareness(options.timing.awarenessMaxMultiplier);
    // Not from nought: an ack of an earlier life, sent again, must not answer a ping of this one.
    this.#sequence = Math.floor(random.next() * MAX_UINT32);
    this.#room = MAX_DATAGRAM_BYTES - packetOverhead(options.keyring);
    this.self = {
      node: options.node,
      endpoint: options.endpoint,
      state: "alive",
      incarnation: options.incarnation,
      meta: options.meta,
      versions: OUR_VERSIONS,
      stateChangedAt: 0,
      suspicion: undefined,
    };
    this.list.add(this.self);
  }

  emit(output: MembershipOutput): void {
    this.#outputs.push(output);
  }

  drop(reason: MembershipDropReason): void {
    this.#outputs.push({ kind: "dropped", reason });
  }

  takeOutputs(): MembershipOutput[] {
    const outputs = this.#outputs;
    this.#outputs = [];
    return outputs;
  }

  nextSequence(): number {
    this.#sequence = this.#sequence >= MAX_UINT32 ? 1 : this.#sequence + 1;
    return this.#sequence;
  }

  /** What this node says of itself. */
  selfAlive(): AliveMessage {
    const { node, endpoint, incarnation, meta, versions } = this.self;
    return { kind: "alive", node, endpoint, incarnation, meta, versions };
  }

  broadcast(message: News): void {
    this.broadcasts.add(message, encodedSize(message));
  }

  /** Sends these messages and nothing else. */
  sendExactly(to: Endpoint, messages: readonly PacketMessage[]): void {
    this.emit({ kind: "datagram", to, bytes: encodePacket(messages, this.options.keyring, this.random) });
  }

  /** Sends a message, and with it as many news as fit. */
  send(to: Endpoint, message: PacketMessage): void {
    if (this.broadcasts.length === 0) this.sendExactly(to, [message]);
    else this.sendExactly(to, [message, ...this.#takeNews(encodedSize(message))]);
  }

  /** Sends a packet full of news. False when there are none. */
  gossipTo(to: Endpoint): boolean {
    const news = this.#takeNews(0);
    if (news.length > 0) this.sendExactly(to, news);
    return news.length > 0;
  }

  #takeNews(usedBytes: number): News[] {
    return this.broadcasts.take({
      bytes: this.#room - usedBytes,
      limit: retransmitLimit(this.timing.retransmitMult, this.list.size),
    });
  }
}
