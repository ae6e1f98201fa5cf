import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Cluster } from "../cluster.ts";
import { startApiServer, startControlPlane, startControllerManager } from "../control-plane.ts";
import { BACKEND_HOST, CONTROL_HOST, type Host, fullHostsOf, namespaceOf, nodeNames, secondPort } from "../hosts.ts";
import { dropApi, mendLink, setLoss } from "../link-faults.ts";
import { pause } from "../poll.ts";
import { killNamespace, ownIdentity, signalProcess } from "../processes.ts";
import { LabUnavailable, checkFullLabPossible } from "../programs.ts";
import { type FullLabSettings, type LabFolder, type LabState, labFolder, readState, writeState } from "../state.ts";
import { type NetworkPlan, buildNetwork, forgetState, healPartition, partition, reconfigureHost, setCable } from "../topology.ts";
import type { Absence } from "./absence.ts";
import { containerProcesses, initOf, introduceNode, killNode, nodeArgv, startNode } from "./node.ts";

/** How to build a full lab. */
export interface FullClusterOptions {
  readonly nodeCount: number;
  readonly settings: FullLabSettings;
  readonly stays: boolean;
}

/** A full lab on this machine: its folder, what it runs, and how to break and mend it. */
export class FullCluster extends Cluster {
  /**
   * Builds a full lab: nodes start while the control plane does, and register once it answers. They become Ready a moment after this returns.
   * @throws LabUnavailable when this machine cannot run it, or a lab of that name is running.
   */
  static async createFull(name: string, { nodeCount, settings, stays }: FullClusterOptions): Promise<FullCluster> {
    checkFullLabPossible();
    if (nodeCount > MAX_FULL_NODES) throw new LabUnavailable(`A full lab has 1 to ${MAX_FULL_NODES} workers.`);
    const folder = await Cluster.makeWay(name, nodeCount);
    const owner = ownIdentity();
    const cluster = new FullCluster(folder, { name, nodeCount, full: settings, owner });
    writeState(folder, cluster.state);
    try {
      await buildNetwork(name, cluster.plan());
      const nodes = cluster.plan().hosts.filter((host) => cluster.nodeNames().includes(host.name));
      await Promise.all([
        startControlPlane(folder, cluster.state, cluster.processes),
        ...nodes.map((host) => startNode(cluster, host)),
      ]);
      for (const host of nodes) introduceNode(cluster, host.name);
    } catch (error) {
      await cluster.stop();
      throw error;
    }
    writeState(folder, { name, nodeCount, full: settings, ...(stays ? {} : { owner }), readyAt: new Date().toISOString() });
    return cluster;
  }

  /** The full lab of that name that left a folder, alive or not. */
  static override find(name: string): FullCluster | undefined {
    const folder: LabFolder = labFolder(name);
    const state: LabState | undefined = readState(folder);
    return state?.full && new FullCluster(folder, state);
  }

  override plan(): NetworkPlan {
    return { hosts: fullHostsOf(this.state.nodeCount), podHosts: false };
  }

  /** The control-plane node and the workers. */
  nodeNames(): string[] {
    return [CONTROL_HOST, ...nodeNames(this.state.nodeCount)];
  }

  /** Starts the node for pods that ask for it, so that losing a node never loses a backend. It is no place for anything else. */
  async startBackendNode(): Promise<void> {
    const host = this.#host(BACKEND_HOST);
    if (initOf(this, host.name)) return;
    await startNode(this, host);
    introduceNode(this, host.name);
  }

  /**
   * Arguments of nsenter that run a program on a host; on a node that is on, with its files and processes too.
   * @throws LabUnavailable when there is no such host.
   */
  enter(host: string, argv: readonly string[]): string[] {
    const init = initOf(this, host);
    return init ? nodeArgv(init, argv) : [`--net=/run/netns/${this.namespace(host)}`, "--", ...argv];
  }

  /** The nodes that are switched on. */
  running(): string[] {
    return [...this.nodeNames(), BACKEND_HOST].filter((node) => initOf(this, node));
  }

  override async powerOff(node: string): Promise<void> {
    this.expectNode(node);
    for (const port of ports([node])) await setCable(this.state.name, port, "down");
    await killNode(this, node);
    // On the control host this ends the control plane as well.
    await killNamespace(namespaceOf(this.state.name, node));
    await forgetState(this.state.name, node);
  }

  override async restore(node: string): Promise<void> {
    this.expectNode(node);
    const { name } = this.state;
    for (const speaker of containerProcesses(name, node, "speaker")) signalProcess(speaker, "SIGCONT");
    await healPartition(name, node, this.hostNames());
    await healPartition(name, secondPort(node), this.hostNames().map(secondPort));
    await mendLink(name, node);
    for (const port of ports([node])) await setCable(name, port, "up");
    await reconfigureHost(name, this.plan(), node);
    if (node === CONTROL_HOST) await this.#restoreControlPlane();
    if (initOf(this, node)) return;
    await startNode(this, this.#host(node));
    introduceNode(this, node);
  }

  /** SIGKILL to the speaker's process; its kubelet starts it again. @throws Error when none runs there */
  override async crashSpeaker(node: string): Promise<void> {
    this.#signalSpeaker(node, "SIGKILL");
  }

  override async pauseSpeaker(node: string, ms: number): Promise<void> {
    const speakers = this.#signalSpeaker(node, "SIGSTOP");
    await pause(ms);
    for (const speaker of speakers) signalProcess(speaker, "SIGCONT");
  }

  override async partition(nodes: readonly string[], from?: readonly string[]): Promise<void> {
    for (const node of nodes) this.expectNode(node);
    const others = from ?? this.hostNames().filter((host) => !nodes.includes(host));
    for (const host of others) this.expectHost(host);
    await partition(this.state.name, nodes, others);
    await partition(this.state.name, nodes.map(secondPort), others.map(secondPort));
  }

  override async dropApi(node: string): Promise<void> {
    this.expectNode(node);
    await dropApi(this.state.name, node);
  }

  override async lossPercent(percent: number, hosts: readonly string[] = this.hostNames()): Promise<void> {
    for (const host of hosts) this.expectHost(host);
    await setLoss(this.state.name, percent, ports(hosts));
  }

  /** Nodes whose speaker was stopped on purpose, for the next command to know. */
  stoppedSpeakers(): Absence | undefined {
    try {
      return JSON.parse(readFileSync(this.#stoppedPath(), "utf8")) as Absence;
    } catch {
      return undefined;
    }
  }

  /** Remembers them, or forgets them. */
  rememberStopped(stopped: Absence | undefined): void {
    if (stopped) writeFileSync(this.#stoppedPath(), JSON.stringify(stopped));
    else rmSync(this.#stoppedPath(), { force: true });
  }

  protected override breakable(): string[] {
    return [...this.nodeNames(), BACKEND_HOST];
  }

  #stoppedPath(): string {
    return join(this.folder.path, "stopped-speakers.json");
  }

  async #restoreControlPlane(): Promise<void> {
    if (!this.processes.isRunning("etcd")) await startControlPlane(this.folder, this.state, this.processes, { again: true });
    await startApiServer(this.folder, this.state, this.processes);
    startControllerManager(this.folder, this.state, this.processes);
  }

  #signalSpeaker(node: string, signal: NodeJS.Signals): ReturnType<typeof containerProcesses> {
    this.expectNode(node);
    const speakers = containerProcesses(this.state.name, node, "speaker");
    if (speakers.filter((speaker) => signalProcess(speaker, signal)).length === 0) throw new Error(`no speaker runs on ${node}`);
    return speakers;
  }

  #host(name: string): Host {
    const host = this.plan().hosts.find((candidate) => candidate.name === name);
    if (!host) throw new LabUnavailable(`There is no host '${name}'.`);
    return host;
  }
}

/** A node takes some 250 MB of memory. */
const MAX_FULL_NODES = 20;

function ports(hosts: readonly string[]): string[] {
  return hosts.flatMap((host) => [host, secondPort(host)]);
}
