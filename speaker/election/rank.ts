/**
 * Who comes first for a group of addresses: preference first, then a ring of hashes that every node computes alike.
 * Pure but for a cache of rings; the same group and candidates give the same order on every node, whatever their order.
 */

import HashRing from "hashring";

import type { Candidate } from "../packet-protocol.ts";

/**
 * Virtual nodes of each server; each is 4 points on the ring. Given explicitly for every server, because hashring
 * otherwise derives the number from how many servers there are (by a rounding that loses some), and then a node that
 * leaves would move keys it never held. It must not equal `RING_DEFAULT`: hashring takes that for "not given".
 */
const VNODES = 100;
/** hashring's own number of virtual nodes, made one that never applies. */
const RING_DEFAULT = 1;
/** Rings kept: one for each set of candidates of equal score that is in use. The oldest goes first. */
export const MAX_CACHED_RINGS = 64;

const rings = new Map<string, HashRing>();

/**
 * The candidates' nodes in order: higher score first, among equals by the ring's order for `group`.
 * Shape: each node once; a node named twice counts with its highest score.
 */
export function rank(group: string, candidates: readonly Candidate[]): string[] {
  const only = candidates[0];
  if (only === undefined) return [];
  if (candidates.length === 1) return [only.node];
  const tiers = new Map<number, string[]>();
  for (const [node, score] of highestScores(candidates)) {
    const tier = tiers.get(score);
    if (tier === undefined) tiers.set(score, [node]);
    else tier.push(node);
  }
  return [...tiers].sort(([a], [b]) => b - a).flatMap(([, nodes]) => ringOrder(group, nodes));
}

function highestScores(candidates: readonly Candidate[]): Map<string, number> {
  const scores = new Map<string, number>();
  for (const { node, score } of candidates) {
    const known = scores.get(node);
    if (known === undefined || score > known) scores.set(node, score);
  }
  return scores;
}

function ringOrder(group: string, nodes: readonly string[]): readonly string[] {
  if (nodes.length === 1) return nodes;
  return ringOf(nodes).range(group, nodes.length);
}

function ringOf(nodes: readonly string[]): HashRing {
  // Sorted, for points of equal value keep the order in which the servers were given.
  const sorted = [...nodes].sort();
  const key = sorted.join("\n");
  const known = rings.get(key);
  if (known !== undefined) return known;
  const servers = Object.fromEntries(sorted.map((node) => [node, { vnodes: VNODES }]));
  const ring = new HashRing(servers, "md5", { "vnode count": RING_DEFAULT, "max cache size": 1 });
  if (rings.size >= MAX_CACHED_RINGS) {
    for (const oldest of rings.keys()) {
      rings.delete(oldest);
      break;
    }
  }
  rings.set(key, ring);
  return ring;
}
