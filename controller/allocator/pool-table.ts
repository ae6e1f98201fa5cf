/**
 * The pools as the allocator works on them: ranges with their holders, the count of addresses in use, and the way from
 * an address to the range that owns it.
 */
import type { Pool } from "../../config/config.ts";
import type { IpAddress, IpFamily } from "../../wire/ip-address.ts";
import { AddressRange, type Occupant } from "./address-range.ts";
import { LowestSet } from "./lowest-set.ts";
import { comparePlaces, SharedAddress, SharedIndex, type SharingTerms } from "./sharing.ts";

/** Largest count that a status field can carry (int64). */
export const MAX_COUNT = 2n ** 63n - 1n;

/** Addresses of one pool and family. `total` and `available` end at 2^63-1; `available` is `total` less what is in use. */
export interface AddressCount {
  readonly total: bigint;
  readonly inUse: bigint;
  readonly available: bigint;
}

/** A pool's ranges of one family, in spec order, and which of them still have something free. */
class FamilyRanges {
  readonly ranges: AddressRange[] = [];
  readonly shared = new SharedIndex();
  readonly #withFree = new LowestSet();

  add(range: AddressRange): number {
    const index = this.ranges.push(range) - 1;
    this.#withFree.add(index);
    return index;
  }

  /** The lowest free address of the first range that has one. */
  lowestFree(): { readonly address: IpAddress; readonly index: number } | undefined {
    for (let index = this.#withFree.lowest(); index !== undefined; index = this.#withFree.lowest()) {
      const address = this.ranges[index]?.lowestFree();
      if (address !== undefined) return { address, index };
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

  addRange(range: AddressRange): number {
    return this.#families[range.family].add(range);
  }

  /**
   * The address that an automatic assignment to this Service takes, or undefined when the pool has none of the family: the
   * lowest one that is free or, for a Service with terms, shared by others on the same terms.
   */
  lowest(family: IpFamily, service: string, terms: SharingTerms | undefined): IpAddress | undefined {
    const { shared } = this.#families[family];
    const free = this.#families[family].lowestFree();
    const joined = terms === undefined ? undefined : shared.lowest(service, terms);
    if (joined === undefined || (free !== undefined && comparePlaces(free, joined) < 0)) return free?.address;
    return joined.address;
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
    return this.#families[family].ranges.length > 0;
  }

  count(family: IpFamily): AddressCount {
    let usable = 0n;
    let inUse = 0n;
    for (const range of this.#families[family].ranges) {
      usable += range.usable;
      inUse += BigInt(range.inUse);
    }
    const total = usable > MAX_COUNT ? MAX_COUNT : usable;
    return { total, inUse, available: total - inUse };
  }
}

/** Where an address lives. */
export interface AddressPlace {
  readonly state: PoolState;
  readonly range: AddressRange;
  readonly index: number;
}

/** All pools of a configuration; ranges never overlap, which config/ has made sure of. */
export class PoolTable {
  /** In the order of the configuration: by name. */
  readonly states = new Map<string, PoolState>();
  readonly #places: Readonly<Record<IpFamily, AddressPlace[]>> = { IPv4: [], IPv6: [] };

  constructor(pools: ReadonlyMap<string, Pool>) {
    for (const [name, pool] of pools) {
      const state = new PoolState(pool);
      this.states.set(name, state);
      for (const ipRange of pool.ranges) {
        const range = new AddressRange(ipRange, { avoidBuggyIps: pool.avoidBuggyIps });
        this.#places[range.family].push({ state, range, index: state.addRange(range) });
      }
    }
    for (const places of Object.values(this.#places)) places.sort((a, b) => (a.range.first < b.range.first ? -1 : 1));
  }

  /** The range that may hand out this address, or undefined when no pool owns it. O(log of the number of ranges). */
  find(address: IpAddress): AddressPlace | undefined {
    const places = this.#places[address.family];
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

  /** Who is on the address; undefined when it is free or no pool owns it. */
  occupantOf(address: IpAddress): Occupant | undefined {
    return this.find(address)?.range.occupantOf(address);
  }

  /** Puts the Service on the address, besides those who are there, or changes its terms. Nothing happens when no pool owns it. */
  put(address: IpAddress, service: string, terms: SharingTerms | undefined): void {
    const place = this.find(address);
    if (place === undefined) return;
    const { range, state, index } = place;
    const before = range.occupantOf(address);
    if (terms === undefined && (before === undefined || before === service)) {
      range.take(address, service);
      return;
    }
    const shared = before instanceof SharedAddress ? before : new SharedAddress(address, index);
    if (before === undefined) range.take(address, shared);
    else if (before !== shared) {
      if (typeof before === "string") shared.put(before, undefined);
      range.replace(address, shared);
    }
    state.shared(address.family).update(shared, () => shared.put(service, terms));
  }

  /** Takes the Service off the address, which is free when it was the last one. */
  remove(address: IpAddress, service: string): void {
    const place = this.find(address);
    const occupant = place?.range.occupantOf(address);
    if (place === undefined || occupant === undefined) return;
    if (occupant instanceof SharedAddress) {
      place.state.shared(address.family).update(occupant, () => occupant.delete(service));
      if (!occupant.isEmpty) return;
    } else if (occupant !== service) return;
    place.range.release(address);
    place.state.freedIn(address.family, place.index);
  }
}
