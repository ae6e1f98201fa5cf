/**
 * When to ask for a whole list: as soon as a copy is known to be behind, with a little patience for what was only
 * overtaken, and ever more rarely while nobody answers. First whoever told that there is more is asked, then the owner.
 */
import type { Instant } from "../machine.ts";
import type { Deadlines } from "./deadlines.ts";
import type { Peer } from "./peer.ts";

/** A step that is missing may only have been overtaken: how long to wait for it. */
export const GAP_PATIENCE_MS = 5;
/** Between two pulls of one list at first; it doubles up to MAX_PULL_INTERVAL_MS while there is no answer. */
export const PULL_INTERVAL_MS = 100;
export const MAX_PULL_INTERVAL_MS = 3200;

/** A list that is newer than the copy, and who told. */
export interface PullTarget {
  readonly boot: number;
  readonly version: number;
  readonly from: string;
}

export class Pulls {
  readonly #deadlines: Deadlines;

  /** @param deadlines gets "pull <node>", upon which `due` is to be called. */
  constructor(deadlines: Deadlines) {
    this.#deadlines = deadlines;
  }

  /** The peer has a newer list than the copy. */
  isBehind(peer: Peer, target: PullTarget, now: Instant, patienceMs: number): void {
    const { behind } = peer;
    if (behind === undefined || target.boot > behind.boot || (target.boot === behind.boot && target.version > behind.version)) peer.behind = target;
    this.plan(peer, now, patienceMs);
  }

  plan(peer: Peer, now: Instant, patienceMs: number): void {
    this.#deadlines.setEarlier(`pull ${peer.node}`, Math.max(now + patienceMs, peer.pulledAt + PULL_INTERVAL_MS));
  }

  /** The copy took something in: perhaps it is up to date now. True when it was not, and is. */
  caughtUp(peer: Peer): boolean {
    const { behind, list } = peer;
    if (behind === undefined || list === undefined) return false;
    if (list.boot < behind.boot || (list.boot === behind.boot && list.version < behind.version)) return false;
    peer.behind = undefined;
    peer.pulls = 0;
    this.#deadlines.clear(`pull ${peer.node}`);
    return true;
  }

  /** It is gone, or started anew: what it was behind of is void. */
  forget(peer: Peer): void {
    peer.behind = undefined;
    peer.pulls = 0;
    this.#deadlines.clear(`pull ${peer.node}`);
  }

  /** Whom to ask now; undefined when there is no need any more. */
  due(peer: Peer, now: Instant): string | undefined {
    if (!peer.isPresent || peer.isUpToDate) return undefined;
    const to = peer.pulls === 0 ? (peer.behind?.from ?? peer.node) : peer.node;
    peer.pulledAt = now;
    this.#deadlines.set(`pull ${peer.node}`, now + Math.min(PULL_INTERVAL_MS * 2 ** peer.pulls, MAX_PULL_INTERVAL_MS));
    peer.pulls += 1;
    return to;
  }
}
