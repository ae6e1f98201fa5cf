/** Lists of nodes that are no members yet: gossip about who is there may be slower than the lists themselves. */
import type { Instant } from "../machine.ts";
import type { ClaimsUpdate } from "./claims-protocol.ts";

/** How long such a list waits. */
export const PENDING_KEPT_MS = 60_000;
/** Owners, and entries of all of them together, that may wait. */
export const MAX_PENDING_OWNERS = 64;
export const MAX_PENDING_ENTRIES = 40_000;

export class PendingLists {
  /** In the order in which they came: the oldest goes first. */
  readonly #lists = new Map<string, { readonly update: ClaimsUpdate; readonly at: Instant }>();
  #entries = 0;

  /** Keeps a whole list. False for a step, or when there is no room. */
  keep(update: ClaimsUpdate, now: Instant): boolean {
    for (const [owner, { at }] of this.#lists) {
      if (now - at < PENDING_KEPT_MS) break;
      this.#remove(owner);
    }
    const before = this.#lists.get(update.owner)?.update;
    if (before !== undefined && (before.boot > update.boot || (before.boot === update.boot && before.version >= update.version))) return true;
    if (update.base !== undefined) return false;
    this.#remove(update.owner);
    if (this.#lists.size >= MAX_PENDING_OWNERS || this.#entries + update.entries.length > MAX_PENDING_ENTRIES) return false;
    this.#lists.set(update.owner, { update, at: now });
    this.#entries += update.entries.length;
    return true;
  }

  /** Takes the owner's list out: one, or none. */
  take(owner: string, now: Instant): ClaimsUpdate[] {
    const kept = this.#lists.get(owner);
    this.#remove(owner);
    return kept === undefined || now - kept.at >= PENDING_KEPT_MS ? [] : [kept.update];
  }

  #remove(owner: string): void {
    this.#entries -= this.#lists.get(owner)?.update.entries.length ?? 0;
    this.#lists.delete(owner);
  }
}
