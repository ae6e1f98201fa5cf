/**
 * The waking side of an eventfd, apart from `event-fd.ts` so that the main thread need not load libc.
 */

import { closeSync, writeSync } from "node:fs";

// Any non-zero count will do, so its byte order does not matter.
const one = new Uint8Array(new BigUint64Array([1n]).buffer);

/** Makes the eventfd readable, whichever thread waits on it. */
export function wake(fd: number): void {
  writeSync(fd, one);
}

/** Closes an eventfd that another thread opened and no longer uses. */
export function closeWakeFd(fd: number): void {
  closeSync(fd);
}
