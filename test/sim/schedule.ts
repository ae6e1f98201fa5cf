/**
 * The random schedule of a run: a cluster, services, and phases of trouble drawn from the seed; then a rest in which
 * nothing goes wrong any more.
 */

import type { Instant, Random } from "../../speaker/machine.ts";
import type { AddressRow } from "../../speaker/packet-protocol.ts";
import type { Cluster } from "./cluster.ts";
import { between, groupRows, shuffled } from "./draw.ts";
import { nodeName } from "./events.ts";
import { phases, QUIET_PHASES } from "./phases.ts";

/** Every so many seeds the cluster is a large one. */
export const LARGE_EVERY = 10;
const LARGE_NODES = 50;
const MOST_NODES = 100;
/** Time for a cluster to come up before anything goes wrong. */
export const START_UP_MS = 7000;
/** No phase begins after this... */
const LAST_PHASE_AT = 48_000;
/** ...and a run lasts this long, or longer when the last phase does. */
export const RUN_MS = 60_000;
/** Time without faults at the end. */
export const TAIL_MS = 8000;
/** Rest before a phase that is only about one thing, so that what went before does not blur it. */
const REST_MS = 5000;

/** In every so many seeds there are two nodes only; in so many nobody is on the segment but the nodes. In one of twelve both. */
export const TWO_NODES_EVERY = 6;
export const BARE_EVERY = 4;

/** Whether the seed's nodes are alone on their segment: no gateway, no client. */
export function isBareIn(seed: number): boolean {
  return seed % BARE_EVERY === 1;
}

export function nodesOf(seed: number, random: Random): number {
  if (seed % TWO_NODES_EVERY === TWO_NODES_EVERY - 1) return 2;
  // Rather 50 than 100: what a run takes grows faster than the number of nodes.
  if (seed % LARGE_EVERY === 0) return LARGE_NODES + Math.floor((MOST_NODES + 1 - LARGE_NODES) * random.next() ** 3);
  return random.next() < 0.2 ? between(random, 17, 40) : between(random, 3, 16);
}

/** Services of a cluster: rows by group. */
export function groupsOf(random: Random, nodes: number): readonly (readonly AddressRow[])[] {
  const names = Array.from({ length: nodes }, (_, id) => nodeName(id));
  const everyone = names.map((node) => ({ node, score: 0 }));
  return Array.from({ length: between(random, 3, nodes > 40 ? 60 : 30) }, (_, index) => {
    const draw = random.next();
    const some = names.filter(() => random.next() < 0.6).map((node) => ({ node, score: 0 }));
    const preferred = names.map((node) => ({ node, score: random.next() < 0.3 ? 1 : 0 }));
    const candidates = draw < 0.7 || some.length === 0 ? everyone : draw < 0.9 ? some : preferred;
    return groupRows(index, candidates, random.next() < 0.2);
  });
}

/** Lets the trouble of a seed loose on a cluster, and says when the run is over. */
export function letLoose(cluster: Cluster, random: Random): { readonly endsAt: () => Instant } {
  let endsAt = RUN_MS;
  const order = shuffled(random, phases);
  let turn = 0;
  const begin = (): void => {
    const phase = order[turn++ % order.length];
    if (phase === undefined || cluster.now > LAST_PHASE_AT) {
      endsAt = Math.max(RUN_MS, cluster.now + TAIL_MS);
      return;
    }
    const next = order[turn % order.length];
    const duration = phase.begin(cluster, random);
    endsAt = Math.max(endsAt, cluster.now + duration + TAIL_MS);
    const isFollowedByQuiet = next !== undefined && QUIET_PHASES.includes(next.name);
    cluster.at(cluster.now + duration + (isFollowedByQuiet || QUIET_PHASES.includes(phase.name) ? REST_MS : random.next() * 2000), begin);
  };
  cluster.at(START_UP_MS, begin);
  return { endsAt: () => endsAt };
}
