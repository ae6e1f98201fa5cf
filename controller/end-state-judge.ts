/**
 * Judges what a cluster has come to, from its objects alone and without a line of the controller: every address is allowed
 * where it shows, and nobody goes without what he could have. For tests; pools are small, and every address is tried.
 */
import { ipAddressPools, namespaces, type Service, services } from "../kube/objects.ts";
import { CONDITION, NAMESPACE, type World } from "./fake-world.ts";

/** A pool as the judge sees it: its addresses one by one. */
interface JudgedPool {
  readonly name: string;
  readonly members: readonly string[];
  readonly autoAssign: boolean;
  readonly allocation: { readonly namespaces?: readonly string[]; readonly namespaceSelectors?: readonly Selector[]; readonly serviceSelectors?: readonly Selector[] } | undefined;
}

interface Selector {
  readonly matchLabels: Readonly<Record<string, string>>;
}

interface PoolSpec {
  readonly addresses: readonly string[];
  readonly autoAssign?: boolean;
  readonly avoidBuggyIPs?: boolean;
  readonly serviceAllocation?: JudgedPool["allocation"];
}

/** What a Service asks for. */
interface Wish {
  readonly families: readonly string[];
  readonly oneIsEnough: boolean;
  readonly pool: string;
  /** "unreadable" keeps what is there and gets nothing. */
  readonly addresses: readonly string[] | "unreadable";
}

const PREFIX = "metallb.io/";
const FORMER = "metallb.universe.tf/";
const OF_POOL = `${PREFIX}ip-allocated-from-pool`;

/** Complaints; none when all is as it should be. */
export function judge(world: World): string[] {
  return new Judge(world).complaints();
}

/**
 * Who has to go on with what he showed before, given pools, requests and terms as they are now: nothing is in the way, and
 * he asks for nothing else. Who does not get along with `subject`, who just changed, is not in the way; the subject is.
 */
export function entitled(world: World, before: ReadonlyMap<string, readonly string[]>, subject: string | undefined): { readonly stay: string[]; readonly stayOrGetMore: string[] } {
  return new Judge(world).entitled(before, subject);
}

/**
 * Who got an address though an older one, who goes without, could have it and was there first; both wanted one before.
 * Those who want two addresses are left out.
 */
export function overtaken(world: World, before: ReadonlyMap<string, readonly string[]>, subject: string | undefined): string[] {
  return new Judge(world).overtaken(before, subject);
}

class Judge {
  readonly #world: World;
  readonly #services: readonly Service[];
  readonly #pools: readonly JudgedPool[];
  readonly #namespaceLabels: Readonly<Record<string, string>>;

  constructor(world: World) {
    this.#world = world;
    this.#services = world.client.peekAll<Service>(services);
    this.#pools = world.client.peekAll(ipAddressPools).map(({ metadata: { name }, spec }) => judged(name, spec as PoolSpec));
    this.#namespaceLabels = world.client.peek(namespaces, { name: "default" })?.metadata.labels ?? {};
  }

  complaints(): string[] {
    return [...this.#services.flatMap((service) => this.#ofService(service).map((text) => `${service.metadata.name}: ${text}`)), ...this.#pools.flatMap((pool) => this.#ofPool(pool))];
  }

  entitled(before: ReadonlyMap<string, readonly string[]>, subject: string | undefined): { readonly stay: string[]; readonly stayOrGetMore: string[] } {
    const candidates = this.#services.filter((service) => isOurs(service) && this.#mayKeep(service, before, subject));
    const asRequested = ({ metadata, spec }: Service): boolean => {
      const wish = wishOf({ metadata, spec });
      const shown = before.get(metadata.name) ?? [];
      if (typeof wish === "string") return false;
      return wish.addresses === "unreadable" || ((wish.pool === "" || this.#poolOf(shown)?.name === wish.pool) && (wish.addresses.length === 0 || sameMembers(wish.addresses, shown)));
    };
    return { stay: candidates.filter(asRequested).map(({ metadata }) => metadata.name), stayOrGetMore: candidates.map(({ metadata }) => metadata.name) };
  }

  overtaken(before: ReadonlyMap<string, readonly string[]>, subject: string | undefined): string[] {
    const waited = this.#services.filter((service) => isOurs(service) && service.metadata.name !== subject && before.get(service.metadata.name)?.length === 0);
    const hungry = waited.filter((service) => shownBy(service).length === 0);
    const lucky = waited.filter((service) => shownBy(service).length === 1);
    return lucky.flatMap((winner) => hungry.filter((loser) => isOlder(loser, winner) && this.#couldHaveInstead(loser, winner)).map((loser) => `${winner.metadata.name} got ${shownBy(winner).join()} before ${loser.metadata.name}`));
  }

  #couldHaveInstead(loser: Service, winner: Service): boolean {
    const wish = wishOf(loser);
    const [address = ""] = shownBy(winner);
    const pool = this.#poolOf([address]);
    if (typeof wish === "string" || wish.addresses === "unreadable" || pool === undefined || wish.families.length !== 1 || wish.families[0] !== familyOf(address)) return false;
    const wants = wish.addresses.length > 0 ? wish.addresses.join() === address : wish.pool !== "" || pool.autoAssign;
    const others = this.#services.filter((other) => other !== loser && other !== winner && shownBy(other).includes(address));
    return wants && (wish.pool === "" || wish.pool === pool.name) && this.#admits(pool, loser) && others.every((other) => mayShare(loser, other));
  }

  #mayKeep(service: Service, before: ReadonlyMap<string, readonly string[]>, subject: string | undefined): boolean {
    const { name } = service.metadata;
    const shown = before.get(name) ?? [];
    const wish = wishOf(service);
    const pool = this.#poolOf(shown);
    if (shown.length === 0 || typeof wish === "string" || pool === undefined || !this.#admits(pool, service)) return false;
    const families = shown.map(familyOf);
    if (families.some((family) => !wish.families.includes(family)) || (families.length < wish.families.length && !wish.oneIsEnough)) return false;
    return this.#services.every((other) => {
      const isInTheWay = other !== service && (other.metadata.name !== subject || name === subject) && (before.get(other.metadata.name) ?? []).some((address) => shown.includes(address));
      return !isInTheWay || mayShare(service, other);
    });
  }

  #poolOf(shown: readonly string[]): JudgedPool | undefined {
    return this.#pools.find(({ members }) => shown.every((address) => members.includes(address)));
  }

  #ofService(service: Service): string[] {
    const shown = shownBy(service);
    const condition = service.status?.conditions?.find(({ type }) => type === CONDITION);
    const owner = service.metadata.annotations?.[OF_POOL];
    if (!isOurs(service)) {
      // What others wrote there before it was ours, and of no pool, is not ours to clear.
      const isClean = shown.every((address) => this.#pools.every(({ members }) => !members.includes(address)));
      return isClean && condition === undefined && owner === undefined ? [] : [`is none of ours and shows ${shown.join()} ${condition?.reason} ${owner}`];
    }
    const wish = wishOf(service);
    const says = `${condition?.status} ${condition?.reason}`;
    if (typeof wish === "string") return shown.length === 0 && says === `False ${wish}` ? [] : [`can't have ${shown.join()}: ${says}`];
    if (shown.length === 0) {
      const could = wish.addresses !== "unreadable" && this.#couldHave(service, wish, wish.addresses);
      const why = this.#whyNone(service, wish);
      if (!why.includes(condition?.reason ?? "")) return [`shows nothing, says ${says}, and it is ${why.join(" or ")}`];
      return [...(could ? [`goes without, says ${says}, and could have what it asks for`] : []), ...(condition?.status === "False" && owner === undefined ? [] : [`shows nothing, and ${says} ${owner}`])];
    }
    return this.#ofHolder(service, wish, { shown, says, owner });
  }

  /** Reasons that a Service may have that shows nothing. */
  #whyNone(service: Service, { families, oneIsEnough, pool: named, addresses }: Wish): string[] {
    if (addresses === "unreadable") return ["InvalidRequest"];
    if (addresses.length > 0) {
      const owners = addresses.map((address) => this.#poolOf([address]));
      const [owner] = owners;
      if (!sameMembers(addresses.map(familyOf), families)) return ["FamilyMismatch"];
      if (owner === undefined || owners.includes(undefined)) return ["AddressNotInPool"];
      if (owners.some((other) => other !== owner)) return ["AddressesInDifferentPools"];
      if (named !== "" && owner.name !== named) return ["AddressNotInRequestedPool"];
      return this.#admits(owner, service) ? ["AddressInUse", "SharingConflict"] : ["PoolNotAllowed"];
    }
    const candidates = this.#pools.filter((pool) => (named === "" ? pool.autoAssign : pool.name === named));
    if (named !== "" && candidates.length === 0) return ["UnknownPool"];
    const admitting = candidates.filter((pool) => this.#admits(pool, service));
    if (admitting.length === 0) return [named === "" ? "NoPools" : "PoolNotAllowed"];
    const has = ({ members }: JudgedPool, family: string): boolean => members.some((address) => familyOf(address) === family);
    const suits = admitting.some((pool) => (oneIsEnough ? families.some((family) => has(pool, family)) : families.every((family) => has(pool, family))));
    return suits ? ["NoFreeAddress", "SharingConflict"] : ["PoolHasNoSuchFamily"];
  }

  #ofHolder(service: Service, wish: Wish, { shown, says, owner }: { shown: readonly string[]; says: string; owner: string | undefined }): string[] {
    const complaints: string[] = [];
    const pool = this.#poolOf(shown);
    if (pool === undefined) return [`shows ${shown.join()}, which no pool has`];
    if (pool.name !== owner) complaints.push(`shows ${shown.join()} of ${pool.name}, and says that it is of ${owner}`);
    if (!this.#admits(pool, service)) complaints.push(`shows ${shown.join()} of ${pool.name}, which does not admit it`);
    const families = new Set(shown.map(familyOf));
    const enough = families.size === wish.families.length || wish.oneIsEnough;
    if (families.size !== shown.length || !enough || [...families].some((family) => !wish.families.includes(family))) complaints.push(`shows ${shown.join()}, and wants ${wish.families.join()}`);
    for (const other of this.#services) {
      const common = other === service ? [] : shownBy(other).filter((address) => shown.includes(address));
      if (common.length > 0 && !mayShare(service, other)) complaints.push(`shows ${common.join()} beside ${other.metadata.name}`);
    }
    const granted = wish.addresses !== "unreadable" && (wish.pool === "" || wish.pool === pool.name) && (wish.addresses.length === 0 || sameMembers(wish.addresses, shown));
    if (says !== (granted ? "True Assigned" : "True RequestRefused")) complaints.push(`says ${says}`);
    if (!granted && wish.addresses !== "unreadable" && this.#couldHave(service, wish, wish.addresses)) complaints.push(`shows ${shown.join()}, and could have what it asks for`);
    const missing = wish.families.filter((family) => !families.has(family));
    if (granted && wish.addresses.length === 0 && missing.some((family) => this.#usable(pool, family, service))) complaints.push(`shows ${shown.join()}, and ${pool.name} has ${missing.join()} too`);
    return complaints;
  }

  #ofPool(pool: JudgedPool): string[] {
    const status = this.#world.client.peek(ipAddressPools, { namespace: NAMESPACE, name: pool.name })?.status as Readonly<Record<string, number>> | undefined;
    const used = new Set(this.#services.flatMap(shownBy).filter((address) => pool.members.includes(address)));
    return ["IPv4", "IPv6"].flatMap((family) => {
      const [total, assigned] = [pool.members, [...used]].map((addresses) => addresses.filter((address) => familyOf(address) === family).length);
      const told = [status?.[`assigned${family}`], status?.[`available${family}`]];
      return told[0] === assigned && told[1] === (total ?? 0) - (assigned ?? 0) ? [] : [`pool ${pool.name}: ${family} tells ${told.join(" + ")} of ${total}, ${assigned} in use`];
    });
  }

  #couldHave(service: Service, wish: Wish, addresses: readonly string[]): boolean {
    if (addresses.length > 0) {
      const pool = this.#pools.find(({ members }) => addresses.every((address) => members.includes(address)));
      const fits = addresses.length === wish.families.length && addresses.every((address) => wish.families.includes(familyOf(address)));
      return fits && pool !== undefined && (wish.pool === "" || wish.pool === pool.name) && this.#admits(pool, service) && addresses.every((address) => this.#isOpen(address, service));
    }
    return this.#pools.some((pool) => {
      if (!(wish.pool === "" ? pool.autoAssign : wish.pool === pool.name) || !this.#admits(pool, service)) return false;
      const has = wish.families.filter((family) => this.#usable(pool, family, service));
      return has.length === wish.families.length || (wish.oneIsEnough && has.length > 0);
    });
  }

  #usable(pool: JudgedPool, family: string, service: Service): boolean {
    return pool.members.some((address) => familyOf(address) === family && this.#isOpen(address, service));
  }

  #isOpen(address: string, service: Service): boolean {
    return this.#services.every((other) => other === service || !shownBy(other).includes(address) || mayShare(service, other));
  }

  #admits({ allocation }: JudgedPool, { metadata }: Service): boolean {
    if (allocation === undefined) return true;
    const { namespaces: names = [], namespaceSelectors = [], serviceSelectors = [] } = allocation;
    const anywhere = names.length === 0 && namespaceSelectors.length === 0;
    const here = anywhere || names.includes("default") || namespaceSelectors.some((selector) => matches(selector, this.#namespaceLabels));
    return here && (serviceSelectors.length === 0 || serviceSelectors.some((selector) => matches(selector, metadata.labels ?? {})));
  }
}

function judged(name: string, spec: PoolSpec): JudgedPool {
  const members = poolMembers(spec.addresses).filter((address) => spec.avoidBuggyIPs !== true || !/\.(0|255)$/.test(address));
  return { name, members, autoAssign: spec.autoAssign ?? true, allocation: spec.serviceAllocation };
}

/** The addresses of a pool's entries, one by one. */
export function poolMembers(addresses: readonly string[]): string[] {
  return addresses.flatMap(expand);
}

/** Entries are single addresses, `A/32` or `A/128`, and ranges in the last part, `10.0.0.1-10.0.0.3`. */
function expand(entry: string): string[] {
  const [first = "", last = first] = entry.replace(/\/(32|128)$/, "").split("-");
  const separator = first.includes(":") ? ":" : ".";
  const [start, end] = [first, last].map((address) => Number(address.slice(address.lastIndexOf(separator) + 1)));
  const stem = first.slice(0, first.lastIndexOf(separator) + 1);
  return Array.from({ length: (end ?? 0) - (start ?? 0) + 1 }, (_, index) => `${stem}${(start ?? 0) + index}`);
}

function isOurs({ spec }: Service): boolean {
  return spec.type === "LoadBalancer" && spec.loadBalancerClass === undefined;
}

/** Today's annotation counts if it is there, even if it is empty. */
function asked({ annotations }: Service["metadata"], suffix: string): string {
  return annotations?.[PREFIX + suffix] ?? annotations?.[FORMER + suffix] ?? "";
}

/** A text is the reason why it can't have any. */
function wishOf({ spec, metadata }: Pick<Service, "spec" | "metadata">): Wish | string {
  const families = (spec.clusterIPs ?? []).filter((text) => text !== "None").map(familyOf);
  if (families.length === 0) return "NoClusterIp";
  if (spec.ipFamilyPolicy === "RequireDualStack" && families.length < 2) return "NotEnoughClusterIps";
  const text = asked(metadata, "loadBalancerIPs");
  const listed = text === "" ? [] : text.split(",");
  const readable = listed.every((address) => /^[0-9a-f:.]+$/.test(address)) && new Set(listed.map(familyOf)).size === listed.length;
  const both = listed.length > 0 && spec.loadBalancerIP !== undefined;
  const wanted = spec.loadBalancerIP === undefined ? listed : [spec.loadBalancerIP];
  return { families, oneIsEnough: spec.ipFamilyPolicy === "PreferDualStack", pool: asked(metadata, "address-pool"), addresses: readable && !both ? wanted : "unreadable" };
}

function isOlder(a: Service, b: Service): boolean {
  return (a.metadata.creationTimestamp ?? "") < (b.metadata.creationTimestamp ?? "");
}

/** Whether these two may be on one address. */
export function mayShare(a: Service, b: Service): boolean {
  const key = ({ metadata }: Service): string => asked(metadata, "allow-shared-ip");
  const backend = ({ spec }: Service): string => (spec.externalTrafficPolicy === "Local" ? (spec.selector?.["app"] ?? "") : "");
  const ports = ({ spec }: Service): string[] => (spec.ports ?? []).map(({ protocol, port }) => `${protocol} ${port}`);
  return isOurs(a) && isOurs(b) && key(a) !== "" && key(a) === key(b) && backend(a) === backend(b) && !ports(a).some((port) => ports(b).includes(port));
}

function shownBy({ status }: Service): string[] {
  return (status?.loadBalancer?.ingress ?? []).map(({ ip, hostname }) => ip ?? hostname ?? "");
}

function familyOf(address: string): string {
  return address.includes(":") ? "IPv6" : "IPv4";
}

function matches({ matchLabels }: Selector, labels: Readonly<Record<string, string>>): boolean {
  return Object.entries(matchLabels).every(([key, value]) => labels[key] === value);
}

function sameMembers(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((address) => b.includes(address));
}
