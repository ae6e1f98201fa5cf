/** What happens in a run, for checkers and for the story of a failing seed. */

import type { VerdictClass } from "../../speaker/detection/detection-protocol.ts";
import type { Instant } from "../../speaker/machine.ts";
import type { MemberState } from "../../speaker/membership/membership-protocol.ts";
import type { LostReason, OwnReason } from "../../speaker/packet-protocol.ts";
import type { HostId } from "./links.ts";

/** Index of a node in the cluster; also its number as a host. */
export type NodeId = HostId;

export type SimEvent = { readonly at: Instant } & (
  | { readonly kind: "owned"; readonly node: NodeId; readonly address: string; readonly reason: OwnReason; readonly taken: boolean }
  | { readonly kind: "lost"; readonly node: NodeId; readonly address: string; readonly reason: LostReason }
  | { readonly kind: "handingOver"; readonly node: NodeId; readonly address: string; readonly to: string }
  | { readonly kind: "silence" | "speak" | "booted" | "gone" | "stopped"; readonly node: NodeId }
  | { readonly kind: "member"; readonly node: NodeId; readonly about: string; readonly state: MemberState; readonly before: MemberState | undefined }
  | { readonly kind: "verdict"; readonly node: NodeId; readonly about: string; readonly class: VerdictClass; readonly silentForMs: number }
  | { readonly kind: "dropped"; readonly node: NodeId; readonly reason: string }
  | { readonly kind: "fault"; readonly text: string }
  | { readonly kind: "row"; readonly text: string }
);

/** One line of a story. */
export function describeEvent(event: SimEvent): string {
  const { at, kind, ...rest } = event;
  const fields = Object.entries(rest).map(([name, value]) => (name === "node" ? nodeName(Number(value)) : `${name}=${String(value)}`));
  return `${at.toFixed(1).padStart(9)} ${kind.padEnd(11)} ${fields.join(" ")}`;
}

/** Names sort as their numbers do. */
export function nodeName(node: NodeId): string {
  return `node-${String(node).padStart(3, "0")}`;
}

export function nodeIdOf(name: string): NodeId {
  return Number(name.slice("node-".length));
}
