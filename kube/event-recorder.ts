/**
 * Kubernetes events, written in the background. What the user reads in `kubectl describe` must never slow down or break
 * what the process is for: the queue is bounded, two writers serve it, and what does not fit is dropped and counted.
 */
import { type Clock, rfc3339Seconds, sleep } from "../sys/clock.ts";
import type { Logger } from "../sys/log.ts";
import type { Random } from "../sys/random.ts";
import { KubeError, type KubeClient } from "./client.ts";
import { events, type CoreEvent, type KubeObject, type ResourceType } from "./objects.ts";

/** The object an event is about. */
export type ObjectReference = CoreEvent["involvedObject"];

export interface EventRecorderOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** `source.component`, e.g. "metallb-controller". */
  readonly component: string;
  /** `source.host`: the node's or the pod's name. */
  readonly host?: string;
}

export interface EventBody {
  readonly type: "Normal" | "Warning";
  /** CamelCase. */
  readonly reason: string;
  /** At most 1,024 characters are kept, which is what the API takes. */
  readonly message: string;
}

/** Events waiting to be written, at most; further ones are dropped. */
export const maxQueuedEvents = 10_000;
/** Events remembered for counting repeats, at most; the one longest unrepeated is forgotten first. */
export const maxRememberedEvents = 4_096;
/** The same event again within this time raises the count of the first one instead of making another. */
export const repeatWindowMs = 600_000;
const maxMessageLength = 1_024;
const writers = 2;
const attempts = 4;
const firstRetryMs = 500;

/** One distinct event: told apart by object, type, reason and message. */
interface Remembered {
  readonly reference: ObjectReference;
  readonly body: EventBody;
  readonly firstWallMs: number;
  lastWallMs: number;
  lastMs: number;
  count: number;
  /** The count that the API server knows; 0 before the object exists. */
  written: number;
  /** Name of the Event object. */
  readonly name: string;
  queued: boolean;
}

/** Writes Kubernetes events in the background. Never blocks, never throws; drops and counts when it can't keep up. */
export class EventRecorder {
  readonly #options: EventRecorderOptions;
  readonly #remembered = new Map<string, Remembered>();
  readonly #queue: Remembered[] = [];
  #busy = 0;
  #dropped = 0;
  #flushWaiters: (() => void)[] = [];

  constructor(options: EventRecorderOptions) {
    this.#options = options;
  }

  /** Records an event; `reference` comes from `referenceTo`. */
  event(reference: ObjectReference, given: EventBody): void {
    const { clock } = this.#options;
    // Cut before it is remembered, for messages may quote what users wrote.
    const body = { ...given, message: given.message.slice(0, maxMessageLength) };
    const key = JSON.stringify([reference.kind, reference.namespace, reference.name, reference.uid, body.type, body.reason, body.message]);
    let entry = this.#remembered.get(key);
    this.#remembered.delete(key);
    if (entry === undefined || clock.now() - entry.lastMs > repeatWindowMs) entry = this.#newEntry(reference, body);
    entry.count += 1;
    entry.lastMs = clock.now();
    entry.lastWallMs = clock.wallMs();
    // Deleting and setting moves the entry to the end, so that the map's first one is the longest unrepeated.
    this.#remembered.set(key, entry);
    if (this.#remembered.size > maxRememberedEvents) this.#forgetOldest();
    this.#enqueue(entry);
  }

  /** Resolves when everything recorded so far was written or given up. */
  flush(): Promise<void> {
    if (this.#queue.length === 0 && this.#busy === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#flushWaiters.push(resolve);
    });
  }

  /** Events dropped since the start because the queue was full or the API server refused them. */
  get dropped(): number {
    return this.#dropped;
  }

  #newEntry(reference: ObjectReference, body: EventBody): Remembered {
    const { clock, random } = this.#options;
    const suffix = Math.floor(random.next() * 2 ** 48).toString(16).padStart(12, "0");
    return {
      reference,
      body,
      firstWallMs: clock.wallMs(),
      lastWallMs: clock.wallMs(),
      lastMs: clock.now(),
      count: 0,
      written: 0,
      name: `${reference.name.slice(0, 200)}.${suffix}`,
      queued: false,
    };
  }

  #forgetOldest(): void {
    const oldest = this.#remembered.keys().next();
    if (oldest.done !== true) this.#remembered.delete(oldest.value);
  }

  #enqueue(entry: Remembered): void {
    if (entry.queued) return;
    if (this.#queue.length >= maxQueuedEvents) {
      this.#dropped += 1;
      return;
    }
    entry.queued = true;
    this.#queue.push(entry);
    if (this.#busy < writers) {
      this.#busy += 1;
      void this.#drain();
    }
  }

  async #drain(): Promise<void> {
    // The caller's turn ends first: recording many events in a loop makes one write per distinct event.
    await Promise.resolve();
    for (let entry = this.#queue.shift(); entry !== undefined; entry = this.#queue.shift()) {
      entry.queued = false;
      await this.#write(entry);
    }
    this.#busy -= 1;
    if (this.#busy > 0) return;
    const waiters = this.#flushWaiters;
    this.#flushWaiters = [];
    for (const resolve of waiters) resolve();
  }

  async #write(entry: Remembered): Promise<void> {
    const { clock, log, random } = this.#options;
    for (let attempt = 1; entry.written < entry.count; attempt += 1) {
      const count = entry.count;
      try {
        await this.#send(entry, count);
        entry.written = count;
        return;
      } catch (error) {
        const code = error instanceof KubeError ? error.code : -1;
        if (code === 404 && entry.written > 0) {
          // The API server has forgotten the event (they live for an hour): make it anew.
          entry.written = 0;
          continue;
        }
        const passing = code === 0 || code === 429 || code >= 500;
        if (!passing || attempt >= attempts) {
          this.#dropped += 1;
          log.debug("eventDropped", { reason: entry.body.reason, object: entry.reference.name, error });
          return;
        }
        const asked = error instanceof KubeError ? (error.retryAfterSeconds ?? 0) * 1000 : 0;
        await sleep(clock, Math.max(asked, firstRetryMs * 2 ** (attempt - 1) * (0.5 + random.next())));
      }
    }
  }

  async #send(entry: Remembered, count: number): Promise<void> {
    const { client, component, host } = this.#options;
    const namespace = entry.reference.namespace ?? "default";
    const lastTimestamp = rfc3339Seconds(entry.lastWallMs);
    if (entry.written > 0) {
      await client.patch(events, { namespace, name: entry.name }, { count, lastTimestamp });
      return;
    }
    try {
      await client.create(events, {
        apiVersion: "v1",
        kind: "Event",
        metadata: { namespace, name: entry.name },
        involvedObject: entry.reference,
        ...entry.body,
        source: { component, ...(host === undefined ? {} : { host }) },
        firstTimestamp: rfc3339Seconds(entry.firstWallMs),
        lastTimestamp,
        count,
        reportingComponent: component,
        ...(host === undefined ? {} : { reportingInstance: host }),
      });
    } catch (error) {
      // An earlier attempt whose answer was lost has made it.
      if (!(error instanceof KubeError && error.reason === "AlreadyExists")) throw error;
    }
  }
}

/** The reference to an object, for `EventRecorder.event`. */
export function referenceTo<T extends KubeObject>(type: ResourceType<T>, object: T): ObjectReference {
  const { namespace, name, uid, resourceVersion } = object.metadata;
  return {
    apiVersion: type.group === "" ? type.version : `${type.group}/${type.version}`,
    kind: type.kind,
    name,
    ...(namespace === undefined ? {} : { namespace }),
    ...(uid === undefined ? {} : { uid }),
    ...(resourceVersion === undefined ? {} : { resourceVersion }),
  };
}
