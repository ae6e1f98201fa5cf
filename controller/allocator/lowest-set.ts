/**
 * A set of numbers that knows its lowest member: a binary heap with a membership set beside it. Add and removeLowest
 * take O(log n); a number is held once, however often it is added.
 */
export class LowestSet {
  readonly #heap: number[] = [];
  readonly #members = new Set<number>();

  /** Number of members. */
  get size(): number {
    return this.#heap.length;
  }

  /** The lowest member, or undefined when empty. */
  lowest(): number | undefined {
    return this.#heap[0];
  }

  add(value: number): void {
    if (this.#members.has(value)) return;
    this.#members.add(value);
    this.#heap.push(value);
    this.#siftUp(this.#heap.length - 1, value);
  }

  /** Removes the lowest member; does nothing when empty. */
  removeLowest(): void {
    const lowest = this.#heap[0];
    const last = this.#heap.pop();
    if (lowest === undefined || last === undefined) return;
    this.#members.delete(lowest);
    if (this.#heap.length > 0) this.#siftDown(last);
  }

  clear(): void {
    this.#heap.length = 0;
    this.#members.clear();
  }

  #siftUp(start: number, value: number): void {
    let index = start;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      const above = this.#at(parent);
      if (above <= value) break;
      this.#heap[index] = above;
      index = parent;
    }
    this.#heap[index] = value;
  }

  #siftDown(value: number): void {
    let index = 0;
    for (;;) {
      let child = 2 * index + 1;
      if (child >= this.#heap.length) break;
      if (child + 1 < this.#heap.length && this.#at(child + 1) < this.#at(child)) child++;
      const below = this.#at(child);
      if (below >= value) break;
      this.#heap[index] = below;
      index = child;
    }
    this.#heap[index] = value;
  }

  #at(index: number): number {
    return this.#heap[index] ?? Number.POSITIVE_INFINITY;
  }
}
