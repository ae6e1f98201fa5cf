/**
 * What serves probes over plain HTTP, and what every small server of ours shares. `/metrics` is in `metrics-server.ts`.
 */
import { createServer, type IncomingMessage, type RequestListener, type Server } from "node:http";
import type { Server as SocketServer } from "node:net";
import { NewestConnections } from "./newest-connections.ts";

/** A question to the process: undefined when all is well, else what is wrong, in a few words. Must not throw or block. */
export type HealthCheck = () => string | undefined;

export interface HttpServer {
  /** The port in use. */
  readonly port: number;
  close(): Promise<void>;
}

/** A client that sends its request more slowly than this is let go (milliseconds). */
const requestTimeoutMs = 5_000;
const maxConnections = 64;

/**
 * Serves /healthz and /readyz: 200 "ok", or 503 with a line `name: what is wrong` per failed check. Port 0 picks a free one.
 * Rejects with an Error whose message is a sentence when the port is taken or not allowed.
 */
export async function startHealthServer(options: {
  /** Every address of every family when left out: a kubelet probes a pod at its first one, which may be IPv6. */
  readonly host?: string;
  readonly port: number;
  readonly liveness: Readonly<Record<string, HealthCheck>>;
  readonly readiness: Readonly<Record<string, HealthCheck>>;
}): Promise<HttpServer> {
  const routes = new Map([
    ["/healthz", (): Answer => checked(options.liveness)],
    ["/readyz", (): Answer => checked(options.readiness)],
  ]);
  return listen({ purpose: "health probes", ...(options.host === undefined ? {} : { host: options.host }), port: options.port, http: createServer(serverLimits, listenerOf(routes)) });
}

/** What a route says. */
export interface Answer {
  readonly code: number;
  readonly type: string;
  readonly body: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** An answer in plain text. */
export function text(code: number, body: string): Answer {
  return { code, type: "text/plain; charset=utf-8", body };
}

function checked(checks: Readonly<Record<string, HealthCheck>>): Answer {
  const problems: string[] = [];
  for (const [name, check] of Object.entries(checks)) {
    const problem = check();
    if (problem !== undefined) problems.push(`${name}: ${problem}`);
  }
  return problems.length === 0 ? text(200, "ok\n") : text(503, `${problems.join("\n")}\n`);
}

/** Answers GET and HEAD on these paths, and 404 or 405 to everything else. */
export function listenerOf(routes: ReadonlyMap<string, (request: IncomingMessage) => Answer | Promise<Answer>>): RequestListener {
  return (request, response) => {
    const path = (request.url ?? "").split("?", 1)[0] ?? "";
    const route = routes.get(path);
    // Nothing here reads a body; without this an unread one would keep the connection busy.
    request.resume();
    const answer = async (): Promise<Answer> => {
      if (route === undefined) return text(404, "not found\n");
      if (request.method !== "GET" && request.method !== "HEAD") return text(405, "only GET\n");
      return route(request);
    };
    answer()
      .catch((error: unknown) => text(500, `${error instanceof Error ? error.message : String(error)}\n`))
      .then(({ code, type, body, headers }) => {
        response.writeHead(code, { ...headers, "content-type": type, "content-length": Buffer.byteLength(body), "x-content-type-options": "nosniff" });
        response.end(request.method === "HEAD" ? undefined : body);
      });
  };
}

/** Limits of every server of ours; Node looks every so often whom they concern. */
export const serverLimits = { requestTimeout: requestTimeoutMs, headersTimeout: requestTimeoutMs, connectionsCheckingInterval: 1_000 } as const;

/**
 * Binds a server that was made with `serverLimits`, or `server` in front of the one that speaks HTTP. Port 0 picks a free one.
 * Rejects with an Error whose message is a sentence when the port is taken or not allowed.
 */
export async function listen(options: { readonly purpose: string; readonly host?: string; readonly port: number; readonly http: Server; readonly server?: SocketServer }): Promise<HttpServer> {
  const { purpose, host, port, http, server = http } = options;
  const connections = new NewestConnections(server, maxConnections);
  await new Promise<void>((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) => {
      reject(new Error(`Cannot serve ${purpose} on ${host === undefined ? "port " : `${host}:`}${port}: ${listenProblem(error)}`, { cause: error }));
    });
    // Without a host Node listens on :: for both families, or on 0.0.0.0 where the kernel has no IPv6.
    server.listen(host === undefined ? { port } : { host, port }, resolve);
  });
  return { port: portOf(server), close: () => close(server, connections) };
}

function listenProblem(error: NodeJS.ErrnoException): string {
  switch (error.code) {
    case "EADDRINUSE":
      return "another process has taken the port.";
    case "EACCES":
      return "not permitted to use this port.";
    case "EADDRNOTAVAIL":
      return "this machine does not have that address.";
    default:
      return error.message;
  }
}

function portOf(server: SocketServer): number {
  const address = server.address();
  return typeof address === "object" && address !== null ? address.port : 0;
}

function close(server: SocketServer, connections: NewestConnections): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    connections.destroy();
  });
}
