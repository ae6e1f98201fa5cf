/**
 * Whether what the informers hold is what the API server holds now. A watch that hangs looks like one without news, so the
 * server is probed as well: a probe that fails means that nothing is known to be true any more, and the first one that
 * succeeds again has every watch opened anew, for nobody can tell which of the old ones are still heard.
 */
import { type Clock, sleep } from "../sys/clock.ts";
import type { Logger } from "../sys/log.ts";
import type { Random } from "../sys/random.ts";
import type { KubeClient } from "./client.ts";

/** Between two probes; a quarter of it is random either way, so that the nodes of a cluster spread (milliseconds). */
const probeIntervalMs = 2_000;
/** An answer that takes longer is none (milliseconds). */
const probeTimeoutMs = 2_000;
/** Between two probes while they fail (milliseconds). */
const retryIntervalMs = 500;

/** What is watched over: an informer. */
export interface Followed {
  readonly isFollowing: boolean;
  reconnect(): void;
}

export interface ApiFreshnessOptions {
  readonly client: Pick<KubeClient, "probe">;
  /** The informers that count. */
  readonly followed: () => readonly Followed[];
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** Called when `fresh` has changed; it is false before the first call. */
  readonly onChange: (fresh: boolean) => void;
}

/** See the head of the file. `review` is to be called whenever an informer begins or ceases to follow. */
export class ApiFreshness {
  readonly #options: ApiFreshnessOptions;
  readonly #abort = new AbortController();
  /** Undefined before the first probe. */
  #answers: boolean | undefined;
  #fresh = false;
  #running: Promise<void> = Promise.resolve();

  constructor(options: ApiFreshnessOptions) {
    this.#options = options;
  }

  /** Whether the API server answers and every watch is open. */
  get fresh(): boolean {
    return this.#fresh;
  }

  /** Begins to probe. Call once. */
  start(): void {
    this.#running = this.#run();
  }

  /** Ends the probing; `fresh` stays as it is. */
  async stop(): Promise<void> {
    this.#abort.abort();
    await this.#running;
  }

  /** Draws the conclusion anew. */
  review(): void {
    if (this.#abort.signal.aborted) return;
    const fresh = this.#answers === true && this.#options.followed().every(({ isFollowing }) => isFollowing);
    if (fresh === this.#fresh) return;
    this.#fresh = fresh;
    this.#options.onChange(fresh);
  }

  async #run(): Promise<void> {
    const { client, clock, random, log, followed } = this.#options;
    const { signal } = this.#abort;
    while (!signal.aborted) {
      const failure: unknown = await client.probe(probeTimeoutMs).then(() => undefined, (error: unknown) => error ?? "no answer");
      if (signal.aborted) return;
      const before = this.#answers;
      this.#answers = failure === undefined;
      if (before !== false && failure !== undefined) log.warn("apiServerSilent", { reason: failure });
      if (before === false && failure === undefined) {
        log.info("apiServerAnswers");
        for (const each of followed()) each.reconnect();
      }
      this.review();
      const waitMs = failure === undefined ? probeIntervalMs * (0.75 + random.next() / 2) : retryIntervalMs;
      await sleep(clock, waitMs, signal);
    }
  }
}
