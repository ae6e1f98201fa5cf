import { rmSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { Api, ApiError, type WatchEvent } from "./api.ts";
import { BACKEND_HOST, type Host, hostsOf } from "./hosts.ts";
import { NodeKeeper } from "./node-keeper.ts";
import { PodBackends } from "./pod-backends.ts";
import { PodProgram } from "./pod-program.ts";
import { mountVolumes, unmountVolumes } from "./pod-volumes.ts";
import { type Node, type Pod, READY_ANNOTATION, chooseNode, componentOf, portsOf, programOf, requestedNode, runningStatus, statusSays } from "./pods.ts";
import { pause } from "./poll.ts";
import { ProcessTable } from "./processes.ts";
import { CHECKOUT, kubernetesVersion } from "./programs.ts";
import { type LabFolder, type LabState, labFolder, readState } from "./state.ts";

/**
 * The player: plays scheduler and kubelets of a lab, so that the real API server and controller
 * manager see Nodes that are Ready and pods that run. It lives in the control host's namespace
 * and takes orders about failures on a unix socket.
 *
 * Usage: node player.ts LAB
 */

/** An order to the player; it answers with `{}` or with `{"error": "..."}`. */
export type PlayerOrder =
  | { readonly kind: "power"; readonly node: string; readonly on: boolean }
  | { readonly kind: "reach"; readonly node: string; readonly on: boolean }
  | { readonly kind: "speaker"; readonly node: string; readonly action: "crash" | "stop" | "start" }
  | { readonly kind: "ping" };

/** A stopped backend answers this much longer, while endpoints are taken out of use. */
const DRAIN_MS = 1500;
const DEFAULT_GRACE_SECONDS = 30;
const RETRY_MS = 250;

class Player {
  readonly #state: LabState;
  readonly #folder: LabFolder;
  readonly #api: Api;
  readonly #processes: ProcessTable;
  readonly #heraldFolder = process.env["HERALD_DIST"] ?? join(CHECKOUT, "dist");
  readonly #keepers = new Map<string, NodeKeeper>();
  readonly #backends = new Map<string, PodBackends>();
  readonly #programs = new Map<string, PodProgram>();
  readonly #nodes = new Map<string, Node>();
  readonly #pods = new Map<string, Pod>();
  /** Where a pod was put, before the API says so. */
  readonly #bound = new Map<string, string>();
  /** Pods whose turn is running; true when another turn is due after it. */
  readonly #turns = new Map<string, boolean>();
  /** Times that a pod's node lost power under it. */
  readonly #powerCuts = new Map<string, number>();
  readonly #heldSpeakers = new Set<string>();

  constructor(state: LabState, folder: LabFolder) {
    this.#state = state;
    this.#folder = folder;
    this.#api = new Api(folder);
    this.#processes = new ProcessTable(folder.path);
  }

  run(): void {
    for (const host of hostsOf(this.#state.nodeCount)) {
      if (host.pods && host.name !== BACKEND_HOST) this.#addNode(host);
    }
    void this.#api.follow<Node>("/api/v1/nodes", (event) => this.#noteNode(event));
    void this.#api.follow<Pod>("/api/v1/pods", (event) => this.#notePod(event));
  }

  async obey(order: PlayerOrder): Promise<void> {
    if (order.kind === "ping") return;
    const keeper = this.#keepers.get(order.node);
    if (!keeper) throw new Error(`there is no node ${order.node}`);
    if (order.kind === "reach") {
      keeper.reachable = order.on;
      if (order.on) await this.#resume(order.node, keeper);
    } else if (order.kind === "power") {
      await this.#setPower(order.node, keeper, order.on);
    } else {
      await this.#commandSpeaker(order.node, order.action);
    }
  }

  async #setPower(node: string, keeper: NodeKeeper, on: boolean): Promise<void> {
    if (keeper.powered === on) return;
    keeper.powered = on;
    if (on) {
      await this.#backends.get(node)?.powerOn();
      await this.#resume(node, keeper);
      return;
    }
    this.#backends.get(node)?.powerOff();
    for (const [uid, pod] of this.#pods) {
      if (pod.spec.nodeName !== node) continue;
      this.#powerCuts.set(uid, (this.#powerCuts.get(uid) ?? 0) + 1);
      void this.#programs.get(uid)?.stop(0);
    }
  }

  async #resume(node: string, keeper: NodeKeeper): Promise<void> {
    await keeper.resume();
    this.#playNode(node);
  }

  async #commandSpeaker(node: string, action: "crash" | "stop" | "start"): Promise<void> {
    const found = [...this.#programs].find(([uid]) => {
      const pod = this.#pods.get(uid);
      return pod !== undefined && pod.spec.nodeName === node && componentOf(pod) === "speaker";
    });
    if (action === "start") this.#heldSpeakers.delete(node);
    else if (!found) throw new Error(`no speaker runs on ${node}`);
    if (action === "crash" && !found?.[1].kill()) throw new Error(`no speaker runs on ${node}`);
    if (action === "stop") {
      this.#heldSpeakers.add(node);
      await found?.[1].stop(DEFAULT_GRACE_SECONDS * 1000);
    }
    this.#playNode(node);
  }

  #playNode(node: string): void {
    for (const [uid, pod] of this.#pods) if (pod.spec.nodeName === node) this.#play(uid);
  }

  #addNode(host: Host): void {
    const keeper = new NodeKeeper(this.#api, host);
    this.#keepers.set(host.name, keeper);
    this.#backends.set(host.name, new PodBackends(this.#state.name, host, this.#processes));
    void keeper.run(kubernetesVersion());
  }

  #noteNode(event: WatchEvent<Node>): void {
    const name = event.object.metadata.name;
    if (event.type === "DELETED") this.#nodes.delete(name);
    else this.#nodes.set(name, event.object);
    void this.#keepers.get(name)?.observe(event.object);
    for (const [uid, pod] of this.#pods) if (pod.spec.nodeName === undefined) this.#play(uid);
  }

  #notePod(event: WatchEvent<Pod>): void {
    const uid = event.object.metadata.uid ?? "";
    if (event.type === "DELETED") this.#pods.delete(uid);
    else this.#pods.set(uid, event.object);
    if (event.type === "DELETED") this.#bound.delete(uid);
    this.#play(uid);
  }

  /** Gives the pod its turn; turns of one pod never overlap, and a wish during one is kept. */
  #play(uid: string): void {
    if (this.#turns.has(uid)) {
      this.#turns.set(uid, true);
      return;
    }
    this.#turns.set(uid, false);
    void this.#turn(uid).catch((error: unknown) => {
      // Somebody else was quicker, or the API server is away.
      if (!(error instanceof ApiError && (error.status === 404 || error.status === 409))) {
        console.log(`${this.#pods.get(uid)?.metadata.name ?? uid}: ${error instanceof Error ? error.message : String(error)}`);
        setTimeout(() => this.#play(uid), RETRY_MS);
      }
    }).finally(() => {
      const again = this.#turns.get(uid);
      this.#turns.delete(uid);
      if (again) this.#play(uid);
    });
  }

  async #turn(uid: string): Promise<void> {
    const pod = this.#pods.get(uid);
    if (!pod) return this.#clear(uid, 0);
    if (pod.spec.nodeName === undefined) return this.#bind(uid, pod);
    const keeper = this.#keepers.get(pod.spec.nodeName);
    if (!keeper?.speaks || pod.status?.phase === "Failed" || pod.status?.phase === "Succeeded") return;
    if (pod.metadata.deletionTimestamp !== undefined) return this.#end(uid, pod, pod.spec.nodeName);
    const program = programOf(pod, this.#heraldFolder);
    if (program === undefined) await this.#serve(uid, pod, pod.spec.nodeName);
    else if (!(await this.#runProgram(uid, pod, keeper.host, program))) return;
    await this.#report(uid, pod, keeper.host);
  }

  async #bind(uid: string, pod: Pod): Promise<void> {
    if (pod.metadata.deletionTimestamp !== undefined || this.#bound.has(uid)) return;
    if (requestedNode(pod) === BACKEND_HOST && !this.#keepers.has(BACKEND_HOST)) {
      const host = hostsOf(0).find((candidate) => candidate.name === BACKEND_HOST);
      if (host) this.#addNode(host);
    }
    const placed = [...this.#pods].flatMap(([other, otherPod]) => {
      const node = otherPod.spec.nodeName ?? this.#bound.get(other);
      return node === undefined ? [] : [{ node, pod: otherPod }];
    });
    const node = chooseNode(pod, [...this.#nodes.values()], placed);
    if (node === undefined) return;
    this.#bound.set(uid, node);
    const target = { apiVersion: "v1", kind: "Node", name: node };
    try {
      await this.#api.call("POST", `${pathOf(pod)}/binding`, { apiVersion: "v1", kind: "Binding", metadata: { name: pod.metadata.name }, target });
    } catch (error) {
      this.#bound.delete(uid);
      throw error;
    }
  }

  async #serve(uid: string, pod: Pod, node: string): Promise<void> {
    await this.#backends.get(node)?.serve(uid, pod.metadata.name, portsOf(pod), pod.status?.podIP);
  }

  /** False while the program may not start: one of its Secrets is not there yet. */
  async #runProgram(uid: string, pod: Pod, host: Host, program: string): Promise<boolean> {
    let running = this.#programs.get(uid);
    if (!running) {
      const volumes = await mountVolumes(this.#api, this.#folder.path, pod);
      if (!volumes) {
        setTimeout(() => this.#play(uid), RETRY_MS);
        return false;
      }
      const { kubeconfig } = this.#folder;
      running = new PodProgram({ lab: this.#state.name, host, pod, program, kubeconfig, volumes, processes: this.#processes, changed: () => this.#play(uid) });
      this.#programs.set(uid, running);
    }
    if (!(componentOf(pod) === "speaker" && this.#heldSpeakers.has(host.name))) running.start();
    return true;
  }

  async #report(uid: string, pod: Pod, host: Host): Promise<void> {
    const program = this.#programs.get(uid);
    const wantsReady = pod.metadata.annotations?.[READY_ANNOTATION] !== "false";
    const view = {
      ips: program ? [host.ipv4, host.ipv6] : this.#backends.get(host.name)?.addressesOf(uid) ?? [],
      ready: wantsReady && (program?.ready ?? true),
      restarts: program?.restarts ?? this.#powerCuts.get(uid) ?? 0,
    };
    if (statusSays(pod, view)) return;
    await this.#api.call("PATCH", `${pathOf(pod)}/status`, runningStatus(pod, host, view, new Date().toISOString()));
  }

  /** Ends a pod as a kubelet does: stop it, wait, and only then let the API forget it. */
  async #end(uid: string, pod: Pod, node: string): Promise<void> {
    const graceMs = (pod.metadata.deletionGracePeriodSeconds ?? DEFAULT_GRACE_SECONDS) * 1000;
    if (!this.#programs.has(uid)) await pause(Math.min(graceMs, DRAIN_MS));
    // A cut during the drain: whoever restores the node plays this turn again.
    if (this.#keepers.get(node)?.speaks !== true) return;
    await this.#clear(uid, graceMs);
    await this.#api.call("DELETE", pathOf(pod), { gracePeriodSeconds: 0, preconditions: { uid } });
  }

  async #clear(uid: string, graceMs: number): Promise<void> {
    await this.#programs.get(uid)?.stop(graceMs);
    this.#programs.delete(uid);
    this.#powerCuts.delete(uid);
    unmountVolumes(this.#folder.path, uid);
    for (const backends of this.#backends.values()) await backends.release(uid);
  }
}

function pathOf(pod: Pod): string {
  return `/api/v1/namespaces/${pod.metadata.namespace ?? "default"}/pods/${pod.metadata.name}`;
}

function listen(player: Player, path: string): void {
  rmSync(path, { force: true });
  createServer((request, response) => {
    let text = "";
    request.setEncoding("utf8").on("data", (chunk: string) => (text += chunk)).on("end", () => {
      void Promise.resolve()
        .then(() => player.obey(JSON.parse(text) as PlayerOrder))
        .then(() => response.end("{}"), (error: unknown) => response.end(JSON.stringify({ error: error instanceof Error ? error.message : String(error) })));
    });
  }).listen(path);
}

const folder = labFolder(process.argv[2] ?? "");
const state = readState(folder);
if (!state) throw new Error(`there is no lab '${process.argv[2] ?? ""}'`);
const player = new Player(state, folder);
listen(player, folder.playerSocket);
player.run();
