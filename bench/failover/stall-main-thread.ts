/** Loaded before a program (`NODE_OPTIONS=--import=...`): its main thread sleeps 50 ms of every 100. Workers are left alone. */
import { isMainThread } from "node:worker_threads";

const STALL_MS = 50;
const EVERY_MS = 100;

if (isMainThread) {
  const nobody = new Int32Array(new SharedArrayBuffer(4));
  setInterval(() => Atomics.wait(nobody, 0, 0, STALL_MS), EVERY_MS).unref();
}
