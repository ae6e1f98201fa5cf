/** A speaker that waits until MetalLB is gone can be stopped meanwhile: as process 1 of a container it would not hear a signal that it does not ask for. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterEach, expect, test } from "vitest";

const root = resolve(import.meta.dirname, "../..");
const METALLB = { metadata: { name: "speaker-x", namespace: "metallb-system" }, spec: { containers: [{ name: "speaker", image: "quay.io/metallb/speaker:v0.15.3" }] } };
let folder = "";
let server: Server | undefined;
let child: ChildProcess | undefined;

afterEach(() => {
  child?.kill("SIGKILL");
  server?.closeAllConnections();
  server?.close();
  rmSync(folder, { recursive: true, force: true });
});

/** An API server that knows of one Pod, MetalLB's. */
async function kubeconfigOfApi(): Promise<string> {
  server = createServer((request, response) => {
    const isPods = request.method === "GET" && request.url?.includes("/pods?") === true;
    response.writeHead(isPods ? 200 : 404, { "content-type": "application/json" });
    response.end(JSON.stringify(isPods ? { items: [METALLB] } : { kind: "Status", code: 404, reason: "NotFound", message: "not found" }));
  }).listen(0, "127.0.0.1");
  await new Promise((done) => server?.once("listening", done));
  const address = server.address();
  assert.ok(typeof address === "object" && address !== null);
  folder = mkdtempSync(join(tmpdir(), "herald-waiting-"));
  const cluster = { name: "one", cluster: { server: `http://127.0.0.1:${address.port}`, "insecure-skip-tls-verify": true } };
  const context = { name: "one", context: { cluster: "one", user: "one" } };
  writeFileSync(join(folder, "kubeconfig"), JSON.stringify({ apiVersion: "v1", kind: "Config", clusters: [cluster], contexts: [context], users: [{ name: "one", user: {} }], "current-context": "one" }));
  return join(folder, "kubeconfig");
}

test("SIGTERM ends a speaker that waits for MetalLB to go", async () => {
  const env = { PATH: process.env["PATH"] ?? "", KUBECONFIG: await kubeconfigOfApi(), METALLB_NODE_NAME: "node1", METALLB_NAMESPACE: "metallb-system" };
  const speaker = spawn(process.execPath, [join(root, "speaker/main.ts"), "--port=0", "--health-probe-port=0"], { env });
  child = speaker;
  let output = "";
  for (const stream of [speaker.stdout, speaker.stderr]) stream.on("data", (chunk: Buffer) => (output += chunk.toString()));
  const ended = new Promise<unknown>((done) => speaker.once("exit", (code, signal) => done({ code, signal })));
  await expect.poll(() => output, { timeout: 15_000 }).toContain('"event":"metalLbRuns"');
  speaker.kill("SIGTERM");
  expect(await ended).toEqual({ code: 0, signal: null });
  expect(output).toContain('"event":"stopped"');
}, 30_000);
