import type { IpAddress, IpFamily } from "../../wire/ip-address.ts";
import type { Holding } from "./allocation.ts";
import type { Offset } from "./offset-words.ts";
import { type AddressPlace, addressAt, sameSpot, type Spot } from "./pool-table.ts";
import type { SharingTerms } from "./sharing.ts";

/**
 * What one Service holds, or would. There may be a million of them, and most hold one address for themselves: it is kept
 * as a place and an offset, and made into an address only when somebody asks. Never changed; new pools need new ones.
 */
export class HeldAddresses implements Holding, Spot {
  /** Who holds them. */
  readonly service: string;
  /** The first address. */
  readonly place: AddressPlace;
  readonly offset: Offset;
  /** The second one, of the same pool. */
  readonly second: Spot | undefined;
  readonly sharing: SharingTerms | undefined;

  constructor(service: string, first: Spot, second: Spot | undefined, sharing: SharingTerms | undefined) {
    this.service = service;
    this.place = first.place;
    this.offset = first.offset;
    this.second = second;
    this.sharing = sharing;
  }

  get addresses(): readonly IpAddress[] {
    return this.second === undefined ? [addressAt(this)] : [addressAt(this), addressAt(this.second)];
  }

  get pool(): string {
    return this.place.state.pool.name;
  }

  /** Where the addresses are, in the order of `addresses`. */
  get spots(): readonly Spot[] {
    return this.second === undefined ? [this] : [this, this.second];
  }

  /** Whether the address there is one of them. */
  includes(spot: Spot): boolean {
    return sameSpot(this, spot) || (this.second !== undefined && sameSpot(this.second, spot));
  }

  /** Whether one of them is of the family. */
  hasFamily(family: IpFamily): boolean {
    return this.place.range.family === family || this.second?.place.range.family === family;
  }
}
