/**
 * The BGP resources in, one BgpConfig or a list of errors out: each object by itself, then what only shows when they are
 * seen together. Pure, and never throws. Unknown fields are ignored.
 */
import type { CustomResource } from "../kube/objects.ts";
import { formatIpAddress } from "../wire/ip-address.ts";
import { readBfdProfile, type BfdProfile } from "./bfd-profile.ts";
import { readBgpAdvertisement, type AdvertisedPool, type BgpAdvertisement } from "./bgp-advertisement.ts";
import { readBgpPeer, type BgpPeer } from "./bgp-peer.ts";
import { readCommunity, type BgpCommunity } from "./community.ts";
import type { FieldError, Labels, LabelSelector } from "./config.ts";
import { FieldErrors } from "./field-errors.ts";
import { readIpAddressPool } from "./ip-address-pool.ts";
import { matchesAny } from "./label-selector.ts";
import { RangeSet } from "./range-set.ts";

/** Resources of Herald's namespace, in any order; what is left out counts as none. */
export interface BgpResources {
  readonly peers?: readonly CustomResource[];
  readonly advertisements?: readonly CustomResource[];
  readonly communities?: readonly CustomResource[];
  readonly bfdProfiles?: readonly CustomResource[];
  /** Only looked at, not judged: parseConfig does that. */
  readonly pools?: readonly CustomResource[];
}

export interface BgpContext {
  /**
   * Labels of the nodes that the configuration is for: all of the cluster's, or just one's own. "any" assumes that any two
   * selectors share a node: what is valid then is valid with every set of nodes.
   */
  readonly nodes: readonly (Labels | undefined)[] | "any";
  /**
   * "now": a BFD profile or the name of a community that is referred to and missing is an error. "later": it may still
   * come, as while objects are applied one after another.
   */
  readonly references: "now" | "later";
}

export interface BgpConfig {
  /** By name, in the order of names. */
  readonly peers: ReadonlyMap<string, BgpPeer>;
  /** In the order of names. */
  readonly advertisements: readonly BgpAdvertisement[];
  readonly bfdProfiles: ReadonlyMap<string, BfdProfile>;
}

export type BgpConfigResult =
  | { readonly kind: "valid"; readonly bgp: BgpConfig }
  | { readonly kind: "invalid"; readonly errors: readonly FieldError[] };

/** Reads the BGP part of the configuration; errors are ordered by kind, name and field. */
export function parseBgp(resources: BgpResources, context: BgpContext): BgpConfigResult {
  const errors: FieldErrors[] = [];
  const each = <T>(kind: string, objects: readonly CustomResource[] | undefined, read: (object: { name: string; spec: unknown }, own: FieldErrors) => T): { read: T; own: FieldErrors }[] =>
    byName(objects ?? []).map(({ metadata: { name }, spec }) => {
      const own = new FieldErrors({ kind, name });
      errors.push(own);
      return { read: read({ name, spec }, own), own };
    });

  const names = new Map<string, BgpCommunity>();
  each("Community", resources.communities, (object, own) => readCommunity(object, own, names));
  const bfdProfiles = new Map(each("BFDProfile", resources.bfdProfiles, readBfdProfile).map(({ read }) => [read.name, read]));
  const pools = (resources.pools ?? []).map(advertisedPool);
  const communityNames = context.references === "now" ? names : undefined;
  const advertisements = each("BGPAdvertisement", resources.advertisements, (object, own) => readBgpAdvertisement(object, own, { pools, communityNames }));
  const peers = each("BGPPeer", resources.peers, readBgpPeer).flatMap(({ read, own }) => (read === undefined ? [] : [{ read, own }]));

  if (context.references === "now") checkBfdProfiles(peers, bfdProfiles);
  checkDuplicatePeers(peers, context.nodes);
  checkAttributes(advertisements, context.nodes, pools);
  const all = errors.flatMap((own) => own.list);
  if (all.length > 0) return { kind: "invalid", errors: all };
  return { kind: "valid", bgp: { peers: new Map(peers.map(({ read }) => [read.name, read])), advertisements: advertisements.map(({ read }) => read), bfdProfiles } };
}

interface Judged<T> {
  readonly read: T;
  readonly own: FieldErrors;
}

function advertisedPool({ metadata: { name, labels }, spec }: CustomResource): AdvertisedPool {
  // A pool's own errors are reported by who judges pools; what can be read of it counts here. A set of its own, so that
  // another pool's overlap leaves no entry out.
  const defined = new RangeSet<string>();
  const addresses: unknown = typeof spec === "object" && spec !== null && "addresses" in spec ? spec.addresses : undefined;
  const texts = Array.isArray(addresses) ? addresses : [];
  const entries = texts.flatMap((text: unknown) => {
    const pool = readIpAddressPool({ name, spec: { addresses: [text] } }, new FieldErrors({ kind: "IPAddressPool", name }), defined);
    return pool.ranges.map((range) => ({ text: String(text), range }));
  });
  return { name, labels, entries };
}

function checkBfdProfiles(peers: readonly Judged<BgpPeer>[], profiles: ReadonlyMap<string, BfdProfile>): void {
  for (const { read, own } of peers) {
    if (read.bfdProfile !== undefined && !profiles.has(read.bfdProfile)) own.add("spec.bfdProfile", `unknown BFDProfile ${JSON.stringify(read.bfdProfile)}`);
  }
}

/** A peer takes one session from one address of ours (RFC 4271 section 6.8), so two that share a node would fight. */
function checkDuplicatePeers(peers: readonly Judged<BgpPeer>[], nodes: BgpContext["nodes"]): void {
  const byEndpoint = new Map<string, BgpPeer[]>();
  for (const { read, own } of peers) {
    const key = endpointKey(read);
    const others = byEndpoint.get(key) ?? [];
    const twin = others.find((other) => shareANode(other.nodeSelectors, read.nodeSelectors, nodes));
    if (twin !== undefined) own.add(endpointPath(read), `BGPPeer ${JSON.stringify(twin.name)} already exists for ${describeEndpoint(read)}, and both select the same node`);
    byEndpoint.set(key, [...others, read]);
  }
}

function endpointKey(peer: BgpPeer): string {
  const source = peer.sourceAddress === undefined ? "" : formatIpAddress(peer.sourceAddress);
  return [describeEndpoint(peer), peer.port, peer.vrf ?? "", source].join(" ");
}

function endpointPath(peer: BgpPeer): string {
  return peer.endpoint.kind === "address" ? "spec.peerAddress" : "spec.interface";
}

function describeEndpoint({ endpoint }: BgpPeer): string {
  return endpoint.kind === "address" ? `address ${formatIpAddress(endpoint.address)}` : `interface ${endpoint.name}`;
}

/** What a prefix can have only one of, by the field that says it. */
const ONE_PER_PREFIX = { localPref: "local preference", asPathPrepend: "AS path prepend" } as const;

/** One prefix has one LOCAL_PREF and one AS_PATH: two advertisements that would send the same prefix to the same peer must agree. */
function checkAttributes(advertisements: readonly Judged<BgpAdvertisement>[], nodes: BgpContext["nodes"], pools: readonly AdvertisedPool[]): void {
  const families = new Map(pools.map(({ name, entries }) => [name, new Set(entries.map(({ range }) => range.family))]));
  // Those for certain Services only are compared where the Services are known.
  const plain = advertisements.filter(({ read }) => read.serviceSelectors.length === 0);
  const meet = (a: BgpAdvertisement, b: BgpAdvertisement): boolean => {
    const sends = (pool: string): boolean => [...(families.get(pool) ?? [])].some((family) => a.aggregationLength[family] === b.aggregationLength[family]);
    return overlap(a.peers, b.peers) && b.pools.some((pool) => a.pools.includes(pool) && sends(pool)) && shareANode(a.nodeSelectors, b.nodeSelectors, nodes);
  };
  for (const [index, { read, own }] of plain.entries()) {
    for (const field of ["localPref", "asPathPrepend"] as const) {
      const conflict = plain.slice(0, index).find(({ read: other }) => other[field] !== read[field] && meet(other, read));
      if (conflict === undefined) continue;
      own.add(`spec.${field}`, `invalid ${ONE_PER_PREFIX[field]} ${read[field]}: BGPAdvertisement ${JSON.stringify(conflict.read.name)} gives ${conflict.read[field]} to the same prefixes, peers and nodes`);
    }
  }
}

/** Whether two lists of names have one in common; an empty list is every name. */
function overlap(a: readonly string[], b: readonly string[]): boolean {
  return a.length === 0 || b.length === 0 || a.some((name) => b.includes(name));
}

/** Whether one node is selected by both. Two lists that are both empty select every node, even one that is yet to come. */
function shareANode(a: readonly LabelSelector[], b: readonly LabelSelector[], nodes: BgpContext["nodes"]): boolean {
  return (a.length === 0 && b.length === 0) || nodes === "any" || nodes.some((labels) => matchesAny(a, labels) && matchesAny(b, labels));
}

function byName(objects: readonly CustomResource[]): CustomResource[] {
  const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
  return objects.toSorted((a, b) => compare(a.metadata.name, b.metadata.name));
}
