/**
 * Another member as the election sees it: its state, the copy of its list, what is known of its restarts, and which of its
 * claims count at a moment.
 */
import type { Instant } from "../machine.ts";
import { isHolding } from "./claim-list.ts";
import type { HeldClaim } from "./claim-order.ts";
import type { ClaimEntry, ClaimsUpdate, ElectionMember } from "./claims-protocol.ts";
import type { ListCopy } from "./list-copy.ts";

/** A member that is not ready, or that restarted, keeps what it claimed for so long: it may resume it. */
export const VOID_AFTER_MS = 300;
/** Steps kept that came before the one they build on. */
export const MAX_STEPS_AHEAD = 32;

/** What a peer claimed before it restarted. */
export interface OldList {
  readonly list: ListCopy;
  /** Its claims count until then. */
  readonly graceUntil: Instant;
  /** It is kept until then, to be given back. */
  readonly keepUntil: Instant;
  givenBack: boolean;
}

export class Peer {
  readonly node: string;
  state: ElectionMember["state"];
  damped: boolean;
  list: ListCopy | undefined;
  old: OldList | undefined;
  /** The list was confirmed by its owner since the owner was last dead. */
  confirmed = false;
  /** The highest boot id heard of. */
  newestBoot = 0;
  /** Its claims don't count from then on. */
  voidAt: Instant = Infinity;
  /** A list that is newer than the copy: its boot, its version, who told. */
  behind: { boot: number; version: number; from: string } | undefined;
  /** Pulls since the copy was last up to date, and the last of them. */
  pulls = 0;
  pulledAt: Instant = -Infinity;
  /** Steps that came too early, by base. */
  readonly ahead = new Map<number, ClaimsUpdate>();
  /** Boot and facts as they were when last looked at. */
  factsLookedAt = "";
  /** Since when it has been known that it missed a beat; kept beyond its death. */
  suspectedSince: Instant | undefined;
  /** When it last said something itself. */
  saidAt: Instant = -Infinity;
  /** Since when it has been alive, ready and settled without a break. */
  wellSince: Instant | undefined;

  constructor({ node, state, damped }: ElectionMember) {
    this.node = node;
    this.state = state;
    this.damped = damped;
  }

  /** Alive or suspect: what it claims may count. */
  get isPresent(): boolean {
    return this.state === "alive" || this.state === "suspect";
  }

  /** Alive, and it has not missed a beat. */
  get isHeard(): boolean {
    return this.state === "alive" && this.suspectedSince === undefined;
  }

  /** Its list is known, of its newest start, and it says that it is ready. */
  get isReady(): boolean {
    return this.list !== undefined && this.confirmed && this.list.boot === this.newestBoot && this.list.facts.ready;
  }

  /** Its list is known as its owner has it, as far as one can know. */
  get isUpToDate(): boolean {
    return this.list !== undefined && this.confirmed && this.behind === undefined;
  }

  /** It cannot announce the address for now. */
  hasVeto(address: string): boolean {
    return this.list?.get(address)?.state === "veto";
  }

  /** The claim on the address that counts now, or undefined. */
  claimOn(address: string, now: Instant): HeldClaim | undefined {
    if (!this.isPresent || this.list === undefined || !this.confirmed) return undefined;
    const entry = this.list.get(address);
    if (entry !== undefined) return isHolding(entry) && now < this.voidAt ? this.#held(this.list.boot, entry) : undefined;
    if (this.old === undefined || now >= this.old.graceUntil) return undefined;
    const before = this.old.list.get(address);
    return before !== undefined && isHolding(before) ? this.#held(this.old.list.boot, before) : undefined;
  }

  /** All addresses of its lists. */
  *addresses(): Generator<string> {
    if (this.list !== undefined) yield* this.list.addresses();
    if (this.old !== undefined) yield* this.old.list.addresses();
  }

  #held(boot: number, entry: ClaimEntry): HeldClaim {
    return { node: this.node, boot, entry };
  }
}
