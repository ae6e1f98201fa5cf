/**
 * Who comes first for a group of addresses: preference first, then a ring of hashes that every node computes alike.
 * Pure but for a cache of points; the same group and candidates give the same order on every node, whatever their order.
 *
 * The ring is never put together: a node's points don't depend on the others, and the order in which the ring's walk first
 * meets the nodes is that of the distances from the group's hash to each one's next point. A ring of a thousand nodes
 * would have 400,000 points, for each set of candidates anew.
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
/** Points lie between 0 and this, wrapping around. */
const CIRCUMFERENCE = 2 ** 32;
/** Nodes whose points are remembered, 1.6 kB each. */
const MAX_CACHED_NODES = 8_192;

/** The points of nodes on the ring. Remembers so many; the oldest goes first. */
export class NodePoints {
  readonly #limit: number;
  readonly #known = new Map<string, Uint32Array>();

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Nodes remembered. */
  get size(): number {
    return this.#known.size;
  }

  /** Ascending. */
  of(node: string): Uint32Array {
    const known = this.#known.get(node);
    if (known !== undefined) return known;
    const ring = new HashRing({ [node]: { vnodes: VNODES } }, "md5", { "vnode count": RING_DEFAULT, "max cache size": 1 });
    const points = Uint32Array.from(ring.points([node])[node] ?? []);
    if (this.#known.size >= this.#limit) {
      for (const oldest of this.#known.keys()) {
        this.#known.delete(oldest);
        break;
      }
    }
    this.#known.set(node, points);
    return points;
  }
}

const nodePoints = new NodePoints(MAX_CACHED_NODES);
/** For its hash of groups alone. */
const anyRing = new HashRing({ any: { vnodes: VNODES } }, "md5", { "vnode count": RING_DEFAULT, "max cache size": 1 });

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
  const hash = anyRing.hashValue(group);
  const placed = nodes.map((node) => ({ node, distance: distanceTo(nodePoints.of(node), hash) }));
  // Of points of equal value the ring has that of the lower name first.
  placed.sort((a, b) => a.distance - b.distance || (a.node < b.node ? -1 : 1));
  return placed.map(({ node }) => node);
}

/** From the hash to the next point, itself included. */
function distanceTo(points: Uint32Array, hash: number): number {
  let [low, high] = [0, points.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((points[middle] ?? 0) < hash) low = middle + 1;
    else high = middle;
  }
  const next = points[low];
  return next === undefined ? (points[0] ?? 0) + CIRCUMFERENCE - hash : next - hash;
}
