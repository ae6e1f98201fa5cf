/**
 * Deadlines by name, with the earliest at hand: a binary heap in which moved and cancelled deadlines are skipped when
 * they come up. A machine of thousands of groups never looks through all of them.
 */
import type { Instant } from "../machine.ts";

interface Entry {
  readonly at: Instant;
  readonly key: string;
  /** Order of setting, so that equal instants come in the same order in every run. */
  readonly order: number;
}

/** Heap entries that may be stale, above twice the live ones, before the heap is built anew. */
const STALE_SLACK = 64;

export class Deadlines {
  readonly #live = new Map<string, Entry>();
  #heap: Entry[] = [];
  #order = 0;

  /** Sets or moves the deadline. */
  set(key: string, at: Instant): void {
    if (this.#live.get(key)?.at === at) return;
    this.#order += 1;
    const entry = { at, key, order: this.#order };
    this.#live.set(key, entry);
    this.#push(entry);
    if (this.#heap.length > 2 * this.#live.size + STALE_SLACK) this.#rebuild();
  }

  /** Sets the deadline unless there is an earlier one of that name. */
  setEarlier(key: string, at: Instant): void {
    const before = this.#live.get(key);
    if (before === undefined || at < before.at) this.set(key, at);
  }

  clear(key: string): void {
    this.#live.delete(key);
  }

  get(key: string): Instant | undefined {
    return this.#live.get(key)?.at;
  }

  next(): Instant | undefined {
    this.#skipStale();
    return this.#heap[0]?.at;
  }

  /** Takes out the earliest deadline that is due; undefined when none is. */
  takeDue(now: Instant): string | undefined {
    this.#skipStale();
    const first = this.#heap[0];
    if (first === undefined || first.at > now) return undefined;
    this.#pop();
    this.#live.delete(first.key);
    return first.key;
  }

  #skipStale(): void {
    for (let first = this.#heap[0]; first !== undefined && this.#live.get(first.key) !== first; first = this.#heap[0]) this.#pop();
  }

  #rebuild(): void {
    const live = [...this.#live.values()];
    this.#heap = live.sort((a, b) => (isBefore(a, b) ? -1 : 1));
  }

  #push(entry: Entry): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(entry);
    while (at > 0) {
      const parentAt = (at - 1) >> 1;
      const parent = heap[parentAt];
      if (parent === undefined || !isBefore(entry, parent)) break;
      heap[at] = parent;
      at = parentAt;
    }
    heap[at] = entry;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let at = 0;
    for (;;) {
      const leftAt = 2 * at + 1;
      const left = heap[leftAt];
      if (left === undefined) break;
      const right = heap[leftAt + 1];
      const useRight = right !== undefined && isBefore(right, left);
      const child = useRight ? right : left;
      if (!isBefore(child, last)) break;
      heap[at] = child;
      at = useRight ? leftAt + 1 : leftAt;
    }
    heap[at] = last;
  }
}

function isBefore(a: Entry, b: Entry): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}
