/**
 * An API server in memory: resource versions, conflicts, the status subresource, patches, watches with history. The twin of
 * `http-client.ts`; both pass `client-compliance.ts`. What it leaves out: admission, defaulting, validation, garbage
 * collection, field ownership of server-side apply.
 */
import { isDeepStrictEqual } from "node:util";
import { KubeError, notSent } from "./client.ts";
import type { DeleteOptions, KubeClient, ListOptions, ObjectName, PatchOptions, WatchEvent, WatchOptions, WriteOptions } from "./client.ts";
import { FakeWatches } from "./fake-watches.ts";
import { mergePatch, strategicMergePatch } from "./fake-patch.ts";
import { matchesList } from "./fake-selectors.ts";
import type { KubeObject, ResourceType } from "./objects.ts";

export type Verb = "get" | "list" | "watch" | "create" | "patch" | "replace" | "delete";

/** Which calls `failNext` hits; what is absent matches everything. */
export interface Failure {
  readonly verb?: Verb;
  readonly plural?: string;
  /** How many matching calls fail; 1 by default. */
  readonly times?: number;
  readonly error: KubeError;
}

/** One call that a test can look at afterwards. */
export interface Call {
  readonly verb: Verb;
  readonly plural: string;
  readonly name?: ObjectName;
  readonly body?: object;
  readonly options?: PatchOptions;
}

/** Kinds with a status subresource: their main endpoint ignores `status`. */
const withStatus = new Set(["services", "nodes", "pods", "namespaces", "deployments", "ipaddresspools", "servicel2statuses", "configurationstates", "bgpsessionstates"]);

/** An API server in memory, for tests. Objects given and taken are copies. */
export class FakeKubeClient implements KubeClient {
  /** Every call so far, failed ones too. */
  readonly calls: Call[] = [];
  readonly #objects = new Map<string, Map<string, KubeObject>>();
  readonly #watches = new FakeWatches();
  readonly #failures: { readonly failure: Failure; left: number }[] = [];
  readonly #answers = new Map<string, (object: KubeObject) => KubeObject>();
  #version = 1;
  #serial = 0;
  #down = false;
  #hanging = false;

  /** Creates or replaces an object, status and all, without the rules of the API; watchers see it. Returns what is stored. */
  put<T extends KubeObject>(type: ResourceType<T>, object: T): T {
    const existing = this.#table(type).get(keyOf(object.metadata));
    const stored = structuredClone(object);
    stored.metadata.uid ??= existing?.metadata.uid ?? this.#newUid();
    stored.metadata.creationTimestamp ??= existing?.metadata.creationTimestamp ?? "2026-01-01T00:00:00Z";
    return this.#store(type, stored);
  }

  /** The stored object, synchronously; undefined when there is none. */
  peek<T extends KubeObject>(type: ResourceType<T>, name: ObjectName): T | undefined {
    return structuredClone(this.#table(type).get(keyOf(name)));
  }

  /** The stored objects, synchronously, in the order of creation. */
  peekAll<T extends KubeObject>(type: ResourceType<T>): T[] {
    return structuredClone([...this.#table(type).values()]);
  }

  /** Removes an object without the rules of the API; watchers see it. */
  remove<T extends KubeObject>(type: ResourceType<T>, name: ObjectName): void {
    const table = this.#table(type);
    const existing = table.get(keyOf(name));
    if (existing === undefined) return;
    table.delete(keyOf(name));
    this.#version += 1;
    const object = structuredClone(existing);
    object.metadata.resourceVersion = String(this.#version);
    this.#watches.record({ version: this.#version, typeKey: typeKey(type), object, previous: existing, deleted: true });
  }

  /** The next matching calls reject. */
  failNext(failure: Failure): void {
    this.#failures.push({ failure, left: failure.times ?? 1 });
  }

  /** Creations of this type are questions: `answer` gives what comes back, and nothing is stored. */
  answer<T extends KubeObject>(type: ResourceType<T>, answer: (question: T) => T): void {
    // Only objects of this type are created under its key.
    this.#answers.set(typeKey(type), (object) => answer(object as T));
  }

  /** While true every call rejects (code 0) and open watches end with that error. */
  outage(down: boolean): void {
    this.#down = down;
    if (down) this.#watches.end(unreachable());
  }

  /**
   * While true nothing comes back, as from a server behind a cut cable: calls reject (code 0, the client's own timeout), and
   * the watches that are open by then say nothing any more, not even afterwards.
   */
  hang(hanging: boolean): void {
    this.#hanging = hanging;
    if (hanging) this.#watches.mute();
  }

  /** Ends every open watch, as a server does at its timeout, or with an error. */
  endWatches(error?: KubeError): void {
    this.#watches.end(error);
  }

  /** Forgets the history: a watch from an older version gets 410. */
  compact(): void {
    this.#watches.compact(this.#version);
  }

  /** Sends a bookmark to every watch. */
  bookmark(): void {
    this.#watches.bookmark(String(this.#version));
  }

  /** Number of open watches. */
  get openWatches(): number {
    return this.#watches.open;
  }

  async get<T extends KubeObject>(type: ResourceType<T>, name: ObjectName): Promise<T> {
    await this.#enter({ verb: "get", plural: type.plural, name });
    return structuredClone(this.#find(type, name));
  }

  async list<T extends KubeObject>(type: ResourceType<T>, options: ListOptions = {}): Promise<{ items: T[]; resourceVersion: string }> {
    await this.#enter({ verb: "list", plural: type.plural });
    const items = [...this.#table(type).values()].filter((object) => matchesList(object, options)).map((object) => structuredClone(object));
    const { transform } = options;
    // `transform` keeps the type, as ListOptions promises.
    return { items: transform === undefined ? items : items.map((object) => transform(object) as T), resourceVersion: String(this.#version) };
  }

  async *watch<T extends KubeObject>(type: ResourceType<T>, options: WatchOptions): AsyncGenerator<WatchEvent<T>> {
    await this.#enter({ verb: "watch", plural: type.plural });
    const { transform } = options;
    for await (const event of this.#watches.follow(typeKey(type), options)) {
      if (event.type === "BOOKMARK") yield event;
      else {
        const copy = structuredClone(event.object);
        // The table of this type holds only objects of its shape, and `transform` keeps it.
        yield { type: event.type, object: (transform === undefined ? copy : transform(copy)) as T };
      }
    }
  }

  async create<T extends KubeObject>(type: ResourceType<T>, object: T, options: WriteOptions = {}): Promise<T> {
    await this.#enter({ verb: "create", plural: type.plural, name: nameOf(object), body: asJson(object) }, options);
    const answer = this.#answers.get(typeKey(type));
    // An answer to a question of this type is an object of it.
    if (answer !== undefined) return structuredClone(answer(asJson(object))) as T;
    return structuredClone(this.#create(type, asJson(object)));
  }

  async patch<T extends KubeObject>(type: ResourceType<T>, name: ObjectName, patch: object, options: PatchOptions = {}): Promise<T> {
    await this.#enter({ verb: "patch", plural: type.plural, name, body: asJson(patch), options }, options);
    const copy = asJson(patch);
    const existing = this.#table(type).get(keyOf(name));
    if (existing === undefined && options.type === "apply" && options.subresource === undefined) {
      const fresh = copy as T;
      return structuredClone(this.#create(type, { ...fresh, metadata: { ...fresh.metadata, ...name } }));
    }
    const found = this.#find(type, name);
    if (options.type === "strategic" && type.group.includes(".") && !type.group.endsWith("k8s.io")) {
      throw new KubeError({ code: 415, reason: "UnsupportedMediaType", message: "custom resources take no strategic merge patch" });
    }
    const patched = (options.type === "strategic" ? strategicMergePatch(found, copy) : mergePatch(found, copy)) as T;
    return structuredClone(this.#update(type, { existing: found, next: patched, status: options.subresource === "status" }));
  }

  async replace<T extends KubeObject>(type: ResourceType<T>, object: T, options: WriteOptions = {}): Promise<T> {
    await this.#enter({ verb: "replace", plural: type.plural, name: nameOf(object), body: asJson(object) }, options);
    const existing = this.#find(type, object.metadata);
    return structuredClone(this.#update(type, { existing, next: asJson(object), status: false }));
  }

  async delete<T extends KubeObject>(type: ResourceType<T>, name: ObjectName, options: DeleteOptions = {}): Promise<void> {
    await this.#enter({ verb: "delete", plural: type.plural, name }, options);
    const existing = this.#find(type, name);
    if (options.uid !== undefined && options.uid !== existing.metadata.uid) throw conflict(type, `uid is ${existing.metadata.uid}, not ${options.uid}`);
    this.remove(type, name);
  }

  async probe(_timeoutMs: number): Promise<void> {
    await this.#reach();
  }

  async #reach(): Promise<void> {
    // Every call takes a turn of the microtask queue, as a real one takes time.
    await Promise.resolve();
    if (this.#down || this.#hanging) throw unreachable();
  }

  async #enter(call: Call, { maySend }: WriteOptions = {}): Promise<void> {
    this.calls.push(call);
    await this.#reach();
    if (maySend?.() === false) throw notSent();
    const index = this.#failures.findIndex(
      ({ failure }) => (failure.verb ?? call.verb) === call.verb && (failure.plural ?? call.plural) === call.plural,
    );
    const hit = this.#failures[index];
    if (hit === undefined) return;
    hit.left -= 1;
    if (hit.left <= 0) this.#failures.splice(index, 1);
    throw hit.failure.error;
  }

  #table<T extends KubeObject>(type: ResourceType<T>): Map<string, T> {
    const key = typeKey(type);
    const table = this.#objects.get(key) ?? new Map<string, KubeObject>();
    this.#objects.set(key, table);
    // A table is only ever filled through its own type.
    return table as Map<string, T>;
  }

  #find<T extends KubeObject>(type: ResourceType<T>, name: ObjectName): T {
    const existing = this.#table(type).get(keyOf(name));
    if (existing === undefined) throw new KubeError({ code: 404, reason: "NotFound", message: `${type.plural} "${name.name}" not found` });
    return existing;
  }

  #newUid(): string {
    this.#serial += 1;
    return `00000000-0000-4000-8000-${String(this.#serial).padStart(12, "0")}`;
  }

  #create<T extends KubeObject>(type: ResourceType<T>, object: T): T {
    const stored = structuredClone(object);
    const { metadata } = stored;
    if (metadata.resourceVersion !== undefined) throw new KubeError({ code: 500, reason: "InternalError", message: "resourceVersion should not be set on objects to be created" });
    const uid = this.#newUid();
    if (metadata.name === undefined || metadata.name === "") {
      if (metadata.generateName === undefined) throw new KubeError({ code: 422, reason: "Invalid", message: "name or generateName is required" });
      metadata.name = `${metadata.generateName}${uid.slice(-5)}`;
    }
    if (this.#table(type).has(keyOf(metadata))) throw new KubeError({ code: 409, reason: "AlreadyExists", message: `${type.plural} "${metadata.name}" already exists` });
    Object.assign(metadata, { uid, creationTimestamp: "2026-01-01T00:00:00Z" });
    if (countsGenerations(type)) metadata.generation = 1;
    if (withStatus.has(type.plural)) delete (stored as { status?: unknown }).status;
    return this.#store(type, stored);
  }

  #update<T extends KubeObject>(type: ResourceType<T>, options: { existing: T; next: T; status: boolean }): T {
    const { existing, next, status } = options;
    const asked = next.metadata.resourceVersion;
    if (asked !== undefined && asked !== existing.metadata.resourceVersion) {
      throw conflict(type, "the object has been modified; please apply your changes to the latest version and try again");
    }
    const before = existing as T & { spec?: unknown; status?: unknown };
    let merged = next as T & { spec?: unknown; status?: unknown };
    if (status) {
      // A custom resource's status endpoint changes nothing but the status; a built-in kind's takes metadata as well.
      const kept = type.group === "metallb.io" ? { ...before } : { ...before, metadata: merged.metadata };
      merged = withField(kept, "status", merged.status);
    } else if (withStatus.has(type.plural)) merged = withField(merged, "status", before.status);
    const { uid, creationTimestamp, generation, resourceVersion } = existing.metadata;
    merged.metadata = { ...merged.metadata, ...(uid === undefined ? {} : { uid }), ...(creationTimestamp === undefined ? {} : { creationTimestamp }) };
    if (resourceVersion !== undefined) merged.metadata.resourceVersion = resourceVersion;
    if (countsGenerations(type)) merged.metadata.generation = (generation ?? 1) + (isDeepStrictEqual(before.spec, merged.spec) ? 0 : 1);
    // A change that changes nothing gets no new version, and no watcher hears of it.
    if (isDeepStrictEqual(existing, merged)) return existing;
    return this.#store(type, merged);
  }

  #store<T extends KubeObject>(type: ResourceType<T>, object: T): T {
    const table = this.#table(type);
    const previous = table.get(keyOf(object.metadata));
    this.#version += 1;
    object.metadata.resourceVersion = String(this.#version);
    table.set(keyOf(object.metadata), object);
    this.#watches.record({ version: this.#version, typeKey: typeKey(type), object, previous, deleted: false });
    return object;
  }
}

/** The object as the API server reads it: without what is undefined, and with the numbers of `JSON.rawJSON` as numbers. */
function asJson<T extends object>(object: T): T {
  return JSON.parse(JSON.stringify(object)) as T;
}

function withField<T extends object>(object: T & { status?: unknown }, field: "status", value: unknown): T & { status?: unknown } {
  const copy = { ...object };
  if (value === undefined) delete copy[field];
  else copy[field] = value;
  return copy;
}

function countsGenerations(type: { group: string }): boolean {
  return type.group === "metallb.io" || type.group === "apps";
}

function typeKey(type: { group: string; plural: string }): string {
  return `${type.group}/${type.plural}`;
}

function keyOf(name: ObjectName): string {
  return name.namespace === undefined ? name.name : `${name.namespace}/${name.name}`;
}

function nameOf(object: KubeObject): ObjectName {
  const { namespace, name } = object.metadata;
  return namespace === undefined ? { name } : { namespace, name };
}

function conflict(type: { plural: string }, message: string): KubeError {
  return new KubeError({ code: 409, reason: "Conflict", message: `Operation cannot be fulfilled on ${type.plural}: ${message}` });
}

function unreachable(): KubeError {
  return new KubeError({ code: 0, reason: "Unreachable", message: "the API server is down" });
}
