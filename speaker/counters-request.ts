/**
 * One question to the packet thread at a time: whoever asks while it is open shares the answer.
 */
import type { Clock, Timer } from "../sys/clock.ts";
import type { PacketCounters } from "./metrics.ts";

/** How long to wait before the last known numbers must do (milliseconds). */
const timeoutMs = 1_000;

/** Asks by `ask`, hears by `take`. */
export class CountersRequest {
  readonly #clock: Clock;
  readonly #send: () => void;
  #last: PacketCounters | undefined;
  #open: { readonly answer: Promise<PacketCounters | undefined>; readonly resolve: () => void; readonly timer: Timer } | undefined;

  constructor(clock: Clock, send: () => void) {
    this.#clock = clock;
    this.#send = send;
  }

  /** The thread's numbers, or the last known ones when it does not answer in time; undefined before it ever did. */
  ask(): Promise<PacketCounters | undefined> {
    if (this.#open !== undefined) return this.#open.answer;
    const { promise, resolve } = Promise.withResolvers<PacketCounters | undefined>();
    const settle = (): void => {
      this.#open?.timer.cancel();
      this.#open = undefined;
      resolve(this.#last);
    };
    this.#open = { answer: promise, resolve: settle, timer: this.#clock.after(timeoutMs, settle) };
    this.#send();
    return promise;
  }

  /** The thread has answered. */
  take(counters: PacketCounters): void {
    this.#last = counters;
    this.#open?.resolve();
  }
}
