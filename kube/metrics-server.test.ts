import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect, type TLSSocket } from "node:tls";
import { afterEach, beforeEach, expect, test } from "vitest";
import { FakeClock } from "../sys/fake-clock.ts";
import { silentLogger } from "../sys/log.ts";
import { issueServerCertificate, makeAuthority } from "./certificates.ts";
import { FakeKubeClient } from "./fake-client.ts";
import { startHealthServer, type HttpServer } from "./http-server.ts";
import { type MetricsGuard, startMetricsServer } from "./metrics-server.ts";
import { countVerdicts, createSharedMetrics } from "./metrics.ts";
import { subjectAccessReviews, tokenReviews } from "./objects.ts";
import { parseTlsSettings } from "./tls-settings.ts";

const host = "127.0.0.1";
const open: HttpServer[] = [];
let client = new FakeKubeClient();
let clock = new FakeClock();

beforeEach(() => {
  client = new FakeKubeClient();
  clock = new FakeClock(Date.now());
  client.answer(tokenReviews, (review) => ({ ...review, status: review.spec.token === "bad" ? { authenticated: false } : { authenticated: true, user: { username: review.spec.token } } }));
  client.answer(subjectAccessReviews, (review) => ({ ...review, status: { allowed: review.spec.user === "prometheus" } }));
});
afterEach(async () => {
  for (const server of open.splice(0)) await server.close();
});

/** A port that nobody listens on now. */
async function freePort(): Promise<number> {
  const free = await startHealthServer({ host, port: 0, liveness: {}, readiness: {} });
  await free.close();
  return free.port;
}

async function start(guard: MetricsGuard | undefined): Promise<HttpServer> {
  const server = await startMetricsServer({ host, port: await freePort(), registry: createSharedMetrics().registry, guard });
  assert.ok(server !== undefined);
  open.push(server);
  return server;
}

function guard(options: { certificateFolder?: string; minVersion?: string; cipherSuites?: string; curvePreferences?: string } = {}): MetricsGuard {
  const { certificateFolder = "", minVersion = "", cipherSuites = "", curvePreferences = "" } = options;
  const tls = parseTlsSettings({ minVersion, cipherSuites, curvePreferences });
  assert.equal(tls.kind, "settings");
  return { client, clock, log: silentLogger, tls: tls.settings, certificateFolder, names: ["controller-1", ""] };
}

interface Reply {
  readonly code: number;
  readonly body: string;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly protocol: string | null;
  readonly cipher: string;
}

/** One GET over HTTPS on a connection of its own. Rejects when the handshake fails. */
function get(server: HttpServer, options: { path?: string; token?: string; ca?: string; maxVersion?: "TLSv1.2"; ciphers?: string; ecdhCurve?: string } = {}): Promise<Reply> {
  const { path = "/metrics", token, ca, ...tls } = options;
  const headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
  return new Promise((resolve, reject) => {
    const call = request({ host, port: server.port, path, headers, agent: false, servername: "localhost", ...(ca === undefined ? { rejectUnauthorized: false } : { ca }), ...tls }, (response) => {
      const socket = response.socket as TLSSocket;
      const [protocol, cipher] = [socket.getProtocol(), socket.getCipher().standardName];
      let body = "";
      response.setEncoding("utf8").on("data", (part: string) => void (body += part)).on("end", () => resolve({ code: response.statusCode ?? 0, body, headers: response.headers, protocol, cipher }));
    });
    call.on("error", reject).end();
  });
}

test("plain HTTP on request: metrics under MetalLB's names; port 0 is off", async () => {
  const metrics = createSharedMetrics();
  const count = countVerdicts(metrics);
  count("a", "done");
  count("a", "retry");
  expect(await startMetricsServer({ host, port: 0, registry: metrics.registry })).toBeUndefined();
  const server = await startMetricsServer({ host, port: await freePort(), registry: metrics.registry });
  assert.ok(server !== undefined);
  open.push(server);
  const text = await (await fetch(`http://${host}:${server.port}/metrics`)).text();
  for (const line of ["updates_total 2", "update_errors_total 1", "config_loaded_bool 0", "config_stale_bool 0"]) expect(text).toContain(`metallb_k8s_client_${line}\n`);
  expect(text).toMatch(/^process_resident_memory_bytes \d{7,}$/m);
  expect(text).toMatch(/^process_cpu_seconds_total [\d.]+$/m);
  assert.deepEqual(client.calls, []);
});

test("HTTPS answers whom the API server allows, and tells the others what is missing", async () => {
  const server = await start(guard());
  const allowed = await get(server, { token: "prometheus" });
  assert.deepEqual([allowed.code, allowed.protocol], [200, "TLSv1.3"]);
  assert.match(allowed.body, /^metallb_k8s_client_updates_total 0$/m);
  const nobody = await get(server);
  assert.deepEqual([nobody.code, nobody.headers["www-authenticate"]], [401, "Bearer"]);
  assert.match(nobody.body, /A token is needed/);
  assert.deepEqual([(await get(server, { token: "bad" })).code, (await get(server, { token: "someone" })).code], [401, 403]);
  assert.match((await get(server, { token: "someone" })).body, /^someone may not read \/metrics: .*nonResourceURL "\/metrics"\.$/m);
  assert.equal((await get(server, { path: "/healthz", token: "prometheus" })).code, 404);
  client.outage(true);
  const away = await get(server, { token: "another" });
  assert.equal(away.code, 503);
  assert.match(away.body, /The API server can't be asked/);
  assert.equal((await get(server, { token: "prometheus" })).code, 200, "remembered");
});

test("the first to come wait for the certificate, all of them; nobody makes one before", async () => {
  const server = await start(guard());
  assert.equal(clock.timers, 0, "nothing was looked for");
  const replies = await Promise.all(Array.from({ length: 5 }, () => get(server)));
  assert.deepEqual(replies.map(({ code }) => code), [401, 401, 401, 401, 401]);
});

test("a folder without a certificate fails the handshake, and those who come after it was put there are served", async () => {
  const folder = mkdtempSync(join(tmpdir(), "herald-metrics-"));
  try {
    const server = await start(guard({ certificateFolder: folder }));
    await assert.rejects(get(server));
    const pair = await issueServerCertificate({ names: ["localhost"], wallMs: clock.wallMs(), days: 1 });
    writeFileSync(join(folder, "tls.crt"), pair.certificatePem);
    writeFileSync(join(folder, "tls.key"), pair.privateKeyPem);
    await clock.advance(10_000);
    assert.equal((await get(server, { ca: pair.certificatePem })).code, 401);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test("a client that is slow to ask is let go, so that few of them can't keep everybody else out", async () => {
  const limits = { headersTimeout: 100, requestTimeout: 100, connectionsCheckingInterval: 20 };
  const server = await startMetricsServer({ host, port: await freePort(), registry: createSharedMetrics().registry, guard: guard(), limits });
  assert.ok(server !== undefined);
  open.push(server);
  const letGo = (begin: string): Promise<void> =>
    new Promise((resolve) => {
      const socket = connect({ host, port: server.port, rejectUnauthorized: false }, () => socket.write(begin));
      socket.on("error", () => socket.destroy()).on("close", () => resolve()).resume();
    });
  await Promise.all([letGo(""), letGo("GET /metrics HTTP/1.1\r\nhost: x\r\nx-slow: ")]);
});

test("closing lets go of those who wait", async () => {
  const server = await start(guard());
  const waiting = get(server).then(() => "answered", () => "let go");
  await server.close();
  open.splice(open.indexOf(server), 1);
  assert.equal(await waiting, "let go");
});

test("a client of TLS 1.2 is refused unless it is asked for, and then gets a suite that was chosen", async () => {
  const strict = await start(guard());
  await get(strict);
  await assert.rejects(get(strict, { maxVersion: "TLSv1.2" }), /protocol version|EPROTO/);
  const chosen = await start(guard({ minVersion: "VersionTLS12", cipherSuites: "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384" }));
  const reply = await get(chosen, { maxVersion: "TLSv1.2" });
  assert.deepEqual([reply.protocol, reply.cipher], ["TLSv1.2", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"]);
  await assert.rejects(get(chosen, { maxVersion: "TLSv1.2", ciphers: "ECDHE-RSA-AES128-GCM-SHA256" }));
  assert.equal((await get(chosen)).protocol, "TLSv1.3");
});

test("curves are those asked for", async () => {
  const server = await start(guard({ curvePreferences: "24" }));
  assert.equal((await get(server)).code, 401);
  await assert.rejects(get(server, { ecdhCurve: "X25519" }));
  assert.equal((await get(server, { ecdhCurve: "secp384r1" })).code, 401);
});

test("a certificate from a folder is shown, and its successor without a restart", async () => {
  const folder = mkdtempSync(join(tmpdir(), "herald-metrics-"));
  try {
    const [one, two] = await Promise.all(["one", "two"].map((commonName) => makeAuthority({ commonName, wallMs: clock.wallMs(), days: 1 })));
    assert.ok(one !== undefined && two !== undefined);
    const put = async (authority: typeof one): Promise<void> => {
      const pair = await issueServerCertificate({ names: ["localhost"], wallMs: clock.wallMs(), days: 1, authority });
      writeFileSync(join(folder, "tls.crt"), pair.certificatePem);
      writeFileSync(join(folder, "tls.key"), pair.privateKeyPem);
    };
    await put(one);
    const server = await start(guard({ certificateFolder: folder }));
    assert.equal((await get(server, { ca: one.certificatePem })).code, 401);
    await put(two);
    await clock.advance(10_000);
    assert.equal((await get(server, { ca: two.certificatePem })).code, 401);
    await assert.rejects(get(server, { ca: one.certificatePem }));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test("a taken port is a clear sentence, and no certificate is made", async () => {
  const first = await start(undefined);
  const second = startMetricsServer({ host, port: first.port, registry: createSharedMetrics().registry, guard: guard() });
  await expect(second).rejects.toThrow(`Cannot serve metrics on 127.0.0.1:${first.port}: another process has taken the port.`);
  assert.equal(clock.timers, 0);
});
