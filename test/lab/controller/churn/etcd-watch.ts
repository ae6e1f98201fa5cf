/**
 * Every revision of Services as etcd stores it, through etcd's own HTTP gateway (POST /v3/watch). The API server has to
 * store JSON (`--storage-media-type=application/json`).
 */
import { request } from "node:http";
import { LineSplitter } from "../../../../kube/line-splitter.ts";
import type { Service } from "../../../../kube/objects.ts";

const PREFIX = "/registry/services/specs/";

export interface Revision {
  readonly revision: number;
  /** "namespace/name". */
  readonly key: string;
  /** Absent: it was deleted. */
  readonly service?: Service;
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
  /** The newest revision of a Service seen. */
  last = 0;

  constructor(etcdUrl: string, onRevision: (revision: Revision) => void) {
    this.#onRevision = onRevision;
    const key = Buffer.from(PREFIX).toString("base64");
    // The end of a range of all keys with a prefix is the prefix with its last byte raised.
    const end = Buffer.from(PREFIX.replace(/\/$/, "0")).toString("base64");
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
      const revision = Number(kv.mod_revision);
      const key = Buffer.from(kv.key, "base64").toString("utf8").slice(PREFIX.length);
      this.last = revision;
      if (type === "DELETE") this.#onRevision({ revision, key });
      else this.#onRevision({ revision, key, service: JSON.parse(Buffer.from(kv.value ?? "", "base64").toString("utf8")) as Service });
    }
  }
}
