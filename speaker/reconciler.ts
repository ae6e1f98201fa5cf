/**
 * Keeps the packet thread's table in step with the cluster. Changes are gathered for one turn of the event loop and then
 * judged together: a Service or its endpoints cost that Service, a Node or the configuration cost all of them, once.
 */
import type { Config } from "../config/config.ts";
import type { EndpointSlice, Node, Service } from "../kube/objects.ts";
import { keyOf } from "../kube/informer.ts";
import type { Change } from "../kube/informer.ts";
import type { Clock } from "../sys/clock.ts";
import type { Logger } from "../sys/log.ts";
import { Coverage, judgeService, parseIngress, poolOf, servingOf } from "./election/eligibility.ts";
import type { EligibilityOptions, EndpointFacts, NodeFacts, Verdict } from "./election/eligibility.ts";
import type { ToPacketThread } from "./packet-protocol.ts";
import { AddressTable } from "./table.ts";
import type { TableChange } from "./table.ts";
import { endpointFacts, nodeFacts, serviceFacts, serviceKeyOfSlice } from "./views.ts";

/**
 * A change is judged at once, and those that follow it within this time together (milliseconds): each delta of the table
 * wakes the packet threads of all speakers, which is most of what a Service costs when a thousand get their addresses.
 */
export const GATHER_MS = 50;

export interface ReconcilerOptions {
  readonly eligibility: EligibilityOptions;
  readonly clock: Clock;
  readonly log: Logger;
  /** The Service as the cache has it. Key: "namespace/name". */
  readonly service: (key: string) => Service | undefined;
  /** All Services of the cache. */
  readonly services: () => readonly Service[];
  readonly send: (message: ToPacketThread) => void;
  /** The announcements of these Services were judged anew (and the packet thread was told of what changed). */
  readonly onJudged: (keys: readonly string[]) => void;
}

/** See the head of the file. Nothing is sent before `start`. */
export class Reconciler {
  readonly table = new AddressTable();
  readonly #options: ReconcilerOptions;
  readonly #nodes = new Map<string, NodeFacts>();
  /** Endpoints by Service, then by slice. */
  readonly #endpoints = new Map<string, Map<string, readonly EndpointFacts[]>>();
  readonly #outcomes = new Map<string, string>();
  readonly #dirty = new Set<string>();
  #config: Config | undefined;
  #coverage: Coverage | undefined;
  #allDirty = true;
  #started = false;
  #scheduled = false;
  #flushedAt = Number.NEGATIVE_INFINITY;
  #version = 0;

  constructor(options: ReconcilerOptions) {
    this.#options = options;
  }

  /** From now on changes are handed over; the first table is sent before this returns. Call once, when every cache is filled. */
  start(): void {
    this.#started = true;
    this.#allDirty = true;
    this.#flush();
  }

  /** Whether the first table was handed over. */
  get started(): boolean {
    return this.#started;
  }

  /** Takes a new configuration; it must be valid. */
  setConfig(config: Config): void {
    this.#config = config;
    this.#judgeAll();
  }

  serviceChanged(change: Change<Service>): void {
    this.#dirty.add(keyOf(change.object));
    this.#schedule();
  }

  endpointsChanged(change: Change<EndpointSlice>): void {
    const sliceKey = keyOf(change.object);
    const before = change.previous === undefined ? undefined : serviceKeyOfSlice(change.previous);
    if (before !== undefined) this.#dropSlice(before, sliceKey);
    const after = change.kind === "deleted" ? undefined : serviceKeyOfSlice(change.object);
    if (after !== undefined) {
      const slices = this.#endpoints.get(after) ?? new Map<string, readonly EndpointFacts[]>();
      slices.set(sliceKey, endpointFacts(change.object));
      this.#endpoints.set(after, slices);
      this.#dirty.add(after);
    }
    this.#schedule();
  }

  /** Only a change of labels or of the NetworkUnavailable condition counts: a Node is written every few seconds. */
  nodeChanged(change: Change<Node>): void {
    const { name } = change.object.metadata;
    if (change.kind === "deleted") {
      if (this.#nodes.delete(name)) this.#judgeAll();
      return;
    }
    const facts = nodeFacts(change.object);
    const before = this.#nodes.get(name);
    this.#nodes.set(name, facts);
    if (before === undefined || before.networkUnavailable !== facts.networkUnavailable || !sameLabels(before.labels, facts.labels)) this.#judgeAll();
  }

  /** Whether the API has a Node of that name. */
  knowsNode(name: string): boolean {
    return this.#nodes.has(name);
  }

  /**
   * Keys of Services that are announced now and whose addresses no single pool of `config` holds, sorted. Such a
   * configuration has to wait until the controller has moved them.
   */
  servicesOutside(config: Config): string[] {
    const outside = [...this.table.serviceKeys()].filter((key) => {
      const service = this.#options.service(key);
      if (service === undefined || service.spec.type !== "LoadBalancer") return false;
      const addresses = parseIngress(serviceFacts(service).ingress);
      return addresses !== undefined && addresses.length > 0 && poolOf(config, addresses) === undefined;
    });
    return outside.sort();
  }

  #dropSlice(serviceKey: string, sliceKey: string): void {
    const slices = this.#endpoints.get(serviceKey);
    slices?.delete(sliceKey);
    if (slices?.size === 0) this.#endpoints.delete(serviceKey);
    this.#dirty.add(serviceKey);
  }

  #judgeAll(): void {
    this.#coverage = undefined;
    this.#allDirty = true;
    this.#schedule();
  }

  #schedule(): void {
    if (this.#scheduled || !this.#started) return;
    this.#scheduled = true;
    const { clock } = this.#options;
    clock.after(Math.max(0, this.#flushedAt + GATHER_MS - clock.now()), () => {
      this.#scheduled = false;
      this.#flush();
    });
  }

  #flush(): void {
    this.#flushedAt = this.#options.clock.now();
    const keys = this.#allDirty ? new Set([...this.#options.services().map(keyOf), ...this.table.serviceKeys()]) : new Set(this.#dirty);
    this.#allDirty = false;
    this.#dirty.clear();
    const changes: TableChange[] = [];
    const judged: string[] = [];
    for (const key of keys) {
      const verdict = this.#judge(key);
      this.#note(key, verdict);
      changes.push([key, verdict?.kind === "announce" ? verdict : undefined]);
      judged.push(key);
    }
    const { upsert, remove } = this.table.apply(changes);
    const full = this.#version === 0;
    if (full || upsert.length > 0 || remove.length > 0) {
      this.#version += 1;
      this.#options.send({ kind: "table", version: this.#version, full, upsert, remove });
    }
    this.#options.onJudged(judged);
  }

  /** Undefined when there is no such Service, or no configuration to judge it by. */
  #judge(key: string): Verdict | undefined {
    const service = this.#options.service(key);
    if (service === undefined || this.#config === undefined) return undefined;
    this.#coverage ??= new Coverage(this.#config, this.#nodes.values(), this.#options.eligibility);
    const slices = this.#endpoints.get(key);
    return judgeService(serviceFacts(service), servingOf(slices === undefined ? [] : [...slices.values()].flat()), this.#coverage);
  }

  /** Logs a Service's outcome when it differs from the last one. */
  #note(key: string, verdict: Verdict | undefined): void {
    const { log } = this.#options;
    const before = this.#outcomes.get(key);
    if (verdict === undefined) {
      this.#outcomes.delete(key);
      if (before === "announce") log.info("serviceWithdrawn", { key, reason: "serviceDeleted" });
      return;
    }
    const outcome = verdict.kind === "announce" ? verdict.kind : verdict.reason;
    if (outcome === before) return;
    if (outcome === "notLoadBalancer" || outcome === "otherLoadBalancerClass") {
      if (before === "announce") log.info("serviceWithdrawn", { key, reason: outcome });
      // Most Services of a cluster are none of ours: they take no memory here.
      this.#outcomes.delete(key);
      return;
    }
    this.#outcomes.set(key, outcome);
    if (verdict.kind === "announce") log.info("serviceEligible", { key, ips: verdict.addresses, nodes: verdict.candidates.map((candidate) => candidate.node) });
    else if (before === "announce") log.info("serviceWithdrawn", { key, reason: outcome });
    // Without an address yet it is the controller that has something to say.
    else if (outcome === "noIPAllocated") log.debug("serviceNotAnnounced", { key, reason: outcome });
    else log.info("serviceNotAnnounced", { key, reason: outcome });
  }
}

function sameLabels(a: Readonly<Record<string, string>>, b: Readonly<Record<string, string>>): boolean {
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length && keys.every((key) => Object.hasOwn(b, key) && a[key] === b[key]);
}
