/**
 * Inputs and outputs of the claims machine: who owns which address. A claim is sticky: only its owner's death, or the
 * owner itself, gives it up.
 */

import type { AddressRow, InterfaceFact, LostReason, OwnReason } from "../packet-protocol.ts";

/**
 * One entry of an owner's list.
 * `claim`: the owner announces the address. `releasing`: it still answers, and gives the address to `successor`.
 * `released`: it did until lately; kept for a minute, so that terms go on growing. `veto`: it cannot announce it now.
 */
export interface ClaimEntry {
  /** Canonical text. */
  readonly address: string;
  readonly state: "claim" | "releasing" | "released" | "veto";
  /** max(highest seen + 1, wall clock in ms) when it was made; 0 for a veto. At most 2^48 - 1. */
  readonly term: number;
  /** A majority of the members known before was heard when it was made. */
  readonly witnessed: boolean;
  /** With `releasing`: the node that is to take it; "" when there is none. */
  readonly successor: string;
}

/** What a node says about itself, and its list of claims: whole, or what changed since `base`. */
export interface ClaimsUpdate {
  readonly owner: string;
  /** Unix ms at which the owner's process started: a restart has a higher one. */
  readonly boot: number;
  readonly facts: NodeFacts;
  /** The version that `entries` and `removed` change; undefined when the update is the whole list. */
  readonly base: number | undefined;
  /** Grows by one with each change of the list or the facts. */
  readonly version: number;
  /** Of the list and facts after this update: XOR of a 48-bit hash per entry (see claim-list.ts). */
  readonly hash: number;
  readonly entries: readonly ClaimEntry[];
  /** Addresses whose entry is gone. */
  readonly removed: readonly string[];
}

/** What only the node knows about itself. */
export interface NodeFacts {
  /** Its table is loaded: without that it owns nothing. */
  readonly ready: boolean;
  /** Its watches are alive: what it thinks of eligibility is true now. */
  readonly fresh: boolean;
  /** It has exchanged lists with a settled member, or waited for long enough: newcomers may take their list from it. */
  readonly settled: boolean;
  /** Version of the workload's template, "" when unknown: successors preferably run the newest. */
  readonly template: string;
}

/** Enough to know whether a list is up to date. Rides on every heartbeat. */
export interface ClaimsDigest {
  readonly owner: string;
  readonly boot: number;
  readonly version: number;
  readonly hash: number;
}

/** What the election must know of a Herald member. */
export interface ElectionMember {
  readonly node: string;
  readonly state: "alive" | "suspect" | "dead" | "left";
  /** Died too often lately: last in rank until stable. */
  readonly damped: boolean;
}

export type ClaimsInput =
  | { readonly kind: "row"; readonly row: AddressRow }
  | { readonly kind: "removeRow"; readonly address: string }
  /** The first table is complete. Before that this node owns nothing. */
  | { readonly kind: "ready" }
  | { readonly kind: "fresh"; readonly fresh: boolean }
  | { readonly kind: "interfaces"; readonly interfaces: readonly InterfaceFact[] }
  /** All other Herald members, whatever their state. */
  | { readonly kind: "members"; readonly members: readonly ElectionMember[] }
  /** Names of the Herald nodes that should be there (the API's pods and members that did not leave), this one included: a majority of these witnesses a claim. */
  | { readonly kind: "known"; readonly nodes: readonly string[] }
  /** The gateway of the segment was heard lately, or not: the tie-break of two members. */
  | { readonly kind: "gateway"; readonly heard: boolean }
  /** A member missed a beat: hearing must be younger than `since`. `undefined`: it is well again. */
  | { readonly kind: "suspected"; readonly node: string; readonly since: number | undefined }
  /** A frame of another MAC came in on that interface just now. */
  | { readonly kind: "frame"; readonly interfaceIndex: number }
  | { readonly kind: "update"; readonly update: ClaimsUpdate }
  | { readonly kind: "digest"; readonly digest: ClaimsDigest; readonly from: string }
  /** `from` asks for the whole list of `owner`. */
  | { readonly kind: "pull"; readonly from: string; readonly owner: string }
  /** This process did not run for so long. */
  | { readonly kind: "woke"; readonly lagMs: number }
  /** Others remember a later start of this node (its clock was set back): its list goes on under this boot id. */
  | { readonly kind: "boot"; readonly boot: number }
  /** Hands everything over, to end. */
  | { readonly kind: "release" }
  | { readonly kind: "timeout" };

export type ClaimsOutput =
  | OwnedOutput
  /** Announce it again: somebody else did, and lost. */
  | { readonly kind: "reannounce"; readonly address: string }
  /** Still answer, but send nothing unasked: another is taking it over. */
  | { readonly kind: "handingOver"; readonly address: string; readonly to: string }
  /** Answer nothing until `speak`: this process slept, and others may have taken over. */
  | { readonly kind: "silence" }
  | { readonly kind: "speak" }
  /** Send to all Herald members ("all") or one; over a stream when it is reliable, or too long for a datagram. */
  | { readonly kind: "send"; readonly to: string; readonly update: ClaimsUpdate; readonly reliable: boolean }
  | { readonly kind: "pull"; readonly to: string; readonly owner: string }
  /** A claim waits for a frame to be heard on this interface: ask the segment something. */
  | { readonly kind: "askSegment"; readonly interfaceIndex: number }
  /** This node's own list as it is now, for heartbeats. */
  | { readonly kind: "digest"; readonly digest: ClaimsDigest }
  /** From now on this node may take addresses. Comes once. */
  | { readonly kind: "settled" }
  | { readonly kind: "dropped"; readonly reason: ClaimsDropReason }
  /** After `release`: everything is handed over, or the time for it is up. */
  | { readonly kind: "released" };

/** The same three that the machine without membership gives: owned, blocked, lost. */
export type OwnedOutput =
  | { readonly kind: "owned"; readonly address: string; readonly reason: OwnReason; readonly interfaces: readonly InterfaceFact[]; readonly taken: boolean }
  | { readonly kind: "blocked"; readonly address: string; readonly wanted: readonly string[] | "all" }
  | { readonly kind: "lost"; readonly address: string; readonly reason: LostReason };

export type ClaimsDropReason = "termInFuture" | "versionGap" | "oldBoot" | "oldVersion" | "tooManyUnknown" | "notAMember";
