import type { IpAddress } from "../../wire/ip-address.ts";
import type { Holding } from "./allocation.ts";
import type { Offset } from "./offset-table.ts";
import { type AddressPlace, addressAt, type Spot } from "./pool-table.ts";
import type { SharingTerms } from "./sharing.ts";

/**
 * What one Service holds. There may be a million of them, and most hold one address for themselves: it is kept as a place
 * and an offset, and made into an address only when somebody asks. Never changed; new pools need new ones.
 */
export class HeldAddresses implements Holding {
  readonly sharing: SharingTerms | undefined;
  readonly #place: AddressPlace;
  readonly #offset: Offset;
  readonly #second: Spot | undefined;

  constructor(first: Spot, second: Spot | undefined, sharing: SharingTerms | undefined) {
    this.#place = first.place;
    this.#offset = first.offset;
    this.#second = second;
    this.sharing = sharing;
  }

  get addresses(): readonly IpAddress[] {
    const first = this.#place.range.addressAt(this.#offset);
    return this.#second === undefined ? [first] : [first, addressAt(this.#second)];
  }

  get pool(): string {
    return this.#place.state.pool.name;
  }

  /** The pool, the range and the place in it of each address, in the order of `addresses`. */
  get spots(): readonly [Spot] | readonly [Spot, Spot] {
    const first = { place: this.#place, offset: this.#offset };
    return this.#second === undefined ? [first] : [first, this.#second];
  }
}
