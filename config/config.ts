/**
 * Herald's own picture of its custom resources: validated, with parsed addresses. Everything outside config/ and kube/
 * sees these types only.
 */
import type { IpRange } from "../wire/ip-address.ts";

/** A standard label selector, already validated. All fields ANDed; an empty selector matches everything. */
export interface LabelSelector {
  readonly matchLabels: Readonly<Record<string, string>>;
  readonly matchExpressions: readonly LabelRequirement[];
}

export interface LabelRequirement {
  readonly key: string;
  readonly operator: "In" | "NotIn" | "Exists" | "DoesNotExist";
  readonly values: readonly string[];
}

export type Labels = Readonly<Record<string, string>>;

/** Who may allocate from a pool. Namespaces (names UNION selectors) AND serviceSelectors (ORed). */
export interface ServiceAllocation {
  /** Lower wins; 0 is last. */
  readonly priority: number;
  readonly namespaces: readonly string[];
  readonly namespaceSelectors: readonly LabelSelector[];
  readonly serviceSelectors: readonly LabelSelector[];
}

export interface Pool {
  readonly name: string;
  /** In the order of the spec; none overlaps another, in this pool or any other. */
  readonly ranges: readonly IpRange[];
  readonly autoAssign: boolean;
  /** Never hand out IPv4 x.x.x.0 and x.x.x.255. */
  readonly avoidBuggyIps: boolean;
  readonly serviceAllocation?: ServiceAllocation;
}

/** A weighted node preference of an L2Advertisement. `weight` is 1 to 100. */
export interface PreferredNodes {
  readonly weight: number;
  readonly preference: LabelSelector;
}

export interface L2Advertisement {
  readonly name: string;
  /** Names of the pools it reaches, by name or by selector; sorted, resolved against the pools of the same Config. */
  readonly pools: readonly string[];
  /** ORed; empty means every node. */
  readonly nodeSelectors: readonly LabelSelector[];
  /** ORed; empty means every Service. */
  readonly serviceSelectors: readonly LabelSelector[];
  /** Exact names; empty means every interface. */
  readonly interfaces: readonly string[];
  readonly preferredNodes: readonly PreferredNodes[];
}

export interface Config {
  /** By name, in the order of names. */
  readonly pools: ReadonlyMap<string, Pool>;
  readonly l2Advertisements: readonly L2Advertisement[];
}

/** One thing wrong with one object. */
export interface FieldError {
  /** Kind of the resource, e.g. "IPAddressPool". */
  readonly kind: string;
  /** metadata.name of the object at fault. */
  readonly name: string;
  /** Path of the field, e.g. "spec.addresses[1]". */
  readonly path: string;
  /** What is wrong, as a sentence for the user. */
  readonly message: string;
}

export type ConfigResult =
  | { readonly kind: "valid"; readonly config: Config }
  | { readonly kind: "invalid"; readonly errors: readonly FieldError[] };
