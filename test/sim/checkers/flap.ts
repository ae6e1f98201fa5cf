/**
 * When one node's link goes down and up again and nothing else is wrong, only what that node owned moves: the others
 * keep theirs.
 */

import { nodeName } from "../events.ts";
import type { NodeId, SimEvent } from "../events.ts";
import type { Checker, World } from "../world.ts";

/** How long after the flap a move is still its doing. */
const AFTER_MS = 4000;

export class Flap implements Checker {
  readonly rule = "a flapping link moves only its node's addresses";
  /** Flaps during which nothing else was wrong. */
  applied = 0;
  #flapper: NodeId | undefined;
  #owner = new Map<string, NodeId>();
  #beganAt = Number.NEGATIVE_INFINITY;
  #isSpoilt = false;
  #lastActiveAt = Number.NEGATIVE_INFINITY;

  tick(world: World): void {
    const cutOff = world.nodes.filter((node) => node.state === "running" && world.isIsolated(node.id)).map((node) => node.id);
    const quietSince = world.quietSince(["flap"]);
    const isQuiet = quietSince !== undefined && world.now - quietSince > AFTER_MS && world.nodes.every((node) => !node.hasProcess || world.hasCurrentView(node.id));
    if (this.#flapper === undefined) {
      const [node, another] = cutOff;
      // Of two nodes both are: whose link it was nobody can tell, nor can they.
      if (node === undefined || another !== undefined || !isQuiet || world.now - this.#lastActiveAt < AFTER_MS) return;
      this.#begin(world, node);
      return;
    }
    if (!isQuiet || cutOff.some((node) => node !== this.#flapper)) this.#isSpoilt = true;
    if (cutOff.includes(this.#flapper)) this.#lastActiveAt = world.now;
    if (world.now - this.#lastActiveAt < AFTER_MS) return;
    if (!this.#isSpoilt) this.applied += 1;
    this.#flapper = undefined;
  }

  event(event: SimEvent, world: World): void {
    if (this.#flapper === undefined || this.#isSpoilt || event.kind !== "lost" || event.node === this.#flapper) return;
    if (event.reason === "Removed" || this.#owner.get(event.address) !== event.node) return;
    world.fail(this.rule, `${nodeName(event.node)} lost ${event.address} (${event.reason}) ${(world.now - this.#beganAt).toFixed(0)} ms after ${nodeName(this.#flapper)}'s link flapped`);
  }

  #begin(world: World, node: NodeId): void {
    this.#flapper = node;
    this.#isSpoilt = false;
    this.#beganAt = world.now;
    this.#lastActiveAt = world.now;
    this.#owner = new Map();
    for (const { address } of world.rows()) {
      const [owner] = world.owners(address);
      if (owner !== undefined && owner !== node) this.#owner.set(address, owner);
    }
  }
}
