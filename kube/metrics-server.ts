/**
 * /metrics: over HTTPS for whom the API server allows it, as MetalLB serves it, or over plain HTTP to everybody on request.
 */
import { createServer as createPlainServer, type IncomingMessage } from "node:http";
import { createServer, type Server } from "node:https";
import { createServer as createSocketServer, type Socket } from "node:net";
import type { Registry } from "prom-client";
import type { Clock } from "../sys/clock.ts";
import type { Logger } from "../sys/log.ts";
import { AccessReview, type AccessVerdict } from "./access-review.ts";
import type { IssuedCertificate } from "./certificates.ts";
import type { KubeClient } from "./client.ts";
import { type Answer, type HttpServer, listen, listenerOf, serverLimits, text } from "./http-server.ts";
import { ServingCertificate } from "./serving-certificate.ts";
import type { TlsSettings } from "./tls-settings.ts";

export interface MetricsServerOptions {
  /** Every address of every family when left out. */
  readonly host?: string;
  /** 0 means no metrics. */
  readonly port: number;
  readonly registry: Registry;
  /** Plain HTTP, and no questions; absent: HTTPS with tokens. */
  readonly guard?: MetricsGuard | undefined;
  /** `serverLimits` unless a test says otherwise (milliseconds). */
  readonly limits?: { readonly [name in keyof typeof serverLimits]: number };
}

/** What HTTPS needs. */
export interface MetricsGuard {
  readonly client: Pick<KubeClient, "create">;
  readonly clock: Clock;
  readonly log: Logger;
  readonly tls: TlsSettings;
  /** Folder with tls.crt and tls.key; "" for a certificate of our own. */
  readonly certificateFolder: string;
  /** Names of this program in a certificate of our own; empty ones are left out. */
  readonly names: readonly string[];
}

const PATH = "/metrics";
/** A client that is slower to agree on a key is let go (milliseconds). */
const HANDSHAKE_MS = 10_000;

/**
 * Serves /metrics; undefined when that is off. With HTTPS, connections fail while there is no certificate in the folder.
 * Rejects with an Error whose message is a sentence when the port is taken or not allowed.
 */
export async function startMetricsServer(options: MetricsServerOptions): Promise<HttpServer | undefined> {
  const { port, registry, guard, limits = serverLimits } = options;
  const host = options.host === undefined ? {} : { host: options.host };
  if (port === 0) return undefined;
  const metrics = async (): Promise<Answer> => ({ code: 200, type: registry.contentType, body: await registry.metrics() });
  if (guard === undefined) return listen({ purpose: "metrics", ...host, port, http: createPlainServer(limits, listenerOf(new Map([[PATH, metrics]]))) });
  const access = new AccessReview({ client: guard.client, clock: guard.clock, path: PATH });
  const guarded = async (request: IncomingMessage): Promise<Answer> => refusal(await access.judge(request.headers.authorization)) ?? metrics();
  const { minVersion, ciphers, ecdhCurve } = guard.tls;
  const settings = { minVersion, ciphers, ecdhCurve, honorCipherOrder: true };
  const server = createServer({ ...limits, ...settings, ALPNProtocols: ["http/1.1"], handshakeTimeout: HANDSHAKE_MS }, listenerOf(new Map([[PATH, guarded]])));
  const certificate = certificateOf(guard, server, settings);
  const waiting = new Set<Socket>();
  let firstLook = guard.certificateFolder === "" ? undefined : certificate.start();
  // Making a certificate takes the processor for a tenth of a second, which the start of a program has better use for:
  // it is made when somebody first comes, who waits for it. Sockets are not read until HTTPS takes them.
  const front = createSocketServer({ pauseOnConnect: true }, (socket) => {
    waiting.add(socket);
    socket.once("error", () => socket.destroy()).once("close", () => waiting.delete(socket));
    firstLook ??= certificate.start();
    void firstLook.then(() => {
      if (!socket.destroyed) server.emit("connection", socket);
    });
  });
  const listening = await listen({ purpose: "metrics", ...host, port, http: server, server: front });
  // Node looks for slow clients from when a server listens on, and this one hears of the port from the one in front.
  server.emit("listening");
  return {
    port: listening.port,
    close: () => {
      certificate.stop();
      for (const socket of waiting) socket.destroy();
      server.close();
      return listening.close();
    },
  };
}

function certificateOf(guard: MetricsGuard, server: Server, settings: object): ServingCertificate {
  const { clock, log, tls, certificateFolder: folder } = guard;
  const names: [string, ...string[]] = ["localhost"];
  names.unshift(...guard.names.filter((name) => name !== ""));
  const onCertificate = ({ certificatePem, privateKeyPem }: IssuedCertificate): void => server.setSecureContext({ ...settings, cert: certificatePem, key: privateKeyPem });
  return new ServingCertificate({ clock, log, folder, names, key: tls.key, onCertificate });
}

/** RFC 9110 §15.5.2: who does not say who it is hears how to; undefined when all is well. */
function refusal(verdict: AccessVerdict): Answer | undefined {
  switch (verdict.kind) {
    case "allowed":
      return undefined;
    case "unknown":
      return { ...text(401, `${verdict.message}\n`), headers: { "www-authenticate": "Bearer" } };
    case "forbidden":
      return text(403, `${verdict.message}\n`);
    case "unavailable":
      return text(503, `${verdict.message}\n`);
  }
}
