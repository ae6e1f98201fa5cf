/**
 * Time as an argument: the system's clock and what others may ask of it. Its twin for tests is `fake-clock.ts`.
 */

/** A timer that has been set. Cancelling one that has fired, or was cancelled, does nothing. */
export interface Timer {
  cancel(): void;
}

export interface Clock {
  /** Monotonic milliseconds since an arbitrary origin; fractions allowed. Never goes back. */
  now(): number;
  /** Milliseconds since 1970-01-01 UTC, for timestamps that others read. May jump. */
  wallMs(): number;
  /** Runs `callback` once, `ms` milliseconds from now (at once, but never synchronously, when 0 or less). */
  after(ms: number, callback: () => void): Timer;
}

/** Node's timers take at most 31 bits; a longer wait would fire at once. */
const maxTimerMs = 2 ** 31 - 1;

/** The machine's own clock. */
export const systemClock: Clock = {
  now: () => performance.now(),
  wallMs: () => Date.now(),
  after(ms, callback) {
    const handle = setTimeout(callback, Math.min(Math.max(ms, 0), maxTimerMs));
    return { cancel: () => clearTimeout(handle) };
  },
};

/** Waits `ms` milliseconds. Resolves early, without an error, when `signal` is aborted: look at the signal afterwards. */
export function sleep(clock: Clock, ms: number, signal?: AbortSignal): Promise<void> {
  if (signal?.aborted === true) return Promise.resolve();
  return new Promise((resolve) => {
    const onAbort = (): void => {
      timer.cancel();
      resolve();
    };
    const timer = clock.after(ms, () => {
      signal?.removeEventListener("abort", onAbort);
      resolve();
    });
    signal?.addEventListener("abort", onAbort, { once: true });
  });
}

/** RFC 3339 with milliseconds and "Z". */
export function rfc3339(wallMs: number): string {
  return new Date(wallMs).toISOString();
}

/** RFC 3339 with whole seconds, as Kubernetes writes `metav1.Time`. */
export function rfc3339Seconds(wallMs: number): string {
  return `${new Date(wallMs).toISOString().slice(0, 19)}Z`;
}

/** RFC 3339 with microseconds, as Kubernetes wants `metav1.MicroTime` (Lease times). */
export function rfc3339Micros(wallMs: number): string {
  return `${new Date(wallMs).toISOString().slice(0, -1)}000Z`;
}
