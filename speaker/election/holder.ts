/**
 * What this node itself announces: every way in which an address comes to it and leaves it. Each keeps three things in
 * step: the entry of the own list, the phase of the address, and what is said to the outside.
 */
import type { Instant } from "../machine.ts";
import type { InterfaceFact, LostReason, OwnReason } from "../packet-protocol.ts";
import type { OwnList } from "./claim-list.ts";
import { isHolding } from "./claim-list.ts";
import type { HeldClaim } from "./claim-order.ts";
import type { ClaimsOutput } from "./claims-protocol.ts";
import type { Deadlines } from "./deadlines.ts";
import { isHeld, sameInterfaces } from "./group-table.ts";
import type { Group, Held } from "./group-table.ts";
import type { PeerLists } from "./peer-lists.ts";
import type { Standing } from "./standing.ts";
import type { TermMemory } from "./term-memory.ts";

/** A takeover is witnessed when a majority was heard for so long after it: all that a cut takes away has been missed by then. */
export const WITNESS_AFTER_MS = 300;
/** A claim made without a majority is witnessed when one has been heard for so long. */
export const UPGRADE_AFTER_MS = 1000;
/** How long a record of what was released is kept. */
export const RELEASED_KEPT_MS = 60_000;

export interface HolderParts {
  readonly node: string;
  readonly wallMs: (now: Instant) => number;
  readonly own: OwnList;
  readonly peers: PeerLists;
  readonly terms: TermMemory;
  readonly standing: Standing;
  readonly deadlines: Deadlines;
  readonly emit: (output: ClaimsOutput) => void;
}

/** What remains in the list of an address that was lost. */
export type Remains = "nothing" | "released" | "veto";

export class Holder {
  readonly #parts: HolderParts;
  /** Groups of which this node announces something, or still answers for. */
  readonly groups = new Set<Group>();
  /** Addresses claimed without a witness so far, and when. */
  readonly #provisional = new Map<string, Instant>();

  constructor(parts: HolderParts) {
    this.#parts = parts;
  }

  /** This node's claim on the address, or undefined. */
  claimOn({ row }: Held): HeldClaim | undefined {
    const entry = this.#parts.own.get(row.address);
    return entry !== undefined && isHolding(entry) ? { node: this.#parts.node, boot: this.#parts.own.boot, entry } : undefined;
  }

  /** Takes the address. It needs a usable interface. */
  claim(held: Held, reason: OwnReason, now: Instant): void {
    const { own, terms, peers, standing, wallMs, emit, deadlines } = this.#parts;
    const { address } = held.row;
    const highest = Math.max(terms.get(address), peers.highestTerm(address), own.get(address)?.term ?? 0);
    const term = Math.max(highest + 1, Math.floor(wallMs(now)));
    terms.raise(address, term, now);
    // Who was cut off loses its peers one by one: what it takes from the first of them must not count as a majority's.
    const witnessed = standing.isWitnessed && (reason !== "OwnerDead" || standing.isAlone);
    own.set({ address, state: "claim", term, witnessed, successor: "" });
    deadlines.clear(`released ${address}`);
    this.#provisional.delete(address);
    if (!witnessed) this.#provisional.set(address, now);
    if (!witnessed && standing.isWitnessed) deadlines.setEarlier("upgrade", now + WITNESS_AFTER_MS);
    if (!isHeld(held)) held.group.holds += 1;
    this.groups.add(held.group);
    held.phase = "owned";
    held.announced = held.usable;
    held.blockedFor = undefined;
    held.contested = "";
    emit({ kind: "owned", address, reason, interfaces: held.usable, taken: true });
  }

  /** Stops answering for the address. */
  lose(held: Held, reason: LostReason, remains: Remains, now: Instant): void {
    const { own, emit, deadlines } = this.#parts;
    const { address } = held.row;
    const entry = own.get(address);
    this.#provisional.delete(address);
    held.group.holds -= 1;
    if (held.group.holds === 0) this.groups.delete(held.group);
    held.phase = "idle";
    held.announced = [];
    if (remains === "released" && entry !== undefined) {
      own.set({ ...entry, state: "released" });
      deadlines.set(`released ${address}`, now + RELEASED_KEPT_MS);
    } else if (remains === "veto") {
      own.set(vetoOf(address));
    } else {
      own.remove(address);
    }
    emit({ kind: "lost", address, reason });
  }

  /** Goes on answering, and asks `to` to take it. */
  handOver(held: Held, to: string): void {
    const { own, emit } = this.#parts;
    const { address } = held.row;
    const entry = own.get(address);
    if (entry === undefined || (entry.state === "releasing" && entry.successor === to)) return;
    own.set({ ...entry, state: "releasing", successor: to });
    held.phase = "handingOver";
    emit({ kind: "handingOver", address, to });
  }

  /** The interfaces may be others now. */
  refresh(held: Held): void {
    if (held.phase !== "owned" || sameInterfaces(held.announced, held.usable)) return;
    held.announced = held.usable;
    this.#parts.emit({ kind: "owned", address: held.row.address, reason: "InterfacesChanged", interfaces: held.usable, taken: false });
  }

  /** Says, or says no longer, that this node cannot announce the address. What it announces must be lost first. */
  setVeto(held: Held, isVeto: boolean): void {
    const { own } = this.#parts;
    const { address } = held.row;
    const state = own.get(address)?.state;
    if (isVeto && state !== "veto") own.set(vetoOf(address));
    if (!isVeto && state === "veto") own.remove(address);
  }

  /** Leaves a record that an address claimed before a restart is free. */
  release(address: string, term: number, now: Instant): void {
    const { own, deadlines } = this.#parts;
    if (own.get(address) !== undefined) return;
    own.set({ address, state: "released", term, witnessed: false, successor: "" });
    deadlines.set(`released ${address}`, now + RELEASED_KEPT_MS);
  }

  /** The deadline "released <address>" is due. */
  releasedDue(address: string): void {
    if (this.#parts.own.get(address)?.state === "released") this.#parts.own.remove(address);
  }

  /**
   * The deadline "upgrade" is due, or the majority changed: what is provisional is so no longer when a majority has been
   * heard for long enough, and nobody had a better claim.
   */
  upgrade(now: Instant): void {
    const { own, standing, deadlines } = this.#parts;
    const { majoritySince } = standing;
    if (majoritySince === undefined) return;
    for (const [address, claimedAt] of this.#provisional) {
      const due = majoritySince <= claimedAt ? claimedAt + WITNESS_AFTER_MS : majoritySince + UPGRADE_AFTER_MS;
      if (now < due) {
        deadlines.setEarlier("upgrade", due);
        continue;
      }
      this.#provisional.delete(address);
      const entry = own.get(address);
      if (entry !== undefined && isHolding(entry)) own.set({ ...entry, witnessed: true });
    }
  }

  /** The interfaces on which these addresses could be announced. */
  static interfacesOf(helds: readonly Held[]): InterfaceFact[] {
    return [...new Map(helds.flatMap(({ usable }) => usable.map((fact) => [fact.index, fact] as const))).values()];
  }
}

function vetoOf(address: string): { address: string; state: "veto"; term: 0; witnessed: false; successor: "" } {
  return { address, state: "veto", term: 0, witnessed: false, successor: "" };
}
