/**
 * The order in which MetalLB's layer 2 elects among the usable nodes of an address, hash for hash, so that speakers of
 * both programs draw the same conclusion (`--election metallb`). Pure; without memory: whoever is first, leads.
 */
import { createHash } from "node:crypto";
import type { Candidate } from "../packet-protocol.ts";
import { compareText } from "./eligibility.ts";

/**
 * Nodes in the order in which they should announce, best first: by score, highest first, then by the bytes of
 * sha256(node "#" address), lowest first.
 * Shape: each node once; a node named twice counts with its highest score.
 * @param address text of the group's first address, as RFC 5952 writes it.
 */
export function metallbRank(address: string, candidates: readonly Candidate[]): string[] {
  const scores = new Map<string, number>();
  for (const { node, score } of candidates) scores.set(node, Math.max(score, scores.get(node) ?? score));
  return [...scores]
    // Lower-case hexadecimal text sorts as its bytes do.
    .map(([node, score]) => ({ node, score, hash: createHash("sha256").update(`${node}#${address}`).digest("hex") }))
    .sort((a, b) => b.score - a.score || compareText(a.hash, b.hash))
    .map(({ node }) => node);
}
