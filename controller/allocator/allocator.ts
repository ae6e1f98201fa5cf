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
import { compareIpAddresses, formatIpAddress, type IpAddress, type IpFamily } from "../../wire/ip-address.ts";
import type { AllocationRequest, AllocationResult, Holding, Refusal, RefusalReason } from "./allocation.ts";
import { type AddressCount, type PoolState, PoolTable } from "./pool-table.ts";
import { type ClashRefusal, refusalOf } from "./refusals.ts";
import { sameTerms, SharedAddress, type SharingClash, type SharingTerms } from "./sharing.ts";

const FAMILIES: readonly IpFamily[] = ["IPv4", "IPv6"];

export class Allocator {
  #table = new PoolTable(new Map());
  readonly #holdings = new Map<string, Holding>();
  /** Addresses that a Service gave up but may still show in its status. */
  readonly #leaving = new Map<string, readonly IpAddress[]>();

  /**
   * Takes new pools. A holder whose addresses all lie in one pool of the new ones keeps them, under whatever name that
   * pool has now; the others lose theirs (which then are leaving). Returns the Services that lost. O(holders).
   */
  setPools(pools: ReadonlyMap<string, Pool>): string[] {
    this.#table = new PoolTable(pools);
    const lost: string[] = [];
    for (const [service, holding] of this.#holdings) {
      const pool = this.#commonPool(holding.addresses);
      if (pool === undefined) {
        this.#park(service, holding.addresses);
        this.#holdings.delete(service);
        lost.push(service);
        continue;
      }
      if (pool !== holding.pool) this.#holdings.set(service, { ...holding, pool });
      for (const address of holding.addresses) this.#table.put(address, service, holding.sharing);
    }
    for (const [service, addresses] of this.#leaving) {
      for (const address of addresses) this.#table.put(address, service, undefined);
    }
    return lost;
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

  /** What the Service holds, or undefined. */
  holding(service: string): Holding | undefined {
    return this.#holdings.get(service);
  }

  /** All holders. */
  holdings(): ReadonlyMap<string, Holding> {
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
    const place = this.#table.find(address);
    if (place === undefined) return false;
    const occupant = place.range.occupantOf(address);
    return occupant === undefined || (terms !== undefined && occupant instanceof SharedAddress && occupant.terms?.identity === terms.identity);
  }

  /** Whether others may join those on the address. */
  isShared(address: IpAddress): boolean {
    const occupant = this.#table.occupantOf(address);
    return occupant instanceof SharedAddress && occupant.terms !== undefined;
  }

  /** Why the Service, which may show the address but does not hold it, can't have it: others are on it. Undefined when it could. */
  refusalAt(address: IpAddress, service: string, terms: SharingTerms | undefined): ClashRefusal | undefined {
    const clash = this.#clash(address, service, terms, "join");
    return clash === undefined ? undefined : refusalOf(clash, address, service, terms);
  }

  /**
   * Gives a Service that holds nothing the addresses it already had, as its status tells: those that a pool owns and
   * nobody else holds or all others share on fitting terms, all of one pool. Returns what it holds now; undefined when
   * nothing could be adopted.
   */
  adopt(service: string, addresses: readonly IpAddress[], sharing?: SharingTerms): Holding | undefined {
    const adopted: IpAddress[] = [];
    let pool: string | undefined;
    for (const address of addresses) {
      const owner = this.poolOf(address);
      if (owner === undefined || this.#clash(address, service, sharing, "stay") !== undefined) continue;
      if (pool !== undefined && (owner !== pool || adopted.some((other) => other.family === address.family))) continue;
      pool = owner;
      adopted.push(address);
    }
    if (pool !== undefined) this.#hold(service, holdingOf(adopted, pool, sharing));
    return this.#holdings.get(service);
  }

  /** Whether the Service may keep what it holds on these terms: nobody shares it, or all others on fitting terms. */
  mayStay(service: string, terms: SharingTerms | undefined): boolean {
    const addresses = this.#holdings.get(service)?.addresses ?? [];
    return addresses.every((address) => this.#clash(address, service, terms, "stay") === undefined);
  }

  /** Changes the terms on which the Service holds what it holds, which `mayStay` must allow. */
  renew(service: string, terms: SharingTerms | undefined): void {
    const holding = this.#holdings.get(service);
    if (holding === undefined || sameTerms(holding.sharing, terms)) return;
    this.#hold(service, holdingOf(holding.addresses, holding.pool, terms));
  }

  /** The Service gives up all it holds; `settle` frees it. Returns what it held, or undefined. */
  leave(service: string): Holding | undefined {
    const holding = this.#holdings.get(service);
    if (holding === undefined) return undefined;
    this.#park(service, holding.addresses);
    this.#holdings.delete(service);
    return holding;
  }

  /** What the Service gave up and may still show. */
  leaving(service: string): readonly IpAddress[] {
    return this.#leaving.get(service) ?? [];
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
    for (const address of left) this.#table.remove(address, service);
    if (kept.length > 0) this.#leaving.set(service, kept);
    else this.#leaving.delete(service);
    return left;
  }

  /** Frees what the Service holds and what it gave up, at once: it is gone. Returns as `settle`. */
  release(service: string): readonly IpAddress[] {
    const held = this.#holdings.get(service)?.addresses ?? [];
    const leaving = this.leaving(service);
    const left = leaving.length === 0 ? held : [...held, ...leaving];
    if (held.length > 0) this.#holdings.delete(service);
    if (leaving.length > 0) this.#leaving.delete(service);
    for (const address of left) this.#table.remove(address, service);
    return left;
  }

  /**
   * Finds and takes addresses for a request. What the Service holds already counts as free for itself and is replaced on
   * success; on refusal it keeps what it holds. O(log n) in addresses, linear in the number of pools.
   */
  allocate(request: AllocationRequest): AllocationResult {
    const result = request.addresses.length > 0 ? this.#findRequested(request) : this.#findAutomatic(request);
    if (result.kind === "assigned") this.#hold(request.service, holdingOf(result.addresses, result.pool, request.sharing));
    return result;
  }

  #hold(service: string, holding: Holding): void {
    const before = this.#holdings.get(service);
    if (before !== undefined) this.#park(service, before.addresses.filter((address) => !includes(holding.addresses, address)));
    const leaving = this.leaving(service).filter((address) => !includes(holding.addresses, address));
    if (leaving.length > 0) this.#leaving.set(service, leaving);
    else this.#leaving.delete(service);
    for (const address of holding.addresses) this.#table.put(address, service, holding.sharing);
    this.#holdings.set(service, holding);
  }

  #park(service: string, addresses: readonly IpAddress[]): void {
    if (addresses.length === 0) return;
    this.#leaving.set(service, [...this.leaving(service), ...addresses]);
    for (const address of addresses) this.#table.put(address, service, undefined);
  }

  /** What keeps the Service from the address; for one that is on it already, those who leave it do not count. */
  #clash(address: IpAddress, service: string, terms: SharingTerms | undefined, mode: "join" | "stay"): SharingClash | undefined {
    const occupant = this.#table.occupantOf(address);
    if (occupant === undefined || occupant === service) return undefined;
    const counts = (other: string): boolean => mode === "join" || this.#holds(other, address);
    if (typeof occupant === "string") return counts(occupant) ? { kind: "exclusive", holders: [occupant] } : undefined;
    return occupant.clash(service, terms, counts);
  }

  #holds(service: string, address: IpAddress): boolean {
    return includes(this.#holdings.get(service)?.addresses ?? [], address);
  }

  #findRequested(request: AllocationRequest): AllocationResult {
    const families = new Set(request.addresses.map((address) => address.family));
    const sameFamilies = families.size === request.families.length && request.families.every((family) => families.has(family));
    if (!sameFamilies) return refuse("FamilyMismatch", `${quoteList(request.addresses)} does not match the ipFamily of the service`);
    for (const address of request.addresses) {
      if (this.poolOf(address) === undefined) return refuse("AddressNotInPool", `${quoteList([address])} is not allowed in config`);
    }
    const name = this.#commonPool(request.addresses);
    const pool = name === undefined ? undefined : this.pool(name);
    if (pool === undefined) return refuse("AddressesInDifferentPools", `${quoteList(request.addresses)} are not of one pool`);
    if (request.pool !== undefined && request.pool !== pool.name) {
      return refuse("AddressNotInRequestedPool", `${quoteList(request.addresses)} is not compatible with requested address pool ${request.pool}`);
    }
    if (!request.admits(pool)) return refuse("PoolNotAllowed", `pool ${pool.name} not compatible for ip assignment`);
    for (const address of request.addresses) {
      const clash = this.#clash(address, request.service, request.sharing, this.#holds(request.service, address) ? "stay" : "join");
      if (clash !== undefined) return refusalOf(clash, address, request.service, request.sharing);
    }
    return { kind: "assigned", addresses: request.addresses, pool: pool.name };
  }

  #findAutomatic(request: AllocationRequest): AllocationResult {
    if (request.pool === undefined) {
      const { current, pinned, plain } = this.#candidates(request);
      // What it is in already can give it most without taking anything away.
      const stayed = current === undefined ? undefined : this.#freeIn(request, current, request.families);
      return stayed ?? this.#findInPools(request, pinned) ?? this.#findInPools(request, plain) ?? this.#exhausted(request, [...pinned, ...plain]);
    }
    const state = this.#table.states.get(request.pool);
    if (state === undefined) return refuse("UnknownPool", `unknown pool "${request.pool}"`);
    if (!request.admits(state.pool)) return refuse("PoolNotAllowed", `pool ${request.pool} not compatible for ip assignment`);
    if (!request.families.some((family) => state.has(family))) {
      return refuse("PoolHasNoSuchFamily", `no available IPs in pool ${request.pool}: it has no ${request.families.join(" or ")} addresses`);
    }
    return this.#findInPools(request, [state]) ?? this.#exhausted(request, [state]);
  }

  #exhausted(request: AllocationRequest, candidates: readonly PoolState[]): Refusal {
    if (candidates.length === 0) return refuse("NoPools", "no available IPs: no pool with autoAssign admits this service");
    const message = request.pool === undefined ? "no available IPs" : `no available IPs in pool ${request.pool}`;
    const { sharing } = request;
    if (sharing === undefined) return refuse("NoFreeAddress", message);
    // Others with its key are there, but it can't join them: that is worth more than to know that the pools are full.
    const neighbours = candidates.flatMap((state) => request.families.filter((family) => state.lowest(family, request.service, sharing) === undefined).flatMap((family) => state.shared(family).neighbour(sharing) ?? []));
    for (const { address } of neighbours) {
      const conflict = this.refusalAt(address, request.service, sharing);
      if (conflict !== undefined) return { ...conflict, message: `${message}: ${conflict.message}` };
    }
    return refuse("NoFreeAddress", message);
  }

  /** Pools open to automatic assignment, in the order they are tried, and the one among them that the Service is in. */
  #candidates(request: AllocationRequest): { readonly current: PoolState | undefined; readonly pinned: readonly PoolState[]; readonly plain: readonly PoolState[] } {
    const pinned: PoolState[] = [];
    const plain: PoolState[] = [];
    for (const state of this.#table.states.values()) {
      if (!state.pool.autoAssign) continue;
      if (state.pool.serviceAllocation === undefined) plain.push(state);
      else if (request.admits(state.pool)) pinned.push(state);
    }
    // The sort is stable, so that equal priorities stay in the order of names.
    pinned.sort((a, b) => priorityOf(a.pool) - priorityOf(b.pool));
    const name = this.#holdings.get(request.service)?.pool;
    return { current: [...pinned, ...plain].find((state) => state.pool.name === name), pinned, plain };
  }

  /** All families from the first of these pools that has them all, or else one where that is enough. */
  #findInPools(request: AllocationRequest, states: readonly PoolState[]): AllocationResult | undefined {
    for (const state of states) {
      const found = this.#freeIn(request, state, request.families);
      if (found !== undefined) return found;
    }
    if (request.families.length < 2 || !request.oneIsEnough) return undefined;
    for (const family of request.families) {
      for (const state of states) {
        const found = this.#freeIn(request, state, [family]);
        if (found !== undefined) return found;
      }
    }
    return undefined;
  }

  /** One address of each family from this pool; one that the Service holds there already stays, and stays the first. */
  #freeIn(request: AllocationRequest, state: PoolState, families: readonly IpFamily[]): AllocationResult | undefined {
    const held = this.#holdings.get(request.service);
    const mine = held?.pool === state.pool.name ? held.addresses : [];
    const stays = (address: IpAddress): boolean => families.includes(address.family) && this.#clash(address, request.service, request.sharing, "stay") === undefined;
    const addresses = mine.filter(stays);
    for (const family of FAMILIES) {
      if (!families.includes(family) || addresses.some((address) => address.family === family)) continue;
      const address = state.lowest(family, request.service, request.sharing);
      if (address === undefined) return undefined;
      addresses.push(address);
    }
    return { kind: "assigned", addresses, pool: state.pool.name };
  }

  #commonPool(addresses: readonly IpAddress[]): string | undefined {
    const names = new Set(addresses.map((address) => this.poolOf(address)));
    return names.size === 1 ? [...names][0] : undefined;
  }
}

function includes(addresses: readonly IpAddress[], address: IpAddress): boolean {
  return addresses.some((other) => compareIpAddresses(other, address) === 0);
}

/** 0 stands for no priority and goes last. */
function priorityOf(pool: Pool): number {
  const priority = pool.serviceAllocation?.priority ?? 0;
  return priority === 0 ? Number.MAX_SAFE_INTEGER : priority;
}

function holdingOf(addresses: readonly IpAddress[], pool: string, sharing: SharingTerms | undefined): Holding {
  return { addresses, pool, ...(sharing === undefined ? {} : { sharing }) };
}

function quoteList(addresses: readonly IpAddress[]): string {
  return `[${addresses.map((address) => JSON.stringify(formatIpAddress(address))).join(" ")}]`;
}

function refuse(reason: RefusalReason, message: string): Refusal {
  return { kind: "refused", reason, message };
}
