/**
 * Who beats to whom. Up to MAX_ALL_PAIRS members everybody observes everybody. In larger clusters each is observed by the
 * OBSERVERS that follow it on a ring of hashes of their names: nodes that know the same members compute the same ring,
 * and a member that comes or goes changes the observers of its OBSERVERS predecessors only, one each.
 * Pure.
 */

/** Members, this node included, up to which all observe all. */
export const MAX_ALL_PAIRS = 16;
/** Observers of a member in a larger cluster. */
export const OBSERVERS = 8;

/** The members in the order of the ring, each once. */
export type ObserverRing = readonly string[];

/** Puts the members (this node included, in any order, perhaps twice) on the ring. */
export function observerRing(members: Iterable<string>): ObserverRing {
  return [...new Set(members)]
    .map((node) => ({ node, at: ringPosition(node) }))
    .sort((a, b) => a.at - b.at || (a.node < b.node ? -1 : 1))
    .map(({ node }) => node);
}

/** Those that `node` beats to. Empty when it is not on the ring. */
export function observersOf(node: string, ring: ObserverRing): readonly string[] {
  return neighbours(node, ring, 1);
}

/** Those that beat to `node`: the same relation, seen from the other side. */
export function observedBy(node: string, ring: ObserverRing): readonly string[] {
  return neighbours(node, ring, -1);
}

function neighbours(node: string, ring: ObserverRing, direction: 1 | -1): readonly string[] {
  const at = ring.indexOf(node);
  if (at < 0) return [];
  const count = ring.length <= MAX_ALL_PAIRS ? ring.length - 1 : OBSERVERS;
  return Array.from({ length: count }, (_, step) => ring.at((at + direction * (step + 1)) % ring.length) ?? "");
}

/** FNV-1a over UTF-16 units, then MurmurHash3's finalizer, as names that differ in the last digit only would lie side by side otherwise. 32 bits. */
function ringPosition(node: string): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < node.length; index++) hash = Math.imul(hash ^ node.charCodeAt(index), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
