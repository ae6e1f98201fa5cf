/**
 * A descriptor that one thread waits on in `poll` and another makes readable. The waiting side opens it through libc;
 * the waking side needs the number only, and no foreign call.
 */

import { close, openEventDescriptor, read } from "./libc.ts";

/** The waiting side. */
export interface EventFd {
  readonly fd: number;
  /** Makes it unreadable again. */
  drain(): void;
  close(): void;
}

/** @throws SysError when the process may open no more descriptors. */
export function openEventFd(): EventFd {
  const fd = openEventDescriptor();
  const counter = new Uint8Array(8);
  return {
    fd,
    drain() {
      read(fd, counter);
    },
    close() {
      close(fd);
    },
  };
}
