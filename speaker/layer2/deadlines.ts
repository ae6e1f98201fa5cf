/**
 * Many deadlines, told apart by a key: a heap whose outdated entries are passed over when they come up.
 */

import type { Instant } from "../machine.ts";

interface Entry {
  readonly at: Instant;
  readonly key: string;
}

export class Deadlines {
  readonly #heap: Entry[] = [];
  readonly #current = new Map<string, Instant>();

  /** Sets the key's deadline, in place of the one it had. */
  set(key: string, at: Instant): void {
    this.#current.set(key, at);
    this.#push({ at, key });
    // A key that is set again and again before its time would fill the heap with what is outdated.
    if (this.#heap.length > 2 * this.#current.size + 64) this.#rebuild();
  }

  delete(key: string): void {
    this.#current.delete(key);
  }

  /** The earliest deadline. */
  next(): Instant | undefined {
    this.#dropOutdated();
    return this.#heap[0]?.at;
  }

  /** Takes out the earliest key that is due at `now`. */
  takeDue(now: Instant): string | undefined {
    this.#dropOutdated();
    const first = this.#heap[0];
    if (first === undefined || first.at > now) return undefined;
    this.#pop();
    this.#current.delete(first.key);
    return first.key;
  }

  #dropOutdated(): void {
    for (let first = this.#heap[0]; first !== undefined && this.#current.get(first.key) !== first.at; first = this.#heap[0]) this.#pop();
  }

  #rebuild(): void {
    this.#heap.length = 0;
    for (const [key, at] of this.#current) this.#push({ at, key });
  }

  #push(entry: Entry): void {
    const heap = this.#heap;
    let index = heap.length;
    heap.push(entry);
    while (index > 0) {
      const parent = (index - 1) >> 1;
      const above = heap[parent];
      if (above === undefined || above.at <= entry.at) break;
      heap[index] = above;
      heap[parent] = entry;
      index = parent;
    }
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let index = 0;
    for (;;) {
      const left = heap[2 * index + 1];
      const right = heap[2 * index + 2];
      const child = right !== undefined && left !== undefined && right.at < left.at ? 2 * index + 2 : 2 * index + 1;
      const below = heap[child];
      if (below === undefined || below.at >= last.at) break;
      heap[index] = below;
      index = child;
    }
    heap[index] = last;
  }
}
