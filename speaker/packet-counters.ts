/**
 * What the packet thread counts, since it started.
 */

import type { AddressCounters, FromPacketThread } from "./packet-protocol.ts";

interface Counts {
  requestsReceived: number;
  responsesSent: number;
  gratuitousSent: number;
}

/** Counts by address (as many as were announced and are still in the table) and by reason. */
export class PacketCounters {
  readonly #addresses = new Map<string, Counts>();
  readonly #dropped = new Map<string, number>();
  #longestTurnMs = 0;

  /** Counts for the address from now on; it goes on where it was if it is counted already. */
  watch(address: string): void {
    if (!this.#addresses.has(address)) this.#addresses.set(address, { requestsReceived: 0, responsesSent: 0, gratuitousSent: 0 });
  }

  /** The address has left the table: its counts go. */
  forget(address: string): void {
    this.#addresses.delete(address);
  }

  requestReceived(address: string): void {
    const counts = this.#addresses.get(address);
    if (counts !== undefined) counts.requestsReceived += 1;
  }

  responseSent(address: string): void {
    const counts = this.#addresses.get(address);
    if (counts !== undefined) counts.responsesSent += 1;
  }

  gratuitousSent(address: string): void {
    const counts = this.#addresses.get(address);
    if (counts !== undefined) counts.gratuitousSent += 1;
  }

  /** A packet (or an announcement) that went nowhere. */
  dropped(reason: string): void {
    this.#dropped.set(reason, (this.#dropped.get(reason) ?? 0) + 1);
  }

  /** Milliseconds that a turn worked. */
  turnTook(ms: number): void {
    this.#longestTurnMs = Math.max(this.#longestTurnMs, ms);
  }

  /** All counts. The longest turn is that since the last call. */
  collect(): Extract<FromPacketThread, { readonly kind: "counters" }> {
    const addresses: AddressCounters[] = [...this.#addresses].map(([address, counts]) => ({ address, ...counts }));
    const loopLagMaxMs = this.#longestTurnMs;
    this.#longestTurnMs = 0;
    return { kind: "counters", addresses, dropped: Object.fromEntries(this.#dropped), loopLagMaxMs };
  }
}
