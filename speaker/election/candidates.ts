/** Who is fit to have a group, as this node sees it: facts of the members and of itself, put to the formulas of `placement.ts`. */
import type { Group, GroupTable } from "./group-table.ts";
import type { Holder } from "./holder.ts";
import type { PeerLists } from "./peer-lists.ts";
import { capOf, positionOf, successorOf } from "./placement.ts";
import type { Fitness, PlacementQuestion } from "./placement.ts";
import type { Standing } from "./standing.ts";

export interface CandidatesParts {
  readonly node: string;
  readonly template: string;
  readonly peers: PeerLists;
  readonly table: GroupTable;
  readonly standing: Standing;
  readonly holder: Holder;
}

export class Candidates {
  readonly #parts: CandidatesParts;
  /** Groups by their owner. */
  readonly #owned = new Map<string, number>();

  constructor(parts: CandidatesParts) {
    this.#parts = parts;
  }

  /** A group has another owner. */
  ownerChanged(before: string | undefined, after: string | undefined): void {
    if (before !== undefined) this.#owned.set(before, this.#ownedBy(before) - 1);
    if (after !== undefined) this.#owned.set(after, this.#ownedBy(after) + 1);
  }

  /** What a node is good for, this one included. One that can announce a part only comes last. */
  fitness(group: Group, node: string): Fitness {
    const { peers, standing } = this.#parts;
    if (!group.scores.has(node)) return "out";
    if (node === this.#parts.node) {
      if (!standing.ready || standing.stopping) return "out";
      return fitnessOf(count(group, ({ usable }) => usable.length === 0), group.held.size, false);
    }
    const peer = peers.get(node);
    if (peer === undefined || !peer.isPresent || !peer.isReady) return "out";
    const vetoes = (peer.list?.vetoes ?? 0) === 0 ? 0 : count(group, ({ row }) => peer.hasVeto(row.address));
    return fitnessOf(vetoes, group.held.size, peer.state === "suspect" || peer.damped);
  }

  /** How many come before this node. */
  position(group: Group): number {
    const { node, holder } = this.#parts;
    return positionOf(node, holder.groups.size >= this.#cap(group), this.#question(group));
  }

  /** Whether nobody would come before this node if it had its interfaces. */
  isFirstButForInterfaces(group: Group): boolean {
    const { node } = this.#parts;
    return positionOf(node, false, { ...this.#question(group), fitness: (other) => (other === node ? "first" : this.fitness(group, other)) }) === 0;
  }

  /** Who is to get what this node gives up. `given`: what was given in the same go, by node. */
  successor(group: Group, given: ReadonlyMap<string, number>): string | undefined {
    const { node, template, peers } = this.#parts;
    const cap = this.#cap(group);
    return successorOf(node, {
      ...this.#question(group),
      ownTemplate: template,
      template: (other) => peers.get(other)?.list?.facts.template ?? "",
      atCap: (other) => this.#ownedBy(other) + (given.get(other) ?? 0) >= cap,
    });
  }

  /** A fit node that ranks before this one and has been well since `wellBefore` or longer: it may have the group back. */
  betterRanked(group: Group, wellBefore: number): string | undefined {
    for (const other of group.order) {
      if (other === this.#parts.node) return undefined;
      if (this.fitness(group, other) !== "first") continue;
      const since = this.#parts.peers.get(other)?.wellSince;
      if (since !== undefined && since <= wellBefore) return other;
    }
    return undefined;
  }

  #question(group: Group): PlacementQuestion {
    return { order: group.order, scores: group.scores, fitness: (other) => this.fitness(group, other) };
  }

  /** The share of this node's groups is taken over those that are fit for this one: those that are not can't take theirs. */
  #cap(group: Group): number {
    let fit = 0;
    for (const other of group.scores.keys()) if (this.fitness(group, other) !== "out") fit += 1;
    return capOf(this.#parts.table.candidateGroups, fit);
  }

  #ownedBy(node: string): number {
    return this.#owned.get(node) ?? 0;
  }
}

function fitnessOf(missing: number, all: number, isDoubtful: boolean): Fitness {
  if (missing === all) return "out";
  return missing > 0 || isDoubtful ? "last" : "first";
}

function count<T>(group: { readonly held: ReadonlyMap<string, T> }, isOne: (held: T) => boolean): number {
  let found = 0;
  for (const held of group.held.values()) if (isOne(held)) found += 1;
  return found;
}
