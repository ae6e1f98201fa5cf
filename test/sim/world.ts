/** What checkers may look at: the whole truth about a run, which no node knows. */

import type { AddressRow } from "../../speaker/packet-protocol.ts";
import type { Instant } from "../../speaker/machine.ts";
import type { NodeId, SimEvent } from "./events.ts";
import type { SimNode } from "./node.ts";

/** Kinds of trouble that a run may be in. */
export type FaultKind =
  | "pause"
  | "machinePause"
  | "kill"
  | "stop"
  | "powerOff"
  /** Without its process or its power for so long that the others come to rest. */
  | "absent"
  | "partition"
  | "oneWay"
  | "deaf"
  | "flap"
  | "loss"
  | "apiAway"
  | "apiHung"
  | "apiLag"
  | "clockStep"
  | "rows";

export interface World {
  readonly now: Instant;
  readonly nodes: readonly SimNode[];
  /** Nodes that own the address, paused and silent ones included. */
  owners(address: string): ReadonlySet<NodeId>;
  /** Addresses with more than one owner. */
  contested(): Iterable<string>;
  /** All rows as the API server has them. */
  rows(): readonly AddressRow[];
  row(address: string): AddressRow | undefined;
  /** Both directions between two nodes are whole. */
  areConnected(left: NodeId, right: NodeId): boolean;
  /** Nothing at all reaches the node, not even the gateway's frames. */
  isDeaf(node: NodeId): boolean;
  /** No packet goes between the node and any other node, in either direction. */
  isIsolated(node: NodeId): boolean;
  /** Part of the packets that are lost by chance. */
  readonly loss: number;
  /** Largest time that a packet may take. */
  readonly transitMs: number;
  /** The node's process has the rows as they are. */
  hasCurrentView(node: NodeId): boolean;
  /** Since when no fault, but for these kinds, has been at work; undefined while one is. */
  quietSince(except?: readonly FaultKind[]): Instant | undefined;
  /** The rule is broken. @throws Violation always */
  fail(rule: string, text: string): never;
}

/** One rule that every run keeps. */
export interface Checker {
  readonly rule: string;
  /** After each event. */
  event?(event: SimEvent, world: World): void;
  /** About every TICK_MS, and whenever a fault begins or ends. */
  tick?(world: World): void;
  /** Each datagram or piece of a stream that a node sends. */
  sent?(node: SimNode, bytes: Uint8Array, isStream: boolean, world: World): void;
  /** The run is over. */
  end?(world: World): void;
}

/** A rule did not hold. */
export class Violation extends Error {
  readonly rule: string;
  readonly at: Instant;

  constructor(rule: string, at: Instant, text: string) {
    super(`at ${at.toFixed(1)} ms: ${text}`);
    this.name = "Violation";
    this.rule = rule;
    this.at = at;
  }
}
