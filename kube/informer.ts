/**
 * A cache of one kind that follows the API server by list and watch, and survives its absence: what was known stays known,
 * and after an outage the differences are found and told.
 */
import { type Clock, sleep } from "../sys/clock.ts";
import type { Logger } from "../sys/log.ts";
import type { Random } from "../sys/random.ts";
import { KubeError, type KubeClient, type ListOptions, type WatchEvent } from "./client.ts";
import type { KubeObject, ResourceType } from "./objects.ts";
import { stripFor } from "./strip.ts";

/** One difference between the cache and the API server, told after the cache has taken it. `previous` is what the cache held before. */
export type Change<T extends KubeObject> =
  | { readonly kind: "added"; readonly object: T; readonly previous?: undefined }
  | { readonly kind: "updated"; readonly object: T; readonly previous: T }
  | { readonly kind: "deleted"; readonly object: T; readonly previous: T };

export interface InformerOptions<T extends KubeObject> {
  readonly client: KubeClient;
  readonly type: ResourceType<T>;
  /** Restricts to one namespace; absent means all. */
  readonly namespace?: string;
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
  /** Strips an object before it is kept; the default is `stripFor(type)`. */
  readonly transform?: (object: T) => T;
  /**
   * Called once per difference, in order. The first list is told as "added" after the cache holds all of it and
   * `isSynced` is true.
   */
  readonly onChange?: (change: Change<T>) => void;
  /** Called when `isFollowing` has changed. */
  readonly onFollowing?: () => void;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

/** Waits after failures: doubling from the first to the second, half of each random (milliseconds). */
const baseBackoffMs = 200;
const maxBackoffMs = 10_000;
/** A watch that ends sooner without a word counts as a failure, so that a server that hangs up at once is not hammered. */
const shortWatchMs = 1_000;

/** A cache of one kind. Objects in it are never changed in place; treat them as frozen. */
export class Informer<T extends KubeObject> {
  readonly #options: InformerOptions<T>;
  readonly #list: ListOptions;
  readonly #abort = new AbortController();
  /** Ends what is being done now: a call, a watch or a wait. */
  #attempt = new AbortController();
  readonly #synced: Promise<void>;
  #resolveSynced: () => void = () => {};
  #cache = new Map<string, T>();
  #isSynced = false;
  #isFollowing = false;
  #lastContactMs: number | undefined;
  #failures = 0;
  /** Whether the log has been told of these failures. */
  #isWarned = false;
  /** A list that succeeds mends nothing when it is the watch that fails: else a refused watch would make lists without end. */
  #failedToWatch = false;
  #running: Promise<void> = Promise.resolve();

  constructor(options: InformerOptions<T>) {
    this.#options = options;
    const transform = options.transform ?? stripFor(options.type);
    this.#list = {
      ...(options.namespace === undefined ? {} : { namespace: options.namespace }),
      ...(options.labelSelector === undefined ? {} : { labelSelector: options.labelSelector }),
      ...(options.fieldSelector === undefined ? {} : { fieldSelector: options.fieldSelector }),
      // The client hands over objects of this informer's own type.
      transform: (object) => transform(object as T),
    };
    this.#synced = new Promise((resolve) => {
      this.#resolveSynced = resolve;
    });
  }

  /** Starts following; an API server that can't be reached is tried for ever. Call once. */
  start(): void {
    this.#running = this.#run();
  }

  /** Ends the watch. The cache stays as it is. */
  async stop(): Promise<void> {
    this.#abort.abort();
    this.#attempt.abort();
    await this.#running;
  }

  /** Gives up the watch, call or wait of now and follows anew from where it was: for when the connection is known to be dead. */
  reconnect(): void {
    this.#setFollowing(false);
    this.#attempt.abort();
  }

  /** Resolves once the first list is in the cache. */
  whenSynced(): Promise<void> {
    return this.#synced;
  }

  /** Whether the first list has been taken; stays true through outages. */
  get isSynced(): boolean {
    return this.#isSynced;
  }

  /**
   * Whether a watch is open as far as anybody knows: true from the API server's word until two failures in a row, or
   * `reconnect`. A watch that ends is opened again at once, without a word.
   */
  get isFollowing(): boolean {
    return this.#isFollowing;
  }

  /** `key` is "namespace/name", or "name" for cluster-scoped kinds. */
  get(key: string): T | undefined {
    return this.#cache.get(key);
  }

  /** All objects, in no promised order. */
  list(): T[] {
    return [...this.#cache.values()];
  }

  /** Monotonic milliseconds (the clock's `now`) when the API server last said anything about this kind; undefined before the first time. */
  get lastContactMs(): number | undefined {
    return this.#lastContactMs;
  }

  async #run(): Promise<void> {
    let version: string | undefined;
    while (!this.#abort.signal.aborted) {
      this.#attempt = new AbortController();
      const { signal } = this.#attempt;
      let openedMs: number | undefined;
      try {
        version ??= await this.#relist(signal);
        if (!this.#failedToWatch) this.#recovered();
        const startedMs = this.#options.clock.now();
        let heard = false;
        const onOpen = (): void => {
          openedMs = this.#options.clock.now();
          this.#setFollowing(!signal.aborted);
        };
        const events = this.#options.client.watch(this.#options.type, { ...this.#list, resourceVersion: version, signal, onOpen });
        for await (const event of events) {
          if (signal.aborted) break;
          version = this.#take(event) ?? version;
          heard = true;
        }
        if (signal.aborted) continue;
        if (heard || this.#options.clock.now() - startedMs >= shortWatchMs) this.#recovered();
        else {
          this.#failedToWatch = true;
          await this.#waitAfterFailure(undefined, signal);
        }
      } catch (error) {
        if (signal.aborted) continue;
        // What was open for a while had worked, also when there was nothing to say: its end is a first failure.
        if (openedMs !== undefined && this.#options.clock.now() - openedMs >= shortWatchMs) this.#recovered();
        this.#failedToWatch = version !== undefined;
        if (needsRelist(error)) version = undefined;
        await this.#waitAfterFailure(error, signal);
      }
    }
    this.#setFollowing(false);
  }

  #setFollowing(following: boolean): void {
    if (following === this.#isFollowing) return;
    this.#isFollowing = following;
    this.#options.onFollowing?.();
  }

  /** @throws Error when the signal was aborted before the list came; nothing has changed then. */
  async #relist(signal: AbortSignal): Promise<string> {
    const { items, resourceVersion } = await unlessAborted(this.#options.client.list(this.#options.type, this.#list), signal);
    signal.throwIfAborted();
    this.#contact();
    const before = this.#cache;
    this.#cache = new Map(items.map((object) => [keyOf(object), object]));
    this.#isSynced = true;
    this.#resolveSynced();
    for (const [key, object] of this.#cache) {
      const previous = before.get(key);
      if (previous === undefined) this.#tell({ kind: "added", object });
      else if (previous.metadata.uid !== object.metadata.uid) {
        this.#tell({ kind: "deleted", object: previous, previous });
        this.#tell({ kind: "added", object });
      } else if (previous.metadata.resourceVersion !== object.metadata.resourceVersion) this.#tell({ kind: "updated", object, previous });
    }
    for (const [key, previous] of before) if (!this.#cache.has(key)) this.#tell({ kind: "deleted", object: previous, previous });
    return resourceVersion;
  }

  /** Gives the version to resume from. */
  #take(event: WatchEvent<T>): string | undefined {
    this.#contact();
    this.#recovered();
    // A bookmark without a version would make the next watch start anywhere.
    if (event.type === "BOOKMARK") return event.resourceVersion === "" ? undefined : event.resourceVersion;
    const { object } = event;
    const key = keyOf(object);
    const previous = this.#cache.get(key);
    if (event.type === "DELETED") {
      this.#cache.delete(key);
      if (previous !== undefined) this.#tell({ kind: "deleted", object, previous });
    } else {
      this.#cache.set(key, object);
      if (previous === undefined) this.#tell({ kind: "added", object });
      else if (previous.metadata.resourceVersion !== object.metadata.resourceVersion) this.#tell({ kind: "updated", object, previous });
    }
    return object.metadata.resourceVersion;
  }

  #contact(): void {
    this.#lastContactMs = this.#options.clock.now();
  }

  #recovered(): void {
    this.#failedToWatch = false;
    if (this.#isWarned) this.#options.log.info("watchRecovered", { kind: this.#options.type.kind, failures: this.#failures });
    this.#isWarned = false;
    this.#failures = 0;
  }

  #tell(change: Change<T>): void {
    try {
      this.#options.onChange?.(change);
    } catch (error) {
      // A listener's mistake about one object must not end the watch for all others.
      this.#options.log.error("changeHandlerFailed", { kind: this.#options.type.kind, key: keyOf(change.object), error });
    }
  }

  async #waitAfterFailure(error: unknown, signal: AbortSignal): Promise<void> {
    // One failure is an open watch that was cut, idle ones are now and then: only when the next try fails too, something is wrong.
    if (this.#failures > 0) this.#setFollowing(false);
    const { clock, random, log, type } = this.#options;
    const full = Math.min(maxBackoffMs, baseBackoffMs * 2 ** Math.min(this.#failures, 20));
    const asked = error instanceof KubeError ? (error.retryAfterSeconds ?? 0) * 1000 : 0;
    const waitMs = Math.max(full / 2 + (full / 2) * random.next(), Math.min(asked, maxBackoffMs));
    this.#failures += 1;
    const fields = { kind: type.kind, waitMs: Math.round(waitMs), reason: error ?? "the server closed the watch at once" };
    // One warning per outage; the recovery is logged too. Where nothing happens and no bookmark comes, silence is no outage.
    const isIdle = this.#failures === 1 && error instanceof KubeError && error.reason === "Silent";
    if (this.#isWarned || isIdle) log.debug("watchFailed", fields);
    else log.warn("watchFailed", fields);
    this.#isWarned ||= !isIdle;
    await sleep(clock, waitMs, signal);
  }
}

/** The value of `promise`. @throws Error at once when `signal` is aborted; whatever the promise comes to is then ignored. */
function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(new Error("aborted"));
    signal.addEventListener("abort", onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", onAbort));
  });
}

/**
 * Whether to list anew rather than to resume. 410: the version is too old; 504 and other answers: the server doesn't know
 * it (an etcd restored from a backup is behind us). No answer, too busy, broken: the version is as good as before.
 */
function needsRelist(error: unknown): boolean {
  if (!(error instanceof KubeError)) return true;
  return ![0, 429, 500, 502, 503].includes(error.code);
}

/** "namespace/name", or "name" for cluster-scoped kinds. */
export function keyOf(object: KubeObject): string {
  const { namespace, name } = object.metadata;
  return namespace === undefined ? name : `${namespace}/${name}`;
}
