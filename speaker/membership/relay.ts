/**
 * Pings on behalf of others: an indirect ping is passed on with a number of our own, its ack is passed back, and when
 * none comes in time, a nack, if one was asked for.
 */

import type { Instant } from "../machine.ts";
import type { Context } from "./context.ts";
import type { Endpoint, IndirectPingMessage } from "./message.ts";

/** Relayed pings under way; the oldest gives way to a new one. */
export const MAX_RELAYED_PINGS = 1_024;

interface Relayed {
  readonly sequence: number;
  readonly replyTo: Endpoint;
  readonly nack: boolean;
  readonly deadline: Instant;
}

export class Relay {
  readonly #context: Context;
  /** By our own sequence number; in the order of their deadlines. */
  readonly #relayed = new Map<number, Relayed>();

  constructor(context: Context) {
    this.#context = context;
  }

  nextDeadline(): Instant | undefined {
    for (const { deadline } of this.#relayed.values()) return deadline;
    return undefined;
  }

  ask(message: IndirectPingMessage, from: Endpoint): void {
    const { self, now, timing } = this.#context;
    if (this.#relayed.size >= MAX_RELAYED_PINGS) {
      for (const oldest of this.#relayed.keys()) {
        this.#relayed.delete(oldest);
        break;
      }
    }
    const sequence = this.#context.nextSequence();
    this.#relayed.set(sequence, { sequence: message.sequence, replyTo: message.source ?? from, nack: message.nack, deadline: now + timing.probeTimeoutMs });
    this.#context.send(message.target, { kind: "ping", sequence, node: message.node, source: self.endpoint, sourceNode: self.node });
  }

  /** True when the ack was for a relayed ping. */
  acked(sequence: number): boolean {
    const relayed = this.#relayed.get(sequence);
    if (relayed === undefined) return false;
    this.#relayed.delete(sequence);
    this.#context.send(relayed.replyTo, { kind: "ack", sequence: relayed.sequence, payload: new Uint8Array() });
    return true;
  }

  expire(): void {
    for (const [sequence, relayed] of this.#relayed) {
      if (relayed.deadline > this.#context.now) return;
      this.#relayed.delete(sequence);
      if (relayed.nack) this.#context.send(relayed.replyTo, { kind: "nack", sequence: relayed.sequence });
    }
  }
}
