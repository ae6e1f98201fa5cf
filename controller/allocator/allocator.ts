/**
 * The allocator: (pools, who holds what, a request) -> addresses or a reason. Pure: no clock, no randomness, no API.
 *
 * Automatic assignment looks first at the pools whose serviceAllocation admits the Service, in order of priority and then
 * of name, after that at the pools without serviceAllocation in order of name (docs/addresses.md); in a pool the ranges go in spec order and
 * the lowest address of the first range that has one is taken. An address has one holder, or several that share it on
 * terms which fit (`sharing.ts`). Whoever holds an address keeps it until it is released, even while a request for a
 * better one is refused.
 *
 * A replaced address is not free at once: it is "leaving", and still its old holder's, until `settle` says that the
 * holder's status shows it no more, and nobody joins it meanwhile. Otherwise two Services that may not share could show
 * one address for a moment.
 */
import type { Pool } from "../../config/config.ts";
import { compareIpAddresses, type IpAddress, type IpFamily } from "../../wire/ip-address.ts";
import type { Occupant } from "./address-range.ts";
import type { AllocationRequest, AllocationResult, Holding, Refusal } from "./allocation.ts";
import { HeldAddresses } from "./held-addresses.ts";
import { HoldingTable } from "./holding-table.ts";
import { type AddressCount, addressAt, moveOut, type PoolState, PoolTable, settleIn, type Spot } from "./pool-table.ts";
import { type ClashRefusal, quoteList, refusalOf, refuse, refuseFamilies } from "./refusals.ts";
import { sameTerms, SharedAddress, type SharingClash, type SharingTerms } from "./sharing.ts";

const FAMILIES: readonly IpFamily[] = ["IPv4", "IPv6"];
const NO_ADDRESSES: readonly IpAddress[] = [];

export class Allocator {
  #table = new PoolTable(new Map());
  #holdings = new HoldingTable([]);
  /** Addresses that a Service gave up but may still show in its status. */
  readonly #leaving = new Map<string, readonly IpAddress[]>();
  #revision = 0;

  /**
   * Takes new pools. A holder whose addresses all lie in one pool of the new ones keeps them, under whatever name that
   * pool has now; the others lose theirs (which then are leaving). Returns the Services that lost, by name. O(holders).
   */
  setPools(pools: ReadonlyMap<string, Pool>): string[] {
    this.#table = new PoolTable(pools);
    const lost: string[] = [];
    const before = this.#holdings;
    this.#holdings = new HoldingTable(this.#table.places);
    for (const { service, addresses, sharing } of before.values()) {
      const moved = this.#inOnePool(service, addresses, sharing);
      if (moved === undefined) {
        this.#park(service, addresses);
        lost.push(service);
        continue;
      }
      this.#put(moved);
    }
    for (const [service, addresses] of this.#leaving) this.#keepAway(service, addresses);
    return lost.sort();
  }

  /** Grows whenever somebody comes to an address, leaves it or changes terms: a request may be refused for another reason then. */
  get revision(): number {
    return this.#revision;
  }

  /** Number of pools. */
  get poolCount(): number {
    return this.#table.states.size;
  }

  /** The pool's configuration, or undefined when there is none of that name. */
  pool(name: string): Pool | undefined {
    return this.#table.states.get(name)?.pool;
  }

  /** Names of all pools, in order. */
  poolNames(): string[] {
    return [...this.#table.states.keys()];
  }

  /** How many addresses the pool has and how many are in use; undefined when there is no such pool. */
  count(pool: string, family: IpFamily): AddressCount | undefined {
    return this.#table.states.get(pool)?.count(family);
  }

  /** What the Service holds, or undefined; another object for each call. */
  holding(service: string): Holding | undefined {
    return this.#holdings.get(service);
  }

  /** All that is held, by whom. */
  holdings(): Pick<HoldingTable, "size" | "values"> {
    return this.#holdings;
  }

  /** Name of the pool that owns the address, or undefined. */
  poolOf(address: IpAddress): string | undefined {
    return this.#table.find(address)?.state.pool.name;
  }

  /** Who is on the address, holding it or leaving it; sorted. */
  holdersOf(address: IpAddress): readonly string[] {
    const occupant = this.#table.occupantOf(address);
    if (occupant === undefined) return [];
    return typeof occupant === "string" ? [occupant] : occupant.members();
  }

  /** Whether a Service that waits may find the address useful: it is free, or shared on its terms (which ports may still forbid). */
  isOpen(address: IpAddress, terms: SharingTerms | undefined): boolean {
    const spot = this.#table.locate(address);
    if (spot === undefined) return false;
    const occupant = occupantAt(spot);
    return occupant === undefined || (terms !== undefined && occupant instanceof SharedAddress && occupant.terms?.identity === terms.identity);
  }

  /** Whether others may join those on the address. */
  isShared(address: IpAddress): boolean {
    const occupant = this.#table.occupantOf(address);
    return occupant instanceof SharedAddress && occupant.terms !== undefined;
  }

  /** Why the Service, which may show the address but does not hold it, can't have it: others are on it. Undefined when it could. */
  refusalAt(address: IpAddress, service: string, terms: SharingTerms | undefined): ClashRefusal | undefined {
    const spot = this.#table.locate(address);
    const clash = spot === undefined ? undefined : this.#clash(spot, service, terms, "join");
    return clash === undefined ? undefined : refusalOf(clash, address, service, terms);
  }

  /**
   * Gives a Service that holds nothing the addresses it already had, as its status tells: those that a pool owns and
   * nobody else holds or all others share on fitting terms, all of one pool. Returns what it holds now; undefined when
   * nothing could be adopted.
   */
  adopt(service: string, addresses: readonly IpAddress[], sharing?: SharingTerms): Holding | undefined {
    let adopted: HeldAddresses | undefined;
    for (const address of addresses) {
      const spot = this.#table.locate(address);
      if (spot === undefined || this.#clash(spot, service, sharing, "stay") !== undefined) continue;
      if (adopted !== undefined && (spot.place.state !== adopted.place.state || adopted.hasFamily(address.family))) continue;
      adopted = withSpot(adopted, service, spot, sharing);
    }
    if (adopted !== undefined) this.#hold(adopted, this.#holdings.get(service));
    return this.#holdings.get(service);
  }

  /** Whether the Service may keep what it holds on these terms: nobody shares it, or all others on fitting terms. */
  mayStay(service: string, terms: SharingTerms | undefined): boolean {
    const spots = this.#holdings.get(service)?.spots ?? [];
    return spots.every((spot) => this.#clash(spot, service, terms, "stay") === undefined);
  }

  /** Changes the terms on which the Service holds what it holds, which `mayStay` must allow. */
  renew(service: string, terms: SharingTerms | undefined): void {
    const holding = this.#holdings.get(service);
    if (holding === undefined || sameTerms(holding.sharing, terms)) return;
    this.#hold(new HeldAddresses(service, holding, holding.second, terms), holding);
  }

  /** The Service gives up all it holds; `settle` frees it. Returns what it held, or undefined. */
  leave(service: string): Holding | undefined {
    const holding = this.#holdings.take(service);
    if (holding !== undefined) this.#park(service, holding.addresses);
    return holding;
  }

  /** What the Service gave up and may still show. Mostly nobody leaves, and then no name needs to be looked up. */
  leaving(service: string): readonly IpAddress[] {
    return (this.#leaving.size === 0 ? undefined : this.#leaving.get(service)) ?? NO_ADDRESSES;
  }

  /**
   * Takes note of addresses that the Service shows without holding them, as if it had given them up: nobody else gets them
   * before `settle`, even when their pool comes later. Who holds them already stays their holder.
   */
  guard(service: string, shown: readonly IpAddress[]): void {
    const known = [...(this.#holdings.get(service)?.addresses ?? []), ...this.leaving(service)];
    const more = shown.filter((address) => !includes(known, address));
    if (more.length > 0) this.#park(service, more);
  }

  /** Takes the Service off what it gave up, but for what its status still shows. Returns what it left, free now or shared by others. */
  settle(service: string, shown: readonly IpAddress[] = []): readonly IpAddress[] {
    const leaving = this.#leaving.get(service);
    if (leaving === undefined) return [];
    const kept = leaving.filter((address) => includes(shown, address));
    const left = leaving.filter((address) => !includes(shown, address));
    for (const address of left) this.#free(address, service);
    if (kept.length > 0) this.#leaving.set(service, kept);
    else this.#leaving.delete(service);
    return left;
  }

  /** Frees what the Service holds and what it gave up, at once: it is gone. Returns as `settle`. */
  release(service: string): readonly IpAddress[] {
    const held = this.#holdings.take(service);
    const leaving = this.leaving(service);
    if (held !== undefined) {
      this.#revision += 1;
      moveOut(held, service);
      if (held.second !== undefined) moveOut(held.second, service);
    }
    if (leaving.length > 0) {
      this.#leaving.delete(service);
      for (const address of leaving) this.#free(address, service);
    }
    return held === undefined ? leaving : leaving.length === 0 ? held.addresses : [...held.addresses, ...leaving];
  }

  /**
   * Finds and takes addresses for a request. What the Service holds already counts as free for itself and is replaced on
   * success; on refusal it keeps what it holds. O(log n) in addresses, linear in the number of pools.
   */
  allocate(request: AllocationRequest): AllocationResult {
    const held = this.#holdings.get(request.service);
    const found = request.addresses.length > 0 ? this.#findRequested(request, held) : this.#findAutomatic(request, held);
    if (!("kind" in found)) this.#hold(found, held);
    return "kind" in found ? found : { kind: "assigned", addresses: found.addresses, pool: found.pool };
  }

  #hold(holding: HeldAddresses, before: HeldAddresses | undefined): void {
    const { service } = holding;
    if (before !== undefined) this.#park(service, before.spots.filter((spot) => !holding.includes(spot)).map(addressAt));
    if (this.leaving(service).length > 0) this.#takeBack(service, holding);
    this.#put(holding);
  }

  #put(holding: HeldAddresses): void {
    const { service } = holding;
    this.#revision += 1;
    settleIn(holding, service, holding.sharing);
    if (holding.second !== undefined) settleIn(holding.second, service, holding.sharing);
    this.#holdings.set(holding);
  }

  /** What the Service holds again does not leave. */
  #takeBack(service: string, { addresses }: HeldAddresses): void {
    const leaving = this.leaving(service).filter((address) => !includes(addresses, address));
    if (leaving.length > 0) this.#leaving.set(service, leaving);
    else this.#leaving.delete(service);
  }

  #park(service: string, addresses: readonly IpAddress[]): void {
    if (addresses.length === 0) return;
    this.#revision += 1;
    this.#leaving.set(service, [...this.leaving(service), ...addresses]);
    this.#keepAway(service, addresses);
  }

  /** Puts the Service on addresses that it leaves, so that others stay off them; those of no pool need nobody to. */
  #keepAway(service: string, addresses: readonly IpAddress[]): void {
    for (const address of addresses) {
      const spot = this.#table.locate(address);
      if (spot !== undefined) settleIn(spot, service, undefined);
    }
  }

  #free(address: IpAddress, service: string): void {
    this.#revision += 1;
    const spot = this.#table.locate(address);
    if (spot !== undefined) moveOut(spot, service);
  }

  /** What keeps the Service from the address; for one that is on it already, those who leave it do not count. */
  #clash(spot: Spot, service: string, terms: SharingTerms | undefined, mode: "join" | "stay"): SharingClash | undefined {
    const occupant = occupantAt(spot);
    return occupant === undefined || occupant === service ? undefined : this.#clashWith(occupant, spot, service, terms, mode);
  }

  #clashWith(occupant: Occupant, spot: Spot, service: string, terms: SharingTerms | undefined, mode: "join" | "stay"): SharingClash | undefined {
    const counts = (other: string): boolean => mode === "join" || this.#holds(other, spot);
    if (typeof occupant === "string") return counts(occupant) ? { kind: "exclusive", holders: [occupant] } : undefined;
    return occupant.clash(service, terms, counts);
  }

  #holds(service: string, spot: Spot): boolean {
    return this.#holdings.get(service)?.includes(spot) === true;
  }

  #findRequested(request: AllocationRequest, held: HeldAddresses | undefined): HeldAddresses | Refusal {
    const { addresses, service, sharing } = request;
    if (!matches(addresses, request.families)) return refuse("FamilyMismatch", `${quoteList(addresses)} does not match the ipFamily of the service`);
    const found = this.#inOnePool(service, addresses, sharing);
    if (found === undefined) {
      const stray = addresses.find((address) => this.poolOf(address) === undefined);
      if (stray !== undefined) return refuse("AddressNotInPool", `${quoteList([stray])} is not allowed in config`);
      return refuse("AddressesInDifferentPools", `${quoteList(addresses)} are not of one pool`);
    }
    const { pool } = found.place.state;
    if (request.pool !== undefined && request.pool !== pool.name) {
      return refuse("AddressNotInRequestedPool", `${quoteList(addresses)} is not compatible with requested address pool ${request.pool}`);
    }
    if (!request.admits(pool)) return refuse("PoolNotAllowed", `pool ${pool.name} not compatible for ip assignment`);
    for (const spot of found.spots) {
      const clash = this.#clash(spot, service, sharing, held?.includes(spot) === true ? "stay" : "join");
      if (clash !== undefined) return refusalOf(clash, addressAt(spot), service, sharing);
    }
    return found;
  }

  #findAutomatic(request: AllocationRequest, held: HeldAddresses | undefined): HeldAddresses | Refusal {
    if (request.pool === undefined) {
      const { plain } = this.#table;
      const pinned = this.#pinned(request);
      return this.#staying(request, held, pinned, plain) ?? this.#findInPools(request, held, pinned) ?? this.#findInPools(request, held, plain) ?? this.#exhausted(request, [...pinned, ...plain]);
    }
    const state = this.#table.states.get(request.pool);
    if (state === undefined) return refuse("UnknownPool", `unknown pool "${request.pool}"`);
    if (!request.admits(state.pool)) return refuse("PoolNotAllowed", `pool ${request.pool} not compatible for ip assignment`);
    return this.#findInPools(request, held, [state]) ?? this.#exhausted(request, [state]);
  }

  #exhausted(request: AllocationRequest, candidates: readonly PoolState[]): Refusal {
    if (candidates.length === 0) return refuse("NoPools", "no available IPs: no pool with autoAssign admits this service");
    const { families, oneIsEnough, sharing } = request;
    const suits = (state: PoolState): boolean => (oneIsEnough ? families.some((family) => state.has(family)) : families.every((family) => state.has(family)));
    if (!candidates.some(suits)) return refuseFamilies(request);
    const message = request.pool === undefined ? "no available IPs" : `no available IPs in pool ${request.pool}`;
    if (sharing === undefined) return refuse("NoFreeAddress", message);
    // Others with its key are there, but it can't join them: that is worth more than to know that the pools are full.
    const neighbours = candidates.flatMap((state) => request.families.filter((family) => state.lowest(family, request.service, sharing) === undefined).flatMap((family) => state.shared(family).neighbour(sharing) ?? []));
    for (const { address } of neighbours) {
      const conflict = this.refusalAt(address, request.service, sharing);
      if (conflict !== undefined) return { ...conflict, message: `${message}: ${conflict.message}` };
    }
    return refuse("NoFreeAddress", message);
  }

  /** Pools open to automatic assignment that are made for some Services, this one among them. */
  #pinned(request: AllocationRequest): readonly PoolState[] {
    const { pinned } = this.#table;
    return pinned.length === 0 ? pinned : pinned.filter(({ pool }) => request.admits(pool));
  }

  /** From the pool that the Service is in already, which can give it most without taking anything away. */
  #staying(request: AllocationRequest, held: HeldAddresses | undefined, pinned: readonly PoolState[], plain: readonly PoolState[]): HeldAddresses | undefined {
    const state = held?.place.state;
    if (state === undefined || !(pinned.includes(state) || plain.includes(state))) return undefined;
    return this.#freeIn(request, held, state, request.families);
  }

  /** All families from the first of these pools that has them all, or else one where that is enough. */
  #findInPools(request: AllocationRequest, held: HeldAddresses | undefined, states: readonly PoolState[]): HeldAddresses | undefined {
    for (const state of states) {
      const found = this.#freeIn(request, held, state, request.families);
      if (found !== undefined) return found;
    }
    if (request.families.length < 2 || !request.oneIsEnough) return undefined;
    for (const family of request.families) {
      for (const state of states) {
        const found = this.#freeIn(request, held, state, [family]);
        if (found !== undefined) return found;
      }
    }
    return undefined;
  }

  /** One address of each family from this pool; one that the Service holds there already stays, and stays the first. */
  #freeIn(request: AllocationRequest, held: HeldAddresses | undefined, state: PoolState, families: readonly IpFamily[]): HeldAddresses | undefined {
    const { service, sharing } = request;
    let found = held?.place.state === state ? this.#kept(held, request, families) : undefined;
    for (const family of FAMILIES) {
      if (!families.includes(family) || found?.hasFamily(family) === true) continue;
      const spot = state.lowest(family, service, sharing);
      if (spot === undefined) return undefined;
      found = withSpot(found, service, spot, sharing);
    }
    return found;
  }

  /** What the Service may keep of what it holds, of these families. */
  #kept(held: HeldAddresses, { service, sharing }: AllocationRequest, families: readonly IpFamily[]): HeldAddresses | undefined {
    const [first, second] = held.spots.filter((spot) => families.includes(spot.place.range.family) && this.#clash(spot, service, sharing, "stay") === undefined);
    return first === undefined ? undefined : new HeldAddresses(service, first, second, sharing);
  }

  /** The addresses, one or two, as one pool has them; undefined when none has all. */
  #inOnePool(service: string, [address, other]: readonly IpAddress[], sharing: SharingTerms | undefined): HeldAddresses | undefined {
    const first = address === undefined ? undefined : this.#table.locate(address);
    const second = other === undefined ? undefined : this.#table.locate(other);
    if (first === undefined || (other !== undefined && second?.place.state !== first.place.state)) return undefined;
    return new HeldAddresses(service, first, second, sharing);
  }
}

/** With one more address, as the second where there is a first. */
function withSpot(found: HeldAddresses | undefined, service: string, spot: Spot, sharing: SharingTerms | undefined): HeldAddresses {
  return found === undefined ? new HeldAddresses(service, spot, undefined, sharing) : new HeldAddresses(service, found, spot, sharing);
}

function occupantAt({ place, offset }: Spot): Occupant | undefined {
  return place.range.occupantAt(offset);
}

/** Whether the addresses are of exactly these families. */
function matches(addresses: readonly IpAddress[], families: readonly IpFamily[]): boolean {
  if (addresses.length === 1 && families.length === 1) return addresses[0]?.family === families[0];
  const isThere = (family: IpFamily): boolean => addresses.some((address) => address.family === family);
  return FAMILIES.filter(isThere).length === families.length && families.every(isThere);
}

function includes(addresses: readonly IpAddress[], address: IpAddress): boolean {
  return addresses.some((other) => compareIpAddresses(other, address) === 0);
}
