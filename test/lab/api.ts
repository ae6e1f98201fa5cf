import { readFileSync } from "node:fs";
import type { IncomingMessage } from "node:http";
import { Agent, request } from "node:https";
import { createInterface } from "node:readline";
import { apiServerUrl, readToken } from "./control-plane.ts";
import { pause } from "./poll.ts";
import type { LabFolder } from "./state.ts";

/** The parts of Kubernetes objects that the lab reads; everything else passes through. */
export interface ApiObject {
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly uid?: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
    readonly resourceVersion?: string;
    readonly deletionTimestamp?: string;
    readonly deletionGracePeriodSeconds?: number;
    readonly ownerReferences?: readonly { readonly uid: string; readonly kind: string }[];
  };
}

/** The API server refused; `status` is the HTTP status, such as 404 or 409. */
export class ApiError extends Error {
  override readonly name = "ApiError";
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** What a list or a watch says of one object. */
export interface WatchEvent<T> {
  readonly type: "ADDED" | "MODIFIED" | "DELETED";
  readonly object: T;
}

/**
 * A door to the lab's API server for the player, which lives in the control host's namespace.
 * Small on purpose: the lab must not depend on the code it tests.
 */
export class Api {
  readonly #agent: Agent;
  readonly #token: string;

  constructor(folder: LabFolder) {
    this.#agent = new Agent({ keepAlive: true, maxSockets: 16, ca: readFileSync(folder.certificate) });
    this.#token = readToken(folder);
  }

  /**
   * One call. A body is sent as JSON, as a strategic merge patch when the method is PATCH.
   * @throws ApiError when the API server refuses, Error when it is not there.
   */
  async call(method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE", path: string, body?: unknown): Promise<unknown> {
    const response = await this.#open(method, path, body);
    let text = "";
    for await (const chunk of response.setEncoding("utf8")) text += String(chunk);
    const status = response.statusCode ?? 0;
    if (status >= 300) throw new ApiError(status, `${method} ${path}: ${status} ${text.slice(0, 300)}`);
    return text === "" ? undefined : JSON.parse(text);
  }

  /**
   * Tells of every object of a collection, and of its changes, for ever. A lost watch is followed
   * by a new list, whose missing objects are told as deleted.
   * @param collection path such as `/api/v1/pods`.
   */
  async follow<T extends ApiObject>(collection: string, tell: (event: WatchEvent<T>) => void): Promise<never> {
    const known = new Map<string, T>();
    for (;;) {
      try {
        await this.#listAndWatch(collection, known, tell);
      } catch {
        // The API server is down or restarts; the next list brings everything.
      }
      await pause(RELIST_PAUSE_MS);
    }
  }

  async #listAndWatch<T extends ApiObject>(collection: string, known: Map<string, T>, tell: (event: WatchEvent<T>) => void): Promise<void> {
    const list = (await this.call("GET", collection)) as { items: T[]; metadata: { resourceVersion: string } };
    const present = new Set(list.items.map(keyOf));
    for (const [key, object] of known) {
      if (!present.has(key)) note(known, { type: "DELETED", object }, tell);
    }
    for (const object of list.items) note(known, { type: "MODIFIED", object }, tell);
    const response = await this.#open("GET", `${collection}?watch=1&resourceVersion=${list.metadata.resourceVersion}`);
    try {
      if (response.statusCode !== 200) return;
      for await (const line of createInterface({ input: response })) {
        const event = JSON.parse(line) as WatchEvent<T> | { readonly type: "ERROR" };
        if (event.type === "ERROR") return;
        note(known, event, tell);
      }
    } finally {
      response.destroy();
    }
  }

  #open(method: string, path: string, body?: unknown): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const headers: Record<string, string> = { Authorization: `Bearer ${this.#token}` };
      const text = body === undefined ? undefined : JSON.stringify(body);
      if (text !== undefined) {
        headers["Content-Type"] = method === "PATCH" ? "application/strategic-merge-patch+json" : "application/json";
        // Node frames the body of a DELETE only when its length is given.
        headers["Content-Length"] = String(Buffer.byteLength(text));
      }
      const call = request(`${apiServerUrl()}${path}`, { method, headers, agent: this.#agent }, resolve);
      call.on("error", reject);
      call.end(text);
    });
  }
}

const RELIST_PAUSE_MS = 300;

/** Objects are told apart by their uid, so that one made anew under an old name is another one. */
function keyOf(object: ApiObject): string {
  return object.metadata.uid ?? `${object.metadata.namespace ?? ""}/${object.metadata.name}`;
}

function note<T extends ApiObject>(known: Map<string, T>, event: WatchEvent<T>, tell: (event: WatchEvent<T>) => void): void {
  const key = keyOf(event.object);
  if (event.type === "DELETED") known.delete(key);
  else known.set(key, event.object);
  tell(event);
}
