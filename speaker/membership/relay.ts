/**
 * Pings on behalf of others: an indirect ping is passed on with a number of our own, its ack is passed back, and when
 * none comes in time, a nack, if one was asked for. The nack leaves before the timeout is over, as Lifeguard has it: whoever
 * asked has by then used up the first half of its probe, and a nack after the whole timeout (memberlist's) comes too late.
 */

import type { Instant } from "../machine.ts";
import type { Context } from "./context.ts";
import type { Endpoint, IndirectPingMessage } from "./message.ts";

/** Relayed pings under way; the oldest gives way to a new one. */
export const MAX_RELAYED_PINGS = 1_024;
/** The part of the probe timeout after which a nack is sent. An ack that comes later is still passed back. */
export const NACK_AFTER = 0.8;

interface Relayed {
  readonly sequence: number;
  readonly replyTo: Endpoint;
  readonly deadline: Instant;
}

interface Nack {
  readonly sequence: number;
  readonly replyTo: Endpoint;
  readonly at: Instant;
}

export class Relay {
  readonly #context: Context;
  /** By our own sequence number; in the order of their deadlines. */
  readonly #relayed = new Map<number, Relayed>();
  /** Nacks to send, by our own sequence number; in the order of their times. */
  readonly #nacks = new Map<number, Nack>();

  constructor(context: Context) {
    this.#context = context;
  }

  nextDeadline(): Instant | undefined {
    // A nack is always due before its ping is forgotten, but not before everybody else's.
    const [nack] = this.#nacks.values();
    const [relayed] = this.#relayed.values();
    return nack === undefined || relayed === undefined ? relayed?.deadline : Math.min(nack.at, relayed.deadline);
  }

  ask(message: IndirectPingMessage, from: Endpoint): void {
    const { self, now, timing } = this.#context;
    if (this.#relayed.size >= MAX_RELAYED_PINGS) {
      for (const oldest of this.#relayed.keys()) {
        this.#forget(oldest);
        break;
      }
    }
    const sequence = this.#context.nextSequence();
    const replyTo = message.source ?? from;
    this.#relayed.set(sequence, { sequence: message.sequence, replyTo, deadline: now + timing.probeTimeoutMs });
    if (message.nack) this.#nacks.set(sequence, { sequence: message.sequence, replyTo, at: now + NACK_AFTER * timing.probeTimeoutMs });
    this.#context.send(message.target, { kind: "ping", sequence, node: message.node, source: self.endpoint, sourceNode: self.node });
  }

  /** True when the ack was for a relayed ping. */
  acked(sequence: number): boolean {
    const relayed = this.#relayed.get(sequence);
    if (relayed === undefined) return false;
    this.#forget(sequence);
    this.#context.send(relayed.replyTo, { kind: "ack", sequence: relayed.sequence, payload: new Uint8Array() });
    return true;
  }

  expire(): void {
    const { now } = this.#context;
    for (const [sequence, nack] of this.#nacks) {
      if (nack.at > now) break;
      this.#nacks.delete(sequence);
      this.#context.send(nack.replyTo, { kind: "nack", sequence: nack.sequence });
    }
    for (const [sequence, { deadline }] of this.#relayed) {
      if (deadline > now) break;
      this.#forget(sequence);
    }
  }

  #forget(sequence: number): void {
    this.#relayed.delete(sequence);
    this.#nacks.delete(sequence);
  }
}
