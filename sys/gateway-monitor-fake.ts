/**
 * The in-memory twin of `gateway-monitor.ts`: tests say what the gateways are.
 */

import type { Gateway, GatewayMonitor } from "./gateway-monitor.ts";
import { SysError } from "./sys-error.ts";

export class FakeGatewayMonitor implements GatewayMonitor {
  isInDoubt = false;
  /** Calls so far. */
  updates = 0;
  refreshes = 0;
  /** What an update fails with. */
  error: SysError | undefined;
  #known: readonly Gateway[] = [];
  #next: readonly Gateway[];
  /** Updates that bring nothing new yet. */
  #pieces = 0;
  #open = true;

  constructor(gateways: readonly Gateway[] = []) {
    this.#next = gateways;
  }

  /** What the gateways are from now on; seen after as many updates as there are pieces, and one. */
  set(gateways: readonly Gateway[], { pieces = 0 }: { readonly pieces?: number } = {}): void {
    this.#next = gateways.toSorted((a, b) => a.metric - b.metric);
    this.#pieces = pieces;
  }

  gateways(): readonly Gateway[] {
    return this.#known;
  }

  update(): boolean {
    this.updates += 1;
    if (!this.#open) throw new SysError({ code: "EBADF", syscall: "recv" });
    if (this.error !== undefined) throw this.error;
    if (this.#pieces > 0) {
      this.#pieces -= 1;
      return true;
    }
    this.#known = this.#next;
    return false;
  }

  refresh(): void {
    this.refreshes += 1;
    this.isInDoubt = false;
  }

  close(): void {
    this.#open = false;
  }
}
