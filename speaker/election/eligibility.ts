/**
 * Which addresses of a Service may be announced at layer 2, and by which nodes: a pure function of the Service, its
 * endpoints, the configuration and the Nodes. Every node with the same view computes the same candidates; only the
 * interfaces depend on who asks. A Node's Ready condition, taints and `unschedulable` are never read: a kubelet that
 * went away says nothing about the node's ability to forward, and a cordon is about new pods.
 */
import type { Config, L2Advertisement, Labels, Pool } from "../../config/config.ts";
import { matchesAny, selectorMatches } from "../../config/label-selector.ts";
import { AddressError, compareIpAddresses, formatIpAddress, parseIpAddress, rangeContains } from "../../wire/ip-address.ts";
import type { IpAddress } from "../../wire/ip-address.ts";
import type { Candidate } from "../packet-protocol.ts";

/** What matters of a Service. */
export interface ServiceFacts {
  /** "namespace/name". */
  readonly key: string;
  readonly type: string;
  readonly loadBalancerClass: string | undefined;
  readonly labels: Labels;
  /** `spec.externalTrafficPolicy: Local`: only nodes with an endpoint may announce. */
  readonly localTraffic: boolean;
  /** The Service carries an allow-shared-ip annotation, whatever its value. */
  readonly sharesAddress: boolean;
  /** `status.loadBalancer.ingress[].ip` in order; undefined for an entry without one (a hostname). */
  readonly ingress: readonly (string | undefined)[];
}

/** What matters of a Node. */
export interface NodeFacts {
  readonly name: string;
  readonly labels: Labels;
  /** Condition NetworkUnavailable is True. */
  readonly networkUnavailable: boolean;
}

/** Where a Service's endpoints can serve. */
export interface Serving {
  /** At least one endpoint in the cluster can serve, on a known node or not. */
  readonly any: boolean;
  /** Names of the nodes that have one. */
  readonly nodes: ReadonlySet<string>;
}

/** One endpoint as EndpointSlices tell it: both conditions may be absent. */
export interface EndpointFacts {
  readonly nodeName?: string | undefined;
  readonly ready?: boolean | undefined;
  readonly serving?: boolean | undefined;
}

export interface EligibilityOptions {
  /** Name of this node; it decides the interfaces and nothing else. */
  readonly node: string;
  /** Take nodes in although they carry the exclude-from-external-load-balancers label. */
  readonly ignoreExcludeLb: boolean;
  /** Class of the Services that are ours; undefined stands for Services without a class. */
  readonly loadBalancerClass: string | undefined;
}

/** Why no node announces a Service. Spelled as MetalLB's withdraw reasons where it has one. */
export type WithdrawReason =
  | "otherLoadBalancerClass"
  | "notLoadBalancer"
  | "noIPAllocated"
  | "invalidIP"
  | "ipNotAllowed"
  | "noEndpoints"
  | "noMatchingAdvertisement"
  | "sharedIPWithServiceSelector"
  | "noEligibleNode";

/** A Service that may be announced. */
export interface Announcement {
  readonly kind: "announce";
  /** Canonical texts, IPv4 before IPv6, then by value, without doubles. Never empty; they move together. */
  readonly addresses: readonly string[];
  /** Sorted by node name; never empty. */
  readonly candidates: readonly Candidate[];
  /** Interfaces on this node, sorted by name; empty when no advertisement covers this node. */
  readonly interfaces: readonly string[] | "all";
}

export type Verdict = Announcement | { readonly kind: "withdraw"; readonly reason: WithdrawReason };

/** A label that takes a node out of external load balancing by its presence, whatever its value. */
export const EXCLUDE_LABEL = "node.kubernetes.io/exclude-from-external-load-balancers";

/**
 * The configuration laid over the Nodes: which usable nodes each advertisement covers, and with what score. Built once per
 * change of either, so that judging a Service costs its own endpoints and no label matching over nodes.
 */
export class Coverage {
  readonly config: Config;
  readonly options: EligibilityOptions;
  /** By advertisement: score by node name, in the order of names. */
  readonly #scores = new Map<L2Advertisement, ReadonlyMap<string, number>>();
  readonly #coversThisNode = new Set<L2Advertisement>();
  readonly #candidates = new Map<string, readonly Candidate[]>();

  constructor(config: Config, nodes: Iterable<NodeFacts>, options: EligibilityOptions) {
    this.config = config;
    this.options = options;
    const sorted = [...nodes].sort((a, b) => compareText(a.name, b.name));
    for (const advertisement of config.l2Advertisements) {
      const scores = new Map<string, number>();
      for (const node of sorted) {
        if (!matchesAny(advertisement.nodeSelectors, node.labels)) continue;
        if (node.name === options.node) this.#coversThisNode.add(advertisement);
        if (isUsable(node, options)) scores.set(node.name, preferenceScore(advertisement, node.labels));
      }
      this.#scores.set(advertisement, scores);
    }
  }

  /** Nodes that at least one of the advertisements covers, scores added up; sorted by name. The same list for the same set. */
  candidates(advertisements: readonly L2Advertisement[]): readonly Candidate[] {
    const key = advertisements.map((advertisement) => advertisement.name).join("\n");
    const known = this.#candidates.get(key);
    if (known !== undefined) return known;
    const sums = new Map<string, number>();
    for (const advertisement of advertisements) {
      for (const [node, score] of this.#scores.get(advertisement) ?? []) sums.set(node, (sums.get(node) ?? 0) + score);
    }
    const candidates = [...sums].map(([node, score]) => ({ node, score })).sort((a, b) => compareText(a.node, b.node));
    this.#candidates.set(key, candidates);
    return candidates;
  }

  /** Union of the interfaces of those advertisements that cover this node; one without interfaces stands for all. */
  interfaces(advertisements: readonly L2Advertisement[]): readonly string[] | "all" {
    const names = new Set<string>();
    for (const advertisement of advertisements) {
      if (!this.#coversThisNode.has(advertisement)) continue;
      if (advertisement.interfaces.length === 0) return "all";
      for (const name of advertisement.interfaces) names.add(name);
    }
    return [...names].sort(compareText);
  }
}

/** Where endpoints can serve: ready (or ready unknown, which the API defines as ready), else serving while it terminates. */
export function servingOf(endpoints: Iterable<EndpointFacts>): Serving {
  const nodes = new Set<string>();
  let any = false;
  for (const endpoint of endpoints) {
    if (!(endpoint.ready ?? true) && endpoint.serving !== true) continue;
    any = true;
    if (endpoint.nodeName !== undefined) nodes.add(endpoint.nodeName);
  }
  return { any, nodes };
}

/** Judges one Service. The checks come in MetalLB's order, so that the first reason is the one its users know. */
export function judgeService(service: ServiceFacts, serving: Serving, coverage: Coverage): Verdict {
  if (service.loadBalancerClass !== coverage.options.loadBalancerClass) return withdraw("otherLoadBalancerClass");
  if (service.type !== "LoadBalancer") return withdraw("notLoadBalancer");
  if (service.ingress.length === 0) return withdraw("noIPAllocated");
  const addresses = parseIngress(service.ingress);
  if (addresses === undefined) return withdraw("invalidIP");
  const pool = poolOf(coverage.config, addresses);
  if (pool === undefined) return withdraw("ipNotAllowed");
  if (!serving.any) return withdraw("noEndpoints");

  const advertisements = coverage.config.l2Advertisements.filter(
    (advertisement) => advertisement.pools.includes(pool.name) && matchesAny(advertisement.serviceSelectors, service.labels),
  );
  if (advertisements.length === 0) return withdraw("noMatchingAdvertisement");
  // Services on one address must agree on its nodes, which selectors on Services cannot promise.
  if (service.sharesAddress && advertisements.some((advertisement) => advertisement.serviceSelectors.length > 0)) {
    return withdraw("sharedIPWithServiceSelector");
  }
  const covered = coverage.candidates(advertisements);
  const candidates = service.localTraffic ? covered.filter((candidate) => serving.nodes.has(candidate.node)) : covered;
  if (candidates.length === 0) return withdraw("noEligibleNode");
  return { kind: "announce", addresses: addresses.map(formatIpAddress), candidates, interfaces: coverage.interfaces(advertisements) };
}

/**
 * The addresses of a Service's status in their canonical order: IPv4 before IPv6, whatever the order of the entries, since
 * that order may change without anything else changing. Undefined when an entry is no address.
 */
export function parseIngress(ingress: readonly (string | undefined)[]): readonly IpAddress[] | undefined {
  const byText = new Map<string, IpAddress>();
  for (const text of ingress) {
    if (text === undefined) return undefined;
    try {
      const address = parseIpAddress(text);
      byText.set(formatIpAddress(address), address);
    } catch (error) {
      if (error instanceof AddressError) return undefined;
      throw error;
    }
  }
  return [...byText.values()].sort(compareIpAddresses);
}

/** The pool that holds all the addresses; undefined when no single pool does. */
export function poolOf(config: Config, addresses: readonly IpAddress[]): Pool | undefined {
  for (const pool of config.pools.values()) {
    if (addresses.every((address) => pool.ranges.some((range) => rangeContains(range, address)))) return pool;
  }
  return undefined;
}

/** Order of names by code unit: the same on every node, whatever its locale. For `Array.sort`. */
export function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function isUsable(node: NodeFacts, options: EligibilityOptions): boolean {
  if (node.networkUnavailable) return false;
  return options.ignoreExcludeLb || !Object.hasOwn(node.labels, EXCLUDE_LABEL);
}

function preferenceScore(advertisement: L2Advertisement, labels: Labels): number {
  return advertisement.preferredNodes.reduce((sum, preferred) => sum + (selectorMatches(preferred.preference, labels) ? preferred.weight : 0), 0);
}

function withdraw(reason: WithdrawReason): Verdict {
  return { kind: "withdraw", reason };
}
