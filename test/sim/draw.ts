/** What schedules draw from a seed. */

import type { Random } from "../../speaker/machine.ts";
import type { AddressRow } from "../../speaker/packet-protocol.ts";
import type { Cluster } from "./cluster.ts";
import type { NodeId } from "./events.ts";

/** A whole number in [from, to]. */
export function between(random: Random, from: number, to: number): number {
  return from + Math.floor(random.next() * (to - from + 1));
}

export function pick<T>(random: Random, list: readonly T[]): T {
  const value = list[Math.floor(random.next() * list.length)];
  if (value === undefined) throw new Error("nothing to pick from");
  return value;
}

/** The list in random order. */
export function shuffled<T>(random: Random, list: readonly T[]): T[] {
  return list.map((value) => ({ value, key: random.next() })).sort((a, b) => a.key - b.key).map(({ value }) => value);
}

/** Rows of the group with that number: one address, or two of different families. */
export function groupRows(index: number, candidates: AddressRow["candidates"], isDual = false): readonly AddressRow[] {
  const group = `192.0.${2 + (index >> 8)}.${index & 255}`;
  const addresses = isDual ? [group, `2001:db8::${(index + 1).toString(16)}`] : [group];
  return addresses.map((address) => ({ address, group, interfaces: "all" as const, candidates }));
}

/** Some of the nodes that run. */
export function someNodes(cluster: Cluster, random: Random, most: number): NodeId[] {
  const running = cluster.nodes.filter(({ state }) => state === "running").map(({ id }) => id);
  return shuffled(random, running).slice(0, between(random, 1, Math.max(1, most)));
}
