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

interface Known {
  member: Member;
  readonly isHerald: boolean;
  /** Boot id of the messages that came last. */
  boot: number;
  window: ReplayWindow;
  deaths: Instant[];
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
    if (known !== undefined) this.#nodeByAddress.delete(known.member.endpoint.address);
    this.#nodeByAddress.set(member.endpoint.address, member.node);
    if (known === undefined) {
      this.#known.set(member.node, { member, isHerald: isHeraldMeta(member.meta), boot: 0, window: new ReplayWindow(), deaths: [], answeredAt: -Infinity });
      return;
    }
    if (member.state === "dead" && known.member.state !== "dead") known.deaths = [...known.deaths, now].slice(-DAMPED_AFTER_DEATHS);
    // What a node is can change with its program: a MetalLB speaker may be replaced by ours.
    this.#known.set(member.node, { ...known, member, isHerald: isHeraldMeta(member.meta) });
  }

  member(node: string): Member | undefined {
    return this.#known.get(node)?.member;
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
      if (isHerald && (member.state === "alive" || member.state === "suspect")) peers.push({ node: member.node, address: member.endpoint.address });
    }
    this.#reachable = peers;
    return peers;
  }

  /** Herald members that are dead or left: their kernels may still answer. */
  gone(): WatchedPeer[] {
    return [...this.#known.values()].flatMap(({ member, isHerald }) => (isHerald && (member.state === "dead" || member.state === "left") ? [{ node: member.node, address: member.endpoint.address }] : []));
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
}

function isHeraldMeta(meta: Uint8Array): boolean {
  return meta.length === HERALD_META.length && meta.every((byte, at) => byte === HERALD_META[at]);
}
