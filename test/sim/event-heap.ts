/**
 * Values in the order of their time; those of the same time in the order in which they were put in, so that a run
 * repeats exactly.
 */

import type { Instant } from "../../speaker/machine.ts";

export class EventHeap<Value> {
  // Three arrays side by side, a heap of their common index: no object per entry, as a run puts in millions.
  readonly #at: Instant[] = [];
  readonly #order: number[] = [];
  readonly #values: Value[] = [];
  #count = 0;

  get size(): number {
    return this.#at.length;
  }

  next(): Instant | undefined {
    return this.#at[0];
  }

  push(at: Instant, value: Value): void {
    const order = this.#count++;
    let index = this.#at.length;
    this.#at.push(at);
    this.#order.push(order);
    this.#values.push(value);
    while (index > 0) {
      const parent = (index - 1) >> 1;
      // Equal times never move: the new entry is the youngest.
      if ((this.#at[parent] as number) <= at) break;
      this.#copy(parent, index);
      index = parent;
    }
    this.#put(index, at, order, value);
  }

  /** The first value if its time is not after `now`. */
  takeDue(now: Instant): Value | undefined {
    const first = this.#at[0];
    if (first === undefined || first > now) return undefined;
    const value = this.#values[0] as Value;
    const at = this.#at.pop() as number;
    const order = this.#order.pop() as number;
    const last = this.#values.pop() as Value;
    if (this.#at.length > 0) this.#sink(at, order, last);
    return value;
  }

  #sink(at: Instant, order: number, value: Value): void {
    const size = this.#at.length;
    let index = 0;
    for (;;) {
      let child = 2 * index + 1;
      if (child >= size) break;
      if (child + 1 < size && this.#isBefore(child + 1, child)) child += 1;
      const childAt = this.#at[child] as number;
      if (childAt > at || (childAt === at && (this.#order[child] as number) > order)) break;
      this.#copy(child, index);
      index = child;
    }
    this.#put(index, at, order, value);
  }

  #isBefore(left: number, right: number): boolean {
    const [leftAt, rightAt] = [this.#at[left] as number, this.#at[right] as number];
    return leftAt < rightAt || (leftAt === rightAt && (this.#order[left] as number) < (this.#order[right] as number));
  }

  #copy(from: number, to: number): void {
    this.#put(to, this.#at[from] as number, this.#order[from] as number, this.#values[from] as Value);
  }

  #put(index: number, at: Instant, order: number, value: Value): void {
    this.#at[index] = at;
    this.#order[index] = order;
    this.#values[index] = value;
  }
}
