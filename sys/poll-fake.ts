/**
 * The in-memory twin of `poll.ts`: it never sleeps. Tests say which descriptors are readable or writable, and what happens while it waits.
 */

import { READABLE } from "./poll.ts";
import type { Poller, PollInterest } from "./poll.ts";

export class FakePoller implements Poller {
  /** Descriptors that are waited on. */
  readonly descriptors = new Set<number>();
  /** What for. */
  readonly interests = new Map<number, PollInterest>();
  /** The timeouts it was asked to wait, in order. */
  readonly waits: number[] = [];
  readonly #isReadable: (fd: number) => boolean;
  readonly #isWritable: (fd: number) => boolean;
  readonly #onWait: (timeoutMs: number) => void;

  /** @param options `onWait` is called when nothing is ready, with the time that would pass. */
  constructor(options: {
    readonly isReadable: (fd: number) => boolean;
    readonly isWritable?: (fd: number) => boolean;
    readonly onWait?: (timeoutMs: number) => void;
  }) {
    this.#isReadable = options.isReadable;
    this.#isWritable = options.isWritable ?? (() => false);
    this.#onWait = options.onWait ?? (() => {});
  }

  add(fd: number, interest: PollInterest = READABLE): void {
    this.descriptors.add(fd);
    this.interests.set(fd, interest);
  }

  setInterest(fd: number, interest: PollInterest): void {
    if (this.descriptors.has(fd)) this.interests.set(fd, interest);
  }

  remove(fd: number): void {
    this.descriptors.delete(fd);
    this.interests.delete(fd);
  }

  wait(timeoutMs: number): readonly number[] {
    this.waits.push(timeoutMs);
    const ready = [...this.descriptors].filter((fd) => {
      const interest = this.interests.get(fd) ?? READABLE;
      return (interest.readable === true && this.#isReadable(fd)) || (interest.writable === true && this.#isWritable(fd));
    });
    if (ready.length === 0) this.#onWait(timeoutMs);
    return ready;
  }
}
