/**
 * What the speaker's process does when its packet thread is lost. The thread's bundle is replaced by a stand-in that fails
 * in the way of each case; everything else is the real program, without an API server.
 */
import { execFile, spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { afterAll, afterEach, beforeAll, expect, test, vi } from "vitest";

const root = resolve(import.meta.dirname, "../..");
let folder = "";
let kubeconfig = "";
let child: ChildProcess | undefined;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "herald-loss-"));
  await promisify(execFile)(process.execPath, [join(root, "scripts/build.ts"), "--out", join(folder, "herald")]);
  kubeconfig = join(folder, "kubeconfig");
  const cluster = { name: "none", cluster: { server: "http://127.0.0.1:9" } };
  const context = { name: "none", context: { cluster: "none", user: "none" } };
  writeFileSync(kubeconfig, JSON.stringify({ apiVersion: "v1", kind: "Config", clusters: [cluster], contexts: [context], users: [{ name: "none", user: {} }], "current-context": "none" }));
}, 60_000);

afterEach(() => child?.kill("SIGKILL"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await new Promise((done) => server.once("listening", done));
  const address = server.address();
  await new Promise((done) => server.close(done));
  if (typeof address !== "object" || address === null) throw new Error("no port");
  return address.port;
}

/** Starts the speaker with `program` as its packet thread. */
async function start(program: string): Promise<{ readonly ended: Promise<number | null>; readonly lines: () => string; readonly health: () => Promise<string> }> {
  writeFileSync(join(folder, "herald/packet-thread.mjs"), program);
  const port = await freePort();
  const flags = ["--port=0", `--health-probe-port=${port}`, "--excludel2=/nonexistent"];
  const started = spawn(process.execPath, [join(folder, "herald/speaker.mjs"), ...flags], { env: { PATH: process.env["PATH"] ?? "", KUBECONFIG: kubeconfig, METALLB_NODE_NAME: "node1" } });
  child = started;
  let output = "";
  for (const stream of [started.stdout, started.stderr]) stream.on("data", (chunk: Buffer) => (output += chunk.toString()));
  return {
    ended: new Promise((done) => started.once("exit", done)),
    lines: () => output,
    async health() {
      const response = await fetch(`http://127.0.0.1:${port}/healthz`);
      return `${response.status} ${await response.text()}`;
    },
  };
}

/** The part of a stand-in that shows signs of life until it is told to do something else. */
const alive = `
import { workerData } from "node:worker_threads";
const time = new BigInt64Array(workerData.heartbeat, 0, 1);
const beats = setInterval(() => Atomics.store(time, 0, process.hrtime.bigint()), 50);
`;

test.each([
  ["throws", `setTimeout(() => { throw new Error("poll: EBADF"); }, 300);`, "poll: EBADF"],
  ["ends without a word", "setTimeout(() => process.exit(0), 300);", "nobody asked it to"],
])("a packet thread that %s takes the process along, with code 1 and a line that says why", async (_how, program, reason) => {
  const { ended, lines } = await start(alive + program);
  expect(await ended).toBe(1);
  const line = lines().split("\n").find((each) => each.includes('"packetThreadEnded"'));
  expect(line).toContain(reason);
}, 60_000);

test("a packet thread that hangs fails /healthz, which was well before, and the process can still be stopped", async () => {
  const hang = join(folder, "hang");
  const { ended, health } = await start(`${alive} const { existsSync } = await import("node:fs"); setInterval(() => { if (existsSync(${JSON.stringify(hang)})) for (;;); }, 50);`);
  await vi.waitFor(async () => expect(await health()).toBe("200 ok\n"), { timeout: 30_000, interval: 50 });
  writeFileSync(hang, "");
  await vi.waitFor(async () => expect(await health()).toMatch(/^503 packetThread: .* silent for \d+ ms/), { timeout: 30_000, interval: 200 });
  child?.kill("SIGTERM");
  expect(await ended).toBe(0);
}, 90_000);
