/**
 * A sign of life that one thread leaves for another in shared memory: the reader needs no answer from the writer, so it
 * can tell a stuck thread from a busy one. Carries the writer's eventfd as well, which must be known before any message is.
 */

const TURNS = 0;
const WAKE_FD = 1;
const NO_FD = -1;
/** Bytes: one 64-bit time, then two 32-bit words. */
const LENGTH = 16;

/** Shared by both sides; goes to a worker by its `buffer`. */
export class Heartbeat {
  readonly buffer: SharedArrayBuffer;
  readonly #time: BigInt64Array;
  readonly #words: Int32Array;

  /** A new one, or the one that another thread made. */
  constructor(buffer?: SharedArrayBuffer) {
    this.buffer = buffer ?? new SharedArrayBuffer(LENGTH);
    this.#time = new BigInt64Array(this.buffer, 0, 1);
    this.#words = new Int32Array(this.buffer, 8, 2);
    if (buffer === undefined) {
      Atomics.store(this.#words, WAKE_FD, NO_FD);
      Atomics.store(this.#time, 0, process.hrtime.bigint());
    }
  }

  /** Writer: a turn has begun. */
  beat(): void {
    Atomics.add(this.#words, TURNS, 1);
    Atomics.store(this.#time, 0, process.hrtime.bigint());
  }

  /** Turns so far, modulo 2^32. */
  get turns(): number {
    return Atomics.load(this.#words, TURNS) >>> 0;
  }

  /** Milliseconds since the last beat (or since it was made, before the first). */
  lastBeatAgoMs(): number {
    // hrtime has one origin for all threads; performance.now() has one for each.
    return Math.max(0, Number(process.hrtime.bigint() - Atomics.load(this.#time, 0)) / 1e6);
  }

  /** The writer's eventfd, once it has one. */
  get wakeFd(): number | undefined {
    const fd = Atomics.load(this.#words, WAKE_FD);
    return fd === NO_FD ? undefined : fd;
  }

  /** Writer: publishes its eventfd. */
  setWakeFd(fd: number): void {
    Atomics.store(this.#words, WAKE_FD, fd);
  }
}
