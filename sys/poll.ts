/**
 * Waiting on descriptors: the one place where the packet thread sleeps.
 */

import { PollSet } from "./libc.ts";

export interface Poller {
  /** Adds a descriptor to those waited on. */
  add(fd: number): void;
  /** Takes it out; call it before the descriptor is closed. */
  remove(fd: number): void;
  /** Waits until one is readable or in error, or `timeoutMs` (a whole number, at least 0) passed; returns those that are. @throws SysError */
  wait(timeoutMs: number): readonly number[];
}

/** A poller over poll(2). */
export function createPoller(): Poller {
  const descriptors = new Set<number>();
  let set: PollSet | undefined;
  return {
    add(fd) {
      descriptors.add(fd);
      set = undefined;
    },
    remove(fd) {
      descriptors.delete(fd);
      set = undefined;
    },
    wait(timeoutMs) {
      set ??= new PollSet([...descriptors]);
      return set.wait(timeoutMs);
    },
  };
}
