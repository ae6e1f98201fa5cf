/**
 * The pools as the allocator works on them: ranges with their holders, the count of addresses in use, and the way from
 * an address to the range that owns it.
 */
import type { Pool } from "../../config/config.ts";
import type { IpAddress, IpFamily } from "../../wire/ip-address.ts";
import { AddressRange, type Occupant } from "./address-range.ts";
import { LowestSet } from "./lowest-set.ts";
import type { Offset } from "./offset-words.ts";
import { comparePlaces, SharedAddress, SharedIndex, type SharingTerms } from "./sharing.ts";

/** Largest count that a status field can carry (int64). */
export const MAX_COUNT = 2n ** 63n - 1n;

/** Addresses of one pool and family. `total` and `available` end at 2^63-1; `available` is `total` less what is in use. */
export interface AddressCount {
  readonly total: bigint;
  readonly inUse: bigint;
  readonly available: bigint;
}

/** A range in its pool. */
export interface AddressPlace {
  readonly state: PoolState;
  readonly range: AddressRange;
  /** Of the range, among those of its pool and family. */
  readonly index: number;
  /** Of the range, among all. */
  readonly number: number;
}

/** One address of a pool. */
export interface Spot {
  readonly place: AddressPlace;
  readonly offset: Offset;
}

/** The address in its own words. */
export function addressAt({ place, offset }: Spot): IpAddress {
  return place.range.addressAt(offset);
}

/** Whether two spots of one table are the same. */
export function sameSpot(a: Spot, b: Spot): boolean {
  return a.place === b.place && a.offset === b.offset;
}

/** A pool's ranges of one family, in spec order, and which of them still have something free. */
class FamilyRanges {
  readonly places: AddressPlace[] = [];
  readonly shared = new SharedIndex();
  readonly #withFree = new LowestSet();

  add(state: PoolState, range: AddressRange, number: number): AddressPlace {
    const place = { state, range, index: this.places.length, number };
    this.places.push(place);
    this.#withFree.add(place.index);
    return place;
  }

  /** The lowest free address of the first range that has one. */
  lowestFree(): Spot | undefined {
    for (let index = this.#withFree.lowest(); index !== undefined; index = this.#withFree.lowest()) {
      const place = this.places[index];
      const offset = place?.range.lowestFree();
      if (place !== undefined && offset !== undefined) return { place, offset };
      this.#withFree.removeLowest();
    }
    return undefined;
  }

  freedIn(index: number): void {
    this.#withFree.add(index);
  }
}

/** One pool with what is in use of it. */
export class PoolState {
  readonly pool: Pool;
  readonly #families: Readonly<Record<IpFamily, FamilyRanges>> = { IPv4: new FamilyRanges(), IPv6: new FamilyRanges() };

  constructor(pool: Pool) {
    this.pool = pool;
  }

  /** @param number which of all ranges it is. */
  addRange(range: AddressRange, number: number): AddressPlace {
    return this.#families[range.family].add(this, range, number);
  }

  /**
   * The address that an automatic assignment to this Service takes, or undefined when the pool has none of the family: the
   * lowest one that is free or, for a Service with terms, shared by others on the same terms.
   */
  lowest(family: IpFamily, service: string, terms: SharingTerms | undefined): Spot | undefined {
    const ranges = this.#families[family];
    const free = ranges.lowestFree();
    const joined = terms === undefined ? undefined : ranges.shared.lowest(service, terms);
    if (joined === undefined) return free;
    if (free !== undefined && comparePlaces({ address: addressAt(free), index: free.place.index }, joined) < 0) return free;
    const place = ranges.places[joined.index];
    return place === undefined ? undefined : { place, offset: place.range.offsetOf(joined.address) };
  }

  /** The pool's shareable addresses of the family. */
  shared(family: IpFamily): SharedIndex {
    return this.#families[family].shared;
  }

  /** Tells that an address of the range with this index became free. */
  freedIn(family: IpFamily, index: number): void {
    this.#families[family].freedIn(index);
  }

  /** Whether the pool has addresses of the family at all. */
  has(family: IpFamily): boolean {
    return this.#families[family].places.length > 0;
  }

  count(family: IpFamily): AddressCount {
    let usable = 0n;
    let inUse = 0n;
    for (const { range } of this.#families[family].places) {
      usable += range.usable;
      inUse += BigInt(range.inUse);
    }
    const total = usable > MAX_COUNT ? MAX_COUNT : usable;
    return { total, inUse, available: total - inUse };
  }
}

/** All pools of a configuration; ranges never overlap, which config/ has made sure of. */
export class PoolTable {
  /** In the order of the configuration: by name. */
  readonly states = new Map<string, PoolState>();
  /** Pools open to automatic assignment that are made for some Services, in the order they are tried. */
  readonly pinned: readonly PoolState[];
  /** Pools open to automatic assignment for all, in the order they are tried. */
  readonly plain: readonly PoolState[];
  /** All ranges, each under its number. */
  readonly places: AddressPlace[] = [];
  /** By first address. */
  readonly #sorted: Readonly<Record<IpFamily, AddressPlace[]>> = { IPv4: [], IPv6: [] };

  constructor(pools: ReadonlyMap<string, Pool>) {
    for (const [name, pool] of pools) {
      const state = new PoolState(pool);
      this.states.set(name, state);
      for (const ipRange of pool.ranges) {
        const range = new AddressRange(ipRange, { avoidBuggyIps: pool.avoidBuggyIps });
        const place = state.addRange(range, this.places.length);
        this.places.push(place);
        this.#sorted[range.family].push(place);
      }
    }
    const automatic = [...this.states.values()].filter(({ pool }) => pool.autoAssign);
    // The sort is stable, so that equal priorities stay in the order of names.
    this.pinned = automatic.filter(({ pool }) => pool.serviceAllocation !== undefined).sort((a, b) => priorityOf(a.pool) - priorityOf(b.pool));
    this.plain = automatic.filter(({ pool }) => pool.serviceAllocation === undefined);
    for (const places of Object.values(this.#sorted)) places.sort((a, b) => (a.range.first < b.range.first ? -1 : 1));
  }

  /** The range that may hand out this address, or undefined when no pool owns it. O(log of the number of ranges). */
  find(address: IpAddress): AddressPlace | undefined {
    const places = this.#sorted[address.family];
    let low = 0;
    let high = places.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      const place = places[middle];
      if (place !== undefined && place.range.first <= address.value) low = middle + 1;
      else high = middle;
    }
    const place = places[low - 1];
    return place?.range.owns(address) === true ? place : undefined;
  }

  /** The address as one of a pool, or undefined when no pool owns it. O(log of the number of ranges). */
  locate(address: IpAddress): Spot | undefined {
    const place = this.find(address);
    return place === undefined ? undefined : { place, offset: place.range.offsetOf(address) };
  }

  /** Who is on the address; undefined when it is free or no pool owns it. */
  occupantOf(address: IpAddress): Occupant | undefined {
    const place = this.find(address);
    return place?.range.occupantAt(place.range.offsetOf(address));
  }
}

/** Puts the Service on the address, besides those who are there, or changes its terms. */
export function settleIn(spot: Spot, service: string, terms: SharingTerms | undefined): void {
  const { range } = spot.place;
  const before = range.occupantAt(spot.offset);
  if (terms !== undefined || (before !== undefined && before !== service)) join(spot, before, service, terms);
  else if (before === undefined) range.put(spot.offset, service);
}

function join(spot: Spot, before: Occupant | undefined, service: string, terms: SharingTerms | undefined): void {
  const { range, state, index } = spot.place;
  const shared = before instanceof SharedAddress ? before : new SharedAddress(addressAt(spot), index);
  if (before !== shared) {
    if (typeof before === "string") shared.put(before, undefined);
    range.put(spot.offset, shared);
  }
  state.shared(range.family).update(shared, () => shared.put(service, terms));
}

/** Takes the Service off the address, which is free when it was the last one. */
export function moveOut(spot: Spot, service: string): void {
  const { range, state, index } = spot.place;
  const occupant = range.occupantAt(spot.offset);
  if (occupant === undefined) return;
  if (occupant instanceof SharedAddress) {
    part(spot, occupant, service);
    if (!occupant.isEmpty) return;
  } else if (occupant !== service) return;
  range.release(spot.offset);
  state.freedIn(range.family, index);
}

function part({ place }: Spot, shared: SharedAddress, service: string): void {
  place.state.shared(place.range.family).update(shared, () => shared.delete(service));
}

/** 0 stands for no priority and goes last. */
function priorityOf(pool: Pool): number {
  const priority = pool.serviceAllocation?.priority ?? 0;
  return priority === 0 ? Number.MAX_SAFE_INTEGER : priority;
}
