/**
 * The door to the API server, as the rest of Herald sees it. `http-client.ts` is the real one, `fake-client.ts` its twin;
 * both pass one compliance suite.
 */
import type { KubeObject, ResourceType } from "./objects.ts";

/** Names one object. `namespace` is absent for cluster-scoped kinds. */
export interface ObjectName {
  readonly namespace?: string;
  readonly name: string;
}

/** What the API server refused, or why it could not be reached. */
export class KubeError extends Error {
  override readonly name = "KubeError";
  /** HTTP status (404, 409, 410, 422, 429, 5xx); 0 when no answer came. */
  readonly code: number;
  /** `reason` of the Status object, e.g. "Conflict", "AlreadyExists"; "Unreachable" when no answer came, "Silent" when a watch said nothing for long, "NotSent" when nothing was asked. */
  readonly reason: string;
  /** Seconds the server asks to wait (Retry-After), when it did. */
  readonly retryAfterSeconds: number | undefined;

  constructor(options: { code: number; reason: string; message: string; retryAfterSeconds?: number | undefined }) {
    super(options.message);
    this.code = options.code;
    this.reason = options.reason;
    this.retryAfterSeconds = options.retryAfterSeconds;
  }
}

export interface ListOptions {
  /** Restricts to one namespace; absent means all. */
  readonly namespace?: string;
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
  /** Applied to every object as it arrives (of a list: page by page), so that what is stripped never piles up. */
  readonly transform?: (object: KubeObject) => KubeObject;
}

export interface WatchOptions extends ListOptions {
  readonly resourceVersion: string;
  /** Ends the watch. */
  readonly signal: AbortSignal;
  /** Called when the API server has accepted the watch: from now on what happens is told. */
  readonly onOpen?: () => void;
}

export type WatchEvent<T> =
  | { readonly type: "ADDED" | "MODIFIED" | "DELETED"; readonly object: T }
  | { readonly type: "BOOKMARK"; readonly resourceVersion: string };

export interface WriteOptions {
  /**
   * Asked as the last thing before the request is handed to the operating system, after every wait for a turn or a
   * connection. When it says false nothing is sent, and the call rejects with code 0, reason "NotSent".
   */
  readonly maySend?: () => boolean;
  /**
   * The `timeout` that the request carries: past it the API server makes no change any more, and answers 504. Whole
   * milliseconds; absent, the server's own (60 s) is in effect.
   */
  readonly timeoutMs?: number;
}

export interface PatchOptions extends WriteOptions {
  readonly subresource?: "status";
  /** JSON merge patch (RFC 7386, the default), strategic merge patch, or server-side apply. */
  readonly type?: "merge" | "strategic" | "apply";
  readonly fieldManager?: string;
  /** Server-side apply only: take ownership of conflicting fields. */
  readonly force?: boolean;
}

export interface DeleteOptions extends WriteOptions {
  /** Deletes only this incarnation of the object. */
  readonly uid?: string;
}

/** What a call rejects with when `maySend` said no. */
export function notSent(): KubeError {
  return new KubeError({ code: 0, reason: "NotSent", message: "the request was not sent: its sender may not write any more" });
}

/** Every call rejects with KubeError. A caller that wants a timeout shorter than the client's own passes a signal. */
export interface KubeClient {
  get<T extends KubeObject>(type: ResourceType<T>, name: ObjectName): Promise<T>;
  list<T extends KubeObject>(type: ResourceType<T>, options?: ListOptions): Promise<{ items: T[]; resourceVersion: string }>;
  /** Ends (returns) when the server closes the watch; throws KubeError 410 when the version is too old. */
  watch<T extends KubeObject>(type: ResourceType<T>, options: WatchOptions): AsyncIterable<WatchEvent<T>>;
  create<T extends KubeObject>(type: ResourceType<T>, object: T, options?: WriteOptions): Promise<T>;
  /** A `metadata.resourceVersion` inside the patch makes it conditional (409 when the object has moved on). */
  patch<T extends KubeObject>(type: ResourceType<T>, name: ObjectName, patch: object, options?: PatchOptions): Promise<T>;
  /** Replaces the object (PUT); `metadata.resourceVersion` makes it conditional. */
  replace<T extends KubeObject>(type: ResourceType<T>, object: T, options?: WriteOptions): Promise<T>;
  delete<T extends KubeObject>(type: ResourceType<T>, name: ObjectName, options?: DeleteOptions): Promise<void>;
  /** Resolves when the API server answers something cheap within so many milliseconds; rights do not matter. Waits for no other call. */
  probe(timeoutMs: number): Promise<void>;
}
