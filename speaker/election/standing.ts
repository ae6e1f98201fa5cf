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

  /** Counts who is heard: alive, and without a missed beat. Of two, the side that still hears the gateway is the majority. */
  count(now: Instant): void {
    const known = this.#known ?? [this.#node];
    const heard = known.filter((node) => node === this.#node || this.#peer(node)?.isHeard === true).length;
    const isMajority = heard > known.length / 2 || (known.length === 2 && this.#gatewayHeard);
    if (!isMajority) this.#majoritySince = undefined;
    else this.#majoritySince ??= now;
  }
}
