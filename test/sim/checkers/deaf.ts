/** A node that nothing reaches takes nothing. */

import { nodeName } from "../events.ts";
import type { NodeId, SimEvent } from "../events.ts";
import type { Checker, World } from "../world.ts";

/**
 * What was under way when it went deaf may still happen: somebody was silent already, and a frame was heard since. A
 * power-off is believed after about 200 ms, a pause after a second, and candidates stand in line for a moment.
 */
export const GRACE_MS = 1300;
/** The same when nobody else was in trouble when it went deaf. */
export const QUIET_GRACE_MS = 150;

export class Deaf implements Checker {
  readonly rule = "who hears nothing takes nothing";
  /** Nodes that were deaf for longer than the grace. */
  applied = 0;
  readonly #since = new Map<NodeId, { readonly at: number; readonly graceMs: number; isCounted: boolean }>();

  tick(world: World): void {
    for (const node of world.nodes) {
      if (node.state !== "running" || !world.isDeaf(node.id)) {
        this.#since.delete(node.id);
        continue;
      }
      const known = this.#since.get(node.id);
      if (known === undefined) this.#since.set(node.id, { at: world.now, graceMs: this.#isElsewhereQuiet(world) ? QUIET_GRACE_MS : GRACE_MS, isCounted: false });
      else if (!known.isCounted && world.now - known.at > known.graceMs) {
        known.isCounted = true;
        this.applied += 1;
      }
    }
  }

  event(event: SimEvent, world: World): void {
    if (event.kind !== "owned" || !event.taken) return;
    const since = this.#since.get(event.node);
    if (since === undefined || world.now - since.at <= since.graceMs) return;
    world.fail(this.rule, `${nodeName(event.node)} hears nothing since ${(world.now - since.at).toFixed(0)} ms and takes ${event.address} (${event.reason})`);
  }

  #isElsewhereQuiet(world: World): boolean {
    const since = world.quietSince(["deaf", "flap"]);
    return since !== undefined && world.now - since > GRACE_MS;
  }
}
