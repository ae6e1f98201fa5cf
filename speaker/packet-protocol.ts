/**
 * What the main thread and the packet thread tell each other. The packet thread knows no Kubernetes: it gets plain
 * tables ("address, candidates with scores, interfaces") and answers with facts ("this address is mine since T because").
 */

/** One address that may be announced from this segment. */
export interface AddressRow {
  /** Canonical text of the address, RFC 5952. */
  readonly address: string;
  /** Name of the group (addresses that move together): canonical text of the group's first address. Rank is computed on it. */
  readonly group: string;
  /** Interfaces it may be announced on, by name; "all" means every usable one. */
  readonly interfaces: readonly string[] | "all";
  /** Nodes that are eligible for it, this one included or not. Same on every node with the same view. */
  readonly candidates: readonly Candidate[];
}

export interface Candidate {
  readonly node: string;
  /** Preference score; a higher one ranks before any lower one. 0 when nothing is preferred. */
  readonly score: number;
}

export type ToPacketThread =
  /** A versioned delta of the table. `full` replaces everything that went before. Versions grow by one; a gap is a broken invariant. */
  | { readonly kind: "table"; readonly version: number; readonly full: boolean; readonly upsert: readonly AddressRow[]; readonly remove: readonly string[] }
  /** The speakers' pods as the API lists them, this node's own left out; replaces the list before. Kept while the API is away. */
  | { readonly kind: "peers"; readonly peers: readonly { readonly node: string; readonly address: string }[] }
  /** Whether the API's watches are alive: what the table says is true now. False until the first message. */
  | { readonly kind: "fresh"; readonly fresh: boolean }
  /** Asks for a `counters` fact. */
  | { readonly kind: "collect" }
  /** Ends the thread in an orderly way: it hands over or releases what it announces, says goodbye to its peers and answers `stopped`. */
  | { readonly kind: "stop" };

/** How this speaker takes part in the membership protocol. */
export interface MembershipSettings {
  /** Where its UDP and TCP sockets are bound, canonical text; peers reach it there. */
  readonly bindAddress: string;
  readonly bindPort: number;
  /** AES keys, the first one encrypts; empty: everything in the clear. Never logged. */
  readonly keys: readonly Uint8Array[];
  /** memberlist's timers for distant nodes. */
  readonly wan: boolean;
  readonly profile: "fast" | "default" | "calm";
  readonly failback: "sticky" | "rank";
  /** `hash`: claims by rank. `metallb`: MetalLB's exact hash over the members that are alive or suspect, without claims. */
  readonly election: "hash" | "metallb";
  /** Version of the workload's template, "" when unknown. */
  readonly template: string;
  /** When the process started. */
  readonly bootUnixMs: number;
}

/** An interface as the packet thread sees it. */
export interface InterfaceFact {
  readonly name: string;
  readonly index: number;
  /** Lower-case, colon-separated. */
  readonly mac: string;
  /** Its IPv6 link-local address, canonical text: without one it carries no IPv6, and no IPv6 address is announced on it. */
  readonly linkLocal?: string;
  /** Up, with carrier, broadcast-capable, not enslaved, not NOARP, not excluded. */
  readonly usable: boolean;
  /** It carries the address that the other speakers reach this node by: what is heard there is heard from outside of the node. */
  readonly isNodeInterface?: true;
  /** Why it is not usable; absent when it is. */
  readonly reason?: "down" | "noCarrier" | "enslaved" | "noArp" | "noBroadcast" | "excluded" | "noMac" | "tooMany";
}

/** Counters of one address since the thread started. */
export interface AddressCounters {
  readonly address: string;
  readonly requestsReceived: number;
  readonly responsesSent: number;
  readonly gratuitousSent: number;
}

export type FromPacketThread =
  | { readonly kind: "started"; readonly interfaces: readonly InterfaceFact[] }
  /** This node announces the address from now on. `interfaces` are those it really answers on. */
  | { readonly kind: "owned"; readonly address: string; readonly sinceUnixMs: number; readonly reason: OwnReason; readonly interfaces: readonly InterfaceFact[] }
  /** This node is first in rank but none of the row's interfaces is usable here: nothing is announced. */
  | { readonly kind: "blocked"; readonly address: string; readonly wanted: readonly string[] | "all" }
  | { readonly kind: "lost"; readonly address: string; readonly reason: LostReason }
  /** This node still answers for the address, and has asked that node to take it. `lost` follows within a second or so. */
  | { readonly kind: "handingOver"; readonly address: string; readonly to: string }
  /** Another speaker was heard of for the first time, or its state changed. `isHerald` is false for a MetalLB speaker. */
  | { readonly kind: "member"; readonly node: string; readonly state: "alive" | "suspect" | "dead" | "left"; readonly before: "alive" | "suspect" | "dead" | "left" | undefined; readonly isHerald: boolean }
  /** With membership: this speaker knows the others and what they own. Comes once. */
  | { readonly kind: "settled" }
  /** The speakers agree that this one is gone, and how. */
  | { readonly kind: "verdict"; readonly node: string; readonly class: "powerOff" | "processGone" | "paused"; readonly silentForMs: number }
  | { readonly kind: "interfaces"; readonly interfaces: readonly InterfaceFact[] }
  | { readonly kind: "tableApplied"; readonly version: number }
  | { readonly kind: "counters"; readonly addresses: readonly AddressCounters[]; readonly dropped: Readonly<Record<string, number>>; readonly loopLagMaxMs: number }
  | { readonly kind: "warning"; readonly event: string; readonly fields: Readonly<Record<string, string | number>> }
  | { readonly kind: "stopped" };

/**
 * Why the address came to this node. `FirstInRank`: nobody had it. `OwnerDead`: its owner died. `HandedOver`: its owner
 * gave it to this node. `Resumed`: this node had it before its restart. `OwnerNotFresh`: its owner may no longer announce
 * it and does not know. `GroupMerged`: it moves with another address of this node. `InterfacesChanged`: it stayed here.
 */
export type OwnReason = "FirstInRank" | "OwnerDead" | "HandedOver" | "Resumed" | "OwnerNotFresh" | "GroupMerged" | "InterfacesChanged";
/** Why it left. `BetterClaim`: two nodes announced it, and the other one goes on. */
export type LostReason = "Removed" | "NotFirstInRank" | "NotEligible" | "NoUsableInterface" | "HandedOver" | "BetterClaim" | "Stopping";
