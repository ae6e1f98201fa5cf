/**
 * Inputs and outputs of the agreement: membership, detection and claims as one machine on encoded bytes. The driver gives
 * it real sockets, the simulation a simulated network; neither knows what is inside.
 */

import type { DetectionProfile, Question, VerdictClass } from "../detection/detection-protocol.ts";
import type { ClaimsDropReason, OwnedOutput } from "../election/claims-protocol.ts";
import type { ExpectedPeer, MembershipDropReason, MembershipInput, MembershipOutput, MembershipTiming, MemberState } from "../membership/membership-protocol.ts";
import type { Endpoint } from "../membership/message.ts";
import type { AddressRow, InterfaceFact } from "../packet-protocol.ts";

export interface AgreementOptions {
  /** This node's name: its member name, and as candidates carry it. */
  readonly node: string;
  /** Where this node's membership sockets are bound, as peers reach them. */
  readonly endpoint: Endpoint;
  /** Unix ms at which the process started: the boot id. The initial incarnation is its seconds. */
  readonly bootUnixMs: number;
  /** AES keys of 16, 24 or 32 bytes, the first one encrypts; empty: everything in the clear. */
  readonly keys: readonly Uint8Array[];
  readonly timing: MembershipTiming;
  readonly profile: DetectionProfile;
  /** `sticky`: only death or its owner gives an address up. `rank`: the best in rank gets it back when it returns. */
  readonly failback: "sticky" | "rank";
  /** Version of the workload's template, "" when unknown. */
  readonly template: string;
}

export type AgreementInput =
  | Extract<MembershipInput, { kind: "datagram" | "streamAccepted" | "streamConnected" | "streamBytes" | "streamEnded" | "streamFailed" }>
  /** The speakers' pods as the API lists them, this node's own left out. */
  | { readonly kind: "peers"; readonly peers: readonly ExpectedPeer[] }
  | { readonly kind: "row"; readonly row: AddressRow }
  | { readonly kind: "removeRow"; readonly address: string }
  /** The first table is complete. */
  | { readonly kind: "ready" }
  | { readonly kind: "fresh"; readonly fresh: boolean }
  | { readonly kind: "interfaces"; readonly interfaces: readonly InterfaceFact[] }
  /** A frame from another MAC came in. The driver may leave out all but one per interface and 20 ms. */
  | { readonly kind: "frame"; readonly interfaceIndex: number }
  /** A kernel answered a question about its address. */
  | { readonly kind: "answer"; readonly address: string; readonly question: Question; readonly result: "answered" | "refused" }
  /** The gateway of the node's segment answered lately, or not. */
  | { readonly kind: "gateway"; readonly heard: boolean }
  /** The loop did not turn for so long (beyond what it meant to sleep). Comes before the datagrams that waited meanwhile are followed by `timeout`. */
  | { readonly kind: "woke"; readonly lagMs: number }
  /** Hands over, says goodbye; `stopped` comes when that is done. */
  | { readonly kind: "stop" }
  | { readonly kind: "timeout" };

export type AgreementOutput =
  | Extract<MembershipOutput, { kind: "datagram" | "connect" | "streamSend" | "streamEnd" | "streamClose" }>
  /** Ask the kernel of that address: ARP (or NS), ICMP echo, a TCP connection to the membership port that is closed at once. */
  | { readonly kind: "ask"; readonly address: string; readonly questions: readonly Question[] }
  /** Make something on this segment send a frame: ARP requests for these addresses (and the gateway, which the driver knows). */
  | { readonly kind: "askSegment"; readonly interfaceIndex: number; readonly addresses: readonly string[] }
  | OwnedOutput
  | { readonly kind: "reannounce"; readonly address: string }
  | { readonly kind: "handingOver"; readonly address: string; readonly to: string }
  /** This node knows the others and what they own, and may take addresses. Comes once. */
  | { readonly kind: "settled" }
  | { readonly kind: "silence" }
  | { readonly kind: "speak" }
  | { readonly kind: "member"; readonly node: string; readonly state: MemberState; readonly before: MemberState | undefined; readonly isHerald: boolean; readonly endpoint: Endpoint }
  | { readonly kind: "verdict"; readonly node: string; readonly class: VerdictClass; readonly silentForMs: number }
  | { readonly kind: "dropped"; readonly reason: AgreementDropReason }
  | { readonly kind: "stopped" };

export type AgreementDropReason = MembershipDropReason | ClaimsDropReason | "heraldMessageMalformed" | "heraldMessageFromStranger" | "heraldMessageReplayed";
