/** What a node thinks of each address, as plain data: for metrics and the simulation's checkers. */
import type { Instant } from "../machine.ts";
import { betterClaim } from "./claim-order.ts";
import { isHeld } from "./group-table.ts";
import type { GroupTable, Held } from "./group-table.ts";
import type { Holder } from "./holder.ts";
import type { PeerLists } from "./peer-lists.ts";

/** One address of the table. */
export interface ClaimSnapshot {
  readonly address: string;
  readonly group: string;
  /** Who has the best claim on it in this node's view, with the claim's boot id, term and witness; undefined, 0, 0 and false when nobody has. */
  readonly owner: string | undefined;
  readonly boot: number;
  readonly term: number;
  readonly witnessed: boolean;
  /** This node announces it, or still answers for it. */
  readonly mine: boolean;
  readonly state: Held["phase"];
}

/** Every address of the table at that time, in the order in which the rows came. */
export function snapshotOf({ table, holder, peers }: { table: GroupTable; holder: Holder; peers: PeerLists }, now: Instant): ClaimSnapshot[] {
  return [...table.addresses()].map((held) => {
    const best = betterClaim(holder.claimOn(held), peers.best(held.row.address, now));
    return {
      address: held.row.address,
      group: held.row.group,
      owner: best?.node,
      boot: best?.boot ?? 0,
      term: best?.entry.term ?? 0,
      witnessed: best?.entry.witnessed ?? false,
      mine: isHeld(held),
      state: held.phase,
    };
  });
}
