/**
 * Which of two claims goes on when they meet: a pure function, the same on every node. A claim that a majority witnessed
 * comes before one that a smaller side made for itself, so that what a majority decided, and an owner that never stopped,
 * survives the end of a partition whatever the terms.
 */
import type { ClaimEntry } from "./claims-protocol.ts";
import { hash48 } from "./claim-list.ts";

/** An entry with who made it. */
export interface HeldClaim {
  readonly node: string;
  readonly boot: number;
  /** A `claim` or a `releasing`. */
  readonly entry: ClaimEntry;
}

/** Negative when `a` goes on, positive when `b` does; never 0 for two nodes. For `Array.sort`: the best first. */
export function compareClaims(a: HeldClaim, b: HeldClaim): number {
  const byState = Number(a.entry.state !== "claim") - Number(b.entry.state !== "claim");
  if (byState !== 0) return byState;
  const byWitness = Number(b.entry.witnessed) - Number(a.entry.witnessed);
  if (byWitness !== 0) return byWitness;
  if (a.entry.term !== b.entry.term) return b.entry.term - a.entry.term;
  const byHash = hash48(`${a.entry.address} ${a.node}`) - hash48(`${b.entry.address} ${b.node}`);
  if (byHash !== 0) return byHash;
  return a.node < b.node ? -1 : a.node > b.node ? 1 : 0;
}

/** The better of two claims; undefined stands for none. */
export function betterClaim(a: HeldClaim | undefined, b: HeldClaim | undefined): HeldClaim | undefined {
  if (a === undefined) return b;
  if (b === undefined) return a;
  return compareClaims(a, b) <= 0 ? a : b;
}
