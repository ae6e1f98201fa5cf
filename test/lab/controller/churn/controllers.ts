/** Two controllers, each behind its own broken door to the API server, killed and started again. */
import { spawn, type ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type { KubeClient } from "../../../../kube/client.ts";
import { leases } from "../../../../kube/objects.ts";
import type { Random } from "../../../../sys/random.ts";
import type { ApiServer } from "../../../apiserver/api-server.ts";
import { pause } from "../../poll.ts";
import { FaultyProxy } from "./faulty-proxy.ts";

const PROGRAM = resolve(import.meta.dirname, "../../../../controller/main.ts");
const LEASE = { namespace: "metallb-system", name: "herald-controller" };
const LAST_LINES = 30;
const MAX_RESTART_MS = 1500;

/** One replica: a process that is started again whenever it ends, as the kubelet does. */
export class Replica {
  readonly name: string;
  readonly proxy: FaultyProxy;
  /** How often it was started. */
  starts = 0;
  readonly #client: KubeClient;
  readonly #random: Random;
  readonly #folder = mkdtempSync(join(tmpdir(), "herald-churn-"));
  readonly #token: string;
  #child: ChildProcess | undefined;
  #running: Promise<void> = Promise.resolve();
  #stopped = false;
  /** Whether the Lease of the one that died is freed: without it the next has to wait until it runs out. */
  #freesLease = false;
  #log: string[] = [];

  constructor({ name, server, client, random }: { readonly name: string; readonly server: ApiServer; readonly client: KubeClient; readonly random: Random }) {
    this.name = name;
    this.proxy = new FaultyProxy(server, random);
    this.#client = client;
    this.#random = random;
    this.#token = server.token;
  }

  async start(): Promise<void> {
    const server = await this.proxy.start();
    writeFileSync(join(this.#folder, "kubeconfig"), JSON.stringify({
      apiVersion: "v1",
      kind: "Config",
      "current-context": "test",
      contexts: [{ name: "test", context: { cluster: "test", user: "admin" } }],
      clusters: [{ name: "test", cluster: { server, "insecure-skip-tls-verify": true } }],
      users: [{ name: "admin", user: { token: this.#token } }],
    }));
    this.#running = this.#keepRunning();
  }

  /**
   * SIGKILL. With `freesLease` the Lease is freed once the dead process' last requests have been answered: what an
   * operator may do who knows that it is dead; it makes 15 seconds of waiting one.
   */
  kill({ freesLease }: { readonly freesLease: boolean }): void {
    this.#freesLease = freesLease;
    this.#child?.kill("SIGKILL");
  }

  /**
   * SIGSTOP for so long: its Lease runs out, and when it goes on it has to find out before it writes. What it had sent
   * before has long been carried out by then.
   */
  async pause(ms: number): Promise<void> {
    const child = this.#child;
    child?.kill("SIGSTOP");
    await pause(ms);
    child?.kill("SIGCONT");
  }

  /** SIGTERM; it is not started again. Resolves with its exit code. */
  async terminate(): Promise<number | null> {
    this.#stopped = true;
    const child = this.#child;
    child?.kill("SIGTERM");
    await this.#running;
    return child?.exitCode ?? null;
  }

  /** Whether it runs, and the last lines that it logged. */
  lastWords(): string {
    return `${this.name}, started ${this.starts} times, ${this.#child?.exitCode === null && this.#child.signalCode === null ? "runs" : "does not run"}\n${this.#log.join("")}`;
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#child?.kill("SIGKILL");
    await this.proxy.stop();
    await this.#running;
    rmSync(this.#folder, { recursive: true, force: true });
  }

  async #keepRunning(): Promise<void> {
    while (!this.#stopped) {
      this.starts += 1;
      const args = ["--port=0", "--health-probe-port=0", "--log-level=warn", "--webhook-mode=disabled", "--ml-secret-name=", `--pod-name=${this.name}`];
      const child = spawn(process.execPath, [PROGRAM, ...args], { env: { ...process.env, KUBECONFIG: join(this.#folder, "kubeconfig"), METALLB_NAMESPACE: "metallb-system" }, stdio: ["ignore", "pipe", "pipe"] });
      this.#child = child;
      for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (text: string) => void (this.#log = [...this.#log, text].slice(-LAST_LINES)));
      await new Promise((ended) => child.once("exit", ended));
      if (this.#freesLease && !this.#stopped) await this.#freeLease();
      if (!this.#stopped) await pause(this.#random.next() * MAX_RESTART_MS);
    }
  }

  async #freeLease(): Promise<void> {
    this.#freesLease = false;
    await this.proxy.drained();
    try {
      const { metadata, spec } = await this.#client.get(leases, LEASE);
      if (spec?.holderIdentity?.startsWith(`${this.name}_`) !== true) return;
      await this.#client.patch(leases, LEASE, { metadata: { resourceVersion: metadata.resourceVersion }, spec: { holderIdentity: "" } });
    } catch {
      // The API server is away: the Lease runs out by itself.
    }
  }
}

/** Name of the replica that holds the Lease; undefined when nobody does, or nobody knows. */
export async function leaderOf(client: KubeClient): Promise<string | undefined> {
  try {
    const holder = (await client.get(leases, LEASE)).spec?.holderIdentity ?? "";
    return holder === "" ? undefined : holder.slice(0, holder.indexOf("_"));
  } catch {
    return undefined;
  }
}
