/**
 * The in-memory twin of `poll.ts`: it never sleeps. Tests say which descriptors are readable, and what happens while it waits.
 */

import type { Poller } from "./poll.ts";

export class FakePoller implements Poller {
  /** Descriptors that are waited on. */
  readonly descriptors = new Set<number>();
  /** The timeouts it was asked to wait, in order. */
  readonly waits: number[] = [];
  readonly #isReadable: (fd: number) => boolean;
  readonly #onWait: (timeoutMs: number) => void;

  /** @param onWait called when nothing is readable, with the time that would pass. */
  constructor(options: { readonly isReadable: (fd: number) => boolean; readonly onWait?: (timeoutMs: number) => void }) {
    this.#isReadable = options.isReadable;
    this.#onWait = options.onWait ?? (() => {});
  }

  add(fd: number): void {
    this.descriptors.add(fd);
  }

  remove(fd: number): void {
    this.descriptors.delete(fd);
  }

  wait(timeoutMs: number): readonly number[] {
    this.waits.push(timeoutMs);
    const ready = [...this.descriptors].filter(this.#isReadable);
    if (ready.length === 0) this.#onWait(timeoutMs);
    return ready;
  }
}
