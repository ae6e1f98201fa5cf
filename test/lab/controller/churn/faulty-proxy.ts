/**
 * A door to the API server that is sometimes broken: it refuses (409, 429, 500), loses answers, is slow, cuts watches and
 * calls them too old (410), by a seeded generator. Plain HTTP on loopback on our side.
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { Agent, request } from "node:https";
import type { AddressInfo } from "node:net";
import type { Random } from "../../../../sys/random.ts";
import type { ApiServer } from "../../../apiserver/api-server.ts";
import { pause } from "../../poll.ts";

/** Part of the requests that meet a fault, while faults are on. */
const FAULTS = 0.1;
/** Longest delay of a slow answer, and longest life of a watch while faults are on, ms. */
const MAX_DELAY_MS = 1500;
const MAX_WATCH_MS = 8000;

type Fault = "none" | "conflict" | "tooMany" | "broken" | "lostAnswer" | "slow";

const REFUSALS = {
  conflict: { code: 409, reason: "Conflict" },
  tooMany: { code: 429, reason: "TooManyRequests" },
  broken: { code: 500, reason: "InternalError" },
  expired: { code: 410, reason: "Expired" },
} as const;

export class FaultyProxy {
  /** Whether faults happen. */
  faults = false;
  /** Requests ("METHOD /path") that it takes and keeps to itself, whether faults happen or not. */
  keeps: RegExp | undefined;
  /** Faults so far, by kind. */
  readonly counts = new Map<string, number>();
  readonly #server: ApiServer;
  readonly #random: Random;
  readonly #agent: Agent;
  readonly #listener = createServer((incoming, response) => void this.#serve(incoming, response));
  readonly #watches = new Set<ServerResponse>();
  #forwarded = 0;

  constructor(server: ApiServer, random: Random) {
    this.#server = server;
    this.#random = random;
    this.#agent = new Agent({ keepAlive: true, ca: server.certificateAuthority });
  }

  /** @returns its own address. */
  async start(): Promise<string> {
    await new Promise<void>((resolve) => {
      this.#listener.listen(0, "127.0.0.1", resolve);
    });
    return `http://127.0.0.1:${(this.#listener.address() as AddressInfo).port}`;
  }

  /** Resolves when the API server works on nothing that came this way, watches not counted. */
  async drained(): Promise<void> {
    while (this.#forwarded > 0 && this.#listener.listening) await pause(20);
  }

  /** Tells all watches that they are too old, and ends them. */
  expireWatches(): void {
    for (const response of this.#watches) this.#expire(response);
  }

  async stop(): Promise<void> {
    const closed = new Promise((resolve) => this.#listener.close(resolve));
    this.#listener.closeAllConnections();
    this.#agent.destroy();
    await closed;
  }

  async #serve(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    try {
      for await (const chunk of incoming as AsyncIterable<Buffer>) chunks.push(chunk);
    } catch {
      return;
    }
    if (this.keeps?.test(`${incoming.method} ${incoming.url}`) === true) return this.#count("kept");
    const isWatch = /[?&]watch=1/.test(incoming.url ?? "");
    const fault = this.#draw(incoming.method ?? "GET", isWatch);
    if (fault !== "none") this.#count(fault);
    if (fault === "conflict" || fault === "tooMany" || fault === "broken") return refuse(response, REFUSALS[fault]);
    if (fault === "slow") await pause(this.#random.next() * MAX_DELAY_MS);
    // What its sender no longer waits for never left its host: one that was killed sends nothing more.
    if (!response.destroyed) this.#forward({ incoming, response, body: Buffer.concat(chunks), isWatch, losesAnswer: fault === "lostAnswer" });
  }

  #draw(method: string, isWatch: boolean): Fault {
    if (!this.faults || this.#random.next() >= FAULTS) return "none";
    const kinds: Fault[] = isWatch ? ["broken", "tooMany", "slow"] : method === "GET" ? ["broken", "tooMany", "slow", "lostAnswer"] : ["conflict", "broken", "tooMany", "slow", "lostAnswer"];
    return kinds[Math.floor(this.#random.next() * kinds.length)] ?? "none";
  }

  #forward({ incoming, response, body, isWatch, losesAnswer }: { incoming: IncomingMessage; response: ServerResponse; body: Buffer; isWatch: boolean; losesAnswer: boolean }): void {
    const { host: _host, connection: _connection, ...headers } = incoming.headers;
    if (!isWatch) this.#forwarded += 1;
    const outgoing = request(`${this.#server.url}${incoming.url}`, { method: incoming.method ?? "GET", headers, agent: this.#agent }, (answer) => {
      // Whose asker is gone is read to its end all the same: the API server is at work on it until then.
      if (losesAnswer || response.destroyed) {
        answer.resume();
        response.destroy();
        return;
      }
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response);
      // The API server was killed in the middle of it.
      answer.once("error", () => response.destroy());
      response.once("close", () => answer.unpipe(response).resume());
      if (isWatch && answer.statusCode === 200) this.#follow(response);
    });
    outgoing.on("error", () => response.destroy());
    outgoing.once("close", () => {
      if (!isWatch) this.#forwarded -= 1;
    });
    if (isWatch) response.once("close", () => outgoing.destroy());
    outgoing.end(body);
  }

  #follow(response: ServerResponse): void {
    this.#watches.add(response);
    response.flushHeaders();
    const [life, end] = [this.#random.next() * MAX_WATCH_MS, this.#random.next()];
    const timer = setTimeout(() => {
      if (!this.faults) return;
      this.#count(end < 0.5 ? "watchCut" : "watchExpired");
      if (end < 0.5) response.destroy();
      else this.#expire(response);
    }, life);
    response.once("close", () => {
      clearTimeout(timer);
      this.#watches.delete(response);
    });
  }

  #expire(response: ServerResponse): void {
    response.end(`${JSON.stringify({ type: "ERROR", object: statusOf(REFUSALS.expired) })}\n`);
  }

  #count(what: string): void {
    this.counts.set(what, (this.counts.get(what) ?? 0) + 1);
  }
}

function refuse(response: ServerResponse, refusal: { readonly code: number; readonly reason: string }): void {
  response.writeHead(refusal.code, { "content-type": "application/json" });
  response.end(JSON.stringify(statusOf(refusal)));
}

function statusOf({ code, reason }: { readonly code: number; readonly reason: string }): object {
  return { kind: "Status", apiVersion: "v1", status: "Failure", code, reason, message: `${reason}, by the test` };
}
