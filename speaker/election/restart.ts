/** What this node announced before its process restarted, as others give it back: it is resumed at once, or released. */
import type { Instant } from "../machine.ts";
import type { ClaimsUpdate } from "./claims-protocol.ts";
import { isHolding } from "./claim-list.ts";
import type { Group } from "./group-table.ts";
import type { Holder } from "./holder.ts";

/** How long such a list is good for. */
export const RESUME_WITHIN_MS = 60_000;
/** Addresses of it that are kept. */
export const MAX_RESUMABLE = 20_000;

export class Restart {
  readonly #holder: Holder;
  readonly #resumable = new Map<string, number>();

  constructor(holder: Holder) {
    this.#holder = holder;
  }

  /** Takes a list of an earlier start of this node in. Returns the addresses that may be resumed. */
  takeIn(update: ClaimsUpdate): string[] {
    const addresses: string[] = [];
    for (const entry of update.entries) {
      if (!isHolding(entry) || this.#resumable.size >= MAX_RESUMABLE) continue;
      this.#resumable.set(entry.address, entry.term);
      addresses.push(entry.address);
    }
    return addresses;
  }

  has(group: Group): boolean {
    if (this.#resumable.size === 0) return false;
    for (const address of group.held.keys()) if (this.#resumable.has(address)) return true;
    return false;
  }

  /** The group has an owner again. */
  done(group: Group): void {
    if (this.#resumable.size === 0) return;
    for (const address of group.held.keys()) this.#resumable.delete(address);
  }

  /** This node can't have it any more: nobody needs to wait for it. */
  giveUp(group: Group, now: Instant): void {
    if (this.#resumable.size === 0) return;
    for (const address of group.held.keys()) {
      const term = this.#resumable.get(address);
      if (term !== undefined) this.#holder.release(address, term, now);
      this.#resumable.delete(address);
    }
  }

  /** It is too late for the rest. */
  forget(): void {
    this.#resumable.clear();
  }
}
