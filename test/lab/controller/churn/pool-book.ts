/**
 * The pools as they were, told by every revision of them and of namespaces in etcd: whose an address is, and to whom its
 * pool may be given. Pools that overlap are no configuration; those before them stay in effect.
 */
import { type IpRange, parseIpAddress, parseIpRange, rangeContains, rangesOverlap } from "../../../../wire/ip-address.ts";

/** As in the `spec` of an IPAddressPool, as far as the tests use it. */
export interface PoolSpec {
  readonly addresses: readonly string[];
  readonly autoAssign?: boolean;
  readonly serviceAllocation?: { readonly priority?: number; readonly namespaceSelectors?: readonly { readonly matchLabels: Readonly<Record<string, string>> }[] };
}

interface Pool {
  readonly name: string;
  readonly spec: PoolSpec;
  readonly ranges: readonly IpRange[];
}

type Labels = Readonly<Record<string, string>>;

/** What was in effect at some time. */
export class PoolSet {
  readonly pools: readonly Pool[];
  readonly #namespaces: ReadonlyMap<string, Labels>;

  constructor(pools: readonly Pool[], namespaces: ReadonlyMap<string, Labels>) {
    this.pools = pools;
    this.#namespaces = namespaces;
  }

  /** The pool that has this address and admits the namespace; undefined when there is none. */
  poolFor(address: string, namespace: string): { readonly name: string; readonly autoAssign: boolean } | undefined {
    const parsed = parseIpAddress(address);
    const pool = this.pools.find(({ ranges }) => ranges.some((range) => rangeContains(range, parsed)));
    if (pool === undefined || !this.#admits(pool, namespace)) return undefined;
    return { name: pool.name, autoAssign: pool.spec.autoAssign !== false };
  }

  #admits({ spec }: Pool, namespace: string): boolean {
    const selectors = spec.serviceAllocation?.namespaceSelectors;
    const labels = this.#namespaces.get(namespace);
    if (selectors === undefined) return true;
    return labels !== undefined && selectors.some(({ matchLabels }) => Object.entries(matchLabels).every(([name, value]) => labels[name] === value));
  }
}

export class PoolBook {
  readonly #lagMs: number;
  readonly #pools = new Map<string, Pool>();
  readonly #namespaces = new Map<string, Labels>();
  #current = new PoolSet([], new Map());
  #past: { readonly set: PoolSet; readonly until: number }[] = [];

  /** @param lagMs for how long a controller may not know of a change, or not have written what follows from it. */
  constructor(lagMs: number) {
    this.#lagMs = lagMs;
  }

  get current(): PoolSet {
    return this.#current;
  }

  /** Everything that was in effect within the lag, up to now. */
  recent(now: number): readonly PoolSet[] {
    this.#past = this.#past.filter(({ until }) => now - until <= this.#lagMs);
    return [...this.#past.map(({ set }) => set), this.#current];
  }

  /** A pool as it is from now on; undefined: it is deleted. @returns whether anything changed */
  putPool(name: string, spec: PoolSpec | undefined, now: number): boolean {
    if (JSON.stringify(this.#pools.get(name)?.spec) === JSON.stringify(spec)) return false;
    if (spec === undefined) this.#pools.delete(name);
    else this.#pools.set(name, { name, spec, ranges: spec.addresses.map(parseIpRange) });
    this.#change(now);
    return true;
  }

  /** A namespace as it is from now on; undefined: it is deleted. @returns whether anything changed */
  putNamespace(name: string, labels: Labels | undefined, now: number): boolean {
    if (JSON.stringify(this.#namespaces.get(name)) === JSON.stringify(labels)) return false;
    if (labels === undefined) this.#namespaces.delete(name);
    else this.#namespaces.set(name, labels);
    this.#change(now);
    return true;
  }

  #change(now: number): void {
    const pools = [...this.#pools.values()];
    const overlap = pools.some((a) => pools.some((b) => a !== b && a.ranges.some((one) => b.ranges.some((other) => rangesOverlap(one, other)))));
    this.#past.push({ set: this.#current, until: now });
    this.#current = new PoolSet(overlap ? this.#current.pools : pools, new Map(this.#namespaces));
  }
}
