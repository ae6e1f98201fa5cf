/**
 * Two nodes that both answer for an address, and hear each other, do not go on doing so: the time is bounded.
 *
 * The clock of a pair starts when both run, both answer, and packets get through in both directions; it stops when one
 * of these ends.
 */

import { nodeName } from "../events.ts";
import type { NodeId } from "../events.ts";
import type { Checker, World } from "../world.ts";

/**
 * Without loss. A healing ping reaches one absent peer each 250 ms and node, so with few nodes the sides of a split meet
 * within that; claims travel at once, or after at most a heartbeat and a pull over TCP.
 */
export const OVERLAP_BOUND_MS = 1000;
/** With loss: each step may need several attempts; a lost segment of a stream alone takes 200, 400, ... ms. */
export const LOSSY_OVERLAP_BOUND_MS = 3000;

export class Overlap implements Checker {
  readonly rule = "no two owners that hear each other";
  /** Longest overlap seen while no packet was lost by chance, and else. */
  longestMs = 0;
  longestLossyMs = 0;
  /** Pairs that were seen. */
  applied = 0;
  readonly #since = new Map<string, number>();
  /** When the links were last worse than good. */
  #lossyAt = Number.NEGATIVE_INFINITY;

  tick(world: World): void {
    if (world.loss > 0) this.#lossyAt = world.now;
    const present = new Set<string>();
    for (const address of world.contested()) {
      const owners = [...world.owners(address)].filter((node) => world.nodes[node]?.answers(address) === true);
      for (const [index, left] of owners.entries()) {
        for (const right of owners.slice(index + 1)) if (world.areConnected(left, right)) this.#pair(world, { address, left, right }, present);
      }
    }
    for (const key of this.#since.keys()) if (!present.has(key)) this.#since.delete(key);
  }

  #pair(world: World, { address, left, right }: { readonly address: string; readonly left: NodeId; readonly right: NodeId }, present: Set<string>): void {
    const key = `${address} ${Math.min(left, right)} ${Math.max(left, right)}`;
    present.add(key);
    const since = this.#since.get(key);
    if (since === undefined) {
      this.#since.set(key, world.now);
      this.applied += 1;
      return;
    }
    const lasted = world.now - since;
    const isLossy = this.#lossyAt >= since;
    if (isLossy) this.longestLossyMs = Math.max(this.longestLossyMs, lasted);
    else this.longestMs = Math.max(this.longestMs, lasted);
    const bound = (isLossy ? LOSSY_OVERLAP_BOUND_MS : OVERLAP_BOUND_MS) + 2 * world.transitMs;
    if (lasted > bound) world.fail(this.rule, `${nodeName(left)} and ${nodeName(right)} both answer for ${address} since ${lasted.toFixed(0)} ms, at most ${bound.toFixed(0)}`);
  }
}
