/**
 * The book of who held which address, written from every revision of every Service, pool and namespace in etcd, and what
 * in it may not be: an address given to a second Service that may not share it, one given that no pool has for the
 * Service, and one taken from a Service that was content with it while its pool let it. It knows the rules by itself, and
 * asks no controller.
 *
 * A controller hears of pools later than the book does, and of some states between two others never. So an address may
 * be taken as long as the pools had not let the Service have it at some revision within `LAG_MS`, even if they do again;
 * and given if they let it at some revision within that time.
 */
import type { Service } from "../../../../kube/objects.ts";
import { PoolBook, type PoolSet, type PoolSpec } from "./pool-book.ts";

/**
 * For how long a controller may act on pools as they were (milliseconds): its watch is reopened within 10 s of the API
 * server's return, or of a fault, some refused patches may follow, and the machine may be busy.
 */
export const LAG_MS = 30_000;

interface Terms {
  readonly key: string;
  /** The pods that decide its nodes; "" when any node may take its traffic. */
  readonly backend: string;
  readonly ports: readonly string[];
}

/** A Service at one revision. */
interface View {
  readonly uid: string;
  readonly namespace: string;
  readonly isLoadBalancer: boolean;
  readonly addresses: readonly string[];
  readonly requested: readonly string[];
  readonly pool: string | undefined;
  readonly policy: string;
  readonly families: readonly string[];
  readonly terms: Terms;
}

interface Holding {
  readonly view: View;
  /** Terms that it had before today's, since it has held what it holds. */
  readonly formerTerms: readonly Terms[];
  /** Somebody it can't share with was on one of its addresses meanwhile: then one of them has to go. */
  contested: boolean;
  /**
   * When the pools did not let it have what it shows, or what it showed before that and lost to them; -Infinity: they always
   * have. Who had two addresses, lost them with their pool and got one elsewhere may still get two when the pool is back.
   */
  disallowedAt: number;
}

export class Ledger {
  /** What may not be, in words, with revisions. */
  readonly violations: string[] = [];
  /** Addresses given, and taken, so far: a check that saw none has checked nothing. */
  readonly counts = { given: 0, taken: 0, forced: 0, revisions: 0, poolRevisions: 0 };
  readonly #book = new PoolBook(LAG_MS);
  readonly #now: () => number;
  readonly #services = new Map<string, Holding>();
  readonly #holders = new Map<string, Set<string>>();

  /** @param now monotonic milliseconds: when what comes next has been heard of. */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** A revision of a pool; without a spec it is gone. */
  putPool(name: string, spec?: PoolSpec): void {
    this.#noteDisallowed();
    if (this.#book.putPool(name, spec, this.#now())) this.counts.poolRevisions += 1;
    this.#noteDisallowed();
  }

  /** A revision of a namespace; without labels it is gone. */
  putNamespace(name: string, labels?: Readonly<Record<string, string>>): void {
    this.#noteDisallowed();
    this.#book.putNamespace(name, labels, this.#now());
    this.#noteDisallowed();
  }

  /** Keys ("namespace/name") of the Services that exist, with their addresses. */
  shown(): Map<string, readonly string[]> {
    return new Map([...this.#services].map(([key, { view }]) => [key, view.addresses]));
  }

  /** A revision of a Service. */
  put(revision: number, key: string, service: Service): void {
    this.counts.revisions += 1;
    const view = viewOf(service);
    const known = this.#services.get(key);
    const before = known?.view.uid === view.uid ? known : undefined;
    if (before === undefined) this.#leave(key);
    this.#checkLost(revision, key, before, view);
    this.#checkGained(revision, key, before, view);
    const keeps = before?.view.addresses.some((address) => view.addresses.includes(address)) === true;
    this.#leave(key);
    const formerTerms = keeps ? [...before.formerTerms, before.view.terms] : [];
    const disallowedAt = !isAllowed(view, this.#book.current) ? this.#now() : (before?.disallowedAt ?? -Infinity);
    const holding: Holding = { view, formerTerms, contested: keeps && before.contested, disallowedAt };
    this.#services.set(key, holding);
    for (const address of view.addresses) this.#holders.set(address, (this.#holders.get(address) ?? new Set()).add(key));
    for (const rival of this.#rivals(key, view)) holding.contested = rival.contested = true;
  }

  /** The Service is gone. */
  delete(key: string): void {
    this.counts.revisions += 1;
    this.#leave(key);
    this.#services.delete(key);
  }

  /** What is wrong now that all is calm: who has no address though it could, or one that it may not have. */
  unfinished(): string[] {
    const wrong: string[] = [];
    for (const [key, { view }] of this.#services) {
      if (!view.isLoadBalancer) {
        if (view.addresses.length > 0) wrong.push(`${key} is no load balancer and shows ${view.addresses.join(",")}`);
        continue;
      }
      if (this.#rivals(key, view).length > 0) wrong.push(`${key} shows ${view.addresses.join(",")}, which it may not share`);
      if (this.#isContent(view) || this.#isRequestTaken(key, view)) continue;
      wrong.push(`${key} shows [${view.addresses.join(",")}] but wants ${JSON.stringify({ ...view, addresses: undefined })}`);
    }
    return wrong;
  }

  #checkLost(revision: number, key: string, before: Holding | undefined, view: View): void {
    const lost = before?.view.addresses.filter((address) => !view.addresses.includes(address)) ?? [];
    this.counts.taken += lost.length;
    if (before === undefined || lost.length === 0 || !view.isLoadBalancer || before.contested) return;
    if (!isAllowed(before.view, this.#book.current) || this.#now() - before.disallowedAt <= LAG_MS) {
      this.counts.forced += lost.length;
      return;
    }
    if (!this.#isContent(before.view)) return;
    this.violations.push(`revision ${revision}: ${key} lost ${lost.join(",")} without cause, and shows [${view.addresses.join(",")}]`);
  }

  #checkGained(revision: number, key: string, before: Holding | undefined, view: View): void {
    for (const address of view.addresses) {
      if (before?.view.addresses.includes(address) === true) continue;
      this.counts.given += 1;
      if (!this.#book.recent(this.#now()).some((set) => mayGive(address, view, set))) this.violations.push(`revision ${revision}: ${key} got ${address}, which no pool has for it`);
      for (const other of this.#holders.get(address) ?? []) {
        const holding = this.#services.get(other);
        if (other === key || holding === undefined) continue;
        // The controller may not have heard of the newest terms; those of the one that it writes to it knows.
        if ([holding.view.terms, ...holding.formerTerms].some((terms) => mayShare(terms, view.terms))) continue;
        this.violations.push(`revision ${revision}: ${key} got ${address}, which ${other} has and may not share`);
      }
    }
  }

  /** Whether it may go on with what it shows, as far as that is a matter between it and the pools. */
  #isContent(view: View): boolean {
    const { addresses, requested, pool, policy, families } = view;
    const owner = ownerOf(view, this.#book.current);
    if (owner === undefined || (pool !== undefined && pool !== owner)) return false;
    if (requested.length > 0 && requested.toSorted().join() !== addresses.toSorted().join()) return false;
    const shown = addresses.map(familyOf).toSorted().join();
    if (families.length === 2 && policy !== "SingleStack") return shown === "IPv4,IPv6" || (policy === "PreferDualStack" && addresses.length === 1);
    return shown === families[0];
  }

  #isRequestTaken(key: string, { requested, terms }: View): boolean {
    return requested.some((address) => [...(this.#holders.get(address) ?? [])].some((other) => other !== key && !mayShare(terms, this.#services.get(other)?.view.terms)));
  }

  #rivals(key: string, view: View): Holding[] {
    const others = new Set(view.addresses.flatMap((address) => [...(this.#holders.get(address) ?? [])]));
    others.delete(key);
    return [...others].flatMap((other) => this.#services.get(other) ?? []).filter((other) => !mayShare(other.view.terms, view.terms));
  }

  #noteDisallowed(): void {
    for (const holding of this.#services.values()) if (!isAllowed(holding.view, this.#book.current)) holding.disallowedAt = this.#now();
  }

  #leave(key: string): void {
    for (const address of this.#services.get(key)?.view.addresses ?? []) this.#holders.get(address)?.delete(key);
  }
}

function viewOf({ metadata, spec, status }: Service): View {
  const annotations = metadata.annotations ?? {};
  const requested = annotations["metallb.io/loadBalancerIPs"] ?? "";
  return {
    uid: metadata.uid ?? "",
    namespace: metadata.namespace ?? "",
    isLoadBalancer: spec.type === "LoadBalancer",
    addresses: (status?.loadBalancer?.ingress ?? []).flatMap(({ ip }) => ip ?? []),
    requested: requested === "" ? [] : requested.split(","),
    pool: annotations["metallb.io/address-pool"],
    policy: spec.ipFamilyPolicy ?? "SingleStack",
    families: spec.ipFamilies ?? [],
    terms: {
      key: annotations["metallb.io/allow-shared-ip"] ?? "",
      backend: spec.externalTrafficPolicy === "Local" ? JSON.stringify(Object.entries(spec.selector ?? {}).toSorted()) : "",
      ports: (spec.ports ?? []).map(({ protocol = "TCP", port }) => `${protocol}/${port}`),
    },
  };
}

/** Name of the one pool that has all addresses of the Service, and has them for it. */
function ownerOf({ addresses, namespace }: View, set: PoolSet): string | undefined {
  const owners = new Set(addresses.map((address) => set.poolFor(address, namespace)?.name));
  return owners.size === 1 ? [...owners][0] : undefined;
}

/** Whether the pools let the Service have what it shows; it shows nothing: they do. */
function isAllowed(view: View, set: PoolSet): boolean {
  return view.addresses.length === 0 || ownerOf(view, set) !== undefined;
}

/** Whether the address was there to be given to the Service: asked for, from a pool asked for, or automatically. */
function mayGive(address: string, { namespace, requested, pool, addresses }: View, set: PoolSet): boolean {
  const owner = set.poolFor(address, namespace);
  if (owner === undefined) return false;
  const completes = addresses.some((other) => other !== address && set.poolFor(other, namespace)?.name === owner.name);
  return owner.autoAssign || completes || requested.includes(address) || pool === owner.name;
}

function mayShare(a: Terms, b: Terms | undefined): boolean {
  return b !== undefined && a.key !== "" && a.key === b.key && a.backend === b.backend && !a.ports.some((port) => b.ports.includes(port));
}

function familyOf(address: string): "IPv4" | "IPv6" {
  return address.includes(":") ? "IPv6" : "IPv4";
}
