/**
 * The only place that knows what "retry" means: a set of keys waiting for a worker, per-key backoff, bounded concurrency.
 */
import type { Clock, Timer } from "../sys/clock.ts";
import type { Logger } from "../sys/log.ts";
import type { Random } from "../sys/random.ts";
import { KubeError } from "./client.ts";

/**
 * How a piece of work ended. "retry": again with backoff; "retryAfter": again in `ms`, backoff forgotten; "giveUp": not again
 * until somebody adds the key; "reprocessAll": done, and `onReprocessAll` is called.
 */
export type Verdict = "done" | "retry" | "giveUp" | "reprocessAll" | { readonly kind: "retryAfter"; readonly ms: number };

export interface WorkQueueOptions {
  readonly name: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** First wait after "retry"; doubles up to `maxBackoffMs`. 5 ms and 30 s by default. */
  readonly baseBackoffMs?: number;
  readonly maxBackoffMs?: number;
  /** Somebody's work asked for everything to be looked at again. */
  readonly onReprocessAll?: () => void;
  /** Every finished piece of work; `error` is what the worker threw, if it did (that counts as "retry"). */
  readonly onVerdict?: (key: string, verdict: Verdict, error?: unknown) => void;
}

interface Delayed {
  readonly at: number;
  readonly timer: Timer;
}

/** A set of keys waiting for a worker; a key is never worked on twice at once, and adding it meanwhile runs it once more. */
export class WorkQueue {
  readonly #options: WorkQueueOptions;
  /** In the order of arrival. */
  readonly #queued = new Set<string>();
  readonly #active = new Set<string>();
  /** Added while active. */
  readonly #again = new Set<string>();
  readonly #delayed = new Map<string, Delayed>();
  readonly #failures = new Map<string, number>();
  #worker: ((key: string) => Promise<Verdict>) | undefined;
  #concurrency = 1;
  #stopped = false;
  #pumping = false;
  #idleWaiters: (() => void)[] = [];

  constructor(options: WorkQueueOptions) {
    this.#options = options;
  }

  /** Queues `key` now; a time it was waiting for is forgotten. Never runs the worker synchronously. */
  add(key: string): void {
    if (this.#stopped) return;
    this.#cancelDelayed(key);
    if (this.#active.has(key)) {
      this.#again.add(key);
      return;
    }
    this.#queued.add(key);
    this.#schedulePump();
  }

  /** Adds `key` in `ms` milliseconds; the earliest of several calls counts. */
  addAfter(key: string, ms: number): void {
    if (this.#stopped || this.#queued.has(key)) return;
    if (ms <= 0) {
      this.add(key);
      return;
    }
    const at = this.#options.clock.now() + ms;
    const waiting = this.#delayed.get(key);
    if (waiting !== undefined && waiting.at <= at) return;
    waiting?.timer.cancel();
    this.#delayed.set(key, { at, timer: this.#options.clock.after(ms, () => this.add(key)) });
  }

  /** Starts working, `concurrency` keys at a time (1 by default). Call once; keys added before have waited. */
  run(worker: (key: string) => Promise<Verdict>, options: { concurrency?: number } = {}): void {
    this.#worker = worker;
    this.#concurrency = options.concurrency ?? 1;
    this.#schedulePump();
  }

  /** Takes nothing new and resolves when the work in hand has ended. What is queued or waiting is forgotten. */
  async stop(): Promise<void> {
    this.#stopped = true;
    for (const { timer } of this.#delayed.values()) timer.cancel();
    this.#delayed.clear();
    this.#queued.clear();
    this.#again.clear();
    this.#tellIdle();
    await this.idle();
  }

  /** Resolves when nothing is queued or in hand (keys waiting for their time are not counted). */
  idle(): Promise<void> {
    if (this.#queued.size === 0 && this.#active.size === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#idleWaiters.push(resolve);
    });
  }

  /** Keys that wait for a worker now. */
  get depth(): number {
    return this.#queued.size + this.#again.size;
  }

  #cancelDelayed(key: string): void {
    this.#delayed.get(key)?.timer.cancel();
    this.#delayed.delete(key);
  }

  #schedulePump(): void {
    if (this.#pumping || this.#worker === undefined) return;
    this.#pumping = true;
    queueMicrotask(() => {
      this.#pumping = false;
      this.#pump();
    });
  }

  #pump(): void {
    const worker = this.#worker;
    if (worker === undefined) return;
    for (const key of this.#queued) {
      if (this.#active.size >= this.#concurrency) return;
      this.#queued.delete(key);
      this.#active.add(key);
      void this.#work(worker, key);
    }
    this.#tellIdle();
  }

  #tellIdle(): void {
    if (this.#queued.size > 0 || this.#active.size > 0) return;
    const waiters = this.#idleWaiters;
    this.#idleWaiters = [];
    for (const resolve of waiters) resolve();
  }

  async #work(worker: (key: string) => Promise<Verdict>, key: string): Promise<void> {
    let verdict: Verdict = "retry";
    let error: unknown;
    try {
      verdict = await worker(key);
    } catch (thrown) {
      error = thrown;
    }
    this.#active.delete(key);
    this.#options.onVerdict?.(key, verdict, error);
    if (!this.#stopped) this.#conclude(key, verdict, error);
    this.#schedulePump();
  }

  #conclude(key: string, verdict: Verdict, error: unknown): void {
    const again = this.#again.delete(key);
    if (verdict === "retry") {
      const waitMs = this.#backoff(key, error);
      const reason = error instanceof Error ? error.message : error === undefined ? "verdict" : String(error);
      this.#options.log.debug("workRetried", { queue: this.#options.name, key, reason, waitMs: Math.round(waitMs), again });
      // News about the key counts more than its backoff: what failed may have been mended by it.
      if (again) this.add(key);
      else this.addAfter(key, waitMs);
      return;
    }
    this.#failures.delete(key);
    if (again) this.add(key);
    else if (typeof verdict === "object") this.addAfter(key, verdict.ms);
    if (verdict === "reprocessAll") this.#options.onReprocessAll?.();
  }

  /** Milliseconds to wait: doubling, half of it random, and never less than what the API server asked for. */
  #backoff(key: string, error: unknown): number {
    const failures = this.#failures.get(key) ?? 0;
    this.#failures.set(key, failures + 1);
    const { baseBackoffMs = 5, maxBackoffMs = 30_000, random } = this.#options;
    const full = Math.min(maxBackoffMs, baseBackoffMs * 2 ** Math.min(failures, 30));
    const asked = error instanceof KubeError ? (error.retryAfterSeconds ?? 0) * 1000 : 0;
    return Math.max(full / 2 + (full / 2) * random.next(), asked);
  }
}
