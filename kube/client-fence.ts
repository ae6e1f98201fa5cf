/**
 * Keeps a leader's writes within its time. A write takes effect after it is sent: it may wait for a connection, hang on
 * the network, in the API server, or before etcd. One that outlives its sender's leadership may give a Service an address
 * that the next leader has given to another meanwhile.
 *
 *     renewed   writes of 8 s   writes of 3 s   stands down   all have ended   the Lease may be another's
 *     0 s       sent until 4 s  sent until 9 s  10 s          12 s             15 s
 *
 * 1. Nothing is sent within the last second before the leader's deadline (`LAST_WRITE_MS`). That is asked when the
 *    request is handed to the kernel, by the clock and not by a timer.
 * 2. Every such write carries `timeout`, the deadline of the request inside the API server, so that it ends two seconds
 *    after the leader's own deadline: 8 s as long as renewals succeed, and 3 s when they have failed for a while. It counts from the
 *    request's arrival, so 3 s are left for the way to the API server. (The Lease's own writes need none: the version that they carry decides.)
 * 3. Whoever is no leader any more resets its connections (`http-client.ts`), so that its kernel delivers nothing later.
 * 4. A Lease that is released is free at once: before that, `quiet` waits for what may still be on its way.
 *
 * What etcd has accepted before it accepted the next leader's Lease is no danger, for etcd carries out in order, and a new
 * leader reads all Services once it has the Lease. That matters, for an etcd that stood still finds requests in its buffer
 * whose time was over meanwhile, and carries out about one in three of them (test/lab/controller/churn-fence.test.ts).
 *
 * What remains: a request that somebody in between keeps for longer than 3 s (a proxy before the API server, an API server or a
 * member of etcd that is paused with the request in its buffer, a leader killed while it is cut off, whose kernel goes on
 * trying), and clocks that run at different rates. There the patch's `metadata.resourceVersion` decides, which each patch of a Service
 * carries: it fails when the next leader has written to the same Service. Where it has not, two Services may show one
 * address until that leader sees it, and takes it from the one that it did not give it to.
 */
import { type Clock, sleep } from "../sys/clock.ts";
import { KubeError, notSent, type DeleteOptions, type KubeClient, type ListOptions, type ObjectName, type PatchOptions, type WatchEvent, type WatchOptions, type WriteOptions } from "./client.ts";
import type { KubeObject, ResourceType } from "./objects.ts";

/** How long before its deadline a leader sends its last write (milliseconds). Renewals every 2 s keep it far away. */
export const LAST_WRITE_MS = 1_000;
/** `timeout` of the last writes before that (milliseconds): three of the six seconds between them and the Lease's end. */
export const LAST_WRITE_TIMEOUT_MS = 3_000;
/** `timeout` of all others (milliseconds): an API server may wait that long for somebody's webhook that is gone. */
export const WRITE_TIMEOUT_MS = 8_000;
/** So long after the leader's deadline every write has ended in the API server. */
const ENDED_MS = LAST_WRITE_TIMEOUT_MS - LAST_WRITE_MS;
/** A write may wait for its connection so long without need of a shorter timeout (milliseconds). */
const CONNECT_MS = 500;

/** For how long a leader must lead yet to send a write with this timeout. */
export function leadNeededMs(timeoutMs: number): number {
  return timeoutMs - ENDED_MS;
}

/** Passes all on, and writes only while it may. */
export class FencedClient implements KubeClient {
  readonly #inner: KubeClient;
  readonly #clock: Clock;
  readonly #leadsFor: (ms: number) => boolean;
  /** Until when a write of which no answer came may take effect: it may have arrived just before it was given up, when its connection was reset. */
  #doubtfulUntil = -Infinity;
  readonly get: KubeClient["get"];
  readonly probe: KubeClient["probe"];

  /** @param options `leadsFor`: whether we lead, and still will in so many milliseconds even if no renewal succeeds. */
  constructor({ client, clock, leadsFor }: { readonly client: KubeClient; readonly clock: Clock; readonly leadsFor: (ms: number) => boolean }) {
    this.#inner = client;
    this.#clock = clock;
    this.#leadsFor = leadsFor;
    this.get = client.get.bind(client);
    this.probe = client.probe.bind(client);
  }

  /** Resolves when no write that has ended without an answer can take effect any more: at once, or within `WRITE_TIMEOUT_MS`. */
  async quiet(): Promise<void> {
    const left = this.#doubtfulUntil - this.#clock.now();
    if (left > 0) await sleep(this.#clock, left);
  }

  list<T extends KubeObject>(type: ResourceType<T>, options?: ListOptions): Promise<{ items: T[]; resourceVersion: string }> {
    return this.#inner.list(type, options);
  }

  watch<T extends KubeObject>(type: ResourceType<T>, options: WatchOptions): AsyncIterable<WatchEvent<T>> {
    return this.#inner.watch(type, options);
  }

  create<T extends KubeObject>(type: ResourceType<T>, object: T, options: WriteOptions = {}): Promise<T> {
    return this.#write(options, (fenced) => this.#inner.create(type, object, fenced));
  }

  patch<T extends KubeObject>(type: ResourceType<T>, name: ObjectName, patch: object, options: PatchOptions = {}): Promise<T> {
    return this.#write(options, (fenced) => this.#inner.patch(type, name, patch, fenced));
  }

  replace<T extends KubeObject>(type: ResourceType<T>, object: T, options: WriteOptions = {}): Promise<T> {
    return this.#write(options, (fenced) => this.#inner.replace(type, object, fenced));
  }

  delete<T extends KubeObject>(type: ResourceType<T>, name: ObjectName, options: DeleteOptions = {}): Promise<void> {
    return this.#write(options, (fenced) => this.#inner.delete(type, name, fenced));
  }

  async #write<O extends WriteOptions, R>(options: O, send: (options: O) => Promise<R>): Promise<R> {
    // Where it is known before, no connection is taken, which would be lost with the request.
    if (!this.#leadsFor(LAST_WRITE_MS)) throw notSent();
    const timeoutMs = this.#leadsFor(leadNeededMs(WRITE_TIMEOUT_MS) + CONNECT_MS) ? WRITE_TIMEOUT_MS : LAST_WRITE_TIMEOUT_MS;
    let isSent = false;
    const maySend = (): boolean => {
      if (!this.#leadsFor(leadNeededMs(timeoutMs)) || options.maySend?.() === false) return false;
      isSent = true;
      return true;
    };
    try {
      return await send({ ...options, maySend, timeoutMs });
    } catch (error) {
      // 504 and the like are said when the deadline is over; only silence leaves it open.
      if (isSent && error instanceof KubeError && error.code === 0) this.#doubtfulUntil = Math.max(this.#doubtfulUntil, this.#clock.now() + timeoutMs);
      throw error;
    }
  }
}
