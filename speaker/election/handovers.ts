/**
 * Giving groups to others in an orderly way: the release names the successor, this node goes on answering until it has
 * seen the successor's claim, or for a second.
 *
 * | why | to whom |
 * |---|---|
 * | this node ends | the best successor |
 * | the tables leave it out, or it can announce a part of the group only, and not for want of link-local addresses that are about to come | the best successor; when there is none, what it may not have is released |
 * | `--failback rank`: one that ranks before it is well again | that one |
 * | the groups of two owners merged | the owner of the better claim |
 */
import type { Instant } from "../machine.ts";
import type { LostReason } from "../packet-protocol.ts";
import type { Candidates } from "./candidates.ts";
import type { Deadlines } from "./deadlines.ts";
import { isHeld } from "./group-table.ts";
import type { Group, GroupTable } from "./group-table.ts";
import type { Holder } from "./holder.ts";
import type { PeerLists } from "./peer-lists.ts";
import type { Standing } from "./standing.ts";

/** How long this node answers for what it gives away, if the successor does not claim it before. */
export const HANDOVER_MS = 1000;
/** How long a node must have been alive, ready and settled before it gets a group back, with `--failback rank`. */
export const WELL_FOR_MS = 1000;

export interface HandoversParts {
  readonly failback: "sticky" | "rank";
  readonly candidates: Candidates;
  readonly peers: PeerLists;
  readonly holder: Holder;
  readonly table: GroupTable;
  readonly standing: Standing;
  readonly deadlines: Deadlines;
}

export class Handovers {
  readonly #parts: HandoversParts;
  /** Groups given away in this go, by successor. */
  readonly #given = new Map<string, number>();

  constructor(parts: HandoversParts) {
    this.#parts = parts;
  }

  /** A new input came: what was given before shows in the lists. */
  begin(): void {
    this.#given.clear();
  }

  /** The members changed: with `--failback rank`, one that has been well for a while may get something back. Sets "well <node>". */
  plan(now: Instant): void {
    const { failback, peers, deadlines } = this.#parts;
    if (failback !== "rank") return;
    for (const { node, wellSince } of peers.all()) {
      if (wellSince === undefined || now >= wellSince + WELL_FOR_MS) deadlines.clear(`well ${node}`);
      else deadlines.set(`well ${node}`, wellSince + WELL_FOR_MS);
    }
  }

  /** Decides whether this node keeps a group of which it has the best claim. True when it is giving it away, or gave it up. */
  keep(group: Group, now: Instant): boolean {
    const { candidates, standing, deadlines, table } = this.#parts;
    this.#adopt(group, now);
    if (group.handover !== undefined) {
      this.#lookAfter(group, now);
      return true;
    }
    const to = this.#heir(group, now);
    if (to === "keep") {
      group.unfitSince = undefined;
      deadlines.clear(`unfit ${group.name}`);
      return false;
    }
    if (standing.stopping) return this.#give(group, to, "Stopping", now);
    group.unfitSince ??= now;
    const due = Math.max(group.unfitSince + group.moves.handoverDelayMs(now), (group.isCandidate ? table.linkLocalsBy(group) : undefined) ?? now);
    if (now < due) {
      deadlines.set(`unfit ${group.name}`, due);
      return false;
    }
    return this.#give(group, to ?? candidates.successor(group, this.#given), "NotEligible", now);
  }

  /** Gives what this node holds of the group to `to`. */
  start(group: Group, to: string, now: Instant): void {
    const { holder, deadlines } = this.#parts;
    if (group.handover === undefined) deadlines.set(`handover ${group.name}`, now + HANDOVER_MS);
    group.handover = { to };
    this.#given.set(to, (this.#given.get(to) ?? 0) + 1);
    for (const held of group.held.values()) if (isHeld(held)) holder.handOver(held, to);
  }

  /** There is nothing left to be given. */
  forget(group: Group): void {
    if (group.handover === undefined && group.unfitSince === undefined) return;
    group.handover = undefined;
    group.unfitSince = undefined;
    this.#parts.deadlines.clear(`handover ${group.name}`);
    this.#parts.deadlines.clear(`unfit ${group.name}`);
  }

  /** The deadline "handover <group>" is due: the successor had its time. */
  due(group: Group, now: Instant): void {
    this.#drop(group, this.#parts.standing.stopping ? "Stopping" : "HandedOver", now);
    this.forget(group);
  }

  /** An address that is being handed over came into this group: the whole group goes with it. */
  #adopt(group: Group, now: Instant): void {
    if (group.handover !== undefined) return;
    for (const held of group.held.values()) {
      const to = held.phase === "handingOver" ? this.#parts.holder.claimOn(held)?.entry.successor : undefined;
      if (to === undefined) continue;
      this.start(group, to, now);
      return;
    }
  }

  /** Who should have the group: "keep" this node, undefined nobody. */
  #heir(group: Group, now: Instant): string | undefined {
    const { candidates, standing, failback } = this.#parts;
    if (standing.stopping || !group.isCandidate) return candidates.successor(group, this.#given);
    const missing = [...group.held.values()].some(({ usable }) => usable.length === 0);
    if (missing) {
      const whole = candidates.successor(group, this.#given);
      if (whole !== undefined && candidates.fitness(group, whole) === "first") return whole;
    }
    return (failback === "rank" ? candidates.betterRanked(group, now - WELL_FOR_MS) : undefined) ?? "keep";
  }

  #give(group: Group, to: string | undefined, reason: LostReason, now: Instant): boolean {
    if (to === undefined) {
      this.#drop(group, reason, now);
      this.forget(group);
    } else {
      this.start(group, to, now);
    }
    return true;
  }

  /** The successor may have gone meanwhile: then another gets it, within the same time. */
  #lookAfter(group: Group, now: Instant): void {
    const { candidates, peers } = this.#parts;
    const to = group.handover?.to ?? "";
    if (peers.get(to)?.isPresent === true && peers.get(to)?.isReady === true) return;
    const next = candidates.successor(group, this.#given);
    if (next !== undefined) this.start(group, next, now);
  }

  #drop(group: Group, reason: LostReason, now: Instant): void {
    for (const held of group.held.values()) if (isHeld(held)) this.#parts.holder.lose(held, reason, "released", now);
  }
}
