/**
 * Lists of candidates, one copy for all rows that have the same: each row comes from the main thread with a copy of its own,
 * and in a cluster of a thousand nodes ten thousand of them would take a gigabyte.
 */
import type { AddressRow, Candidate } from "../packet-protocol.ts";

/** Different lists that are remembered. The oldest goes first, and what has it keeps it. */
export const MAX_SHARED_LISTS = 64;

/** A list, and the highest score of each node on it. */
export interface CandidateList {
  readonly candidates: readonly Candidate[];
  readonly scores: ReadonlyMap<string, number>;
}

export const NO_CANDIDATES: CandidateList = { candidates: [], scores: new Map() };

export class CandidateLists {
  #lists: CandidateList[] = [];

  /** The one copy of the list. */
  of(candidates: readonly Candidate[]): CandidateList {
    const known = this.#lists.find((list) => sameCandidates(list.candidates, candidates));
    if (known !== undefined) return known;
    const list = { candidates, scores: highestScores(candidates) };
    if (this.#lists.length >= MAX_SHARED_LISTS) this.#lists.shift();
    this.#lists.push(list);
    return list;
  }

  /** The row with the one copy in place of its own. */
  share(row: AddressRow): AddressRow {
    const { candidates } = this.of(row.candidates);
    return candidates === row.candidates ? row : { ...row, candidates };
  }
}

export function sameCandidates(a: readonly Candidate[], b: readonly Candidate[]): boolean {
  return a === b || (a.length === b.length && a.every(({ node, score }, index) => node === b[index]?.node && score === b[index]?.score));
}

function highestScores(candidates: readonly Candidate[]): ReadonlyMap<string, number> {
  const scores = new Map<string, number>();
  for (const { node, score } of candidates) scores.set(node, Math.max(score, scores.get(node) ?? score));
  return scores;
}
