import { existsSync } from "node:fs";
import { request } from "node:http";
import { join } from "node:path";
import { removeCgroups } from "./cgroups.ts";
import { CONTROL_HOST, MAX_NODES, hostsOf, namespaceOf, nodeNames } from "./hosts.ts";
import { startApiServer, startControlPlane, startControllerManager, startKubeProxy, stopApiServer } from "./control-plane.ts";
import { dropApi, mendLink, setLoss } from "./link-faults.ts";
import type { PlayerOrder } from "./player.ts";
import { pause, poll } from "./poll.ts";
import { ProcessTable, endProcess, isSameProcess, killNamespace, ownIdentity, signalProcess } from "./processes.ts";
import { LabUnavailable, NODE, checkLabPossible } from "./programs.ts";
import { type LabFolder, type LabState, labFolder, readState, removeFolder, writeState } from "./state.ts";
import { type NetworkPlan, buildNetwork, forgetState, healPartition, listNamespaces, partition, podsHost, reconfigureHost, removeNetwork, setCable } from "./topology.ts";

const STOP_GRACE_MS = 3000;
const PLAYER_BUDGET_MS = 60_000;

/** A lab on this machine: its folder, what it runs, and how to break and mend it. */
export class Cluster {
  readonly folder: LabFolder;
  readonly state: LabState;
  readonly processes: ProcessTable;

  protected constructor(folder: LabFolder, state: LabState) {
    this.folder = folder;
    this.state = state;
    this.processes = new ProcessTable(folder.path);
  }

  /**
   * Builds a lab and starts its control plane, kube-proxies and player. Removes first what a dead
   * lab of that name left behind. Nodes become Ready a moment after this returns.
   * @param options a lab that does not stay is taken for dead when this process has ended.
   * @throws LabUnavailable when this machine cannot run it, or a lab of that name is running.
   */
  static async create(name: string, nodeCount: number, options: { readonly stays: boolean }): Promise<Cluster> {
    const folder = await Cluster.makeWay(name, nodeCount);
    const owner = ownIdentity();
    const cluster = new Cluster(folder, { name, nodeCount, owner });
    writeState(folder, cluster.state);
    try {
      await buildNetwork(name, cluster.plan());
      await startControlPlane(folder, cluster.state, cluster.processes);
      cluster.#startPlayer();
      for (const node of nodeNames(nodeCount)) startKubeProxy(folder, cluster.state, cluster.processes, node);
      await poll(() => cluster.#order({ kind: "ping" }).then(() => true, () => false), { timeoutMs: PLAYER_BUDGET_MS, intervalMs: 50, what: "the player" });
    } catch (error) {
      await cluster.stop();
      throw error;
    }
    writeState(folder, { name, nodeCount, ...(options.stays ? {} : { owner }), readyAt: new Date().toISOString() });
    return cluster;
  }

  /**
   * Removes what a dead lab of that name left behind, and returns the folder for the new one.
   * @throws LabUnavailable when this machine cannot run it, or a lab of that name is running.
   */
  protected static async makeWay(name: string, nodeCount: number): Promise<LabFolder> {
    checkLabPossible();
    if (!Number.isInteger(nodeCount) || nodeCount < 1 || nodeCount > MAX_NODES) {
      throw new LabUnavailable(`A lab has 1 to ${MAX_NODES} nodes.`);
    }
    const existing = Cluster.find(name);
    if (existing?.isInUse()) throw new LabUnavailable(`A lab named '${name}' is running: end it with 'scripts/lab down --name ${name}', or choose another name.`);
    await Cluster.remove(name);
    return labFolder(name);
  }

  /** The lab of that name that left a folder, alive or not. */
  static find(name: string): Cluster | undefined {
    const folder = labFolder(name);
    const state = readState(folder);
    return state && new Cluster(folder, state);
  }

  /** Ends a lab and removes its namespaces and its folder, whatever state it is in. */
  static async remove(name: string): Promise<void> {
    const folder = labFolder(name);
    await Cluster.find(name)?.stop();
    await removeNetwork(name);
    await removeCgroups(name);
    removeFolder(folder);
  }

  /** Who is on the network. */
  plan(): NetworkPlan {
    return { hosts: hostsOf(this.state.nodeCount), podHosts: true };
  }

  /** Whether the lab's heart beats: etcd, and the player where kubelets are played. The API server may be stopped on purpose. */
  isAlive(): boolean {
    return this.processes.isRunning("etcd") && (this.state.full !== undefined || this.processes.isRunning("player"));
  }

  /** Whether somebody would miss the lab: it runs or is being started, and its owner lives. */
  isInUse(): boolean {
    const { owner, readyAt } = this.state;
    return owner === undefined ? this.isAlive() : isSameProcess(owner) && (readyAt === undefined || this.isAlive());
  }

  /** Ends the lab but leaves its folder, with the logs. */
  async stop(): Promise<void> {
    const records = this.processes.list();
    // Nobody may start or renew anything while the rest goes; etcd last, so that logs stay quiet.
    for (const name of ["player", "controller-manager", "scheduler", "apiserver"]) await this.processes.stop(name, 0);
    // What runs inside of real nodes goes with them, as in a power cut.
    const grace = this.state.full ? 0 : STOP_GRACE_MS;
    await Promise.all(records.map((record) => endProcess(record, isSameProcess(record) && record.name !== "etcd" ? grace : 0)));
    for (const record of records) this.processes.forget(record.name);
    await removeNetwork(this.state.name);
    await removeCgroups(this.state.name);
  }

  async stopApiServer(): Promise<void> {
    await stopApiServer(this.processes);
  }

  async startApiServer(): Promise<void> {
    await startApiServer(this.folder, this.state, this.processes);
    startControllerManager(this.folder, this.state, this.processes);
  }

  /** The power cut: the cable first, so that no goodbye leaves, then everything on the node dies. */
  async powerOff(node: string): Promise<void> {
    this.expectNode(node);
    await setCable(this.state.name, node, "down");
    await this.#order({ kind: "power", node, on: false });
    for (const host of [node, podsHost(node)]) {
      await killNamespace(namespaceOf(this.state.name, host));
      await forgetState(this.state.name, host);
    }
  }

  /** SIGKILL to the speaker of a node; it is started again as Kubernetes does. */
  async crashSpeaker(node: string): Promise<void> {
    await this.#order({ kind: "speaker", node, action: "crash" });
  }

  /** SIGTERM to the speaker of a node, which stays ended until `restore`. */
  async stopSpeaker(node: string): Promise<void> {
    await this.#order({ kind: "speaker", node, action: "stop" });
  }

  /**
   * Cuts these nodes off from the others at the switch.
   * @param from hosts that they no longer reach; every host that is not in the group when left out.
   */
  async partition(nodes: readonly string[], from?: readonly string[]): Promise<void> {
    for (const node of nodes) this.expectNode(node);
    const others = from ?? this.hostNames().filter((host) => !nodes.includes(host));
    for (const host of others) this.expectHost(host);
    await partition(this.state.name, nodes, others);
    if (!others.includes(CONTROL_HOST)) return;
    for (const node of nodes) await this.#order({ kind: "reach", node, on: false });
  }

  /** Freezes the speaker of a node (SIGSTOP) for so long, and returns when it goes on. @throws Error when none runs there */
  async pauseSpeaker(node: string, ms: number): Promise<void> {
    this.expectNode(node);
    const record = this.processes.find(`speaker-${node}`);
    if (!record || !signalProcess(record, "SIGSTOP")) throw new Error(`no speaker runs on ${node}`);
    await pause(ms);
    signalProcess(record, "SIGCONT");
  }

  /** Drops whatever passes between a node and the API server: its connections stay open, and nothing comes. */
  async dropApi(node: string): Promise<void> {
    this.expectNode(node);
    await dropApi(this.state.name, node);
  }

  /** Loses this share of the frames on the links of these hosts, each way; every host when left out. 0 ends it. */
  async lossPercent(percent: number, hosts: readonly string[] = this.hostNames()): Promise<void> {
    for (const host of hosts) this.expectHost(host);
    await setLoss(this.state.name, percent, hosts);
  }

  /** Undoes every failure of a node: cable, partition, drops and losses, power, kube-proxy, speaker. */
  async restore(node: string): Promise<void> {
    this.expectNode(node);
    const { name } = this.state;
    const speaker = this.processes.find(`speaker-${node}`);
    if (speaker) signalProcess(speaker, "SIGCONT");
    await healPartition(name, node, this.hostNames());
    await mendLink(name, node);
    await setCable(name, node, "up");
    await reconfigureHost(name, this.plan(), node);
    if (!this.processes.isRunning(`kube-proxy-${node}`)) startKubeProxy(this.folder, this.state, this.processes, node);
    await this.#order({ kind: "speaker", node, action: "start" });
    await this.#order({ kind: "power", node, on: true });
    await this.#order({ kind: "reach", node, on: true });
  }

  /** Every host on the segment, by name. */
  hostNames(): string[] {
    return hostsOf(this.state.nodeCount).map((host) => host.name);
  }

  /**
   * Full name of the namespace of a host, of the switch, or of a node's pods (`node1-pods`).
   * @throws LabUnavailable when there is no such host.
   */
  namespace(host: string): string {
    const known = [...this.hostNames(), ...this.hostNames().map(podsHost), "switch"];
    if (!known.includes(host)) throw new LabUnavailable(`There is no host '${host}': the lab has ${this.hostNames().join(", ")}.`);
    return namespaceOf(this.state.name, host);
  }

  /** One line per program and per namespace left, for people. */
  async status(): Promise<string> {
    const programs = this.processes.list().map((record) => `  ${record.name}: ${isSameProcess(record) ? `pid ${record.pid}` : "ended"}`);
    const namespaces = await listNamespaces(this.state.name);
    const verdict = this.isInUse() ? "running" : "dead; the next 'up' or 'down' cleans it up";
    return [`lab ${this.state.name}: ${verdict}, ${this.state.nodeCount} nodes, ${namespaces.length} namespaces, folder ${this.folder.path}`, ...programs].join("\n");
  }

  #startPlayer(): void {
    const namespace = namespaceOf(this.state.name, CONTROL_HOST);
    this.processes.start({ name: "player", namespace, argv: [NODE, join(import.meta.dirname, "player.ts"), this.state.name] });
  }

  /** Names of the Nodes that can be broken and mended. */
  protected breakable(): string[] {
    return nodeNames(this.state.nodeCount);
  }

  /** @throws LabUnavailable when there is no such node. */
  protected expectNode(node: string): void {
    const nodes = this.breakable();
    if (!nodes.includes(node)) throw new LabUnavailable(`There is no node '${node}': the lab has ${nodes.join(", ")}.`);
  }

  protected expectHost(host: string): void {
    this.namespace(host);
  }

  /** Hands an order to the player and waits until it is carried out. */
  async #order(order: PlayerOrder): Promise<void> {
    if (!existsSync(this.folder.playerSocket)) throw new Error("the lab's player does not run");
    const answer = await new Promise<string>((resolve, reject) => {
      const call = request({ socketPath: this.folder.playerSocket, method: "POST", path: "/" }, (response) => {
        let text = "";
        response.setEncoding("utf8").on("data", (chunk: string) => (text += chunk)).on("end", () => resolve(text)).on("error", reject);
      });
      call.on("error", reject).end(JSON.stringify(order));
    });
    const { error } = JSON.parse(answer) as { error?: string };
    if (error !== undefined) throw new Error(error);
  }
}
