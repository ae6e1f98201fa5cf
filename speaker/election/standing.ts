/**
 * Where this node itself stands: what it may do in the election, which members there should be, and whether it hears a
 * majority of them.
 */
import type { Instant } from "../machine.ts";
import type { Peer } from "./peer.ts";

/** A view that stayed the same for so long, and lacks nobody, is settled. */
export const VIEW_UNCHANGED_MS = 300;
/** A node that has been ready for so long waits for nobody. */
export const SETTLED_AT_LAST_MS = 3000;

/** Clusters larger than this are not heard as a whole: each member beats to a few others only. */
export const HEARD_AS_A_WHOLE = 16;
/** Of those that said something themselves within this time... */
export const SAMPLE_WITHIN_MS = 3000;
/** ...more than half must have done so within this: two beats of the calmest profile. */
export const SAMPLE_HEARD_WITHIN_MS = 600;

export class Standing {
  readonly #node: string;
  readonly #peer: (node: string) => Peer | undefined;
  ready = false;
  readyAt: Instant = 0;
  fresh = false;
  settled = false;
  /** It hands over everything, to end. */
  stopping = false;
  /** It slept for long and answers nothing until it knows that its claims still stand. */
  silent = false;
  /** Names of those that should be there; undefined until told. */
  #known: readonly string[] | undefined;
  #gatewayHeard = false;
  #viewChangedAt: Instant = 0;
  #majoritySince: Instant | undefined;

  constructor(node: string, peer: (node: string) => Peer | undefined) {
    this.#node = node;
    this.#peer = peer;
  }

  /** May take what is free. */
  get canClaim(): boolean {
    return this.ready && this.settled && !this.stopping && !this.silent;
  }

  /** Nobody else should be there: there is nobody to be heard. */
  get isAlone(): boolean {
    return this.#known?.length === 1;
  }

  /** A majority of those that should be there is heard. */
  get isWitnessed(): boolean {
    return this.#majoritySince !== undefined;
  }

  /** Since when, without a break. */
  get majoritySince(): Instant | undefined {
    return this.#majoritySince;
  }

  /** Returns whether that is news. */
  setKnown(nodes: readonly string[], now: Instant): boolean {
    const known = [...new Set([this.#node, ...nodes])].sort();
    const before = this.#known;
    if (before !== undefined && before.length === known.length && known.every((node, at) => node === before[at])) return false;
    this.#known = known;
    this.viewChanged(now);
    return true;
  }

  setGateway(heard: boolean, now: Instant): void {
    this.#gatewayHeard = heard;
    this.count(now);
  }

  /** A member came, went or changed its state. */
  viewChanged(now: Instant): void {
    this.#viewChangedAt = now;
    this.count(now);
  }

  /**
   * Whether this node may begin to claim: it knows of all that should be there and has the list of each that is alive, and
   * one of them is settled; or nobody is, but all of them are ready and the view has not changed for a while; or it has
   * waited for long.
   * A time when to ask again is given when it would be true by then if nothing else happens.
   */
  judgeSettled(peers: Iterable<Peer>, now: Instant): { readonly settled: boolean; readonly askAgainAt: Instant | undefined } {
    if (!this.ready) return { settled: false, askAgainAt: undefined };
    const atLast = this.readyAt + SETTLED_AT_LAST_MS;
    if (now >= atLast) return { settled: true, askAgainAt: undefined };
    let someSettled = false;
    for (const peer of peers) {
      if (peer.state !== "alive") continue;
      if (!peer.isUpToDate) return { settled: false, askAgainAt: atLast };
      if (peer.list?.facts.settled === true) someSettled = true;
    }
    // Members may become known one by one: those that are not yet may own something.
    if (this.#known === undefined || this.#known.some((node) => node !== this.#node && this.#peer(node) === undefined)) return { settled: false, askAgainAt: atLast };
    if (someSettled) return { settled: true, askAgainAt: undefined };
    if (!this.#known.every((node) => this.#isThere(node))) return { settled: false, askAgainAt: atLast };
    const unchangedAt = this.#viewChangedAt + VIEW_UNCHANGED_MS;
    return now >= unchangedAt ? { settled: true, askAgainAt: undefined } : { settled: false, askAgainAt: Math.min(unchangedAt, atLast) };
  }

  #isThere(node: string): boolean {
    if (node === this.#node) return true;
    const peer = this.#peer(node);
    return peer !== undefined && peer.state === "alive" && peer.isReady;
  }

  /** A member has said something itself. */
  said(node: string, now: Instant): void {
    const peer = this.#peer(node);
    if (peer === undefined) return;
    peer.saidAt = now;
    if (!this.isWitnessed) this.count(now);
  }

  /**
   * Counts who is heard: alive, and without a missed beat. In a large cluster that is hearsay for most, and takes seconds to
   * become wrong for a node that is cut off: those that it does hear itself are a sample of the others.
   * Of two, the side that still hears the gateway is the majority.
   */
  count(now: Instant): void {
    const known = this.#known ?? [this.#node];
    let [heard, sample, sampleHeard] = [1, 0, 0];
    for (const node of known) {
      const peer = node === this.#node ? undefined : this.#peer(node);
      if (peer === undefined) continue;
      if (peer.isHeard) heard += 1;
      if (now - peer.saidAt > SAMPLE_WITHIN_MS) continue;
      sample += 1;
      if (peer.isHeard && now - peer.saidAt <= SAMPLE_HEARD_WITHIN_MS) sampleHeard += 1;
    }
    const isSound = known.length <= HEARD_AS_A_WHOLE || sampleHeard > sample / 2;
    const isMajority = (heard > known.length / 2 && isSound) || (known.length === 2 && this.#gatewayHeard);
    if (!isMajority) this.#majoritySince = undefined;
    else this.#majoritySince ??= now;
  }
}
