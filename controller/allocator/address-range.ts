/**
 * One range of a pool and who is on which of its addresses. Memory follows the addresses used, never the size of the
 * range: a watermark stands above everything handed out in order, and what was freed below it waits in a heap.
 */
import type { IpAddress, IpFamily, IpRange } from "../../wire/ip-address.ts";
import { LowestSet } from "./lowest-set.ts";
import type { SharedAddress } from "./sharing.ts";

/** Who is on an address: one Service that has it for itself, or any number. */
export type Occupant = string | SharedAddress;

/** Distance from the first address of the range: a number as far as numbers are exact, a bigint beyond. */
type Offset = number | bigint;

const OCTET = 256n;
const LAST_OCTET = 255;

export class AddressRange {
  readonly family: IpFamily;
  readonly first: bigint;
  readonly last: bigint;
  /** Addresses of the range that may be handed out. */
  readonly usable: bigint;
  readonly #skipBuggy: boolean;
  readonly #firstOctet: number;
  readonly #lastOffset: number;
  /**
   * Holders by offset, up to the watermark, which is its length. An array, for a Map in which the same key comes and
   * goes grows a chain of dead entries and gets slow.
   */
  readonly #holders: (Occupant | undefined)[] = [];
  /** Holders from the watermark on: addresses that were asked for by name, or adopted. */
  readonly #holdersBeyond = new Map<Offset, Occupant>();
  /** Free offsets below the watermark; may still hold some that were taken again by request. */
  readonly #freed = new LowestSet();
  #inUse = 0;

  constructor(range: IpRange, options: { avoidBuggyIps: boolean }) {
    this.family = range.family;
    this.first = range.first;
    this.last = range.last;
    this.#skipBuggy = options.avoidBuggyIps && range.family === "IPv4";
    this.#firstOctet = Number(range.first % OCTET);
    const size = range.last - range.first + 1n;
    this.usable = size - (this.#skipBuggy ? buggyBetween(range) : 0n);
    // No watermark gets this far: it moves by one for each address handed out.
    this.#lastOffset = size > BigInt(Number.MAX_SAFE_INTEGER) ? Number.MAX_SAFE_INTEGER : Number(size - 1n);
  }

  /** Distinct addresses in use. */
  get inUse(): number {
    return this.#inUse;
  }

  /** Whether the address may be handed out at all: in the range, and not one that avoidBuggyIPs excludes. */
  owns(address: IpAddress): boolean {
    if (address.family !== this.family || address.value < this.first || address.value > this.last) return false;
    return !this.#skipBuggy || !isBuggy(Number(address.value % OCTET));
  }

  /** Who is on the address, or undefined when it is free. */
  occupantOf(address: IpAddress): Occupant | undefined {
    return this.#holderAt(this.#offsetOf(address));
  }

  /** The lowest free address, or undefined when the range is full. Amortised O(log n). */
  lowestFree(): IpAddress | undefined {
    for (let offset = this.#freed.lowest(); offset !== undefined; offset = this.#freed.lowest()) {
      if (this.#holders[offset] === undefined) return this.#addressAt(offset);
      this.#freed.removeLowest();
    }
    for (let watermark = this.#holders.length; watermark <= this.#lastOffset; watermark++) {
      const holder = this.#holdersBeyond.get(watermark);
      if (holder === undefined && !this.#isBuggyOffset(watermark)) return this.#addressAt(watermark);
      this.#holders.push(holder);
      this.#holdersBeyond.delete(watermark);
    }
    return undefined;
  }

  /** Marks an address as held; nothing happens when it is held already. */
  take(address: IpAddress, holder: Occupant): void {
    const offset = this.#offsetOf(address);
    if (this.#holderAt(offset) !== undefined) return;
    this.#inUse++;
    if (offset === this.#holders.length) this.#holders.push(holder);
    else if (this.#isBelowWatermark(offset)) this.#holders[offset] = holder;
    else this.#holdersBeyond.set(offset, holder);
    if (offset === this.#freed.lowest()) this.#freed.removeLowest();
  }

  /** Puts another occupant in the place of the one that an address has. */
  replace(address: IpAddress, occupant: Occupant): void {
    const offset = this.#offsetOf(address);
    if (this.#isBelowWatermark(offset)) this.#holders[offset] = occupant;
    else this.#holdersBeyond.set(offset, occupant);
  }

  /** Marks a held address as free. */
  release(address: IpAddress): void {
    const offset = this.#offsetOf(address);
    if (this.#holderAt(offset) === undefined) return;
    this.#inUse--;
    if (this.#inUse === 0) {
      this.#holders.length = 0;
      this.#holdersBeyond.clear();
      this.#freed.clear();
    } else if (this.#isBelowWatermark(offset)) {
      this.#holders[offset] = undefined;
      this.#freed.add(offset);
    } else this.#holdersBeyond.delete(offset);
  }

  #holderAt(offset: Offset): Occupant | undefined {
    return this.#isBelowWatermark(offset) ? this.#holders[offset] : this.#holdersBeyond.get(offset);
  }

  #isBelowWatermark(offset: Offset): offset is number {
    return typeof offset === "number" && offset < this.#holders.length;
  }

  #offsetOf(address: IpAddress): Offset {
    const offset = address.value - this.first;
    return offset <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(offset) : offset;
  }

  #addressAt(offset: number): IpAddress {
    return { family: this.family, value: this.first + BigInt(offset) };
  }

  #isBuggyOffset(offset: number): boolean {
    return this.#skipBuggy && isBuggy((this.#firstOctet + offset) % Number(OCTET));
  }
}

function isBuggy(lastOctet: number): boolean {
  return lastOctet === 0 || lastOctet === LAST_OCTET;
}

function buggyBetween(range: IpRange): bigint {
  return endingIn(range, 0n) + endingIn(range, BigInt(LAST_OCTET));
}

/** How many addresses of the range have this last octet. */
function endingIn(range: IpRange, octet: bigint): bigint {
  const upTo = (value: bigint): bigint => (value < octet ? 0n : (value - octet) / OCTET + 1n);
  return upTo(range.last) - (range.first === 0n ? 0n : upTo(range.first - 1n));
}
