/**
 * Waiting on descriptors: the one place where the packet thread sleeps.
 */

import { PollSet } from "./libc.ts";
import type { PollInterest } from "./libc.ts";

export type { PollInterest } from "./libc.ts";

export interface Poller {
  /** Adds a descriptor to those waited on: until it is readable, if nothing else is said. */
  add(fd: number, interest?: PollInterest): void;
  /** Changes what is waited for on a descriptor that was added; nothing happens if it was not. With neither, only an error or a hang-up of both sides is told. */
  setInterest(fd: number, interest: PollInterest): void;
  /** Takes it out; call it before the descriptor is closed. */
  remove(fd: number): void;
  /**
   * Waits until one needs attention, or `timeoutMs` (a whole number, at least 0) passed; returns those that do: readable,
   * writable if that was asked for, or in error. Which of these, trying tells. @throws SysError
   */
  wait(timeoutMs: number): readonly number[];
}

/** What is waited for if nothing else is said. */
export const READABLE: PollInterest = { readable: true };

/** A poller over poll(2). */
export function createPoller(): Poller {
  const interests = new Map<number, PollInterest>();
  let set: PollSet | undefined;
  return {
    add(fd, interest = READABLE) {
      interests.set(fd, interest);
      set = undefined;
    },
    setInterest(fd, interest) {
      const before = interests.get(fd);
      if (before === undefined || isSame(before, interest)) return;
      interests.set(fd, interest);
      set = undefined;
    },
    remove(fd) {
      interests.delete(fd);
      set = undefined;
    },
    wait(timeoutMs) {
      set ??= new PollSet([...interests.keys()], interests);
      return set.wait(timeoutMs);
    },
  };
}

function isSame(a: PollInterest, b: PollInterest): boolean {
  return (a.readable ?? false) === (b.readable ?? false) && (a.writable ?? false) === (b.writable ?? false);
}
