/**
 * A small HTTPS server that takes JSON by POST and answers JSON: what the API server calls for admission and conversion.
 * Anybody who reaches the port can talk to it, so that every size, time and number has a bound.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer } from "node:https";
import type { Server } from "node:net";
import type { SecureContextOptions, TlsOptions } from "node:tls";
import type { Clock } from "../sys/clock.ts";
import type { IssuedCertificate } from "./certificates.ts";
import { NewestConnections } from "./newest-connections.ts";
import type { TlsSettings } from "./tls-settings.ts";

/** One body: a review has an object twice, 1.5 MiB each at most; a conversion has a list of them. */
export const MAX_BODY_BYTES = 8 * 1024 * 1024;
/** All bodies that are being read or answered. */
export const MAX_BODIES_BYTES = 16 * 1024 * 1024;
const MAX_CONNECTIONS = 128;
/** Time to send a whole request, its headers included (milliseconds). */
const REQUEST_MS = 10_000;
/** How often Node looks whose time is up, at most (milliseconds). */
const CHECK_MS = 1_000;
/** Longer than the 90 s after which the API server lets go of an idle connection, so that it never sends into a closing one. */
const KEEP_ALIVE_MS = 120_000;

/** An answer that is not what was asked for; the message goes to the client as plain text. */
export class HttpRefusal extends Error {
  override readonly name = "HttpRefusal";
  readonly code: number;

  constructor(code: number, message: string) {
    super(message);
    this.code = code;
  }
}

/** Answers one body with another. */
export type JsonRoute = (body: unknown) => object | Promise<object>;

export interface JsonServerOptions {
  /** All addresses of the machine when absent. */
  readonly host?: string;
  /** 0 picks a free one. */
  readonly port: number;
  readonly certificate: IssuedCertificate;
  readonly clock: Clock;
  readonly tls?: Omit<TlsSettings, "key">;
  /** Offers HTTP/2 beside HTTP/1.1. */
  readonly http2?: boolean;
  /** REQUEST_MS unless a test says otherwise. */
  readonly requestMs?: number;
  /** By path. What is returned is answered as JSON; HttpRefusal as its own code, any other error as 500. */
  readonly routes: ReadonlyMap<string, JsonRoute>;
  /** Told of an error that is no HttpRefusal. */
  readonly onError?: (path: string, error: unknown) => void;
}

export interface JsonServer {
  /** The port in use. */
  readonly port: number;
  /** From now on new connections see this certificate; those that are open go on. @throws Error when it is none */
  setCertificate(certificate: IssuedCertificate): void;
  close(): Promise<void>;
}

type SecureServer = Server & { setSecureContext(options: SecureContextOptions): void; closeAllConnections?(): void };

/** Starts to listen. Rejects with an Error whose message is a sentence when the port can't be had or the certificate is none. */
export async function startJsonServer(options: JsonServerOptions): Promise<JsonServer> {
  const bodies = new Bodies();
  const listener = (request: IncomingMessage, response: ServerResponse): void => void respond({ request, response, options, bodies });
  const server = await create(options, listener);
  const connections = new NewestConnections(server, MAX_CONNECTIONS);
  await new Promise<void>((resolve, reject) => {
    server.once("error", (error) => reject(new Error(`Cannot serve webhooks on port ${options.port}: ${error.message}`, { cause: error })));
    server.listen({ port: options.port, ...(options.host === undefined ? {} : { host: options.host }) }, resolve);
  });
  const address = server.address();
  return {
    port: typeof address === "object" && address !== null ? address.port : 0,
    setCertificate: (certificate) => server.setSecureContext(contextOf(options, certificate)),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        connections.destroy();
      }),
  };
}

async function create(options: JsonServerOptions, listener: (request: IncomingMessage, response: ServerResponse) => void): Promise<SecureServer> {
  const { requestMs = REQUEST_MS } = options;
  const tls: TlsOptions = { ...contextOf(options, options.certificate), handshakeTimeout: REQUEST_MS };
  const times = { requestTimeout: requestMs, headersTimeout: requestMs, connectionsCheckingInterval: CHECK_MS, keepAliveTimeout: KEEP_ALIVE_MS };
  if (options.http2 !== true) return createServer({ ...tls, ...times }, listener);
  // Half a megabyte that nobody needs without the flag.
  const { constants, createSecureServer } = await import("node:http2");
  // Who speaks HTTP/1.1 to it all the same (the API server always does) is under the same limits; Node's types don't know of them here.
  const http1: object = times;
  const server = createSecureServer({ ...tls, ...http1, allowHTTP1: true, settings: { maxConcurrentStreams: MAX_CONNECTIONS }, maxSessionMemory: 2 * Math.ceil(MAX_BODY_BYTES / 1024 / 1024) });
  // Node's HTTP/2 requests have all of HTTP/1.1's interface that is used here.
  server.on("request", (request, response) => listener(request as unknown as IncomingMessage, response as unknown as ServerResponse));
  server.setTimeout(KEEP_ALIVE_MS);
  // Node's limit for a whole request is HTTP/1.1's alone. Of a stream the headers are there; what may take time is the body.
  server.on("stream", (stream) => {
    const late = options.clock.after(requestMs, () => {
      if (!stream.readableEnded) stream.close(constants.NGHTTP2_CANCEL);
    });
    stream.once("close", () => late.cancel());
  });
  return server;
}

function contextOf({ tls }: JsonServerOptions, { certificatePem, privateKeyPem }: IssuedCertificate): SecureContextOptions {
  const settings = tls === undefined ? {} : { minVersion: tls.minVersion, ciphers: tls.ciphers, ecdhCurve: tls.ecdhCurve };
  return { ...settings, cert: certificatePem, key: privateKeyPem };
}

/** Counts the bytes of all bodies in memory. */
class Bodies {
  #bytes = 0;

  take(bytes: number): boolean {
    if (this.#bytes + bytes > MAX_BODIES_BYTES) return false;
    this.#bytes += bytes;
    return true;
  }

  give(bytes: number): void {
    this.#bytes -= bytes;
  }
}

async function respond({ request, response, options, bodies }: { request: IncomingMessage; response: ServerResponse; options: JsonServerOptions; bodies: Bodies }): Promise<void> {
  const path = (request.url ?? "").split("?", 1)[0] ?? "";
  const held = { bytes: 0 };
  let code = 200;
  let type = "application/json";
  let text: string;
  try {
    const route = options.routes.get(path);
    if (route === undefined) throw new HttpRefusal(404, "not found");
    if (request.method !== "POST") throw new HttpRefusal(405, "only POST");
    if (!/^application\/json\b/i.test(request.headers["content-type"] ?? "")) throw new HttpRefusal(415, "content-type must be application/json");
    text = JSON.stringify(await route(parse(await readBody(request, bodies, held))));
  } catch (error) {
    type = "text/plain; charset=utf-8";
    code = error instanceof HttpRefusal ? error.code : 500;
    text = `${error instanceof Error ? error.message : String(error)}\n`;
    if (!(error instanceof HttpRefusal)) options.onError?.(path, error);
  } finally {
    bodies.give(held.bytes);
  }
  if (response.destroyed) return;
  // A body that was not read to its end would keep the connection busy.
  const close = request.httpVersionMajor < 2 && !request.readableEnded ? { connection: "close" } : {};
  response.writeHead(code, { "content-type": type, "content-length": Buffer.byteLength(text), "x-content-type-options": "nosniff", ...close });
  response.end(text);
  request.resume();
}

/** @throws HttpRefusal */
async function readBody(request: IncomingMessage, bodies: Bodies, held: { bytes: number }): Promise<string> {
  const chunks: Uint8Array[] = [];
  try {
    for await (const chunk of request as AsyncIterable<Uint8Array>) {
      if (held.bytes + chunk.length > MAX_BODY_BYTES) throw new HttpRefusal(413, `the body is longer than ${MAX_BODY_BYTES} bytes`);
      if (!bodies.take(chunk.length)) throw new HttpRefusal(503, "too many requests at once");
      held.bytes += chunk.length;
      chunks.push(chunk);
    }
  } catch (error) {
    if (error instanceof HttpRefusal) throw error;
    throw new HttpRefusal(400, `the body ended early: ${error instanceof Error ? error.message : String(error)}`);
  }
  return Buffer.concat(chunks).toString("utf8");
}

/** @throws HttpRefusal */
function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new HttpRefusal(400, `the body is no JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
}
