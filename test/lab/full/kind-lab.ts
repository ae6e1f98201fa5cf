import { spawn } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { CommandOptions, CommandResult, LabDriver } from "../lab.ts";
import { pause, poll } from "../poll.ts";
import { LabUnavailable, programPath } from "../programs.ts";
import { type FullLabSettings, labFolder } from "../state.ts";
import { type Absence, keepSpeakerAway, letSpeakerReturn } from "./absence.ts";
import { type InstallOptions, installHerald, uninstallHerald } from "./release.ts";

const CREATE_BUDGET_MS = 300_000;
const READY_BUDGET_MS = 120_000;
/** The network that kind makes for its nodes. */
const NETWORK = "kind";
const API_PORT = "6443";
const MANIFEST = "/etc/kubernetes/manifests/kube-apiserver.yaml";
const ASIDE = "/etc/kubernetes/kube-apiserver.yaml";
/** Chain of a node's packet filter that holds the lab's faults. */
const FAULTS = "LAB-FAULTS";

/** Runs a program of this machine; its failure is a result. The door that tests replace. */
export type RunProgram = (program: string, argv: readonly string[], options?: CommandOptions) => Promise<CommandResult>;

/** What to start. */
export interface KindLabOptions extends Partial<FullLabSettings> {
  readonly name?: string;
  /** Workers; 3 when left out. */
  readonly nodes?: number;
  readonly run?: RunProgram;
}

interface KindState {
  readonly name: string;
  readonly workers: readonly string[];
}

/**
 * A lab of kind's nodes, for machines with a Docker engine. `client` is a container beside them; other hosts are the nodes by the
 * names that kind gives them, `NAME-worker` and so on. Kubeconfig and memory are in the lab's folder.
 */
export class KindLab implements LabDriver {
  readonly name: string;
  readonly nodes: readonly string[];
  readonly #run: RunProgram;
  readonly #folder: string;

  private constructor(state: KindState, run: RunProgram) {
    this.name = state.name;
    this.nodes = state.workers;
    this.#run = run;
    this.#folder = labFolder(state.name).path;
  }

  /**
   * Starts a cluster and waits until its Nodes are Ready.
   * @throws LabUnavailable where no Docker engine runs or kind is missing.
   */
  static async up(options: KindLabOptions = {}): Promise<KindLab> {
    const run = options.run ?? runProgram;
    await checkKindPossible(run);
    const name = options.name ?? "lab";
    const count = options.nodes ?? 3;
    const workers = Array.from({ length: count }, (_, index) => `${name}-worker${index === 0 ? "" : index + 1}`);
    const lab = new KindLab({ name, workers }, run);
    mkdirSync(lab.#folder, { recursive: true });
    writeFileSync(statePath(name), JSON.stringify({ name, workers } satisfies KindState));
    try {
      await lab.#must("kind", ["create", "cluster", "--name", name, "--config", "-", "--kubeconfig", lab.kubeconfig, "--wait", "120s"],
        { input: JSON.stringify(kindConfig(count, options)), timeoutMs: CREATE_BUDGET_MS });
      const image = (await lab.#docker(["inspect", "--format", "{{.Image}}", lab.#control])).trim();
      // The nodes' own image has the programs to look with, and nothing more is pulled.
      await lab.#docker(["run", "--detach", "--name", lab.#container("client"), "--network", NETWORK, "--cap-add", "NET_ADMIN", "--entrypoint", "sleep", image, "infinity"]);
      await lab.kubectl(["wait", "nodes", "--all", "--for=condition=Ready", "--timeout=120s"], { timeoutMs: READY_BUDGET_MS });
    } catch (error) {
      await lab.down();
      throw error;
    }
    return lab;
  }

  /** The kind lab of that name; undefined when none was started. */
  static find(name: string, run: RunProgram = runProgram): KindLab | undefined {
    try {
      return new KindLab(JSON.parse(readFileSync(statePath(name), "utf8")) as KindState, run);
    } catch {
      return undefined;
    }
  }

  get kubeconfig(): string {
    return join(this.#folder, "kubeconfig");
  }

  async kubectl(args: readonly string[], options?: CommandOptions): Promise<string> {
    return this.#must(programPath("kubectl"), [`--kubeconfig=${this.kubeconfig}`, ...args], options);
  }

  async helm(args: readonly string[], options?: CommandOptions): Promise<string> {
    return this.#must(programPath("helm"), ["--kubeconfig", this.kubeconfig, ...args], options);
  }

  async apply(yaml: string): Promise<void> {
    await this.kubectl(["apply", "-f", "-"], { input: yaml });
  }

  async get(kind: string, namespace: string, name: string): Promise<unknown> {
    return JSON.parse(await this.kubectl(["get", kind, name, "-n", namespace, "-o", "json"]));
  }

  exec(host: string, argv: readonly string[], options?: CommandOptions): Promise<CommandResult> {
    return this.#run("docker", ["exec", "--interactive", this.#container(host), ...argv], options);
  }

  async importImage(file: string): Promise<void> {
    await this.#must("kind", ["load", "image-archive", file, "--name", this.name]);
  }

  async startHerald(options: InstallOptions = {}, say: (line: string) => void = () => undefined): Promise<void> {
    await installHerald(this, options, say);
  }

  async stopHerald(): Promise<void> {
    await uninstallHerald(this);
  }

  /** The cable first, so that no goodbye leaves. */
  async powerOff(node: string): Promise<void> {
    await this.#remember({ [node]: await this.#addresses(node) });
    await this.#docker(["network", "disconnect", NETWORK, this.#container(node)]);
    await this.#docker(["kill", this.#container(node)]);
  }

  async crashSpeaker(node: string): Promise<void> {
    await this.#signalSpeaker(node, "KILL");
  }

  async stopSpeaker(node: string): Promise<void> {
    await keepSpeakerAway(this.#absence(), node);
  }

  async pauseSpeaker(node: string, ms: number): Promise<void> {
    await this.#signalSpeaker(node, "STOP");
    await pause(ms);
    await this.#signalSpeaker(node, "CONT");
  }

  async dropApi(node: string): Promise<void> {
    await this.#addFaults(node, (await this.#addresses(this.#control)).flatMap((address) => [
      [address, "-d", address, "-p", "tcp", "--dport", API_PORT],
      [address, "-s", address, "-p", "tcp", "--sport", API_PORT],
    ]));
  }

  async lossPercent(percent: number, hosts: readonly string[] = [...this.nodes, "client"]): Promise<void> {
    if (!(percent >= 0 && percent <= 100)) throw new Error(`${percent} % cannot be lost`);
    for (const host of hosts) {
      await this.#forgetFaults(host);
      const share = ["-m", "statistic", "--mode", "random", "--probability", String(percent / 100)];
      if (percent > 0) await this.#addFaults(host, [["0.0.0.0", ...share], ["::", ...share]]);
    }
  }

  async partition(nodes: readonly string[], from?: readonly string[]): Promise<void> {
    const others = from ?? [this.#control, ...this.nodes, "client"].filter((host) => !nodes.includes(host));
    const addresses = (await Promise.all(others.map((other) => this.#addresses(other)))).flat();
    for (const node of nodes) await this.#addFaults(node, addresses.flatMap((address) => [[address, "-s", address], [address, "-d", address]]));
  }

  async restore(node: string): Promise<void> {
    const kept = this.#remembered()[node];
    if (kept) {
      const [ipv4, ipv6] = [kept.find((address) => !address.includes(":")), kept.find((address) => address.includes(":"))];
      await this.#docker(["network", "connect", ...(ipv4 === undefined ? [] : ["--ip", ipv4]), ...(ipv6 === undefined ? [] : ["--ip6", ipv6]), NETWORK, this.#container(node)]);
      await this.#docker(["start", this.#container(node)]);
      await this.#remember({ [node]: undefined });
    }
    await this.#forgetFaults(node);
    await this.exec(node, ["pkill", "-CONT", "-f", SPEAKER]);
    await letSpeakerReturn(this.#absence(), node);
  }

  /** Its kubelet ends the API server when the manifest is gone. */
  async stopApiServer(): Promise<void> {
    await this.#docker(["exec", this.#control, "mv", MANIFEST, ASIDE]);
    await poll(async () => !await this.#isApiReady(), { timeoutMs: READY_BUDGET_MS, what: "the API server to end" });
  }

  async startApiServer(): Promise<void> {
    await this.#docker(["exec", this.#control, "mv", ASIDE, MANIFEST]);
    await poll(() => this.#isApiReady(), { timeoutMs: READY_BUDGET_MS, what: "the API server to be ready" });
  }

  async nodeMac(node: string): Promise<string> {
    return (await this.#docker(["exec", this.#container(node), "cat", "/sys/class/net/eth0/address"])).trim();
  }

  async down(): Promise<void> {
    await this.#run("docker", ["rm", "--force", this.#container("client")]);
    await this.#must("kind", ["delete", "cluster", "--name", this.name]);
    rmSync(this.#folder, { recursive: true, force: true });
  }

  get #control(): string {
    return `${this.name}-control-plane`;
  }

  #container(host: string): string {
    if (host === "client") return `${this.name}-client`;
    const known = [...this.nodes, this.#control];
    if (host === "control") return this.#control;
    if (!known.includes(host)) throw new LabUnavailable(`There is no host '${host}': the lab has client, ${known.join(", ")}.`);
    return host;
  }

  async #isApiReady(): Promise<boolean> {
    return (await this.#run(programPath("kubectl"), [`--kubeconfig=${this.kubeconfig}`, "get", "--raw", "/readyz", "--request-timeout=2s"])).code === 0;
  }

  async #addresses(host: string): Promise<string[]> {
    const format = `{{with index .NetworkSettings.Networks "${NETWORK}"}}{{.IPAddress}} {{.GlobalIPv6Address}}{{end}}`;
    return (await this.#docker(["inspect", "--format", format, this.#container(host)])).trim().split(" ").filter((address) => address !== "");
  }

  async #signalSpeaker(node: string, signal: "KILL" | "STOP" | "CONT"): Promise<void> {
    if ((await this.exec(node, ["pkill", `-${signal}`, "-f", SPEAKER])).code !== 0) throw new Error(`no speaker runs on ${node}`);
  }

  /** Each rule begins with an address that says its family. */
  async #addFaults(host: string, rules: readonly (readonly string[])[]): Promise<void> {
    const lines = rules.map(([address = "", ...match]) => `${address.includes(":") ? "ip6tables" : "iptables"} -A ${FAULTS} ${match.join(" ")} -j DROP`);
    await this.#docker(["exec", this.#container(host), "sh", "-ec", [...FAULT_CHAINS, ...lines].join("\n")]);
  }

  async #forgetFaults(host: string): Promise<void> {
    await this.exec(host, ["sh", "-c", `iptables -F ${FAULTS}; ip6tables -F ${FAULTS}`]);
  }

  #absence(): Parameters<typeof keepSpeakerAway>[0] {
    const path = join(this.#folder, "stopped-speakers.json");
    return {
      kubectl: (args) => this.kubectl(args),
      remembered: () => readJson<Absence>(path),
      remember: (absence) => (absence ? writeFileSync(path, JSON.stringify(absence)) : rmSync(path, { force: true })),
    };
  }

  /** Addresses of the nodes that are off. */
  #remembered(): Record<string, readonly string[] | undefined> {
    return readJson(join(this.#folder, "powered-off.json")) ?? {};
  }

  async #remember(change: Record<string, readonly string[] | undefined>): Promise<void> {
    writeFileSync(join(this.#folder, "powered-off.json"), JSON.stringify({ ...this.#remembered(), ...change }));
  }

  #docker(argv: readonly string[]): Promise<string> {
    return this.#must("docker", argv);
  }

  async #must(program: string, argv: readonly string[], options?: CommandOptions): Promise<string> {
    const result = await this.#run(program, argv, options);
    if (result.code !== 0) throw new Error(`${program} ${argv.join(" ")}: ${result.stderr.trim()}`);
    return result.stdout;
  }
}

/** Command line of the speaker in Herald's image. */
const SPEAKER = "/opt/herald/speaker.mjs";

const FAULT_CHAINS = ["iptables", "ip6tables"].flatMap((program) => [
  `${program} -N ${FAULTS} 2>/dev/null || true`,
  ...["INPUT", "OUTPUT", "FORWARD"].map((hook) => `${program} -C ${hook} -j ${FAULTS} 2>/dev/null || ${program} -I ${hook} -j ${FAULTS}`),
]);

/** @throws LabUnavailable where no Docker engine runs or kind is missing. */
export async function checkKindPossible(run: RunProgram = runProgram): Promise<void> {
  const engine = await run("docker", ["info", "--format", "{{.ServerVersion}}"], { timeoutMs: 10_000 });
  if (engine.code !== 0) throw new LabUnavailable(`A lab on kind needs a Docker engine, and there is none here: ${engine.stderr.trim().split("\n")[0]}. 'scripts/lab up --full' needs none.`);
  const kind = await run("kind", ["version"], { timeoutMs: 10_000 });
  if (kind.code !== 0) throw new LabUnavailable("A lab on kind needs the program kind in PATH: see https://kind.sigs.k8s.io/docs/user/quick-start.");
}

function kindConfig(workers: number, { family, proxyMode }: KindLabOptions): object {
  // kind has no dual stack with IPv6 first: `ipv6` is IPv6 alone.
  const networking = { ipFamily: family === "ipv6" ? "ipv6" : "dual", kubeProxyMode: proxyMode ?? "iptables" };
  return { kind: "Cluster", apiVersion: "kind.x-k8s.io/v1alpha4", networking, nodes: [{ role: "control-plane" }, ...Array.from({ length: workers }, () => ({ role: "worker" }))] };
}

function statePath(name: string): string {
  return join(labFolder(name).path, "kind.json");
}

function readJson<T>(path: string): T | undefined {
  try {
    return JSON.parse(readFileSync(path, "utf8")) as T;
  } catch {
    return undefined;
  }
}

function runProgram(program: string, argv: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
  return new Promise((resolve) => {
    const child = spawn(program, argv, { stdio: ["pipe", "pipe", "pipe"] });
    const killer = setTimeout(() => child.kill("SIGKILL"), options.timeoutMs ?? 60_000);
    const said = { stdout: "", stderr: "" };
    child.stdout.setEncoding("utf8").on("data", (text: string) => (said.stdout += text));
    child.stderr.setEncoding("utf8").on("data", (text: string) => (said.stderr += text));
    const end = (code: number): void => {
      clearTimeout(killer);
      resolve({ code, ...said });
    };
    child.on("error", (error) => {
      said.stderr += error.message;
      end(127);
    });
    child.on("close", (code) => end(code ?? -1));
    // A command may end without reading its input.
    child.stdin.on("error", () => undefined).end(options.input ?? "");
  });
}
