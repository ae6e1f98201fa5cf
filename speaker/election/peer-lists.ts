/**
 * What the other members claim: a copy of each one's list, kept up to date by steps, whole lists and digests, and an index
 * by address. Whoever is behind asks for the whole list, first the one who told it so, then the owner.
 *
 * A dead member's list is void at once and kept for a minute: a member that comes back confirms it with its first word, or,
 * restarted, is given it back, so that it can resume what nobody took meanwhile.
 */
import type { Instant } from "../machine.ts";
import { betterClaim } from "./claim-order.ts";
import type { HeldClaim } from "./claim-order.ts";
import type { ClaimEntry, ClaimsDigest, ClaimsDropReason, ClaimsOutput, ClaimsUpdate, ElectionMember } from "./claims-protocol.ts";
import type { Deadlines } from "./deadlines.ts";
import { ListCopy } from "./list-copy.ts";
import type { ListChange } from "./list-copy.ts";
import { MAX_STEPS_AHEAD, Peer, VOID_AFTER_MS } from "./peer.ts";
import { PendingLists } from "./pending-lists.ts";
import { GAP_PATIENCE_MS, Pulls } from "./pulls.ts";

/** Owners whose lists are kept. */
export const MAX_OWNERS = 1024;
/** How long the list of a member that is gone is kept. */
export const LIST_KEPT_MS = 60_000;
/** Members that give a restarted one its old list. */
export const GIVERS = 2;
/** A term further ahead of the wall clock is counted: this clock is wrong, or the owner's. */
export const TERM_AHEAD_MS = 86_400_000;

/** What the table of lists tells its owner while it takes something in. */
export interface PeerEvents {
  emit(output: ClaimsOutput): void;
  /** What is claimed of this address, or what hinders it, is different now. */
  touch(address: string): void;
  /** A claim of that term on that address was seen. */
  sawTerm(address: string, term: number): void;
  /** Who may take something is different now: a member, or its facts. */
  changed(): void;
}

export class PeerLists {
  readonly #node: string;
  readonly #wallMs: (now: Instant) => number;
  readonly #deadlines: Deadlines;
  readonly #events: PeerEvents;
  readonly #peers = new Map<string, Peer>();
  readonly #byAddress = new Map<string, Set<Peer>>();
  readonly #pending = new PendingLists();
  readonly #pulls: Pulls;

  constructor(options: { node: string; wallMs: (now: Instant) => number; deadlines: Deadlines; events: PeerEvents }) {
    this.#node = options.node;
    this.#wallMs = options.wallMs;
    this.#deadlines = options.deadlines;
    this.#events = options.events;
    this.#pulls = new Pulls(options.deadlines);
  }

  get(node: string): Peer | undefined {
    return this.#peers.get(node);
  }

  all(): IterableIterator<Peer> {
    return this.#peers.values();
  }

  /** The best claim on the address of those that count now. */
  best(address: string, now: Instant): HeldClaim | undefined {
    let best: HeldClaim | undefined;
    for (const peer of this.#byAddress.get(address) ?? []) best = betterClaim(best, peer.claimOn(address, now));
    return best;
  }

  /** The last word on an address when that was a release with a successor: of a term of at least `term`. */
  lastRelease(address: string, term: number): { readonly owner: string; readonly entry: ClaimEntry } | undefined {
    for (const peer of this.#byAddress.get(address) ?? []) {
      const entry = peer.list?.get(address);
      if (entry === undefined || entry.successor === "" || entry.term < term) continue;
      if (entry.state === "releasing" || entry.state === "released") return { owner: peer.node, entry };
    }
    return undefined;
  }

  /** The highest term that the lists at hand name for the address. */
  highestTerm(address: string): number {
    let highest = 0;
    for (const peer of this.#byAddress.get(address) ?? []) {
      highest = Math.max(highest, peer.list?.get(address)?.term ?? 0, peer.old?.list.get(address)?.term ?? 0);
    }
    return highest;
  }

  /** Takes in who is a member and in what state. Returns whether anything is different. */
  setMembers(members: readonly ElectionMember[], now: Instant): boolean {
    const named = new Set<string>();
    let isDifferent = false;
    for (const member of members) {
      named.add(member.node);
      if (this.#setMember(member, now)) isDifferent = true;
    }
    for (const peer of this.#peers.values()) {
      if (named.has(peer.node)) continue;
      if (peer.state !== "left" && this.#setMember({ node: peer.node, state: "left", damped: peer.damped }, now)) isDifferent = true;
      // What it claimed was forgotten before: nothing keeps it.
      if (peer.list === undefined && peer.old === undefined) this.#peers.delete(peer.node);
    }
    if (isDifferent) this.#events.changed();
    return isDifferent;
  }

  /** Takes an update in. True when it leaves the copy as its owner has it. */
  update(update: ClaimsUpdate, now: Instant): boolean {
    const peer = this.#peers.get(update.owner);
    if (peer === undefined) {
      if (!this.#pending.keep(update, now)) this.#drop("notAMember");
      return false;
    }
    if (update.boot < peer.newestBoot) return this.#drop("oldBoot");
    if (update.boot > peer.newestBoot) this.#newBoot(peer, update.boot, now);
    if (update.base === undefined) return this.#whole(peer, update, now);
    return this.#step(peer, update, now);
  }

  /** Compares. True when the copy is as its owner has it. */
  digest(digest: ClaimsDigest, from: string, now: Instant): boolean {
    const peer = this.#peers.get(digest.owner);
    if (peer === undefined || digest.boot < peer.newestBoot) return false;
    if (digest.boot > peer.newestBoot) this.#newBoot(peer, digest.boot, now);
    const { list } = peer;
    if (list !== undefined && list.boot === digest.boot) {
      if (digest.version < list.version) return false;
      if (digest.version === list.version && digest.hash === list.hash) {
        this.#confirm(peer, now);
        return peer.isUpToDate;
      }
    }
    // A list of the same version that reads differently can only be replaced.
    this.#pulls.isBehind(peer, { boot: digest.boot, version: digest.version, from }, now, GAP_PATIENCE_MS);
    return false;
  }

  /** Somebody asks for the list of `owner`. */
  pulled(from: string, owner: string): void {
    const list = this.#peers.get(owner)?.list;
    // If it is lost, it is asked for again.
    if (list !== undefined) this.#events.emit({ kind: "send", to: from, update: list.toUpdate(), reliable: false });
    const peer = this.#peers.get(from);
    if (peer !== undefined) this.#giveBack(peer);
  }

  /**
   * It missed a beat, or is well again. What counts is when that was noticed, not when it was last heard: what cut this
   * node off may have come in between, and a frame from before that proves nothing.
   */
  suspected(node: string, isSuspected: boolean, now: Instant): void {
    const peer = this.#peers.get(node);
    if (peer === undefined) return;
    if (isSuspected) peer.suspectedSince ??= now;
    // A dead one's is kept: whoever takes over from it must have heard something later.
    else if (peer.isPresent) peer.suspectedSince = undefined;
  }

  /** The deadline "pull <node>" is due. */
  pullDue(node: string, now: Instant): void {
    const peer = this.#peers.get(node);
    const to = peer === undefined ? undefined : this.#pulls.due(peer, now);
    if (to !== undefined) this.#events.emit({ kind: "pull", to, owner: node });
  }

  /** The deadline "void <node>" or "grace <node>" is due: what it claimed, or claimed before its restart, counts no longer. */
  voidDue(node: string): void {
    const peer = this.#peers.get(node);
    if (peer !== undefined) this.#touchHeld(peer);
  }

  /** The deadline "forget <node>" is due. */
  forgetDue(node: string, now: Instant): void {
    const peer = this.#peers.get(node);
    if (peer === undefined) return;
    if (peer.old !== undefined && now >= peer.old.keepUntil) this.#dropOld(peer);
    if (peer.isPresent) return;
    const addresses = [...peer.addresses()];
    peer.list = undefined;
    peer.old = undefined;
    for (const address of addresses) this.#unindex(peer, address);
    if (peer.state === "left") this.#peers.delete(node);
  }

  #setMember(member: ElectionMember, now: Instant): boolean {
    const { node, state, damped } = member;
    if (node === this.#node) return false;
    const peer = this.#peers.get(node);
    if (peer === undefined) {
      if (this.#peers.size >= MAX_OWNERS) {
        this.#drop("tooManyUnknown");
        return false;
      }
      const added = new Peer(member);
      this.#peers.set(node, added);
      if (added.isPresent) this.#arrived(added, now);
      return true;
    }
    if (peer.state === state && peer.damped === damped) return false;
    const wasPresent = peer.isPresent;
    peer.state = state;
    peer.damped = damped;
    this.#noteWell(peer, now);
    if (!wasPresent && peer.isPresent) this.#arrived(peer, now);
    if (wasPresent && !peer.isPresent) {
      this.#touchHeld(peer);
      peer.confirmed = false;
      peer.ahead.clear();
      this.#pulls.forget(peer);
      this.#deadlines.set(`forget ${node}`, now + LIST_KEPT_MS);
    }
    return true;
  }

  #arrived(peer: Peer, now: Instant): void {
    peer.suspectedSince = undefined;
    for (const update of this.#pending.take(peer.node, now)) this.update(update, now);
    if (!peer.isUpToDate) this.#pulls.plan(peer, now, GAP_PATIENCE_MS);
  }

  #whole(peer: Peer, update: ClaimsUpdate, now: Instant): boolean {
    const { list } = peer;
    if (list !== undefined && list.boot === update.boot) {
      if (update.version < list.version) return this.#drop("oldVersion");
      if (update.version === list.version && update.hash === list.hash) {
        this.#confirm(peer, now);
        return peer.isUpToDate;
      }
      this.#applied(peer, update, now, list.replace(update, this.#expectedTerm(now)));
    } else {
      const copy = new ListCopy(update);
      if (list !== undefined) this.#setOld(peer, list, now);
      peer.list = copy;
      this.#applied(peer, update, now, copy.replace(update, this.#expectedTerm(now)));
      this.#giveBack(peer);
    }
    this.#stepsAhead(peer, now);
    return peer.isUpToDate;
  }

  #step(peer: Peer, update: ClaimsUpdate, now: Instant): boolean {
    const base = update.base ?? 0;
    const { list } = peer;
    if (list !== undefined && list.boot === update.boot) {
      if (base === list.version) {
        this.#applied(peer, update, now, list.step(update, this.#expectedTerm(now)));
        this.#stepsAhead(peer, now);
        return peer.isUpToDate;
      }
      // Every step is sent twice: the second one is no news.
      if (update.version <= list.version) return update.version === list.version && update.hash === list.hash && peer.isUpToDate;
    }
    this.#drop("versionGap");
    if (base < update.version && (peer.ahead.has(base) || peer.ahead.size < MAX_STEPS_AHEAD)) peer.ahead.set(base, update);
    this.#pulls.isBehind(peer, { boot: update.boot, version: update.version, from: update.owner }, now, list === undefined ? 0 : GAP_PATIENCE_MS);
    return false;
  }

  /** Applies what came too early and fits now. Each step raises the version, so that this ends. */
  #stepsAhead(peer: Peer, now: Instant): void {
    const { list } = peer;
    if (list === undefined) return;
    for (let next = peer.ahead.get(list.version); next !== undefined; next = peer.ahead.get(list.version)) {
      peer.ahead.delete(list.version);
      if (next.boot !== list.boot || next.version <= list.version) return;
      this.#applied(peer, next, now, list.step(next, this.#expectedTerm(now)));
    }
    for (const base of peer.ahead.keys()) if (base < list.version) peer.ahead.delete(base);
  }

  /** The list took an update in: index, terms, what others should look at, and whether it is still behind. */
  #applied(peer: Peer, update: ClaimsUpdate, now: Instant, { changed, ahead, cut }: ListChange): void {
    const { list } = peer;
    if (list === undefined) return;
    for (const address of changed) {
      const entry = list.get(address);
      if (entry !== undefined && entry.state !== "veto") this.#events.sawTerm(address, entry.term);
      if (list.has(address)) this.#index(peer, address);
      else this.#unindex(peer, address);
      this.#events.touch(address);
    }
    for (let left = ahead; left > 0; left--) this.#drop("termInFuture");
    for (let left = cut; left > 0; left--) this.#drop("tooManyUnknown");
    if (this.#pulls.caughtUp(peer)) this.#events.changed();
    this.#confirm(peer, now);
    // What was cut is missing from the hash; asking again would not help.
    if (list.hash !== update.hash && cut === 0 && update.base !== undefined) this.#pulls.isBehind(peer, { boot: update.boot, version: update.version, from: peer.node }, now, 0);
    this.#factsMayHaveChanged(peer, now);
  }

  #confirm(peer: Peer, now: Instant): void {
    // What comes from a dead member may have been on its way for long.
    if (peer.confirmed || !peer.isPresent || peer.list?.boot !== peer.newestBoot) return;
    peer.confirmed = true;
    this.#noteWell(peer, now); // Facts that came before it was seen alive are no news below.
    this.#touchHeld(peer);
    this.#factsMayHaveChanged(peer, now);
    this.#events.changed();
  }

  #factsMayHaveChanged(peer: Peer, now: Instant): void {
    const facts = peer.list?.facts;
    if (facts === undefined) return;
    const text = `${peer.list?.boot} ${facts.ready} ${facts.fresh} ${facts.settled} ${facts.template}`;
    if (peer.factsLookedAt === text) return;
    peer.factsLookedAt = text;
    if (facts.ready && peer.list?.boot === peer.newestBoot) {
      peer.voidAt = Infinity;
    } else if (peer.voidAt === Infinity) {
      this.#voidSoon(peer, now);
    }
    this.#noteWell(peer, now);
    this.#touchHeld(peer);
    this.#events.changed();
  }

  #noteWell(peer: Peer, now: Instant): void {
    const isWell = peer.state === "alive" && peer.isReady && peer.list?.facts.settled === true && !peer.damped;
    if (!isWell) peer.wellSince = undefined;
    else peer.wellSince ??= now;
  }

  #newBoot(peer: Peer, boot: number, now: Instant): void {
    peer.newestBoot = boot;
    peer.ahead.clear();
    this.#pulls.forget(peer);
    if (peer.list !== undefined && peer.voidAt === Infinity) this.#voidSoon(peer, now);
    this.#events.changed();
  }

  #voidSoon(peer: Peer, now: Instant): void {
    peer.voidAt = now + VOID_AFTER_MS;
    this.#deadlines.set(`void ${peer.node}`, peer.voidAt);
  }

  /** What it had before its restart: it still counts for what is left of its time, if it was alive all along. */
  #setOld(peer: Peer, list: ListCopy, now: Instant): void {
    if (peer.old !== undefined) this.#dropOld(peer);
    const graceUntil = peer.confirmed ? Math.min(peer.voidAt, now + VOID_AFTER_MS) : now;
    peer.old = { list, graceUntil, keepUntil: now + LIST_KEPT_MS, givenBack: false };
    peer.voidAt = Infinity;
    this.#deadlines.set(`grace ${peer.node}`, graceUntil);
    this.#deadlines.set(`forget ${peer.node}`, now + LIST_KEPT_MS);
    for (const address of list.addresses()) this.#events.touch(address);
  }

  #dropOld(peer: Peer): void {
    const { old } = peer;
    peer.old = undefined;
    for (const address of old?.list.addresses() ?? []) this.#unindex(peer, address);
  }

  #giveBack(peer: Peer): void {
    const { old } = peer;
    if (old === undefined || old.givenBack || !this.#isGiver(peer.node)) return;
    old.givenBack = true;
    if (old.list.holding().next().done === true) return;
    this.#events.emit({ kind: "send", to: peer.node, update: old.list.toUpdate(), reliable: true });
  }

  /** A few of the members do it, those whose names follow the restarted one's: a hundred copies would help nobody. */
  #isGiver(node: string): boolean {
    const isBetween = (name: string): boolean => (node < this.#node ? node < name && name < this.#node : name > node || name < this.#node);
    let before = 0;
    for (const peer of this.#peers.values()) if (peer.state === "alive" && peer.node !== node && isBetween(peer.node)) before += 1;
    return before < GIVERS;
  }

  #touchHeld(peer: Peer): void {
    for (const list of [peer.list, peer.old?.list]) {
      if (list === undefined) continue;
      for (const entry of list.holding()) this.#events.touch(entry.address);
    }
  }

  #index(peer: Peer, address: string): void {
    const peers = this.#byAddress.get(address);
    if (peers === undefined) this.#byAddress.set(address, new Set([peer]));
    else peers.add(peer);
  }

  #unindex(peer: Peer, address: string): void {
    if (peer.list?.has(address) === true || peer.old?.list.has(address) === true) return;
    const peers = this.#byAddress.get(address);
    peers?.delete(peer);
    if (peers?.size === 0) this.#byAddress.delete(address);
  }

  #expectedTerm(now: Instant): number {
    return this.#wallMs(now) + TERM_AHEAD_MS;
  }

  #drop(reason: ClaimsDropReason): false {
    this.#events.emit({ kind: "dropped", reason });
    return false;
  }
}
