/** How a write leaves: with its timeout, when it may, and never later than its sender. Over TLS and without. */
import { createServer, type IncomingMessage, type RequestListener, type Server } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { type AddressInfo, createServer as createTcpServer, type Socket } from "node:net";
import { KubeConfig } from "@kubernetes/client-node/dist/config.js";
import { afterEach, describe, expect, test } from "vitest";
import { systemClock, type Clock } from "../sys/clock.ts";
import { FakeClock } from "../sys/fake-clock.ts";
import { issueServerCertificate } from "./certificates.ts";
import { FencedClient } from "./client-fence.ts";
import type { KubeClient } from "./client.ts";
import { createKubeClient } from "./http-client.ts";
import { namespaces } from "./objects.ts";

const name = { name: "n" };
const object = { metadata: name };
const cleanups: (() => void)[] = [];
afterEach(() => {
  for (const cleanup of cleanups.splice(0)) cleanup();
});

async function makeServer(scheme: "http" | "https", handler: RequestListener): Promise<Server> {
  if (scheme === "http") return createServer(handler);
  const { certificatePem: cert, privateKeyPem: key } = await issueServerCertificate({ names: ["127.0.0.1"], wallMs: systemClock.wallMs(), days: 2 });
  return createTlsServer({ cert, key }, handler);
}

async function connect(scheme: "http" | "https", handler: RequestListener, options: { clock?: Clock } = {}): Promise<{ client: KubeClient & { close(): void }; server: Server }> {
  const server = await makeServer(scheme, handler);
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  const kubeConfig = new KubeConfig();
  const url = `${scheme}://127.0.0.1:${(server.address() as AddressInfo).port}`;
  kubeConfig.loadFromClusterAndUser({ name: "c", server: url, skipTLSVerify: true }, { name: "u", token: "secret" });
  const client = createKubeClient({ kubeConfig, userAgent: "test/1", clock: systemClock, ...options });
  cleanups.push(() => {
    client.close();
    server.closeAllConnections();
    server.close();
  });
  return { client, server };
}

describe.each(["http", "https"] as const)("a write over %s", (scheme) => {
  test("carries the timeout that it is given", async () => {
    const seen: string[] = [];
    const { client } = await connect(scheme, (request, response) => {
      seen.push(`${request.method} ${request.url}`);
      response.end(JSON.stringify(object));
    });
    const timeoutMs = 3_000;
    await client.create(namespaces, object, { timeoutMs });
    await client.patch(namespaces, name, {}, { type: "apply", force: true, subresource: "status", timeoutMs });
    await client.replace(namespaces, object, { timeoutMs });
    await client.delete(namespaces, name, { timeoutMs });
    await client.replace(namespaces, object);
    await client.get(namespaces, name);
    expect(seen).toEqual([
      "POST /api/v1/namespaces?timeout=3000ms",
      "PATCH /api/v1/namespaces/n/status?fieldManager=herald&force=true&timeout=3000ms",
      "PUT /api/v1/namespaces/n?timeout=3000ms",
      "DELETE /api/v1/namespaces/n?timeout=3000ms",
      "PUT /api/v1/namespaces/n",
      "GET /api/v1/namespaces/n",
    ]);
  });

  test("is not sent when its sender may not any more, which is asked once it has a turn and a connection", async () => {
    let answers = 0;
    const { client, server } = await connect(scheme, (_request, response) => {
      answers += 1;
      response.end(JSON.stringify(object));
    });
    const events: string[] = [];
    server.on(scheme === "http" ? "connection" : "secureConnection", () => events.push("connection"));
    const maySend = (answer: boolean) => (): boolean => {
      events.push("asked");
      return answer;
    };
    await expect(client.patch(namespaces, name, {}, { maySend: maySend(false) })).rejects.toMatchObject({ code: 0, reason: "NotSent" });
    expect(answers).toBe(0);
    await client.patch(namespaces, name, {}, { maySend: maySend(true) });
    // Over the connection that is there.
    await client.create(namespaces, object, { maySend: maySend(true) });
    expect(answers).toBe(2);
    // Of those that wait for a turn none is asked before it has one.
    let turns = 0;
    const all = Array.from({ length: 40 }, () => client.patch(namespaces, name, {}, { maySend: () => (turns += 1) <= 20 }).then(() => "sent", () => "not sent"));
    expect(turns).toBeLessThan(17);
    expect((await Promise.all(all)).filter((outcome) => outcome === "sent")).toHaveLength(20);
    expect(answers).toBe(22);
    expect(events.filter((event) => event === "asked")).toHaveLength(3);
  });

  for (const how of ["given up", "whose client is closed"] as const) {
    test(`${how} is cut off by a reset, so that nobody delivers it later`, async () => {
      const clock = new FakeClock();
      const received = Promise.withResolvers<IncomingMessage>();
      const { client } = await connect(scheme, (request) => received.resolve(request), { clock });
      const call = client.patch(namespaces, name, {}, { maySend: () => true }).catch((error: unknown) => String(error));
      const { socket } = await received.promise;
      const end = new Promise<string>((resolve) => {
        socket.once("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? ""));
        socket.once("end", () => resolve("an ordinary end"));
      });
      // The server's own end of the handshake is behind it.
      await clock.advance(0);
      if (how === "given up") await clock.advance(10_000);
      else client.close();
      expect(await end).toBe("ECONNRESET");
      expect(await call).toContain(how === "given up" ? "no answer within 10 s" : "the client was closed");
    });
  }
});

test("writes that a leader may not send any more cost it none of its connections", async () => {
  const { client, server } = await connect("https", (request, response) => void request.resume().once("end", () => response.end(JSON.stringify(object))));
  let connections = 0;
  server.on("connection", () => (connections += 1));
  let mayWrite = true;
  const fenced = new FencedClient({ client, clock: systemClock, leadsFor: () => mayWrite });
  await fenced.patch(namespaces, name, {});
  mayWrite = false;
  for (let round = 0; round < 20; round++) await expect(fenced.patch(namespaces, name, {})).rejects.toMatchObject({ reason: "NotSent" });
  mayWrite = true;
  await fenced.patch(namespaces, name, {});
  expect(connections).toBe(1);
});

test("a server that speaks no TLS, or speaks it without trust, is unreachable", async () => {
  const plain = await connect("http", () => {});
  const port = (plain.server.address() as AddressInfo).port;
  const trusted = await connect("https", () => {});
  const trustedPort = (trusted.server.address() as AddressInfo).port;
  for (const [url, skipTLSVerify] of [[`https://127.0.0.1:${port}`, true], [`https://127.0.0.1:${trustedPort}`, false]] as const) {
    const kubeConfig = new KubeConfig();
    kubeConfig.loadFromClusterAndUser({ name: "c", server: url, skipTLSVerify }, { name: "u", token: "secret" });
    const client = createKubeClient({ kubeConfig, userAgent: "test/1", clock: systemClock });
    cleanups.push(() => client.close());
    await expect(client.patch(namespaces, name, {}, { maySend: () => true })).rejects.toMatchObject({ code: 0, reason: "Unreachable" });
  }
});

test.each(["request", "connection"])("a server that takes the connection and says nothing to a handshake: the %s is given up", async (first) => {
  const taken = Promise.withResolvers<Socket>();
  const silent = createTcpServer((socket) => taken.resolve(socket));
  await new Promise<void>((resolve) => {
    silent.listen(0, "127.0.0.1", resolve);
  });
  const clock = new FakeClock();
  const kubeConfig = new KubeConfig();
  kubeConfig.loadFromClusterAndUser({ name: "c", server: `https://127.0.0.1:${(silent.address() as AddressInfo).port}`, skipTLSVerify: true }, { name: "u", token: "secret" });
  const client = createKubeClient({ kubeConfig, userAgent: "test/1", clock, connectMs: 300 });
  cleanups.push(() => {
    client.close();
    silent.close();
  });
  const call = client.get(namespaces, name).catch((error: unknown) => String(error));
  const socket = await taken.promise;
  if (first === "request") await clock.advance(10_000);
  expect(await call).toContain(first === "request" ? "no answer within 10 s" : "no connection within 0.3 s");
  await new Promise<void>((resolve) => {
    socket.once("close", () => resolve());
    socket.on("error", () => undefined).resume();
  });
});
