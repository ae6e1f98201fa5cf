/**
 * The in-memory twin of `interfaces.ts`: tests say what the interfaces are.
 */

import type { InterfaceMonitor, Link } from "./interfaces.ts";

export class FakeInterfaceMonitor implements InterfaceMonitor {
  readonly fd = -900;
  #known: readonly Link[];
  #next: readonly Link[];
  #refreshing = false;

  constructor(links: readonly Link[]) {
    this.#known = links;
    this.#next = links;
  }

  /** What the interfaces are from now on; seen by the watcher at its next `update`. */
  set(links: readonly Link[]): void {
    this.#next = links;
  }

  /** Whether an update would change anything: what makes `fd` readable. */
  get hasNews(): boolean {
    return this.#refreshing || this.#known !== this.#next;
  }

  links(): readonly Link[] {
    return this.#known;
  }

  update(): boolean {
    const changed = this.hasNews;
    this.#refreshing = false;
    this.#known = this.#next;
    return changed;
  }

  refresh(): void {
    this.#refreshing = true;
  }

  close(): void {}
}
