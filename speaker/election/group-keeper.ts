/**
 * Looks at one group and does what follows: who has the best claim on it, and is this node to take it, keep it, give it
 * to somebody, or leave it alone. Every event ends in looking at the groups that it touched; a group may be looked at any
 * number of times.
 *
 * | the best claim is | then |
 * |---|---|
 * | another's | what this node holds of it goes there; an owner that does not know it may no longer have it is displaced |
 * | this node's | the rest of the group is taken too; it is handed over when this node is no fit owner, or ends |
 * | another's that gives it away, or nobody's | it is taken in order of rank, 30 ms apart, unless a release names the next |
 */
import type { Instant } from "../machine.ts";
import type { OwnReason } from "../packet-protocol.ts";
import { betterClaim, compareClaims } from "./claim-order.ts";
import type { HeldClaim } from "./claim-order.ts";
import type { Candidates } from "./candidates.ts";
import { isHeld } from "./group-table.ts";
import type { Group, GroupTable, Held } from "./group-table.ts";
import type { Handovers } from "./handovers.ts";
import { provingInterfaces } from "./hearing.ts";
import type { Hearing } from "./hearing.ts";
import type { Holder, HolderParts } from "./holder.ts";
import { MAX_STEPS, PLACEMENT_GRACE_MS, TAKE_STEP_MS } from "./placement.ts";
import type { Restart } from "./restart.ts";

/** How long a release that names its successor keeps others from taking it. */
export const RELEASE_HOLDS_MS = 300;
/** How long nobody has to answer on a segment apart from the nodes' own until whoever hears a majority takes what is free there. */
export const UNANSWERED_MS = 1000;
/** How long to wait for another owner of a merged group to hand its part over. */
export const MERGE_PATIENCE_MS = 1000;

export interface KeeperParts extends HolderParts {
  readonly table: GroupTable;
  readonly hearing: Hearing;
  readonly holder: Holder;
  readonly candidates: Candidates;
  readonly handovers: Handovers;
  readonly restart: Restart;
}

export class GroupKeeper {
  readonly #parts: KeeperParts;
  /** Groups for which it matters who else is fit: whenever a member changes, they are looked at. */
  readonly watched = new Set<Group>();
  /** Addresses on which others made worse claims, by who: they are to be told of ours. */
  readonly contested = new Map<string, string[]>();

  constructor(parts: KeeperParts) {
    this.#parts = parts;
  }

  /** Looks at the group and does what follows. */
  look(group: Group, now: Instant): void {
    const { table, node, hearing, holder, deadlines } = this.#parts;
    table.refresh(group);
    // Addresses may have come from another group, or gone to one.
    if (group.holds > 0) holder.groups.add(group);
    else holder.groups.delete(group);
    let best: HeldClaim | undefined;
    for (const held of group.held.values()) best = betterClaim(best, this.#lookAt(held, now));
    this.#noteOwner(group, best?.node, now);
    // Somebody else has it since: what this node had before its restart is over.
    if (best !== undefined && best.node !== node) this.#parts.restart.done(group);
    const isFree = best === undefined || (best.node !== node && best.entry.state === "releasing");
    if (!isFree || group.held.size === 0) this.#stopTaking(group);
    if (best?.node !== node || best.entry.state !== "claim" || group.held.size === 0) group.mergeSince = undefined;
    if (isFree && group.holds === 0) this.#take(group, now);
    else if (isFree || best?.node === node) this.#keep(group, now);
    else if (best !== undefined) this.#respect(group, best, now);
    this.#block(group);
    const isWatched = group.held.size > 0 && ((isFree && group.owner !== node) || group.handover !== undefined || group.unfitSince !== undefined || this.#isDoubtful(group));
    if (isWatched) this.watched.add(group);
    else this.watched.delete(group);
    // What another has, for all others the most, is likely to stay there.
    if (!isWatched && group.owner !== node) group.dropOrder();
    if (group.held.size > 0) return;
    hearing.stop(group);
    for (const name of ["take", "displace", "merge", "handover", "unfit"]) deadlines.clear(`${name} ${group.name}`);
  }

  /** Its interfaces, and whose claims meet there. Returns the best one. */
  #lookAt(held: Held, now: Instant): HeldClaim | undefined {
    const { peers, holder, standing, table } = this.#parts;
    const { isCandidate } = held.group;
    const isVeto = held.usable.length === 0 && isCandidate && standing.ready;
    // An owner that is left out of the tables has no interfaces there either; it hands over on those that it has.
    const canAnnounce = held.usable.length > 0 || (!isCandidate && table.isUp(held.announced));
    if (isHeld(held) && !canAnnounce) holder.lose(held, "NoUsableInterface", isVeto ? "veto" : "released", now);
    holder.setVeto(held, isVeto);
    const mine = holder.claimOn(held);
    const theirs = peers.best(held.row.address, now);
    if (mine === undefined || theirs === undefined) return mine ?? theirs;
    if (compareClaims(theirs, mine) < 0) {
      // A term beyond the winner's may be known to nobody else yet: the record makes the claims after this one grow beyond it.
      const isHandedOver = held.phase === "handingOver";
      holder.lose(held, isHandedOver ? "HandedOver" : "BetterClaim", !isHandedOver && mine.entry.term > theirs.entry.term ? "released" : "nothing", now);
      return theirs;
    }
    if (theirs.entry.state === "claim") this.#contest(held, theirs);
    return mine;
  }

  /** Somebody else announces what is this node's: it is told, and the segment too. */
  #contest(held: Held, { node, boot, entry }: HeldClaim): void {
    const key = `${node} ${boot} ${entry.term}`;
    if (held.contested === key || this.#parts.peers.get(node)?.newestBoot !== boot) return;
    held.contested = key;
    this.#parts.emit({ kind: "reannounce", address: held.row.address });
    const addresses = this.contested.get(node);
    if (addresses === undefined) this.contested.set(node, [held.row.address]);
    else addresses.push(held.row.address);
  }

  #noteOwner(group: Group, owner: string | undefined, now: Instant): void {
    const before = group.owner;
    if (owner === before) return;
    const { candidates, node, peers } = this.#parts;
    group.owner = owner;
    candidates.ownerChanged(before, owner);
    group.displaceSince = undefined;
    if (owner === undefined) {
      group.lostOwner = before;
      return;
    }
    group.lostOwner = undefined;
    const wasThere = before !== undefined && (before === node || peers.get(before)?.isPresent === true);
    if (wasThere) group.moves.note(now);
  }

  /** Nobody has it, or its owner gives it away. */
  #take(group: Group, now: Instant): void {
    const { standing, candidates, restart, deadlines, handovers } = this.#parts;
    handovers.forget(group);
    const isAble = standing.canClaim && candidates.fitness(group, this.#parts.node) !== "out";
    if (!isAble) {
      this.#stopTaking(group);
      if (standing.canClaim) restart.giveUp(group, now);
      return;
    }
    group.freeSince ??= now;
    const { due, reason } = this.#turn(group, group.freeSince, now);
    if (now < due) {
      deadlines.set(`take ${group.name}`, due);
      return;
    }
    deadlines.clear(`take ${group.name}`);
    this.#claim(group, [...group.held.values()], reason, now);
  }

  /** When it is this node's turn to take it, and why. */
  #turn(group: Group, freeSince: Instant, now: Instant): { due: Instant; reason: OwnReason } {
    const { candidates, restart, peers, node } = this.#parts;
    if (restart.has(group)) return { due: now, reason: "Resumed" };
    const position = Math.min(candidates.position(group), MAX_STEPS);
    // Of a new address the first in rank may simply not have heard yet: the API server tells one node after another.
    const grace = group.lostOwner === undefined && position > 0 ? PLACEMENT_GRACE_MS : 0;
    const due = freeSince + grace + position * TAKE_STEP_MS;
    const release = this.#lastRelease(group, now);
    if (release?.successor === node) return { due: now, reason: "HandedOver" };
    const { lostOwner } = group;
    const lost = lostOwner === undefined ? undefined : peers.get(lostOwner);
    const reason = lostOwner === undefined || lostOwner === node || lost?.isReady === true ? "FirstInRank" : "OwnerDead";
    if (release === undefined || candidates.fitness(group, release.successor) === "out") return { due, reason };
    return { due: Math.max(due, release.at + RELEASE_HOLDS_MS + position * TAKE_STEP_MS), reason: "FirstInRank" };
  }

  /** The last word on the group, if that was a release to somebody; one to this node comes first. */
  #lastRelease(group: Group, now: Instant): { successor: string; at: Instant } | undefined {
    const { peers, terms, node } = this.#parts;
    let found: { owner: string; successor: string; term: number } | undefined;
    for (const address of group.held.keys()) {
      const release = peers.lastRelease(address, terms.get(address));
      if (release === undefined || found?.successor === node) continue;
      if (found === undefined || release.entry.successor === node) found = { owner: release.owner, successor: release.entry.successor, term: release.entry.term };
    }
    if (found === undefined) return undefined;
    const key = `${found.owner} ${found.term}`;
    if (group.release?.key !== key) group.release = { key, at: now };
    return { successor: found.successor, at: group.release.at };
  }

  /** Claims what can be announced of it, as soon as this node has heard something on the segment. */
  #claim(group: Group, helds: readonly Held[], reason: OwnReason, now: Instant): void {
    const { hearing, holder, restart } = this.#parts;
    const able = helds.filter(({ usable }) => usable.length > 0);
    if (!this.#hasHeard(group, able, now)) return;
    hearing.stop(group);
    group.freeSince = undefined;
    group.displaceSince = undefined;
    for (const held of able) holder.claim(held, reason, now);
    restart.done(group);
    this.#noteOwner(group, this.#parts.node, now);
  }

  /**
   * A takeover needs a frame that is younger than the suspicion of the dead owner; else the segment is asked. On one that the
   * nodes do not reach each other by there may be nobody who answers: then those that hear a majority go without, in order.
   */
  #hasHeard(group: Group, helds: readonly Held[], now: Instant): boolean {
    const { standing, hearing, peers, deadlines } = this.#parts;
    if (standing.isAlone) return true;
    if (helds.some(({ usable }) => !hearing.isTrusted(provingInterfaces(usable), now))) return false;
    const lost = group.lostOwner === undefined ? undefined : peers.get(group.lostOwner);
    const since = lost === undefined || lost.isPresent ? -Infinity : (lost.suspectedSince ?? -Infinity);
    const deaf = helds.filter(({ usable }) => !hearing.heard(provingInterfaces(usable), since, now));
    if (deaf.length === 0) return true;
    const silent = deaf.flatMap(({ usable }) => provingInterfaces(usable));
    hearing.wait(group, silent, now);
    if (!standing.isWitnessed || silent.some(({ isNodeInterface }) => isNodeInterface === true)) return false;
    const due = (group.waitsToHearSince ?? now) + UNANSWERED_MS + this.#inLineMs(group);
    if (now < due) deadlines.set(`take ${group.name}`, due);
    return now >= due;
  }

  /** How long those that come before this node have to go first. */
  #inLineMs(group: Group): number {
    return Math.min(this.#parts.candidates.position(group), MAX_STEPS) * TAKE_STEP_MS;
  }

  #stopTaking(group: Group): void {
    group.freeSince = undefined;
    this.#parts.deadlines.clear(`take ${group.name}`);
    if (group.displaceSince === undefined && group.mergeSince === undefined) this.#parts.hearing.stop(group);
  }

  /** The best claim is this node's. */
  #keep(group: Group, now: Instant): void {
    const { holder, handovers, standing } = this.#parts;
    if (handovers.keep(group, now) || standing.stopping) return;
    for (const held of group.held.values()) holder.refresh(held);
    this.#merge(group, now);
  }

  /** The rest of a group of which this node has the best claim comes here: at once when it is free, else when it is given. */
  #merge(group: Group, now: Instant): void {
    const { peers, node, hearing, deadlines } = this.#parts;
    const missing = [...group.held.values()].filter((held) => !isHeld(held) && held.usable.length > 0);
    if (missing.length === 0) {
      group.mergeSince = undefined;
      hearing.stop(group);
      return;
    }
    const taken = (held: Held): HeldClaim | undefined => peers.best(held.row.address, now);
    const isGiven = (held: Held): boolean => {
      const theirs = taken(held)?.entry;
      return theirs === undefined || (theirs.state === "releasing" && theirs.successor === node);
    };
    const rest = missing.filter((held) => !isGiven(held));
    group.mergeSince = rest.length === 0 ? undefined : (group.mergeSince ?? now);
    const due = (group.mergeSince ?? now) + MERGE_PATIENCE_MS;
    const able = now >= due ? missing : missing.filter(isGiven);
    if (able.length > 0) this.#claim(group, able, "GroupMerged", now);
    if (rest.length > 0 && now < due) deadlines.set(`merge ${group.name}`, due);
  }

  /** Another has it. */
  #respect(group: Group, best: HeldClaim, now: Instant): void {
    const { handovers, deadlines, candidates, standing, hearing, node } = this.#parts;
    if (group.holds > 0) handovers.start(group, best.node, now);
    else handovers.forget(group);
    const mayDisplace = this.#isDoubtful(group) && standing.fresh && standing.canClaim && candidates.fitness(group, node) !== "out";
    if (!mayDisplace) {
      group.displaceSince = undefined;
      hearing.stop(group);
      deadlines.clear(`displace ${group.name}`);
      return;
    }
    group.displaceSince ??= now;
    // The first in line may have its share already, or know no better than the owner: then the next one does it.
    const due = group.displaceSince + group.moves.displaceDelayMs(now) + this.#inLineMs(group);
    if (now < due) deadlines.set(`displace ${group.name}`, due);
    else this.#claim(group, [...group.held.values()], "OwnerNotFresh", now);
  }

  /** Its owner lives, but may not announce it any more, and can't know. */
  #isDoubtful(group: Group): boolean {
    if (group.owner === undefined || group.owner === this.#parts.node || group.scores.has(group.owner)) return false;
    const owner = this.#parts.peers.get(group.owner);
    return owner?.state === "alive" && owner.list?.facts.fresh === false;
  }

  /** Says which addresses this node would announce, but for an interface. */
  #block(group: Group): void {
    const { standing, candidates, emit, node } = this.#parts;
    let mayHave: boolean | undefined;
    for (const held of group.held.values()) {
      if (isHeld(held)) continue;
      const isDeaf = held.usable.length === 0 && group.isCandidate && standing.canClaim;
      if (isDeaf) mayHave ??= group.owner === node || (group.owner === undefined && candidates.isFirstButForInterfaces(group));
      if (!isDeaf || mayHave !== true) {
        if (held.phase !== "blocked") continue;
        held.phase = "idle";
        held.blockedFor = undefined;
        emit({ kind: "lost", address: held.row.address, reason: "NotFirstInRank" });
        continue;
      }
      const { address, interfaces: wanted } = held.row;
      if (held.phase === "blocked" && String(held.blockedFor) === String(wanted)) continue;
      held.phase = "blocked";
      held.blockedFor = wanted;
      emit({ kind: "blocked", address, wanted });
    }
  }
}
