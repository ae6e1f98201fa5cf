import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { type HeraldOptions } from "../herald.ts";
import { BACKEND_HOST, CONTROL_HOST } from "../hosts.ts";
import { type CommandOptions, type CommandResult, Lab, runCommand } from "../lab.ts";
import { HERALD_NAMESPACE } from "../pods.ts";
import { poll } from "../poll.ts";
import { CHECKOUT, LabUnavailable, checkFullLabPossible, programPath } from "../programs.ts";
import type { FullLabSettings } from "../state.ts";
import { processOfContainer } from "./node.ts";
import { BACKEND_TAINT } from "./node-files.ts";
import { FullCluster } from "./full-cluster.ts";

const RELEASE = "herald";
const SPEAKERS = "app.kubernetes.io/component=speaker";

/** What to start. */
export interface FullLabOptions extends Partial<FullLabSettings> {
  /** `lab` when left out. */
  readonly name?: string;
  /** Workers; 3 when left out. The control-plane node comes on top. */
  readonly nodes?: number;
  /** Whether pods can be put on a node of their own, `onBackend()`; false when left out. */
  readonly backend?: boolean;
  readonly stays?: boolean;
}

/** How to install Herald in a full lab: from its image and its chart. */
export interface InstallOptions extends HeraldOptions {
  /** Values of the chart that differ from its own. */
  readonly values?: Readonly<Record<string, unknown>>;
  /** Folder or archive of the chart; `charts/herald` when left out. */
  readonly chart?: string;
  /** Archive of the image; the youngest of this machine's kind in dist/image when left out. */
  readonly image?: string;
}

/** Why no full lab can run on this machine, as a sentence; undefined when one can. */
export function whyNoFullLab(): string | undefined {
  try {
    checkFullLabPossible();
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** What a pod spec says to run on the host `backend`, where nothing else does. */
export function onBackend(): object {
  return { nodeSelector: { "kubernetes.io/hostname": BACKEND_HOST }, tolerations: [{ key: BACKEND_TAINT, operator: "Exists" }] };
}

/**
 * The full lab: every node has its own kubelet and container runtime. `nodes` are the workers; the control-plane node is
 * the host `control`. It has what the light lab has, with the same names.
 */
export class FullLab extends Lab {
  readonly #cluster: FullCluster;

  protected constructor(cluster: FullCluster) {
    super(cluster);
    this.#cluster = cluster;
  }

  /**
   * Starts a full lab and waits until its Nodes are Ready, the control-plane node among them.
   * @throws LabUnavailable when this machine cannot run one, or one of that name is running.
   */
  static override async up(options: FullLabOptions = {}): Promise<FullLab> {
    const settings = { family: options.family ?? "ipv4", proxyMode: options.proxyMode ?? "iptables" } as const;
    const lab = new FullLab(await FullCluster.createFull(options.name ?? "lab", { nodeCount: options.nodes ?? 3, settings, stays: options.stays ?? false }));
    try {
      if (options.backend === true) await lab.#cluster.startBackendNode();
      await lab.#settleNodes(lab.allNodes.length + (options.backend === true ? 1 : 0));
    } catch (error) {
      await lab.down({ failed: true });
      throw error;
    }
    return lab;
  }

  /** The full lab of that name that is running; undefined when there is none. */
  static override find(name: string): FullLab | undefined {
    const cluster = FullCluster.find(name);
    return cluster?.isAlive() ? new FullLab(cluster) : undefined;
  }

  /** Names of all Nodes: control, node1, node2, ... */
  get allNodes(): readonly string[] {
    return this.#cluster.nodeNames();
  }

  /** The API server's audit log: one JSON object per line, level Metadata, for every request so far. */
  get auditLog(): string {
    return this.#cluster.folder.auditLog;
  }

  /** File with the administrator's credentials, for programs run by `exec` on any host. */
  get kubeconfig(): string {
    return this.#cluster.folder.kubeconfig;
  }

  /** Puts an image on every node, from an archive that docker save or an OCI builder wrote. Pods find it by its name, with a tag, and pull nothing. */
  async importImage(file: string): Promise<void> {
    await Promise.all(this.#cluster.running().map(async (node) => {
      const result = await this.exec(node, [programPath("ctr"), "--namespace", "k8s.io", "images", "import", file]);
      if (result.code !== 0) throw new Error(`${node} does not take the image ${file}: ${result.stderr.trim()}`);
    }));
  }

  /**
   * Runs a program of this machine in the network of a pod, whose image may hold no tools; `kubectl exec` runs the pod's own.
   * @throws Error when no process of the pod's first container runs.
   */
  async execInPod(namespace: string, pod: string, argv: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
    const id = (await this.kubectl(["get", "pod", pod, "-n", namespace, "-o", "jsonpath={.status.containerStatuses[0].containerID}"])).replace("containerd://", "");
    const pid = id === "" ? undefined : processOfContainer(id);
    if (pid === undefined) throw new Error(`no container of ${pod} runs`);
    return runCommand(["--target", String(pid), "--net", "--", ...argv], options);
  }

  /** Runs helm as the lab's administrator and returns its output. @throws Error with helm's message when it fails. */
  async helm(args: readonly string[], options: CommandOptions = {}): Promise<string> {
    const result = await this.exec(CONTROL_HOST, [programPath("helm"), "--kubeconfig", this.kubeconfig, ...args], options);
    if (result.code !== 0) throw new Error(`helm ${args.join(" ")}: ${result.stderr.trim()}`);
    return result.stdout;
  }

  /**
   * Imports Herald's image and installs its chart; returns when every pod is Ready. A release that is there is upgraded.
   * @throws Error with what the pods say when they are not Ready in time.
   */
  override async startHerald(options: InstallOptions = {}, say: (line: string) => void = () => undefined): Promise<void> {
    for (const key of ["controllerArgs", "speakerArgs", "speakerOverrides", "env", "membership"] as const) {
      if (options[key] !== undefined) throw new Error(`${key} is for the light lab: say it by values of the chart`);
    }
    await this.importImage(options.image ?? heraldImage());
    const values = { ...options.values, ...(options.controllers === undefined ? {} : { controller: { ...options.values?.["controller"] as object, replicas: options.controllers } }) };
    await this.helm(["upgrade", "--install", RELEASE, options.chart ?? join(CHECKOUT, "charts/herald"), "--namespace", HERALD_NAMESPACE, "--create-namespace", "--values", "-"], { input: JSON.stringify(values) });
    await this.waitForHerald(say);
  }

  /** Waits until the Deployments and DaemonSets of Herald's namespace are rolled out and Ready. */
  async waitForHerald(say: (line: string) => void = () => undefined, timeoutMs = 90_000): Promise<void> {
    let said = "";
    try {
      await poll(async () => {
        const lines = (await this.kubectl(["get", "deployments,daemonsets", "-n", HERALD_NAMESPACE, "-o", `jsonpath=${ROLLOUT}`])).split("\n").filter((line) => line !== "");
        const line = lines.map((each) => each.split(" ")).map(([name, , , wanted, ready]) => `${name}: ${ready || 0} of ${wanted} ready`).join(", ");
        if (line !== said) say(line);
        said = line;
        return lines.length > 0 && lines.every(isRolledOut);
      }, { timeoutMs, intervalMs: 200, what: "Herald's pods to be Ready" });
    } catch (error) {
      throw new Error(`${error instanceof Error ? error.message : String(error)}\n${await this.#whyNotReady()}`, { cause: error });
    }
  }

  /** Uninstalls Herald and waits until its pods are gone. The user's resources stay. */
  override async stopHerald(): Promise<void> {
    await this.helm(["uninstall", RELEASE, "--namespace", HERALD_NAMESPACE, "--ignore-not-found"]);
    await poll(async () => (await this.kubectl(["get", "pods", "-n", HERALD_NAMESPACE, "-o", "name"])).trim() === "",
      { timeoutMs: 60_000, what: "Herald's pods to be gone" });
  }

  /**
   * Ends the speaker of a node with the notice that Kubernetes gives; it stays away until `restore`. Its DaemonSet leaves the
   * node out meanwhile, and restarts no other speaker for that.
   */
  override async stopSpeaker(node: string): Promise<void> {
    const before = this.#cluster.stoppedSpeakers();
    const { name, updateStrategy, affinity } = before ? { ...before, name: before.daemonSet } : await this.#speakerDaemonSet();
    const nodes = [...new Set([...(before?.nodes ?? []), node])];
    this.#cluster.rememberStopped({ nodes, daemonSet: name, updateStrategy, affinity });
    await this.#leaveOut(name, nodes);
    await poll(async () => !(await this.kubectl(["get", "pods", "-n", HERALD_NAMESPACE, "-l", SPEAKERS, `--field-selector=spec.nodeName=${node}`, "-o", "name"])).includes("pod/"),
      { timeoutMs: 60_000, what: `the speaker of ${node} to be gone` });
  }

  override async restore(node: string): Promise<void> {
    await super.restore(node);
    const stopped = this.#cluster.stoppedSpeakers();
    if (!stopped?.nodes.includes(node)) return;
    const nodes = stopped.nodes.filter((other) => other !== node);
    if (nodes.length > 0) {
      await this.#leaveOut(stopped.daemonSet, nodes);
      this.#cluster.rememberStopped({ ...stopped, nodes });
      return;
    }
    // The template as it was has the revision that the other speakers have, so none is replaced.
    await this.#patchDaemonSet(stopped.daemonSet, { template: { spec: { affinity: stopped.affinity } } });
    await this.#patchDaemonSet(stopped.daemonSet, { updateStrategy: stopped.updateStrategy });
    this.#cluster.rememberStopped(undefined);
  }

  protected override enter(host: string, argv: readonly string[]): string[] {
    return this.#cluster.enter(host, argv);
  }

  /** Labels need a registered Node, and a kubelet may not give itself those. */
  async #settleNodes(count: number): Promise<void> {
    await poll(async () => (await this.kubectl(["get", "nodes", "-o", "name"]).catch(() => "")).includes(`node/${CONTROL_HOST}\n`), { timeoutMs: 60_000, intervalMs: 100, what: "the control-plane node to register" });
    await this.kubectl(["label", "node", CONTROL_HOST, "node-role.kubernetes.io/control-plane=", "node.kubernetes.io/exclude-from-external-load-balancers="]);
    await this.waitForNodes(count);
    if (count > this.allNodes.length) await this.kubectl(["label", "node", BACKEND_HOST, "node.kubernetes.io/exclude-from-external-load-balancers="]);
  }

  async #speakerDaemonSet(): Promise<{ name: string; updateStrategy: unknown; affinity: unknown }> {
    const { items } = JSON.parse(await this.kubectl(["get", "daemonsets", "-n", HERALD_NAMESPACE, "-l", SPEAKERS, "-o", "json"])) as
      { items: { metadata: { name: string }; spec: { updateStrategy: unknown; template: { spec: { affinity?: unknown } } } }[] };
    const found = items[0];
    if (!found) throw new Error("there is no DaemonSet of speakers");
    return { name: found.metadata.name, updateStrategy: found.spec.updateStrategy, affinity: found.spec.template.spec.affinity ?? null };
  }

  async #leaveOut(daemonSet: string, nodes: readonly string[]): Promise<void> {
    const matchFields = nodes.map((node) => ({ key: "metadata.name", operator: "NotIn", values: [node] }));
    const affinity = { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [{ matchFields }] } } };
    await this.#patchDaemonSet(daemonSet, { updateStrategy: { type: "OnDelete", rollingUpdate: null } });
    await this.#patchDaemonSet(daemonSet, { template: { spec: { affinity } } });
  }

  async #patchDaemonSet(name: string, spec: object): Promise<void> {
    await this.kubectl(["patch", "daemonset", name, "-n", HERALD_NAMESPACE, "--type=merge", "-p", JSON.stringify({ spec })]);
  }

  async #whyNotReady(): Promise<string> {
    const asked = await Promise.all([["get", "pods", "-o", "wide"], ["get", "events", "--sort-by=.lastTimestamp"], ["logs", "--all-containers", "--prefix", "--tail=5", "-l", "app.kubernetes.io/component"]]
      .map((args) => this.kubectl([...args, "-n", HERALD_NAMESPACE]).catch((error: unknown) => String(error))));
    return asked.join("\n");
  }
}

/** Name, generations and counts of a workload. */
const ROLLOUT = '{range .items[*]}{.metadata.name} {.metadata.generation} {.status.observedGeneration} {.spec.replicas}{.status.desiredNumberScheduled} {.status.readyReplicas}{.status.numberReady} {.status.updatedReplicas}{.status.updatedNumberScheduled} {.status.replicas}{.status.currentNumberScheduled}{"\\n"}{end}';

function isRolledOut(line: string): boolean {
  const [, generation, observed, wanted, ready, updated, current] = line.split(" ");
  return generation === observed && [ready, updated, current].every((count) => count === wanted);
}

/** The youngest archive of Herald's image for this machine. @throws LabUnavailable when there is none. */
function heraldImage(): string {
  const folder = process.env["HERALD_IMAGES"] ?? join(CHECKOUT, "dist/image");
  const kind = process.arch === "x64" ? "amd64" : process.arch;
  const found = existsSync(folder) ? readdirSync(folder).filter((file) => file.startsWith("herald-") && file.endsWith(`-${kind}.tar`)).map((file) => join(folder, file)) : [];
  const youngest = found.toSorted((a, b) => statSync(b).mtimeMs - statSync(a).mtimeMs)[0];
  if (youngest === undefined) throw new LabUnavailable(`${folder} holds no image of Herald for ${kind}: run 'make image' first.`);
  return youngest;
}

