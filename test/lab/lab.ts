import { spawn } from "node:child_process";
import { mkdirSync, readFileSync, readdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { BackendAnswer } from "./backend-server.ts";
import { type Capture, startCapture } from "./capture.ts";
import { Cluster } from "./cluster.ts";
import { type HeraldOptions, CRD_FOLDER, checkHeraldBuilt, heraldNamespace, heraldWorkloads } from "./herald.ts";
import { UPSTREAM_HOST, hostsOf, nodeNames } from "./hosts.ts";
import { HERALD_NAMESPACE } from "./pods.ts";
import { poll } from "./poll.ts";
import { nsenterArgv } from "./processes.ts";
import { checkLabPossible, programPath, searchPath } from "./programs.ts";

export type { BackendAnswer } from "./backend-server.ts";
export type { Capture } from "./capture.ts";
export { poll } from "./poll.ts";

/** How long a command may take when nothing is said: longer than an API server without a processor kept helm waiting. */
const COMMAND_BUDGET_MS = 300_000;
/** How long arping may stand still on a busy machine before it leaves questions out. */
const ARPING_PATIENCE_SECONDS = 10;

/** What a command in the lab did. */
export interface CommandResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** How to run a command in the lab. */
export interface CommandOptions {
  readonly input?: string;
  /** Killed after so long; 300 s when left out. */
  readonly timeoutMs?: number;
}

/** Why no lab can run on this machine, as a sentence; undefined when one can. */
export function whyNoLab(): string | undefined {
  try {
    checkLabPossible();
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/**
 * What tests ask of a cluster, whatever it is made of. The light lab plays its kubelets; another
 * driver may run real ones.
 */
export interface LabDriver {
  readonly name: string;
  readonly nodes: readonly string[];
  kubectl(args: readonly string[], options?: CommandOptions): Promise<string>;
  apply(yaml: string): Promise<void>;
  get(kind: string, namespace: string, name: string): Promise<unknown>;
  exec(host: string, argv: readonly string[], options?: CommandOptions): Promise<CommandResult>;
  startHerald(options?: HeraldOptions, say?: (line: string) => void): Promise<void>;
  stopHerald(): Promise<void>;
  powerOff(node: string): Promise<void>;
  crashSpeaker(node: string): Promise<void>;
  stopSpeaker(node: string): Promise<void>;
  pauseSpeaker(node: string, ms: number): Promise<void>;
  dropApi(node: string): Promise<void>;
  lossPercent(percent: number, hosts?: readonly string[]): Promise<void>;
  partition(nodes: readonly string[], from?: readonly string[]): Promise<void>;
  restore(node: string): Promise<void>;
  stopApiServer(): Promise<void>;
  startApiServer(): Promise<void>;
  nodeMac(node: string): Promise<string>;
  down(options?: { readonly failed?: boolean }): Promise<void>;
}

/** The light lab: real Kubernetes in network namespaces, with nodes whose kubelet is played. */
export class Lab implements LabDriver {
  protected readonly cluster: Cluster;
  readonly #captures: Capture[] = [];

  protected constructor(cluster: Cluster) {
    this.cluster = cluster;
  }

  /**
   * Starts a lab and waits until its Nodes are Ready.
   * @param options `nodes` is 3 and `name` is `lab` when left out. A lab that `stays` outlives
   *   this process; another one is cleaned up by the next `up` when this process was killed.
   * @throws LabUnavailable when this machine cannot run one, or one of that name is running.
   */
  static async up(options: { readonly name?: string; readonly nodes?: number; readonly stays?: boolean } = {}): Promise<Lab> {
    const lab = new Lab(await Cluster.create(options.name ?? "lab", options.nodes ?? 3, { stays: options.stays ?? false }));
    try {
      await lab.waitForNodes();
    } catch (error) {
      await lab.down({ failed: true });
      throw error;
    }
    return lab;
  }

  /** The lab of that name that is running; undefined when there is none. */
  static find(name: string): Lab | undefined {
    const cluster = Cluster.find(name);
    return cluster?.isAlive() ? new Lab(cluster) : undefined;
  }

  get name(): string {
    return this.cluster.state.name;
  }

  /** Names of the Nodes: node1, node2, ... */
  get nodes(): readonly string[] {
    return nodeNames(this.cluster.state.nodeCount);
  }

  /** Folder that holds the logs, one file per program: `speaker-node1.log`, `apiserver.log`, ... */
  get logFolder(): string {
    return this.cluster.folder.logs;
  }

  /** Full name of a host's network namespace, for `nsenter --net=/run/netns/...`. */
  namespace(host: string): string {
    return this.cluster.namespace(host);
  }

  /**
   * Runs kubectl as the lab's administrator and returns its output.
   * @throws Error with kubectl's message when it fails.
   */
  async kubectl(args: readonly string[], options: CommandOptions = {}): Promise<string> {
    const argv = [programPath("kubectl"), `--kubeconfig=${this.cluster.folder.kubeconfig}`, ...args];
    const result = await this.exec("control", argv, options);
    if (result.code !== 0) throw new Error(`kubectl ${args.join(" ")}: ${result.stderr.trim()}`);
    return result.stdout;
  }

  /** Applies objects written as YAML or JSON, several of them between lines of `---`. */
  async apply(yaml: string): Promise<void> {
    await this.kubectl(["apply", "-f", "-"], { input: yaml });
  }

  /** One object as the API has it. @throws Error when there is none. */
  async get(kind: string, namespace: string, name: string): Promise<unknown> {
    return JSON.parse(await this.kubectl(["get", kind, name, "-n", namespace, "-o", "json"]));
  }

  /** The arguments of nsenter that run a program on a host. */
  protected enter(host: string, argv: readonly string[]): string[] {
    return nsenterArgv(this.namespace(host), argv);
  }

  /** Runs a command on a host; a failure of the command is a result, not an exception. */
  exec(host: string, argv: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
    return runCommand(this.enter(host, argv), options);
  }

  /**
   * Asks who has an IPv4 address and returns the MACs that answered, one per answer, in
   * lower case. Empty when nobody did. Takes up to a second per question.
   */
  async arping(host: string, address: string, options: { readonly count?: number } = {}): Promise<string[]> {
    const { count = 1 } = options;
    const { stdout } = await this.exec(host, [programPath("arping"), "-i", "eth0", "-c", String(count), "-W", "0.3", "-w", String(count + ARPING_PATIENCE_SECONDS), "-r", address]);
    return stdout.split("\n").map((line) => line.trim().toLowerCase()).filter((line) => /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/.test(line));
  }

  /**
   * Asks a backend over a fresh connection. @throws Error when nothing answers in 5 s, or the
   * answer is not one of the lab's backends.
   */
  async curl(host: string, url: string): Promise<BackendAnswer> {
    const result = await this.exec(host, [programPath("curl"), "-sS", "-g", "--max-time", "5", url]);
    if (result.code !== 0) throw new Error(`curl ${url} from ${host}: ${result.stderr.trim()}`);
    return JSON.parse(result.stdout) as BackendAnswer;
  }

  /**
   * Captures on a card of a host, eth0 when left out, from now on. @param filter in the words of tcpdump.
   * @returns with tcpdump listening; `stop` gives one line of text per frame.
   */
  async capture(host: string, filter: string, card?: string): Promise<Capture> {
    const capture = await startCapture({ namespace: this.namespace(host), host, filter, folder: this.cluster.folder.captures, ...(card === undefined ? {} : { card }) });
    this.#captures.push(capture);
    return capture;
  }

  /** MAC of a host's eth0, in lower case with colons. */
  async nodeMac(node: string): Promise<string> {
    const host = hostsOf(this.nodes.length).find((candidate) => candidate.name === node);
    if (!host) throw new Error(`there is no host ${node}`);
    return host.mac;
  }

  /** Applies Herald's definitions and workloads, and waits until every pod of them is Ready. */
  async startHerald(options: HeraldOptions = {}, say: (line: string) => void = () => undefined): Promise<void> {
    checkHeraldBuilt();
    await this.apply(JSON.stringify(heraldNamespace()));
    await this.kubectl(["apply", "--server-side", "--force-conflicts", "-f", CRD_FOLDER]);
    await this.kubectl(["wait", "--for=condition=Established", "--timeout=90s", "-f", CRD_FOLDER], { timeoutMs: 95_000 });
    await this.apply(JSON.stringify({ apiVersion: "v1", kind: "List", items: heraldWorkloads(options) }));
    try {
      await this.#waitForHerald(options.controllers ?? 2, say);
    } catch (error) {
      throw new Error(`${error instanceof Error ? error.message : String(error)}\n${this.#lastWords()}`, { cause: error });
    }
  }

  async #waitForHerald(controllers: number, say: (line: string) => void): Promise<void> {
    let said = "";
    await poll(async () => {
      const text = await this.kubectl(["get", "pods", "-n", HERALD_NAMESPACE, "-o", `jsonpath={range .items[*]}{.metadata.labels.app\\.kubernetes\\.io/component} {.status.conditions[?(@.type=="Ready")].status}{"\\n"}{end}`]);
      const pods = text.split("\n").filter((line) => line !== "");
      const ready = (component: string): number => pods.filter((line) => line === `${component} True`).length;
      const line = `controllers ready: ${ready("controller")}, speakers ready: ${ready("speaker")}`;
      if (line !== said) say(line);
      said = line;
      return ready("controller") === controllers && ready("speaker") >= this.nodes.length;
    }, { timeoutMs: 120_000, intervalMs: 300, what: `Herald's pods to be Ready (logs in ${this.logFolder})` });
  }

  /** The last line of the log of each of Herald's programs, for whoever wonders. */
  #lastWords(): string {
    const files = readdirSync(this.logFolder).filter((file) => /^(controller|speaker)-node/.test(file)).sort();
    return files.map((file) => `${file}: ${readFileSync(join(this.logFolder, file), "utf8").trimEnd().split("\n").at(-1) ?? ""}`).join("\n");
  }

  /** Deletes Herald's workloads and waits until its pods are gone. The user's resources stay. */
  async stopHerald(): Promise<void> {
    await this.kubectl(["delete", "deployment/controller", "daemonset/speaker", "-n", HERALD_NAMESPACE, "--ignore-not-found"]);
    await poll(async () => (await this.kubectl(["get", "pods", "-n", HERALD_NAMESPACE, "-o", "name"])).trim() === "",
      { timeoutMs: 90_000, what: "Herald's pods to be gone" });
  }

  powerOff(node: string): Promise<void> {
    return this.cluster.powerOff(node);
  }

  crashSpeaker(node: string): Promise<void> {
    return this.cluster.crashSpeaker(node);
  }

  stopSpeaker(node: string): Promise<void> {
    return this.cluster.stopSpeaker(node);
  }

  pauseSpeaker(node: string, ms: number): Promise<void> {
    return this.cluster.pauseSpeaker(node, ms);
  }

  dropApi(node: string): Promise<void> {
    return this.cluster.dropApi(node);
  }

  lossPercent(percent: number, hosts?: readonly string[]): Promise<void> {
    return this.cluster.lossPercent(percent, hosts);
  }

  partition(nodes: readonly string[], from?: readonly string[]): Promise<void> {
    return this.cluster.partition(nodes, from);
  }

  restore(node: string): Promise<void> {
    return this.cluster.restore(node);
  }

  stopApiServer(): Promise<void> {
    return this.cluster.stopApiServer();
  }

  startApiServer(): Promise<void> {
    return this.cluster.startApiServer();
  }

  /** Waits until the Node's Ready condition is as wished. */
  async waitForNode(node: string, ready: "True" | "Unknown", timeoutMs = 120_000): Promise<void> {
    await this.kubectl(["wait", `node/${node}`, `--for=condition=Ready=${ready}`, `--timeout=${timeoutMs / 1000}s`], { timeoutMs: timeoutMs + 5000 });
  }

  /**
   * Ends the lab and removes it. After a failed run its logs and captures are kept in a folder of
   * their own, whose path is printed.
   */
  async down(options: { readonly failed?: boolean } = {}): Promise<void> {
    for (const capture of this.#captures) await capture.stop().catch(() => []);
    await this.cluster.stop();
    if (options.failed === true) console.error(`lab ${this.name}: logs kept in ${this.#keepLogs()}`);
    await Cluster.remove(this.name);
  }

  #keepLogs(): string {
    const kept = `${this.cluster.folder.path}.failed`;
    rmSync(kept, { recursive: true, force: true });
    mkdirSync(kept, { recursive: true });
    const { logs, captures, auditLog } = this.cluster.folder;
    for (const [from, to] of [[logs, "logs"], [captures, "captures"], [auditLog, "audit.log"]] as const) {
      try {
        renameSync(from, join(kept, to));
      } catch {
        // A lab that failed early has none.
      }
    }
    return kept;
  }

  /** Waits until as many Nodes are Ready. */
  protected async waitForNodes(count = this.nodes.length): Promise<void> {
    await poll(async () => {
      const text = await this.kubectl(["get", "nodes", "-o", `jsonpath={range .items[*]}{.status.conditions[?(@.type=="Ready")].status}{"\\n"}{end}`]).catch(() => "");
      return text.split("\n").filter((line) => line === "True").length >= count;
    }, { timeoutMs: 120_000, intervalMs: 150, what: "the Nodes to be Ready" });
  }
}

/** Host outside of the cluster that tests look from. */
export const CLIENT = UPSTREAM_HOST;

/** Runs nsenter with these arguments; a failure of the command is a result, not an exception. */
export function runCommand(argv: readonly string[], options: CommandOptions): Promise<CommandResult> {
  return new Promise((resolve, reject) => {
    const child = spawn("nsenter", argv, { stdio: ["pipe", "pipe", "pipe"], env: { ...process.env, PATH: searchPath() } });
    const { timeoutMs = COMMAND_BUDGET_MS } = options;
    let stdout = "";
    let stderr = "";
    const killer = setTimeout(() => {
      stderr += `\nkilled after ${timeoutMs / 1000} s`;
      child.kill("SIGKILL");
    }, timeoutMs);
    child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
    child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
    child.on("error", reject);
    child.on("close", (code) => {
      clearTimeout(killer);
      resolve({ code: code ?? -1, stdout, stderr });
    });
    // A command may end without reading its input.
    child.stdin.on("error", () => undefined).end(options.input ?? "");
  });
}
