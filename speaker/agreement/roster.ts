/**
 * Who is in the cluster, as membership and the API's pods tell: the members, which of them are Herald's, who flaps, and
 * whose majority witnesses a claim. Plain bookkeeping: no outputs, no deadlines but the end of damping.
 */

import type { WatchedPeer } from "../detection/detection-protocol.ts";
import type { ElectionMember } from "../election/claims-protocol.ts";
import type { Instant } from "../machine.ts";
import type { ExpectedPeer, Member } from "../membership/membership-protocol.ts";
import { ReplayWindow } from "./replay-window.ts";

/** Marks a Herald member in memberlist's meta, which is set at start and never again: each change would make MetalLB speakers announce everything anew. */
export const HERALD_META: Uint8Array = new TextEncoder().encode("herald/2");

/** Deaths within DAMPING_WINDOW_MS that make a node a flapping one. */
export const DAMPED_AFTER_DEATHS = 3;
export const DAMPING_WINDOW_MS = 120_000;
/** A member that has been gone for longer, and whose pod is not listed, is forgotten when a new one comes: nodes may come and go for years. */
export const GONE_KEPT_MS = DAMPING_WINDOW_MS;

interface Known {
  member: Member;
  readonly isHerald: boolean;
  /** Boot id of the messages that came last. */
  boot: number;
  window: ReplayWindow;
  deaths: Instant[];
  /** Since when it has been dead, or has left. */
  goneSince: Instant | undefined;
  /** When it was last answered although it is taken for dead. */
  answeredAt: Instant;
}

/** Between two answers to a member that is taken for dead: two that take each other for dead must not talk without end. */
export const ANSWER_DEAD_INTERVAL_MS = 50;

export class Roster {
  readonly #node: string;
  readonly #known = new Map<string, Known>();
  readonly #nodeByAddress = new Map<string, string>();
  #expected: readonly ExpectedPeer[] = [];
  /** Kept until a member changes: it is asked for with each message. */
  #reachable: readonly WatchedPeer[] | undefined;
  #dampedUntil: Instant | undefined;

  constructor(node: string) {
    this.#node = node;
  }

  /** When a damped node may be damped no more. */
  get dampedUntil(): Instant | undefined {
    return this.#dampedUntil;
  }

  setExpected(peers: readonly ExpectedPeer[]): void {
    this.#expected = peers;
  }

  /** Takes a change of a member in. */
  setMember(member: Member, now: Instant): void {
    this.#reachable = undefined;
    const known = this.#known.get(member.node);
    if (known === undefined) this.#forgetGone(now);
    this.#moveTo(member, known?.member.endpoint.address);
    const isHerald = isHeraldMeta(member.meta);
    const goneSince = isPresent(member) ? undefined : (known?.goneSince ?? now);
    if (known === undefined) {
      this.#known.set(member.node, { member, isHerald, boot: 0, window: new ReplayWindow(), deaths: [], goneSince, answeredAt: -Infinity });
      return;
    }
    if (member.state === "dead" && known.member.state !== "dead") known.deaths = [...known.deaths, now].slice(-DAMPED_AFTER_DEATHS);
    // What a node is can change with its program: a MetalLB speaker may be replaced by ours.
    this.#known.set(member.node, { ...known, member, isHerald, goneSince });
  }

  member(node: string): Member | undefined {
    return this.#known.get(node)?.member;
  }

  /** Whether it is alive or suspect, whatever program it runs. */
  isPresent(node: string): boolean {
    return this.#known.get(node)?.goneSince === undefined && this.#known.has(node);
  }

  /** Whether a member that was just heard is taken for dead, and should be told at once what it missed. */
  shouldTellDead(node: string, now: Instant): boolean {
    const known = this.#known.get(node);
    if (known === undefined || known.member.state !== "dead" || now < known.answeredAt + ANSWER_DEAD_INTERVAL_MS) return false;
    known.answeredAt = now;
    return true;
  }

  /** The boot id of a later start of that member than this one, if it should be told of that now: its clock was set back. */
  laterBoot(node: string, boot: number, now: Instant): number | undefined {
    const known = this.#known.get(node);
    if (known === undefined || boot >= known.boot || now < known.answeredAt + ANSWER_DEAD_INTERVAL_MS) return undefined;
    known.answeredAt = now;
    return known.boot;
  }

  isHerald(node: string): boolean {
    return this.#known.get(node)?.isHerald ?? false;
  }

  nodeAt(address: string): string | undefined {
    return this.#nodeByAddress.get(address);
  }

  /** Herald members that are alive or suspect, this node left out: those that are beaten to and told of claims. */
  reachable(): readonly WatchedPeer[] {
    if (this.#reachable !== undefined) return this.#reachable;
    const peers: WatchedPeer[] = [];
    for (const { member, isHerald } of this.#known.values()) {
      if (isHerald && isPresent(member)) peers.push({ node: member.node, address: member.endpoint.address });
    }
    this.#reachable = peers;
    return peers;
  }

  /**
   * Addresses of nodes whose kernels can tell this one that it hears its segment, at most `count`: of members that live,
   * chosen by `pick`; then of those that are gone, the last ones first; then of listed pods that are no such members. Of two
   * speakers the other's node is all there is, when its process has ended, and also when it was never met.
   */
  segmentWitnesses(count: number, pick: <T>(list: readonly T[], count: number) => readonly T[]): string[] {
    const gone = [...this.#known.values()].filter(({ isHerald, goneSince }) => isHerald && goneSince !== undefined);
    gone.sort((a, b) => (b.goneSince ?? 0) - (a.goneSince ?? 0));
    const addresses = new Set(pick(this.reachable(), count).map(({ address }) => address));
    for (const { member } of gone) addresses.add(member.endpoint.address);
    for (const { address } of this.#expected) addresses.add(address);
    return [...addresses].slice(0, count);
  }

  /** All Herald members but this node, for the election. */
  electionMembers(now: Instant): ElectionMember[] {
    this.#dampedUntil = undefined;
    const members: ElectionMember[] = [];
    for (const { member, isHerald, deaths } of this.#known.values()) {
      if (!isHerald) continue;
      const oldest = deaths.length < DAMPED_AFTER_DEATHS ? undefined : deaths[0];
      const damped = oldest !== undefined && now < oldest + DAMPING_WINDOW_MS;
      if (damped) this.#dampedUntil = Math.min(this.#dampedUntil ?? Infinity, oldest + DAMPING_WINDOW_MS);
      members.push({ node: member.node, state: member.state, damped });
    }
    return members;
  }

  /**
   * Nodes that should be there: a majority of them witnesses a claim. The API's pods and this node, and members that
   * neither left nor were taken off the API's list. A dead one stays in as long as its pod is listed: those that are cut
   * off must not become a majority by forgetting the others.
   */
  witnesses(): string[] {
    const nodes = new Set([this.#node]);
    const listed = new Set(this.#expected.map(({ node }) => node));
    for (const node of listed) if (this.#known.get(node)?.member.state !== "left") nodes.add(node);
    for (const [node, { member, isHerald }] of this.#known) {
      if (!isHerald || member.state === "left") continue;
      if (member.state !== "dead" || listed.size === 0 || listed.has(node)) nodes.add(node);
    }
    return [...nodes];
  }

  /**
   * Judges the header of a message: "fresh" is the newest of its sender's, "late" was overtaken by another, "replayed" was
   * seen before or comes from an earlier start of the sender.
   */
  judge(sender: string, boot: number, sequence: number): "fresh" | "late" | "replayed" | "stranger" {
    const known = this.#known.get(sender);
    if (known === undefined || !known.isHerald) return "stranger";
    if (boot < known.boot) return "replayed";
    if (boot > known.boot) {
      known.boot = boot;
      known.window = new ReplayWindow();
    }
    const highest = known.window.highest;
    if (!known.window.take(sequence)) return "replayed";
    return sequence > highest ? "fresh" : "late";
  }

  /** Notes where the member is. What a node has left may be another's by now, and what a dead one had is whoever's lives there. */
  #moveTo({ node, endpoint, state }: Member, before: string | undefined): void {
    if (before !== undefined && before !== endpoint.address && this.#nodeByAddress.get(before) === node) this.#nodeByAddress.delete(before);
    const other = this.member(this.#nodeByAddress.get(endpoint.address) ?? node);
    const isTaken = other !== undefined && other.node !== node && isPresent(other);
    if (!isTaken || isPresent({ state })) this.#nodeByAddress.set(endpoint.address, node);
  }

  #forgetGone(now: Instant): void {
    const listed = new Set(this.#expected.map(({ node }) => node));
    // Without a list nobody knows who is gone for good.
    if (listed.size === 0) return;
    for (const [node, { member, goneSince }] of this.#known) {
      if (goneSince === undefined || now - goneSince <= GONE_KEPT_MS || listed.has(node)) continue;
      this.#known.delete(node);
      if (this.#nodeByAddress.get(member.endpoint.address) === node) this.#nodeByAddress.delete(member.endpoint.address);
    }
  }
}

function isPresent({ state }: Pick<Member, "state">): boolean {
  return state === "alive" || state === "suspect";
}

function isHeraldMeta(meta: Uint8Array): boolean {
  return meta.length === HERALD_META.length && meta.every((byte, at) => byte === HERALD_META[at]);
}
