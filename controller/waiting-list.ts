/** The Services that wait for an address, the longest-lived first. */
import { keyOf } from "../kube/informer.ts";
import type { Service } from "../kube/objects.ts";
import { sameTerms, type SharingTerms } from "./allocator/sharing.ts";

interface Entry {
  readonly created: string;
  readonly key: string;
}

/** A Service that waits. */
export interface Waiting extends Entry {
  /** The terms on which it would share an address; absent: it wants one for itself. */
  readonly sharing?: SharingTerms;
}

/** Order of Services wherever two want the same: creationTimestamp, then namespace and name. For `Array.sort`. */
export function compareByAge(a: Service, b: Service): number {
  return compareEntries(entryOf(a), entryOf(b));
}

export class WaitingList {
  readonly #sorted: Waiting[] = [];
  readonly #byKey = new Map<string, Waiting>();

  /** Number of Services waiting. */
  get size(): number {
    return this.#sorted.length;
  }

  /** A copy of the list in order. */
  inOrder(): Waiting[] {
    return [...this.#sorted];
  }

  add(service: Service, sharing?: SharingTerms): void {
    const entry: Waiting = { ...entryOf(service), ...(sharing === undefined ? {} : { sharing }) };
    const before = this.#byKey.get(entry.key);
    if (before?.created === entry.created && sameTerms(before.sharing, sharing)) return;
    this.delete(entry.key);
    this.#sorted.splice(this.#indexOf(entry), 0, entry);
    this.#byKey.set(entry.key, entry);
  }

  delete(key: string): void {
    const entry = this.#byKey.get(key);
    if (entry === undefined) return;
    this.#byKey.delete(key);
    this.#sorted.splice(this.#indexOf(entry), 1);
  }

  /** Index of the entry, or where it belongs. */
  #indexOf(entry: Entry): number {
    let low = 0;
    let high = this.#sorted.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      const other = this.#sorted[middle];
      if (other !== undefined && compareEntries(other, entry) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

function entryOf(service: Service): Entry {
  return { created: service.metadata.creationTimestamp ?? "", key: keyOf(service) };
}

function compareEntries(a: Entry, b: Entry): number {
  if (a.created !== b.created) return a.created < b.created ? -1 : 1;
  return a.key < b.key ? -1 : a.key > b.key ? 1 : 0;
}
