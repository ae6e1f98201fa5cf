/** The Services that wait for an address, the longest-lived first. */
import { keyOf } from "../kube/informer.ts";
import type { Service } from "../kube/objects.ts";

interface Entry {
  readonly created: string;
  readonly key: string;
}

/** Order of Services wherever two want the same: creationTimestamp, then namespace and name. For `Array.sort`. */
export function compareByAge(a: Service, b: Service): number {
  return compareEntries(entryOf(a), entryOf(b));
}

export class WaitingList {
  readonly #sorted: Entry[] = [];
  readonly #byKey = new Map<string, Entry>();

  /** Number of Services waiting. */
  get size(): number {
    return this.#sorted.length;
  }

  /** A copy of the keys in order. */
  keys(): string[] {
    return this.#sorted.map((entry) => entry.key);
  }

  add(service: Service): void {
    const entry = entryOf(service);
    if (this.#byKey.get(entry.key)?.created === entry.created) return;
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
