/**
 * Every revision of pools, namespaces and Services as etcd stores it, in order, through etcd's own HTTP gateway (POST
 * /v3/watch). The API server has to store JSON (`--storage-media-type=application/json`).
 */
import { request } from "node:http";
import { LineSplitter } from "../../../../kube/line-splitter.ts";
import type { KubeObject } from "../../../../kube/objects.ts";

const PREFIXES = {
  pool: "/registry/metallb.io/ipaddresspools/",
  namespace: "/registry/namespaces/",
  service: "/registry/services/specs/",
} as const;
/** One range of keys, so that all revisions come in order; what else lies between is little. */
const FIRST_KEY = PREFIXES.pool;
// The end of a range of all keys with a prefix is the prefix with its last byte raised.
const END_KEY = PREFIXES.service.replace(/\/$/, "0");

export interface Revision {
  readonly revision: number;
  readonly kind: keyof typeof PREFIXES;
  /** "namespace/name", or the name of a namespace. */
  readonly key: string;
  /** Absent: it was deleted. */
  readonly object?: KubeObject;
}

interface WatchAnswer {
  readonly result?: {
    readonly canceled?: boolean;
    readonly cancel_reason?: string;
    readonly events?: readonly { readonly type?: "DELETE"; readonly kv: { readonly key: string; readonly value?: string; readonly mod_revision: string } }[];
  };
  readonly error?: unknown;
}

/** Follows etcd from its first revision on. */
export class EtcdWatch {
  readonly #request: ReturnType<typeof request>;
  readonly #onRevision: (revision: Revision) => void;
  /** Why it has ended, if it has. */
  failure: Error | undefined;

  constructor(etcdUrl: string, onRevision: (revision: Revision) => void) {
    this.#onRevision = onRevision;
    const key = Buffer.from(FIRST_KEY).toString("base64");
    const end = Buffer.from(END_KEY).toString("base64");
    this.#request = request(`${etcdUrl}/v3/watch`, { method: "POST" }, (response) => {
      const splitter = new LineSplitter();
      response.on("data", (chunk: Buffer) => {
        for (const line of splitter.push(chunk)) this.#take(JSON.parse(line) as WatchAnswer);
      });
      response.once("close", () => this.#fail(new Error("etcd ended the watch")));
    });
    this.#request.on("error", (error) => this.#fail(error));
    this.#request.end(JSON.stringify({ create_request: { key, range_end: end, start_revision: "1" } }));
  }

  close(): void {
    this.failure ??= new Error("closed");
    this.#request.destroy();
  }

  #fail(error: Error): void {
    this.failure ??= error;
  }

  #take({ result, error }: WatchAnswer): void {
    if (error !== undefined || result?.canceled === true) this.#fail(new Error(`etcd: ${JSON.stringify(error ?? result)}`));
    for (const { type, kv } of result?.events ?? []) {
      const path = Buffer.from(kv.key, "base64").toString("utf8");
      for (const kind of ["pool", "namespace", "service"] as const) {
        if (!path.startsWith(PREFIXES[kind])) continue;
        const told = { revision: Number(kv.mod_revision), kind, key: path.slice(PREFIXES[kind].length) };
        if (type === "DELETE") this.#onRevision(told);
        else this.#onRevision({ ...told, object: JSON.parse(Buffer.from(kv.value ?? "", "base64").toString("utf8")) as KubeObject });
      }
    }
  }
}
