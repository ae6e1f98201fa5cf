/**
 * The pools as the allocator works on them: ranges with their holders, the count of addresses in use, and the way from
 * an address to the range that owns it.
 */
import type { Pool } from "../../config/config.ts";
import type { IpAddress, IpFamily } from "../../wire/ip-address.ts";
import { AddressRange } from "./address-range.ts";
import { LowestSet } from "./lowest-set.ts";

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
  readonly #withFree = new LowestSet();

  add(range: AddressRange): number {
    const index = this.ranges.push(range) - 1;
    this.#withFree.add(index);
    return index;
  }

  /** The lowest free address of the first range that has one. */
  lowestFree(): IpAddress | undefined {
    for (let index = this.#withFree.lowest(); index !== undefined; index = this.#withFree.lowest()) {
      const address = this.ranges[index]?.lowestFree();
      if (address !== undefined) return address;
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

  /** The address that an automatic assignment takes next, or undefined when the pool has none of the family. */
  lowestFree(family: IpFamily): IpAddress | undefined {
    return this.#families[family].lowestFree();
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

  /** Marks an address as held; nothing happens when it is held already, or no pool owns it. */
  take(address: IpAddress, holder: string): void {
    this.find(address)?.range.take(address, holder);
  }

  /** Frees an address; nothing happens when no pool owns it. */
  release(address: IpAddress): void {
    const place = this.find(address);
    if (place === undefined) return;
    place.range.release(address);
    place.state.freedIn(address.family, place.index);
  }
}
