/**
 * A real kube-apiserver on a real etcd, on loopback, in a folder of its own: for tests of what only an API server can tell
 * (schemas, watches, patches, leases). Needs no root. No controllers run beside it: what is created just lies there.
 */
import { execFile } from "node:child_process";
import { generateKeyPairSync, randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:https";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findApiServerBinaries, type ApiServerBinaries } from "./binaries.ts";
import { Child } from "./child.ts";

/** Longest wait for /readyz, ms; a start takes about 5 s on two cores. */
const READY_BUDGET_MS = 60_000;
const READY_POLL_MS = 100;
/** A port found free may be taken by the time a program binds it; so a failed start is tried again. */
const START_ATTEMPTS = 3;
const KUBECTL_TIMEOUT_MS = 60_000;
const MAX_KUBECTL_OUTPUT = 16 * 1024 * 1024;

/** What kubectl printed, and its exit code; a failing command does not reject. */
export interface KubectlResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface ApiServer {
  /** e.g. "https://127.0.0.1:41234"; stays the same across restart(). */
  readonly url: string;
  /** etcd's own, without TLS. */
  readonly etcdUrl: string;
  /** Bearer token of a cluster admin (system:masters). */
  readonly token: string;
  /** Bearer token of an authenticated user without any rights. */
  readonly powerlessToken: string;
  /** PEM to trust the server by. */
  readonly certificateAuthority: string;
  /** Path of a kubeconfig file for the admin. */
  readonly kubeconfig: string;
  /** Runs kubectl as the admin; `input` goes to its stdin. */
  kubectl(args: readonly string[], options?: { readonly input?: string }): Promise<KubectlResult>;
  /** Stops kube-apiserver alone: connections break, etcd keeps the data. */
  stopServer(): Promise<void>;
  /**
   * Starts it again at the same url, and waits until it is ready, or only until it answers: clients that never paused may
   * keep it from being ready, for its check of all cluster IPs dislikes that they change meanwhile.
   */
  startServer(until?: "ready" | "answers"): Promise<void>;
  /** Etcd stands still: requests hang in kube-apiserver. */
  pauseEtcd(): Promise<void>;
  resumeEtcd(): void;
  /** Stops everything and removes the folder. Safe to call twice. */
  stop(): Promise<void>;
}

/**
 * Starts etcd and kube-apiserver. @throws Error that quotes the log when they do not get ready, or names missing programs.
 * @param options.serverArgs further arguments of kube-apiserver.
 */
export async function startApiServer(options: { readonly serverArgs?: readonly string[] } = {}): Promise<ApiServer> {
  const found = findApiServerBinaries();
  if (found.kind === "missing") throw new Error(found.reason);
  for (let attempt = 1; ; attempt++) {
    const server = new LocalApiServer({ binaries: found.binaries, ports: await freePorts(3), serverArgs: options.serverArgs ?? [] });
    try {
      await server.start();
      return server;
    } catch (error) {
      await server.stop();
      if (attempt === START_ATTEMPTS) throw error;
    }
  }
}

class LocalApiServer implements ApiServer {
  readonly token = randomBytes(16).toString("hex");
  readonly powerlessToken = randomBytes(16).toString("hex");
  readonly url: string;
  readonly etcdUrl: string;
  readonly kubeconfig: string;
  certificateAuthority = "";
  readonly #binaries: ApiServerBinaries;
  readonly #extraArgs: readonly string[];
  readonly #folder = mkdtempSync(join(tmpdir(), "herald-apiserver-"));
  readonly #ports: { etcd: number; etcdPeer: number; server: number };
  readonly #removeAtExit = (): void => rmSync(this.#folder, { recursive: true, force: true, maxRetries: 3 });
  #etcd: Child | undefined;
  #server: Child | undefined;

  constructor({ binaries, ports, serverArgs }: { readonly binaries: ApiServerBinaries; readonly ports: readonly number[]; readonly serverArgs: readonly string[] }) {
    const [etcd = 0, etcdPeer = 0, server = 0] = ports;
    this.#binaries = binaries;
    this.#extraArgs = serverArgs;
    this.#ports = { etcd, etcdPeer, server };
    this.url = `https://127.0.0.1:${server}`;
    this.etcdUrl = `http://127.0.0.1:${etcd}`;
    this.kubeconfig = this.#path("kubeconfig");
    process.once("exit", this.#removeAtExit);
  }

  async start(): Promise<void> {
    const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048, privateKeyEncoding: { type: "pkcs1", format: "pem" }, publicKeyEncoding: { type: "spki", format: "pem" } });
    writeFileSync(this.#path("service-account.key"), privateKey);
    writeFileSync(this.#path("tokens.csv"), `${this.token},admin,admin,system:masters\n${this.powerlessToken},powerless,powerless\n`);
    this.#etcd = new Child({ name: "etcd", program: this.#binaries.etcd, args: this.#etcdArgs(), logFile: this.#path("etcd.log") });
    await this.startServer();
    // The server made its own certificate; the file holds the whole chain.
    this.certificateAuthority = readFileSync(this.#path("certificates/apiserver.crt"), "utf8");
    writeFileSync(this.kubeconfig, this.#kubeconfigText());
  }

  async startServer(until: "ready" | "answers" = "ready"): Promise<void> {
    const path = until === "ready" ? "/readyz" : "/version";
    this.#server = new Child({ name: "kube-apiserver", program: this.#binaries.kubeApiserver, args: this.#serverArgs(), logFile: this.#path("kube-apiserver.log") });
    const deadline = Date.now() + READY_BUDGET_MS;
    while (!(await isFine(`${this.url}${path}`, this.token))) {
      if (this.#etcd?.running === false) throw this.#etcd.failure("ended");
      if (!this.#server.running) throw this.#server.failure("ended");
      if (Date.now() > deadline) throw this.#server.failure(`is not ready after ${READY_BUDGET_MS} ms`);
      await new Promise((resolve) => setTimeout(resolve, READY_POLL_MS));
    }
  }

  async stopServer(): Promise<void> {
    // Killed: a clean stop waits for watches to end, and the data is etcd's.
    await this.#server?.stop({ kill: true });
  }

  async pauseEtcd(): Promise<void> {
    await this.#etcd?.pause();
  }

  resumeEtcd(): void {
    this.#etcd?.resume();
  }

  async stop(): Promise<void> {
    await this.stopServer();
    await this.#etcd?.stop({ kill: true });
    this.#removeAtExit();
    process.off("exit", this.#removeAtExit);
  }

  kubectl(args: readonly string[], options: { readonly input?: string } = {}): Promise<KubectlResult> {
    return new Promise((resolve) => {
      const child = execFile(
        this.#binaries.kubectl,
        ["--kubeconfig", this.kubeconfig, "--cache-dir", this.#path("kubectl-cache"), ...args],
        { timeout: KUBECTL_TIMEOUT_MS, maxBuffer: MAX_KUBECTL_OUTPUT },
        (error, stdout, stderr) => resolve({ code: error === null ? 0 : typeof error.code === "number" ? error.code : -1, stdout, stderr }),
      );
      // kubectl may refuse its arguments and end before it reads anything.
      child.stdin?.on("error", () => undefined);
      child.stdin?.end(options.input ?? "");
    });
  }

  #path(name: string): string {
    return join(this.#folder, name);
  }

  #etcdArgs(): string[] {
    const client = this.etcdUrl;
    const peer = `http://127.0.0.1:${this.#ports.etcdPeer}`;
    return [
      "--name=test", `--data-dir=${this.#path("etcd")}`, "--unsafe-no-fsync", "--logger=zap", "--log-level=warn",
      `--listen-client-urls=${client}`, `--advertise-client-urls=${client}`,
      `--listen-peer-urls=${peer}`, `--initial-advertise-peer-urls=${peer}`, `--initial-cluster=test=${peer}`,
    ];
  }

  #serverArgs(): string[] {
    return [
      `--etcd-servers=${this.etcdUrl}`,
      "--bind-address=127.0.0.1", `--secure-port=${this.#ports.server}`, `--cert-dir=${this.#path("certificates")}`,
      // Loopback is no address for the kubernetes Service, which nobody uses here.
      "--endpoint-reconciler-type=none",
      "--service-cluster-ip-range=10.96.0.0/16,fd00:96::/112",
      "--service-account-issuer=https://kubernetes.default.svc",
      `--service-account-key-file=${this.#path("service-account.key")}`,
      `--service-account-signing-key-file=${this.#path("service-account.key")}`,
      `--token-auth-file=${this.#path("tokens.csv")}`, "--authorization-mode=RBAC",
      // No controller makes the service accounts and tokens that it would wait for.
      "--disable-admission-plugins=ServiceAccount",
      "--profiling=false", "--shutdown-delay-duration=0s",
      ...this.#extraArgs,
    ];
  }

  #kubeconfigText(): string {
    return JSON.stringify({
      apiVersion: "v1",
      kind: "Config",
      "current-context": "test",
      contexts: [{ name: "test", context: { cluster: "test", user: "admin" } }],
      clusters: [{ name: "test", cluster: { server: this.url, "certificate-authority-data": Buffer.from(this.certificateAuthority).toString("base64") } }],
      users: [{ name: "admin", user: { token: this.token } }],
    });
  }
}

/** Whether the answer is 200. The certificate is not looked at: it is only now being made. */
function isFine(url: string, token: string): Promise<boolean> {
  return new Promise((resolve) => {
    const call = request(url, { rejectUnauthorized: false, agent: false, timeout: 5_000, headers: { authorization: `Bearer ${token}` } }, (response) => {
      response.resume();
      response.once("close", () => resolve(response.statusCode === 200));
    });
    call.once("timeout", () => call.destroy());
    call.once("error", () => resolve(false));
    call.end();
  });
}

/** Ports that nobody listens on now, all different since all are held until the last is found. */
async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(Array.from({ length: count }, () => new Promise<ReturnType<typeof createServer>>((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => resolve(server));
  })));
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}
