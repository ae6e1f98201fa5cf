/**
 * One range of a pool and who is on which of its addresses, by their distance from its first. Memory follows the addresses
 * used, never the size of the range: those that were handed out in order are on pages, which know the lowest free one;
 * those that were asked for by name, or adopted, and lie above them are in a table.
 */
import type { IpAddress, IpFamily, IpRange } from "../../wire/ip-address.ts";
import { HolderPages } from "./holder-pages.ts";
import { OffsetTable } from "./offset-table.ts";
import { type Offset, widthFor } from "./offset-words.ts";
import type { SharedAddress } from "./sharing.ts";

/** Who is on an address: one Service that has it for itself, or any number. */
export type Occupant = string | SharedAddress;

const OCTET = 256n;
const LAST_OCTET = 255;
const MAX_EXACT = BigInt(Number.MAX_SAFE_INTEGER);

export class AddressRange {
  readonly family: IpFamily;
  readonly first: bigint;
  readonly last: bigint;
  /** Addresses of the range that may be handed out. */
  readonly usable: bigint;
  /** Words of an offset. */
  readonly width: number;
  readonly #skipBuggy: boolean;
  readonly #pages: HolderPages<Occupant>;
  /** What is above the watermark of the pages. */
  readonly #beyond: OffsetTable<Occupant>;
  readonly #pull = (offset: number): Occupant | undefined => this.#beyond.take(offset);

  constructor(range: IpRange, options: { avoidBuggyIps: boolean }) {
    this.family = range.family;
    this.first = range.first;
    this.last = range.last;
    this.#skipBuggy = options.avoidBuggyIps && range.family === "IPv4";
    const size = range.last - range.first + 1n;
    this.usable = size - (this.#skipBuggy ? buggyBetween(range) : 0n);
    const firstOctet = Number(range.first % OCTET);
    const isExcluded = this.#skipBuggy ? (offset: number): boolean => isBuggy((firstOctet + offset) % Number(OCTET)) : undefined;
    // The watermark moves by a page for as many addresses handed out, and gets nowhere near 2^53.
    this.#pages = new HolderPages(size > MAX_EXACT ? Number.MAX_SAFE_INTEGER : Number(size - 1n), isExcluded);
    this.width = widthFor(size);
    this.#beyond = new OffsetTable(size);
  }

  /** Distinct addresses in use. */
  get inUse(): number {
    return this.#pages.taken + this.#beyond.size;
  }

  /** Whether the address may be handed out at all: in the range, and not one that avoidBuggyIPs excludes. */
  owns(address: IpAddress): boolean {
    if (address.family !== this.family || address.value < this.first || address.value > this.last) return false;
    return !this.#skipBuggy || !isBuggy(Number(address.value % OCTET));
  }

  /** Where in the range an address is that it owns. */
  offsetOf(address: IpAddress): Offset {
    const offset = address.value - this.first;
    return offset <= MAX_EXACT ? Number(offset) : offset;
  }

  addressAt(offset: Offset): IpAddress {
    return { family: this.family, value: this.first + BigInt(offset) };
  }

  /** Who is there, or undefined when the address is free. */
  occupantAt(offset: Offset): Occupant | undefined {
    return this.#isOnPage(offset) ? this.#pages.get(offset) : this.#beyond.get(offset);
  }

  /** The lowest free address, or undefined when the range is full. Amortised O(log n). */
  lowestFree(): number | undefined {
    return this.#pages.lowestFree(this.#beyond.size === 0 ? undefined : this.#pull);
  }

  /** Puts an occupant on an address, in the place of the one that it has, if any. */
  put(offset: Offset, occupant: Occupant): void {
    if (this.#isOnPage(offset)) this.#pages.set(offset, occupant);
    else this.#beyond.set(offset, occupant);
  }

  /** Makes an address free. */
  release(offset: Offset): void {
    if (this.#isOnPage(offset)) this.#pages.delete(offset);
    else this.#beyond.take(offset);
    if (this.inUse === 0) this.#pages.clear();
  }

  #isOnPage(offset: Offset): offset is number {
    return typeof offset === "number" && offset < this.#pages.watermark;
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
