/**
 * While nothing is wrong but processes that pause for up to 500 ms and machines that pause for up to 150 ms, no address
 * moves. (Longer pauses are counted as faults of their own by whoever makes them.)
 */

import { nodeName } from "../events.ts";
import type { SimEvent } from "../events.ts";
import type { Checker, World } from "../world.ts";

export const SHORT_PROCESS_PAUSE_MS = 500;
export const SHORT_MACHINE_PAUSE_MS = 150;
/** After other faults, the cluster gets so long to come to rest. */
const REST_MS = 4000;

export class ShortPause implements Checker {
  readonly rule = "a short pause moves nothing";
  /** Short pauses during which nothing else was wrong. */
  applied = 0;
  #longAt = Number.NEGATIVE_INFINITY;
  #unsettledAt = 0;

  tick(world: World): void {
    if (!world.nodes.every((node) => !node.hasProcess || world.hasCurrentView(node.id))) this.#unsettledAt = world.now;
  }

  event(event: SimEvent, world: World): void {
    for (const node of world.nodes) {
      const pausedFor = world.now - node.since;
      if ((node.state === "paused" && pausedFor > SHORT_PROCESS_PAUSE_MS + 1) || (node.state === "frozen" && pausedFor > SHORT_MACHINE_PAUSE_MS + 1)) this.#longAt = world.now;
    }
    const isPause = event.kind === "fault" && /^(pause|machinePause) .*over$/.test(event.text);
    if (!isPause && event.kind !== "owned" && event.kind !== "lost") return;
    const quietSince = world.quietSince(["pause", "machinePause"]);
    if (quietSince === undefined || world.now - Math.max(quietSince, this.#longAt, this.#unsettledAt) < REST_MS) return;
    if (isPause) this.applied += 1;
    else if (event.kind === "owned" && !event.taken) return;
    else if (event.kind === "owned" || event.kind === "lost") world.fail(this.rule, `${nodeName(event.node)}: ${event.kind} ${event.address} (${event.reason})`);
  }
}
