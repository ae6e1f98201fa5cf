import { BACKEND_HOST, CONTROL_HOST } from "../hosts.ts";
import { type CommandOptions, type CommandResult, Lab, runCommand } from "../lab.ts";
import { poll } from "../poll.ts";
import { checkFullLabPossible, programPath } from "../programs.ts";
import type { FullLabSettings } from "../state.ts";
import { processOfContainer } from "./node.ts";
import { BACKEND_TAINT } from "./node-files.ts";
import { type AbsenceDoor, keepSpeakerAway, letSpeakerReturn } from "./absence.ts";
import { FullCluster } from "./full-cluster.ts";
import { type ReleaseStep, writeTrail } from "./audit-trail.ts";
import { type InstallOptions, installHerald, uninstallHerald, waitForRelease } from "./release.ts";

export type { InstallOptions } from "./release.ts";

/** What to start. */
export interface FullLabOptions extends Partial<FullLabSettings> {
  /** `lab` when left out. */
  readonly name?: string;
  /** Workers; 3 when left out. The control-plane node comes on top. */
  readonly nodes?: number;
  /** Whether pods can be put on a node of their own, `onBackend()`; false when left out. */
  readonly backend?: boolean;
  readonly stays?: boolean;
  /** Archive of an image that the nodes take while they become Ready, as by `importImage`. */
  readonly image?: Promise<string>;
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
  readonly #releaseSteps: ReleaseStep[] = [];

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
      const settled = lab.#settleNodes(lab.allNodes.length + (options.backend === true ? 1 : 0));
      await Promise.all([settled, options.image?.then((image) => lab.importImage(image))]);
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

  /** What this object did so far to the release and to the API server, the oldest first. */
  get releaseSteps(): readonly ReleaseStep[] {
    return this.#releaseSteps;
  }

  /** File with the administrator's credentials, for programs run by `exec` on any host. */
  get kubeconfig(): string {
    return this.#cluster.folder.kubeconfig;
  }

  /**
   * Puts an image on every node but `backend`, whose pods are the lab's own, from an archive that docker save or an OCI builder wrote.
   * Pods find it by its name, with a tag, and pull nothing.
   */
  async importImage(file: string): Promise<void> {
    await Promise.all(this.#cluster.running().filter((node) => node !== BACKEND_HOST).map(async (node) => {
      await poll(async () => (await this.exec(node, [programPath("ctr"), "version"])).code === 0, { timeoutMs: 60_000, intervalMs: 100, what: `containerd of ${node}` });
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

  /** Imports Herald's image and installs its chart; returns when every pod is Ready. A release that is there is upgraded. */
  override async startHerald(options: InstallOptions = {}, say: (line: string) => void = () => undefined): Promise<void> {
    const step = { own: options.chart === undefined, values: options.values ?? {} };
    this.#releaseSteps.push({ at: Date.now(), kind: "installing", ...step });
    await installHerald(this, options, say);
    this.#releaseSteps.push({ at: Date.now(), kind: "installed", ...step });
  }

  /** Waits until the Deployments and DaemonSets of Herald's namespace are rolled out and Ready. */
  async waitForHerald(say: (line: string) => void = () => undefined): Promise<void> {
    await waitForRelease(this, say);
  }

  override async stopHerald(): Promise<void> {
    this.#releaseSteps.push({ at: Date.now(), kind: "uninstalling" });
    await uninstallHerald(this);
  }

  override async stopApiServer(): Promise<void> {
    this.#releaseSteps.push({ at: Date.now(), kind: "apiServerStopping" });
    await super.stopApiServer();
  }

  override async startApiServer(): Promise<void> {
    await super.startApiServer();
    this.#releaseSteps.push({ at: Date.now(), kind: "apiServerReady" });
  }

  /** Keeps in test-results/audit what Herald asked the API server for, for the comparison with the chart's rights. */
  async keepTrail(): Promise<void> {
    await writeTrail(this);
  }

  /** As in the light lab; the DaemonSet leaves the node out until `restore`. */
  override async stopSpeaker(node: string): Promise<void> {
    await keepSpeakerAway(this.#absence(), node);
  }

  override async restore(node: string): Promise<void> {
    await super.restore(node);
    await letSpeakerReturn(this.#absence(), node);
  }

  protected override enter(host: string, argv: readonly string[]): string[] {
    return this.#cluster.enter(host, argv);
  }

  /** Labels need a registered Node, and a kubelet may not give itself those. */
  async #settleNodes(count: number): Promise<void> {
    await poll(async () => (await this.kubectl(["get", "nodes", "-o", "name"]).catch(() => "")).includes(`node/${CONTROL_HOST}\n`), { timeoutMs: 120_000, intervalMs: 100, what: "the control-plane node to register" });
    await this.kubectl(["label", "node", CONTROL_HOST, "node-role.kubernetes.io/control-plane=", "node.kubernetes.io/exclude-from-external-load-balancers="]);
    await this.waitForNodes(count);
    if (count > this.allNodes.length) await this.kubectl(["label", "node", BACKEND_HOST, "node.kubernetes.io/exclude-from-external-load-balancers="]);
  }

  #absence(): AbsenceDoor {
    return {
      kubectl: (args) => this.kubectl(args),
      remembered: () => this.#cluster.stoppedSpeakers(),
      remember: (absence) => this.#cluster.rememberStopped(absence),
    };
  }
}
