/**
 * With whole links and equal views each group has one owner, and the owner is a candidate. A group with no candidate
 * that runs has none. This is liveness too: it has to be so some time after the last fault, and to stay so.
 */

import { nodeIdOf, nodeName } from "../events.ts";
import type { NodeId } from "../events.ts";
import type { Checker, World } from "../world.ts";
import type { AddressRow } from "../../../speaker/packet-protocol.ts";

/** Time after the last fault, and after the last start of a process or change of a row that came later. */
export const SETTLE_MS = 2000;

export class OneOwner implements Checker {
  readonly rule = "one owner";
  /** How often the rule was applied to a group. */
  applied = 0;
  #unsettledAt = 0;

  tick(world: World): void {
    const quietSince = world.quietSince();
    if (quietSince === undefined || !world.nodes.every((node) => !node.hasProcess || world.hasCurrentView(node.id))) {
      this.#unsettledAt = world.now;
      return;
    }
    if (world.now - Math.max(quietSince, this.#unsettledAt) < SETTLE_MS) return;
    const groups = new Map<string, AddressRow[]>();
    for (const row of world.rows()) groups.set(row.group, [...(groups.get(row.group) ?? []), row]);
    for (const [group, rows] of groups) this.#look(world, group, rows);
  }

  #look(world: World, group: string, rows: readonly AddressRow[]): void {
    this.applied += 1;
    const owners = new Set<NodeId>();
    for (const { address, candidates } of rows) {
      const announcing = [...world.owners(address)].filter((node) => world.nodes[node]?.answers(address) === true);
      const able = candidates.filter(({ node }) => world.nodes[nodeIdOf(node)]?.state === "running");
      const names = announcing.map(nodeName);
      if (announcing.length !== (able.length === 0 ? 0 : 1)) world.fail(this.rule, `${address} of group ${group} has ${announcing.length} owners (${names.join(", ")}); ${able.length} nodes could be`);
      if (names.some((name) => !candidates.some(({ node }) => node === name))) world.fail(this.rule, `${names.join(", ")} owns ${address} and is no candidate`);
      for (const node of announcing) owners.add(node);
    }
    if (owners.size > 1) world.fail(this.rule, `the addresses of group ${group} have different owners: ${[...owners].map(nodeName).join(", ")}`);
  }
}
