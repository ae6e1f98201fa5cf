/**
 * The real door to the API server: seven verbs and a probe over `http-connection.ts`, with JSON only.
 */
import { KubeConfig } from "@kubernetes/client-node/dist/config.js";
import type { Clock } from "../sys/clock.ts";
import { systemRandom, type Random } from "../sys/random.ts";
import { KubeError } from "./client.ts";
import type { DeleteOptions, KubeClient, ListOptions, ObjectName, PatchOptions, WatchEvent, WatchOptions, WriteOptions } from "./client.ts";
import { HttpConnection, statusError, toKubeError, type HttpRequest } from "./http-connection.ts";
import { LineSplitter } from "./line-splitter.ts";
import type { KubeObject, ResourceType } from "./objects.ts";
import { RequestLimiter } from "./request-limiter.ts";

export interface KubeClientOptions {
  /** Where the server is and who we are: `loadKubeConfig()`. */
  readonly kubeConfig: KubeConfig;
  /** e.g. "herald-controller/0.1.0". */
  readonly userAgent: string;
  readonly clock: Clock;
  readonly random?: Random;
  /** For everything but watches; 10,000 by default. */
  readonly requestTimeoutMs?: number;
  /** Longest silence while a connection with TLS is made; 10,000 by default. */
  readonly connectMs?: number;
  /** Requests in flight at once, watches not counted; 16 by default. */
  readonly maxInFlight?: number;
  /** A watch that is silent for so long is taken for dead; bookmarks come every minute, where something happens or etcd tells its progress. 150,000 by default. */
  readonly watchIdleMs?: number;
}

/** Objects per page of a list. */
const pageSize = 500;
/** A watch is asked to end after 5 to 10 minutes, so that load spreads over the API servers again. */
const watchSeconds = 300;

/** KUBECONFIG, ~/.kube/config, or the pod's service account, in this order. @throws Error when a file is unreadable */
export function loadKubeConfig(): KubeConfig {
  const kubeConfig = new KubeConfig();
  kubeConfig.loadFromDefault();
  return kubeConfig;
}

/** Connects nothing yet: the first call does. `close` cuts all connections, and what they had yet to deliver is lost. */
export function createKubeClient(options: KubeClientOptions): KubeClient & { close(): void } {
  return new HttpKubeClient(options);
}

interface WriteRequest {
  readonly method: "POST" | "PUT" | "PATCH" | "DELETE";
  readonly path: string;
  readonly query?: Readonly<Record<string, string | undefined>>;
  /** JSON when nothing is said. */
  readonly contentType?: string;
  readonly body: string;
}

interface ListAnswer {
  readonly metadata?: { readonly resourceVersion?: string; readonly continue?: string };
  readonly items?: readonly KubeObject[];
}

class HttpKubeClient implements KubeClient {
  readonly #connection: HttpConnection;
  readonly #limiter: RequestLimiter;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #requestTimeoutMs: number;
  readonly #watchIdleMs: number;

  constructor(options: KubeClientOptions) {
    this.#connection = new HttpConnection(options);
    this.#limiter = new RequestLimiter(options.maxInFlight ?? 16);
    this.#clock = options.clock;
    this.#random = options.random ?? systemRandom;
    this.#requestTimeoutMs = options.requestTimeoutMs ?? 10_000;
    this.#watchIdleMs = options.watchIdleMs ?? 150_000;
  }

  close(): void {
    this.#connection.close();
  }

  get<T extends KubeObject>(type: ResourceType<T>, name: ObjectName): Promise<T> {
    return this.#ask<T>(type, { method: "GET", path: objectPath(type, name) });
  }

  async list<T extends KubeObject>(type: ResourceType<T>, options: ListOptions = {}): Promise<{ items: T[]; resourceVersion: string }> {
    try {
      return await this.#pages(type, options, pageSize);
    } catch (error) {
      // The pages took so long that the first one's version is forgotten: all at once then.
      if (error instanceof KubeError && error.code === 410) return this.#pages(type, options, undefined);
      throw error;
    }
  }

  async #pages<T extends KubeObject>(type: ResourceType<T>, options: ListOptions, limit: number | undefined): Promise<{ items: T[]; resourceVersion: string }> {
    const items: T[] = [];
    const { transform = (object: KubeObject): KubeObject => object } = options;
    for (let next: string | undefined = ""; ; ) {
      const query = { ...selection(options), limit: limit === undefined ? undefined : String(limit), continue: next === "" ? undefined : next };
      const answer: ListAnswer = await this.#ask<ListAnswer>(type, { method: "GET", path: collectionPath(type, options.namespace) + queryOf(query) });
      // A list of `type` holds objects of its shape; `transform` keeps it.
      for (const object of answer.items ?? []) items.push(transform(object) as T);
      next = answer.metadata?.continue;
      if (next === undefined || next === "") return { items, resourceVersion: answer.metadata?.resourceVersion ?? "" };
    }
  }

  async *watch<T extends KubeObject>(type: ResourceType<T>, options: WatchOptions): AsyncGenerator<WatchEvent<T>> {
    const { signal, resourceVersion, transform = (object: KubeObject): KubeObject => object } = options;
    const timeoutSeconds = String(Math.round(watchSeconds * (1 + this.#random.next())));
    const query = { ...selection(options), watch: "1", allowWatchBookmarks: "true", resourceVersion, timeoutSeconds };
    const path = collectionPath(type, options.namespace) + queryOf(query);
    try {
      const response = await this.#connection.stream({ method: "GET", path, timeoutMs: this.#requestTimeoutMs, signal });
      options.onOpen?.();
      const silence = new Silence({ clock: this.#clock, ms: this.#watchIdleMs, server: this.#connection.server, onSilent: (error) => void response.destroy(error) });
      try {
        const splitter = new LineSplitter();
        for await (const chunk of response as AsyncIterable<Buffer>) {
          silence.broken();
          for (const line of splitter.push(chunk)) yield watchEvent<T>(line, transform);
        }
      } finally {
        silence.cancel();
        response.destroy();
      }
    } catch (error) {
      // An ended watch is no failure for the one who ended it.
      if (signal.aborted) return;
      throw toKubeError(error, this.#connection.server);
    }
  }

  create<T extends KubeObject>(type: ResourceType<T>, object: T, options: WriteOptions = {}): Promise<T> {
    const body = JSON.stringify(identified(type, object));
    return this.#write<T>(type, { method: "POST", path: collectionPath(type, object.metadata.namespace), body }, options);
  }

  patch<T extends KubeObject>(type: ResourceType<T>, name: ObjectName, patch: object, options: PatchOptions = {}): Promise<T> {
    const apply = options.type === "apply";
    const query = {
      fieldManager: options.fieldManager ?? (apply ? "herald" : undefined),
      force: apply && options.force === true ? "true" : undefined,
    };
    const path = objectPath(type, name) + (options.subresource === undefined ? "" : `/${options.subresource}`);
    // Server-side apply wants the kind and the name in the body.
    const body = JSON.stringify(apply ? { apiVersion: apiVersion(type), kind: type.kind, ...patch, metadata: { ...Reflect.get(patch, "metadata"), ...name } } : patch);
    return this.#write<T>(type, { method: "PATCH", path, query, contentType: patchTypes[options.type ?? "merge"], body }, options);
  }

  replace<T extends KubeObject>(type: ResourceType<T>, object: T, options: WriteOptions = {}): Promise<T> {
    const body = JSON.stringify(identified(type, object));
    return this.#write<T>(type, { method: "PUT", path: objectPath(type, object.metadata), body }, options);
  }

  async delete<T extends KubeObject>(type: ResourceType<T>, name: ObjectName, options: DeleteOptions = {}): Promise<void> {
    const preconditions = options.uid === undefined ? {} : { preconditions: { uid: options.uid } };
    const body = JSON.stringify({ apiVersion: "v1", kind: "DeleteOptions", ...preconditions });
    await this.#write(type, { method: "DELETE", path: objectPath(type, name), body }, options);
  }

  async probe(timeoutMs: number): Promise<void> {
    try {
      await this.#connection.text({ method: "GET", path: "/version", timeoutMs });
    } catch (error) {
      // A refusal is an answer; 5xx may be a proxy's word about an API server that is away.
      if (!(error instanceof KubeError && error.code >= 400 && error.code < 500)) throw error;
    }
  }

  #write<R>(type: { plural: string }, request: WriteRequest, { maySend, timeoutMs }: WriteOptions): Promise<R> {
    const { method, body, query = {}, contentType = "application/json" } = request;
    const path = request.path + queryOf({ ...query, timeout: timeoutMs === undefined ? undefined : `${timeoutMs}ms` });
    return this.#ask<R>(type, { method, path, headers: { "content-type": contentType }, body, ...(maySend === undefined ? {} : { maySend }) });
  }

  #ask<R>(type: { plural: string }, request: Omit<HttpRequest, "timeoutMs">): Promise<R> {
    return this.#limiter.run(type.plural === "events" ? "background" : "normal", async () => {
      const text = await this.#connection.text({ ...request, timeoutMs: this.#requestTimeoutMs });
      try {
        // The API server answers with the object or list asked for.
        return JSON.parse(text) as R;
      } catch (error) {
        throw toKubeError(error, this.#connection.server);
      }
    });
  }
}

const patchTypes = {
  merge: "application/merge-patch+json",
  strategic: "application/strategic-merge-patch+json",
  apply: "application/apply-patch+yaml",
} as const;

interface SilenceOptions {
  readonly clock: Clock;
  readonly ms: number;
  /** Who is silent, for the message. */
  readonly server: string;
  readonly onSilent: (error: KubeError) => void;
}

/** Calls `onSilent` when nothing has broken the silence for `ms`. */
class Silence {
  readonly #options: SilenceOptions;
  #timer: { cancel(): void };
  #brokenAt: number;

  constructor(options: SilenceOptions) {
    this.#options = options;
    this.#brokenAt = options.clock.now();
    this.#timer = this.#arm(options.ms);
  }

  broken(): void {
    this.#brokenAt = this.#options.clock.now();
  }

  cancel(): void {
    this.#timer.cancel();
  }

  /** One timer per period rather than one per event: when it fires, what is left since the last event is waited for. */
  #arm(ms: number): { cancel(): void } {
    return this.#options.clock.after(ms, () => {
      const left = this.#brokenAt + this.#options.ms - this.#options.clock.now();
      if (left > 0) this.#timer = this.#arm(left);
      else this.#options.onSilent(new KubeError({ code: 0, reason: "Silent", message: `API server ${this.#options.server}: a watch was silent for ${this.#options.ms / 1000} s` }));
    });
  }
}

function watchEvent<T extends KubeObject>(line: string, transform: (object: KubeObject) => KubeObject): WatchEvent<T> {
  const event = JSON.parse(line) as { type: string; object: KubeObject & { code?: number } };
  switch (event.type) {
    case "ADDED":
    case "MODIFIED":
    case "DELETED":
      // A watch of a type brings objects of its shape; `transform` keeps it.
      return { type: event.type, object: transform(event.object) as T };
    case "BOOKMARK":
      return { type: "BOOKMARK", resourceVersion: event.object.metadata.resourceVersion ?? "" };
    default:
      throw statusError({ code: event.object.code ?? 500, text: JSON.stringify(event.object) });
  }
}

function apiVersion(type: { group: string; version: string }): string {
  return type.group === "" ? type.version : `${type.group}/${type.version}`;
}

function identified<T extends KubeObject>(type: ResourceType<T>, object: T): T {
  return { ...object, apiVersion: apiVersion(type), kind: type.kind };
}

function collectionPath(type: { group: string; version: string; plural: string; namespaced: boolean }, namespace: string | undefined): string {
  const root = type.group === "" ? `/api/${type.version}` : `/apis/${type.group}/${type.version}`;
  return type.namespaced && namespace !== undefined ? `${root}/namespaces/${encodeURIComponent(namespace)}/${type.plural}` : `${root}/${type.plural}`;
}

function objectPath(type: { group: string; version: string; plural: string; namespaced: boolean }, name: ObjectName): string {
  return `${collectionPath(type, name.namespace)}/${encodeURIComponent(name.name)}`;
}

function selection(options: ListOptions): Record<string, string | undefined> {
  return { labelSelector: options.labelSelector, fieldSelector: options.fieldSelector };
}

function queryOf(parameters: Readonly<Record<string, string | undefined>>): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) if (value !== undefined) query.set(name, value);
  return query.size === 0 ? "" : `?${query.toString()}`;
}
