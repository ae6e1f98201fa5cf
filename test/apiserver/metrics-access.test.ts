/**
 * /metrics on a real API server: real ServiceAccount tokens, allowed and denied by real RBAC.
 */
import assert from "node:assert/strict";
import { request } from "node:https";
import { KubeConfig } from "@kubernetes/client-node/dist/config.js";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createKubeClient } from "../../kube/http-client.ts";
import { startHealthServer, type HttpServer } from "../../kube/http-server.ts";
import { startMetricsServer } from "../../kube/metrics-server.ts";
import { createSharedMetrics } from "../../kube/metrics.ts";
import { parseTlsSettings } from "../../kube/tls-settings.ts";
import { systemClock } from "../../sys/clock.ts";
import { silentLogger } from "../../sys/log.ts";
import { startApiServer, type ApiServer } from "./api-server.ts";
import { findApiServerBinaries } from "./binaries.ts";

const found = findApiServerBinaries();
const missing = found.kind === "missing";
const host = "127.0.0.1";

/** Herald's own account may ask; prometheus may read; somebody may nothing. */
const MANIFEST = [
  ...["herald", "prometheus", "somebody"].map((name) => ({ apiVersion: "v1", kind: "ServiceAccount", metadata: { name, namespace: "default" } })),
  clusterRole("reviewer", [{ apiGroups: ["authentication.k8s.io"], resources: ["tokenreviews"], verbs: ["create"] }, { apiGroups: ["authorization.k8s.io"], resources: ["subjectaccessreviews"], verbs: ["create"] }]),
  clusterRole("scraper", [{ nonResourceURLs: ["/metrics"], verbs: ["get"] }]),
  binding("reviewer", "herald"),
  binding("scraper", "prometheus"),
];

function clusterRole(name: string, rules: readonly unknown[]): unknown {
  return { apiVersion: "rbac.authorization.k8s.io/v1", kind: "ClusterRole", metadata: { name }, rules };
}

function binding(role: string, account: string): unknown {
  return {
    apiVersion: "rbac.authorization.k8s.io/v1",
    kind: "ClusterRoleBinding",
    metadata: { name: role },
    roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: role },
    subjects: [{ kind: "ServiceAccount", name: account, namespace: "default" }],
  };
}

function connect(server: ApiServer, token: string): ReturnType<typeof createKubeClient> {
  const kubeConfig = new KubeConfig();
  kubeConfig.loadFromFile(server.kubeconfig);
  kubeConfig.users = [{ name: "admin", token }];
  return createKubeClient({ kubeConfig, userAgent: "herald-test", clock: systemClock, requestTimeoutMs: 5_000 });
}

describe.skipIf(missing)(`/metrics on a real API server${missing ? ` (${found.reason})` : ""}`, () => {
  let server: ApiServer;
  const closers: (() => void | Promise<void>)[] = [];
  beforeAll(async () => {
    server = await startApiServer();
    closers.push(() => server.stop());
    const { code, stderr } = await server.kubectl(["create", "-f", "-"], { input: JSON.stringify({ apiVersion: "v1", kind: "List", items: MANIFEST }) });
    assert.equal(code, 0, stderr);
  });
  afterAll(async () => {
    for (const close of closers.toReversed()) await close();
  });

  async function tokenOf(account: string): Promise<string> {
    const { code, stdout, stderr } = await server.kubectl(["create", "token", account, "-n", "default"]);
    assert.equal(code, 0, stderr);
    return stdout.trim();
  }

  /** Metrics as a program serves them that runs as this account. */
  async function serveAs(account: string): Promise<HttpServer> {
    const client = connect(server, await tokenOf(account));
    const tls = parseTlsSettings({ minVersion: "", cipherSuites: "", curvePreferences: "" });
    assert.equal(tls.kind, "settings");
    const free = await startHealthServer({ host, port: 0, liveness: {}, readiness: {} });
    await free.close();
    const guard = { client, clock: systemClock, log: silentLogger, tls: tls.settings, certificateFolder: "", names: ["herald"] };
    const metrics = await startMetricsServer({ host, port: free.port, registry: createSharedMetrics().registry, guard });
    assert.ok(metrics !== undefined);
    closers.push(() => client.close(), () => metrics.close());
    await expect.poll(() => get(metrics).catch(() => undefined), { timeout: 10_000 }).toBeDefined();
    return metrics;
  }

  test("a token of an account that may is answered, others hear 401 or 403 and what is missing", async () => {
    const metrics = await serveAs("herald");
    const allowed = await get(metrics, await tokenOf("prometheus"));
    assert.equal(allowed.code, 200, allowed.body);
    assert.match(allowed.body, /^metallb_k8s_client_updates_total 0$/m);
    const denied = await get(metrics, await tokenOf("somebody"));
    assert.equal(denied.code, 403);
    assert.match(denied.body, /^system:serviceaccount:default:somebody may not read \/metrics: /);
    const token = await tokenOf("prometheus");
    assert.equal((await get(metrics, `${token.slice(0, -8)}AAAAAAAA`)).code, 401, "a token whose signature is another");
    assert.equal((await get(metrics)).code, 401);
  });

  test("without the rights to ask, Herald says which it lacks", async () => {
    const metrics = await serveAs("somebody");
    const { code, body } = await get(metrics, await tokenOf("prometheus"));
    assert.equal(code, 503);
    assert.match(body, /create tokenreviews and subjectaccessreviews/);
  });

  test("while the API server is away, who was allowed stays so and others hear 503", async () => {
    const metrics = await serveAs("herald");
    const [known, unasked] = [await tokenOf("prometheus"), await tokenOf("somebody")];
    assert.equal((await get(metrics, known)).code, 200);
    await server.stopServer();
    try {
      assert.equal((await get(metrics, known)).code, 200);
      const { code, body } = await get(metrics, unasked);
      assert.equal(code, 503, body);
      assert.match(body, /The API server can't be asked/);
    } finally {
      await server.startServer();
    }
  });
});

function get(server: HttpServer, token?: string): Promise<{ code: number; body: string }> {
  const headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
  return new Promise((resolve, reject) => {
    request({ host, port: server.port, path: "/metrics", headers, agent: false, rejectUnauthorized: false }, (response) => {
      let body = "";
      response.setEncoding("utf8").on("data", (part: string) => void (body += part)).on("end", () => resolve({ code: response.statusCode ?? 0, body }));
    }).on("error", reject).end();
  });
}
