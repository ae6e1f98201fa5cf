/**
 * A whole cluster under one virtual clock: speakers, the segment between them, a gateway, a client that asks now and
 * then, the API server, and the checkers that watch. Everything follows from the options and the seed.
 */

import type { AgreementOptions } from "../../speaker/agreement/agreement-protocol.ts";
import { LAN_TIMING } from "../../speaker/membership/membership-protocol.ts";
import type { MembershipTiming } from "../../speaker/membership/membership-protocol.ts";
import type { DetectionProfile } from "../../speaker/detection/detection-protocol.ts";
import type { Instant, Random } from "../../speaker/machine.ts";
import type { AddressRow } from "../../speaker/packet-protocol.ts";
import { seededRandom } from "../../sys/random.ts";
import { ApiServer } from "./api-server.ts";
import { EventHeap } from "./event-heap.ts";
import { nodeName } from "./events.ts";
import type { NodeId, SimEvent } from "./events.ts";
import type { HostId } from "./links.ts";
import { LocalClock } from "./local-clock.ts";
import { MEMBERSHIP_PORT, Network } from "./network.ts";
import type { NetworkInput, NetworkOutput } from "./network.ts";
import { SimNode } from "./node.ts";
import type { AgreementMachine } from "./node.ts";
import { Violation } from "./world.ts";
import type { Checker, FaultKind, World } from "./world.ts";

/** Time between two looks of the checkers. */
export const TICK_MS = 50;
/** How often each node asks its gateway, and after how long without an answer it misses it. */
const GATEWAY_INTERVAL_MS = 500;
const GATEWAY_LOST_AFTER_MS = 1200;
const START_WITHIN_MS = 200;
/** Mean time between two frames of the client. */
const CLIENT_INTERVAL_MS = 400;
/** Events kept for the story of a failing run. */
const STORY_EVENTS = 400;

export type MachineFactory = (options: AgreementOptions, random: Random, wallMs: (now: Instant) => number) => AgreementMachine;

export interface ClusterOptions {
  readonly seed: number;
  readonly nodes: number;
  readonly profile: DetectionProfile;
  readonly machine: MachineFactory;
  readonly checkers: readonly Checker[];
  readonly timing?: MembershipTiming;
  readonly failback?: "sticky" | "rank";
  readonly keys?: readonly Uint8Array[];
  /** Nodes whose processes are not started with the cluster. */
  readonly offAtStart?: readonly NodeId[];
  /** There are the nodes and nobody else: no gateway, and no client that asks for anything. */
  readonly isBare?: boolean;
  /** The others are started one after another within this time. */
  readonly startWithinMs?: number;
}

/** What happened how often. */
export interface RunCounters {
  /** An address went from one node to another. */
  moves: number;
  takeovers: number;
  events: number;
  /** Faults by kind. */
  readonly faults: Map<FaultKind, number>;
}

export class Cluster implements World {
  readonly seed: number;
  readonly nodes: readonly SimNode[];
  readonly network: Network;
  readonly api: ApiServer;
  readonly gateway: HostId;
  readonly client: HostId;
  readonly random: Random;
  readonly counters: RunCounters = { moves: 0, takeovers: 0, events: 0, faults: new Map() };
  readonly story: SimEvent[] = [];
  /** Called for each event; for scenarios that look at more than the checkers do. */
  onEvent: (event: SimEvent) => void = () => {};
  readonly #options: ClusterOptions;
  readonly #tasks = new EventHeap<(now: Instant) => void>();
  readonly #owners = new Map<string, Set<NodeId>>();
  readonly #contested = new Set<string>();
  readonly #lastOwner = new Map<string, NodeId>();
  readonly #active = new Map<FaultKind, number>();
  readonly #endedAt = new Map<FaultKind, Instant>();
  readonly #gatewayHeardAt: Instant[];
  readonly #gatewayHeard: boolean[];
  #now: Instant = 0;

  constructor(options: ClusterOptions) {
    this.#options = options;
    this.seed = options.seed;
    this.random = seededRandom(options.seed);
    const addresses = Array.from({ length: options.nodes + 2 }, (_, host) => `10.0.${host >> 8}.${host & 255}`);
    this.gateway = options.nodes;
    this.client = options.nodes + 1;
    this.network = new Network(addresses, seededRandom(options.seed + 0x5eed));
    this.nodes = Array.from({ length: options.nodes }, (_, id) => this.#makeNode(id, addresses[id] ?? ""));
    this.#gatewayHeardAt = this.nodes.map(() => Number.NEGATIVE_INFINITY);
    this.#gatewayHeard = this.nodes.map(() => false);
    this.api = new ApiServer(
      this.nodes.map(({ name, address }) => ({ node: name, address })),
      { at: (at, task) => this.at(at, task), feed: (node, input, now) => this.node(node).receive(input, now), hasProcess: (node) => this.node(node).hasProcess },
    );
    for (const node of this.nodes) {
      this.at(this.random.next() * GATEWAY_INTERVAL_MS, (now) => this.#watchGateway(node, now));
      if (options.offAtStart?.includes(node.id) !== true) this.at(this.random.next() * (options.startWithinMs ?? START_WITHIN_MS), (now) => this.boot(node.id, now));
    }
    if (options.isBare === true) for (const host of [this.gateway, this.client]) this.#perform({ kind: "kernel", host, state: "off" });
    else this.at(CLIENT_INTERVAL_MS, (now) => this.#clientAsks(now));
    this.at(TICK_MS, (now) => this.#tick(now));
  }

  get now(): Instant {
    return this.#now;
  }

  node(id: NodeId): SimNode {
    const node = this.nodes[id];
    if (node === undefined) throw new Error(`no node ${id}`);
    return node;
  }

  /** Does something at a time of the run. */
  at(at: Instant, task: (now: Instant) => void): void {
    this.#tasks.push(at, task);
  }

  /** Runs until that time. @throws Violation when a rule is broken */
  runUntil(end: Instant): void {
    for (;;) {
      const task = this.#tasks.next() ?? end;
      const packet = this.network.nextTimeout() ?? end;
      const next = Math.min(task, packet);
      if (next >= end) break;
      this.#now = next;
      if (packet <= task) this.#perform({ kind: "timeout" });
      else this.#tasks.takeDue(next)?.(next);
    }
    this.#now = end;
  }

  /** Runs for so long. */
  run(ms: number): void {
    this.runUntil(this.#now + ms);
  }

  /** Ends the run: checkers say what they still have to say. */
  finish(): void {
    for (const checker of this.#options.checkers) checker.end?.(this);
  }

  /** Whether somebody else than the nodes is on the segment. */
  get isBare(): boolean {
    return this.#options.isBare === true;
  }

  boot(node: NodeId, now: Instant = this.#now): void {
    this.node(node).boot(now);
    this.api.booted(node, now);
  }

  /** A fault of a kind begins; the function that is returned ends it. */
  fault(kind: FaultKind, text: string): () => void {
    this.#event({ kind: "fault", at: this.#now, text: `${kind} ${text}` });
    this.#active.set(kind, (this.#active.get(kind) ?? 0) + 1);
    this.counters.faults.set(kind, (this.counters.faults.get(kind) ?? 0) + 1);
    this.#look();
    let isOver = false;
    return () => {
      if (isOver) return;
      isOver = true;
      this.#event({ kind: "fault", at: this.#now, text: `${kind} ${text} over` });
      this.#active.set(kind, (this.#active.get(kind) ?? 1) - 1);
      this.#endedAt.set(kind, this.#now);
      this.#look();
    };
  }

  /** Something for the network, now. */
  perform(input: NetworkInput): void {
    this.#perform(input);
  }

  owners(address: string): ReadonlySet<NodeId> {
    return this.#owners.get(address) ?? NOBODY;
  }

  contested(): Iterable<string> {
    return this.#contested;
  }

  rows(): readonly AddressRow[] {
    return this.api.rows();
  }

  row(address: string): AddressRow | undefined {
    return this.api.row(address);
  }

  areConnected(left: NodeId, right: NodeId): boolean {
    return !this.network.links.isCut(left, right) && !this.network.links.isCut(right, left);
  }

  isDeaf(node: NodeId): boolean {
    for (let from = 0; from <= this.client; from++) if (from !== node && !this.network.links.isCut(from, node)) return false;
    return true;
  }

  isIsolated(node: NodeId): boolean {
    const { links } = this.network;
    return this.nodes.every(({ id }) => id === node || (links.isCut(id, node) && links.isCut(node, id)));
  }

  get loss(): number {
    return this.network.links.quality.loss;
  }

  get transitMs(): number {
    const { latencyMs, jitterMs, late, lateMs } = this.network.links.quality;
    return latencyMs + jitterMs + (late > 0 ? lateMs : 0);
  }

  hasCurrentView(node: NodeId): boolean {
    return this.api.isCurrent(node);
  }

  quietSince(except: readonly FaultKind[] = []): Instant | undefined {
    for (const [kind, count] of this.#active) if (count > 0 && !except.includes(kind)) return undefined;
    let since: Instant = 0;
    for (const [kind, at] of this.#endedAt) if (!except.includes(kind)) since = Math.max(since, at);
    return since;
  }

  fail(rule: string, text: string): never {
    throw new Violation(rule, this.#now, text);
  }

  #makeNode(id: NodeId, address: string): SimNode {
    const random = seededRandom(this.seed * 1_000_003 + id);
    // Crystals of servers differ by some 50 ppm; here more, and wall clocks by up to 0.1 s.
    const clock = new LocalClock({ origin: random.next() * 1e6, ratePpm: (random.next() - 0.5) * 400, wallOffsetMs: (random.next() - 0.5) * 200 });
    let wakeAt = Number.POSITIVE_INFINITY;
    const { machine, profile, timing = LAN_TIMING, failback = "sticky", keys = [] } = this.#options;
    const node: SimNode = new SimNode(
      { id, address, clock },
      {
        network: (input) => this.#perform(input),
        wakeAt: (at) => {
          // A wake-up that is planned already comes first; the node plans anew when it comes too early.
          if (at >= wakeAt) return;
          wakeAt = at;
          this.at(at, (now) => {
            if (wakeAt !== at) return;
            wakeAt = Number.POSITIVE_INFINITY;
            node.wake(now);
          });
        },
        event: (event) => this.#event(event),
        start: (bootUnixMs, template) =>
          machine({ node: nodeName(id), endpoint: { address, port: MEMBERSHIP_PORT }, bootUnixMs, keys, timing, profile, failback, template }, random, (now) => clock.wallMs(now)),
        tap: (bytes, isStream) => {
          for (const checker of this.#options.checkers) checker.sent?.(node, bytes, isStream, this);
        },
      },
    );
    return node;
  }

  #perform(input: NetworkInput): void {
    for (const output of this.network.handle(input, this.#now)) this.#deliver(output);
  }

  #deliver({ host, input, from, isAnswer }: NetworkOutput): void {
    const node = this.nodes[host];
    if (node === undefined) return;
    if (from !== undefined) node.lastHeardAt = this.#now;
    if (input.kind === "answer" && from === this.gateway) this.#gatewayHeardAt[host] = this.#now;
    else node.receive(input, this.#now, isAnswer);
  }

  #watchGateway(node: SimNode, now: Instant): void {
    this.at(now + GATEWAY_INTERVAL_MS, (later) => this.#watchGateway(node, later));
    if (node.state !== "running") {
      this.#gatewayHeard[node.id] = false;
      return;
    }
    const isHeard = now - (this.#gatewayHeardAt[node.id] ?? 0) < GATEWAY_LOST_AFTER_MS;
    if (isHeard !== this.#gatewayHeard[node.id]) {
      this.#gatewayHeard[node.id] = isHeard;
      node.receive({ kind: "gateway", heard: isHeard }, now);
    }
    this.#perform({ kind: "ask", from: node.id, address: this.#gatewayAddress(), questions: ["arp"] });
  }

  #gatewayAddress(): string {
    return `10.0.${this.gateway >> 8}.${this.gateway & 255}`;
  }

  /** The client asks for a service's address: all hosts hear that. */
  #clientAsks(now: Instant): void {
    this.at(now + CLIENT_INTERVAL_MS * (0.5 + this.random.next()), (later) => this.#clientAsks(later));
    this.#perform({ kind: "broadcast", from: this.client, addresses: [] });
  }

  #tick(now: Instant): void {
    this.at(now + TICK_MS, (later) => this.#tick(later));
    this.#look();
  }

  #look(): void {
    for (const checker of this.#options.checkers) checker.tick?.(this);
  }

  #event(event: SimEvent): void {
    this.counters.events += 1;
    if (event.kind !== "dropped") this.story.push(event);
    if (this.story.length > 2 * STORY_EVENTS) this.story.splice(0, STORY_EVENTS);
    this.#book(event);
    this.onEvent(event);
    for (const checker of this.#options.checkers) checker.event?.(event, this);
  }

  #book(event: SimEvent): void {
    if (event.kind === "owned") {
      const owners = this.#owners.get(event.address) ?? new Set();
      this.#owners.set(event.address, owners.add(event.node));
      if (owners.size > 1) this.#contested.add(event.address);
      const last = this.#lastOwner.get(event.address);
      if (last !== undefined && last !== event.node) this.counters.moves += 1;
      if (event.reason === "OwnerDead") this.counters.takeovers += 1;
      this.#lastOwner.set(event.address, event.node);
    } else if (event.kind === "lost") {
      this.#release(event.address, event.node);
    } else if (event.kind === "gone") {
      for (const address of this.#owners.keys()) this.#release(address, event.node);
    }
  }

  #release(address: string, node: NodeId): void {
    const owners = this.#owners.get(address);
    owners?.delete(node);
    if ((owners?.size ?? 0) < 2) this.#contested.delete(address);
  }
}

const NOBODY: ReadonlySet<NodeId> = new Set();
