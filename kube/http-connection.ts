/**
 * Authenticated HTTP requests to the API server, over connections that are kept. Who we are comes from client-node's
 * KubeConfig; the requests are our own, see docs/adr/0005-own-thin-api-client.md.
 */
import http from "node:http";
import https from "node:https";
import net from "node:net";
import type { Duplex } from "node:stream";
import { createSecureContext, TLSSocket } from "node:tls";
import type { KubeConfig } from "@kubernetes/client-node/dist/config.js";
import type { Clock, Timer } from "../sys/clock.ts";
import { readTextFileIfPresent } from "../sys/files.ts";
import { KubeError, notSent } from "./client.ts";

/** How long credentials are used before they are asked for again: a service account's token file is renewed hourly. */
const credentialsMs = 60_000;
/** The largest answer taken into memory: a page of 500 objects is far below. */
const maxBodyBytes = 64 * 1024 * 1024;
/** Longest silence while a connection with TLS is made, when nothing else is said. */
const defaultConnectMs = 10_000;
/** Idle time after which the kernel asks whether the other end is alive. */
const tcpKeepAliveMs = 15_000;

export interface HttpRequest {
  readonly method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  /** Path and query below the server's own address. */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  /** How long until the answer has begun (a watch) or ended (everything else), in milliseconds. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
  /** As in WriteOptions: asked when the connection is there. */
  readonly maySend?: () => boolean;
}

interface Credentials {
  readonly server: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly agent: http.Agent;
  readonly fingerprint: string;
  readonly until: number;
}

/** A server, and who we are to it. */
export class HttpConnection {
  readonly #kubeConfig: KubeConfig;
  readonly #userAgent: string;
  readonly #clock: Clock;
  readonly #connectMs: number;
  #credentials: Promise<Credentials> | undefined;
  #last: Credentials | undefined;

  constructor(options: { readonly kubeConfig: KubeConfig; readonly userAgent: string; readonly clock: Clock; readonly connectMs?: number }) {
    this.#connectMs = options.connectMs ?? defaultConnectMs;
    this.#kubeConfig = options.kubeConfig;
    this.#userAgent = options.userAgent;
    this.#clock = options.clock;
  }

  /** Sends a request and takes the whole answer as text. @throws KubeError (also for a status that is no success) */
  async text(request: HttpRequest): Promise<string> {
    return this.#withCredentials(async (credentials) => {
      const timer = new Deadline(this.#clock, request.timeoutMs);
      try {
        const response = await this.#retryStale(credentials, request, timer);
        return await readBody(response, timer);
      } catch (error) {
        throw toKubeError(error, credentials.server);
      } finally {
        timer.cancel();
      }
    });
  }

  /** Sends a request and gives the answer as a stream. @throws KubeError (also for a status that is no success) */
  async stream(request: HttpRequest): Promise<http.IncomingMessage> {
    return this.#withCredentials(async (credentials) => {
      const timer = new Deadline(this.#clock, request.timeoutMs);
      try {
        const response = await this.#retryStale(credentials, request, timer);
        if ((response.statusCode ?? 0) >= 300) await readBody(response, timer);
        return response;
      } catch (error) {
        throw toKubeError(error, credentials.server);
      } finally {
        timer.cancel();
      }
    });
  }

  /** Closes the idle connections and cuts the others: what the kernel still had to deliver on them is lost. */
  close(): void {
    const agent = this.#last?.agent;
    for (const socket of Object.values(agent?.sockets ?? {}).flat()) {
      if (socket === undefined) continue;
      dropUndelivered(socket);
      socket.destroy(new Error("the client was closed"));
    }
    agent?.destroy();
  }

  /** Where the API server is, for messages; "" before the first request. */
  get server(): string {
    return this.#last?.server.origin ?? "";
  }

  async #withCredentials<R>(use: (credentials: Credentials) => Promise<R>): Promise<R> {
    const credentials = await this.#currentCredentials();
    try {
      return await use(credentials);
    } catch (error) {
      // A token replaced earlier than expected: once more with what is valid now.
      if (!(error instanceof KubeError && error.code === 401)) throw error;
      this.#credentials = undefined;
      return use(await this.#currentCredentials());
    }
  }

  async #currentCredentials(): Promise<Credentials> {
    if (this.#last !== undefined && this.#clock.now() >= this.#last.until) this.#credentials = undefined;
    this.#credentials ??= this.#loadCredentials();
    try {
      return await this.#credentials;
    } catch (error) {
      this.#credentials = undefined;
      // E.g. the token file is gone: as good as no answer, and worth trying again.
      throw new KubeError({ code: 0, reason: "Unreachable", message: `no credentials for the API server: ${messageOf(error)}` });
    }
  }

  async #loadCredentials(): Promise<Credentials> {
    const cluster = this.#kubeConfig.getCurrentCluster();
    if (cluster === null) throw new Error("the kubeconfig names no current cluster");
    const applied: https.RequestOptions = {};
    await this.#kubeConfig.applyToHTTPSOptions(applied);
    const { ca, cert, key, servername, rejectUnauthorized, auth } = applied;
    const tls = { ca, cert, key, ...(servername === undefined ? {} : { servername }), ...(rejectUnauthorized === undefined ? {} : { rejectUnauthorized }) };
    const headers: Record<string, string> = { accept: "application/json", "user-agent": this.#userAgent };
    for (const [name, value] of Object.entries(applied.headers ?? {})) if (value !== undefined) headers[name.toLowerCase()] = String(value);
    if (auth !== undefined && auth !== null) headers["authorization"] = `Basic ${Buffer.from(auth).toString("base64")}`;
    const token = readTokenFile(this.#kubeConfig);
    if (token !== undefined) headers["authorization"] = `Bearer ${token}`;
    const server = new URL(cluster.server);
    const fingerprint = [server.href, ca, cert, key].map(String).join("\n");
    const until = this.#clock.now() + credentialsMs;
    // The same certificates: the connections stay. New ones: those of the old identity are cut, and watches resume.
    const same = this.#last?.fingerprint === fingerprint;
    if (!same) this.#last?.agent.destroy();
    const agent = same && this.#last !== undefined ? this.#last.agent : makeAgent({ server, tls, connectMs: this.#connectMs, proxyAgent: cluster.proxyUrl === undefined ? undefined : applied.agent });
    this.#last = { server, headers, agent, fingerprint, until };
    return this.#last;
  }

  async #retryStale(credentials: Credentials, request: HttpRequest, timer: Deadline): Promise<http.IncomingMessage> {
    try {
      return await open(credentials, request, timer);
    } catch (error) {
      // The server closed a kept connection just as we used it. Repeating is safe for all but creations.
      if (!(error instanceof StaleConnection) || request.method === "POST") throw error;
      return open(credentials, request, timer);
    }
  }
}

/**
 * The token of a kubeconfig (a pod's) that keeps it in a file; undefined when it doesn't. Read here, for client-node keeps
 * what it read for a minute of the wall clock: after a refusal it would give the same token again, and once that clock is
 * set back, for as long as it was set back. @throws Error when the file is gone or unreadable
 */
function readTokenFile(kubeConfig: KubeConfig): string | undefined {
  const config: unknown = kubeConfig.getCurrentUser()?.authProvider?.config;
  const path: unknown = typeof config === "object" && config !== null ? Reflect.get(config, "tokenFile") : undefined;
  if (typeof path !== "string" || path === "") return undefined;
  const text = readTextFileIfPresent(path);
  if (text === undefined) throw new Error(`there is no token file ${path}`);
  return text.trim();
}

/** The connection had served another request before and was cut before an answer began. */
class StaleConnection extends Error {}

class TimeoutError extends Error {}

/** Destroys what it guards when the time is up. */
class Deadline {
  readonly #timer: Timer;
  #target: { destroy(error: Error): unknown } | undefined;
  #error: TimeoutError | undefined;

  constructor(clock: Clock, ms: number) {
    this.#timer = clock.after(ms, () => {
      this.#error = new TimeoutError(`no answer within ${ms / 1000} s`);
      this.#target?.destroy(this.#error);
    });
  }

  guard(target: { destroy(error: Error): unknown }): void {
    this.#target = target;
    if (this.#error !== undefined) target.destroy(this.#error);
  }

  cancel(): void {
    this.#timer.cancel();
    this.#target = undefined;
  }
}

function makeAgent(options: { server: URL; tls: https.AgentOptions; connectMs: number; proxyAgent: http.Agent | boolean | undefined }): http.Agent {
  const { server, tls, proxyAgent } = options;
  if (typeof proxyAgent === "object") return proxyAgent;
  const kept = { keepAlive: true, keepAliveMsecs: tcpKeepAliveMs, scheduling: "lifo" } as const;
  if (server.protocol === "http:") return new http.Agent(kept);
  // One context for all connections: else each has the certificates in memory, and each request compares their text.
  const { ca, cert, key, ...rest } = tls;
  return new ResettableAgent({ ...kept, ...rest, secureContext: createSecureContext({ ca, cert, key }) }, options.connectMs);
}

function open(credentials: Credentials, request: HttpRequest, timer: Deadline): Promise<http.IncomingMessage> {
  const { server, agent } = credentials;
  const { method, path, body, signal } = request;
  const headers: Record<string, string> = { ...credentials.headers, ...request.headers };
  if (body !== undefined) headers["content-length"] = String(Buffer.byteLength(body));
  const send = server.protocol === "http:" ? http.request : https.request;
  const target = { protocol: server.protocol, hostname: server.hostname.replace(/^\[|\]$/g, ""), port: server.port, path: server.pathname.replace(/\/$/, "") + path };
  return new Promise((resolve, reject) => {
    const outgoing = send({ ...target, method, headers, agent, ...(signal === undefined ? {} : { signal }) });
    // A request that is destroyed before it has a connection says so only once it has one.
    const onAbort = (): void => reject(new Error("aborted"));
    signal?.addEventListener("abort", onAbort, { once: true });
    outgoing.once("close", () => signal?.removeEventListener("abort", onAbort));
    outgoing.on("socket", (socket) => void socket.setKeepAlive(true, tcpKeepAliveMs));
    outgoing.once("response", resolve);
    outgoing.on("error", (error: NodeJS.ErrnoException) => {
      const cut = error.code === "ECONNRESET" || error.code === "EPIPE";
      reject(outgoing.reusedSocket && cut ? new StaleConnection(error.message, { cause: error }) : error);
    });
    // A request given up must not be delivered later.
    timer.guard({
      destroy(error) {
        if (outgoing.socket !== null) dropUndelivered(outgoing.socket);
        outgoing.destroy(error);
        reject(error);
      },
    });
    const { maySend } = request;
    if (maySend === undefined) outgoing.end(body);
    else {
      const send = (): void => void (maySend() ? outgoing.end(body) : outgoing.destroy(notSent()));
      // Once it is connected, what is written goes to the kernel at once. A connection with TLS comes to us as far as that.
      outgoing.once("socket", (socket) => void (socket.connecting ? socket.once("connect", send) : send()));
    }
  });
}

/** The TCP connections below our TLS connections. */
const below = new WeakMap<Duplex, net.Socket>();

/**
 * An agent whose connections can be reset. Closed in the ordinary way, even by the end of the process, a connection is
 * still the kernel's, which goes on for a minute and more to deliver what was written: a write of somebody who was cut
 * off, and is not the leader any more, would arrive once the cable is back.
 */
class ResettableAgent extends https.Agent {
  readonly #connectMs: number;

  constructor(options: https.AgentOptions, connectMs: number) {
    super(options);
    this.#connectMs = connectMs;
  }

  override createConnection(options: https.RequestOptions & { servername?: string }, callback: (error: Error | null, socket: Duplex) => void): undefined {
    // The agent's options name host and port.
    const socket = net.connect(options as net.TcpNetConnectOpts);
    let isDone = false;
    const done = (error: Error | null, made: Duplex): void => {
      if (!isDone) callback(error, made);
      isDone = true;
    };
    const failed = (error: Error): void => done(error, socket);
    socket.once("error", failed);
    // Whoever waits for it may be gone by then.
    socket.setTimeout(this.#connectMs, () => void socket.destroy(new Error(`no connection within ${this.#connectMs / 1000} s`)));
    socket.once("connect", () => {
      socket.off("error", failed);
      const secure = super.createConnection({ ...options, socket } as https.RequestOptions);
      if (secure === undefined || secure === null) return;
      below.set(secure, socket);
      // It stays: an error of the connection below comes twice, and by the second time nobody else listens.
      secure.on("error", failed);
      secure.once("secureConnect", () => {
        socket.setTimeout(0);
        done(null, secure);
      });
    });
  }
}

/**
 * Makes the end of this connection a reset. What Node has for it, `resetAndDestroy`, first waits until all is written;
 * the mark that it sets says the same to `destroy`.
 */
function dropUndelivered(socket: Duplex): void {
  const tcp = below.get(socket) ?? socket;
  // One that a proxy's agent made is not ours to reset.
  if (tcp instanceof net.Socket && !(tcp instanceof TLSSocket)) Reflect.set(tcp, "resetAndClosing", true);
}

async function readBody(response: http.IncomingMessage, timer: Deadline): Promise<string> {
  timer.guard(response);
  const text = await readText(response);
  const code = response.statusCode ?? 0;
  if (code >= 200 && code < 300) return text;
  throw statusError({ code, text, retryAfter: response.headers["retry-after"] });
}

/** Listens rather than iterates: an iterator per answer is a noticeable part of what a small request costs. */
function readText(response: http.IncomingMessage): Promise<string> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    response.on("data", (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > maxBodyBytes) response.destroy(new Error(`the answer is longer than ${maxBodyBytes} bytes`));
      else chunks.push(chunk);
    });
    response.on("end", () => resolve(Buffer.concat(chunks, bytes).toString("utf8")));
    response.on("error", reject);
    // One that is cut short has an error; nothing may wait for ever on one that has none.
    response.on("close", () => reject(new Error("the answer ended early")));
  });
}

/** The error that a refusal means; `text` is a Status object, or anything (a proxy's page). */
export function statusError(refusal: { readonly code: number; readonly text: string; readonly retryAfter?: string | undefined }): KubeError {
  const { code, text, retryAfter } = refusal;
  let status: { reason?: string; message?: string; details?: { retryAfterSeconds?: number } } = {};
  try {
    const parsed: unknown = JSON.parse(text);
    if (typeof parsed === "object" && parsed !== null) status = parsed;
  } catch {
    status = { message: text.slice(0, 500).trim() };
  }
  const seconds = retryAfter !== undefined && /^\d+$/.test(retryAfter) ? Number(retryAfter) : status.details?.retryAfterSeconds;
  const reason = status.reason ?? http.STATUS_CODES[code]?.replaceAll(" ", "") ?? "Unknown";
  return new KubeError({ code, reason, message: status.message ?? `HTTP ${code}`, retryAfterSeconds: seconds });
}

/** Whatever went wrong on the way, as "Unreachable". */
export function toKubeError(error: unknown, server: URL | string): KubeError {
  if (error instanceof KubeError) return error;
  const origin = typeof server === "string" ? server : server.origin;
  return new KubeError({ code: 0, reason: "Unreachable", message: `API server ${origin}: ${messageOf(error)}` });
}

function messageOf(error: unknown): string {
  // A host with several addresses fails with one error per address and no message of its own.
  if (error instanceof AggregateError && error.message === "") return error.errors.map(messageOf).join(", ");
  return error instanceof Error ? error.message : String(error);
}
