/**
 * Inputs and outputs of the membership machine: the door between SWIM and whoever does its I/O (the driver, the
 * simulation) or acts on its events (the agreement).
 */

import type { Endpoint } from "./message.ts";

/** A TCP stream. The machine numbers those it opens (even), the driver those it accepts (odd). Never used twice. */
export type StreamId = number;

/** memberlist's knobs, under its names; milliseconds. */
export interface MembershipTiming {
  readonly probeIntervalMs: number;
  readonly probeTimeoutMs: number;
  readonly indirectChecks: number;
  readonly retransmitMult: number;
  readonly suspicionMult: number;
  readonly suspicionMaxTimeoutMult: number;
  readonly gossipIntervalMs: number;
  readonly gossipNodes: number;
  readonly gossipToTheDeadTimeMs: number;
  readonly pushPullIntervalMs: number;
  readonly tcpTimeoutMs: number;
  readonly awarenessMaxMultiplier: number;
  /** Herald's own: how often one expected but absent peer is pinged. */
  readonly healIntervalMs: number;
}

/** memberlist's defaults for a LAN (its 0.5). */
export const LAN_TIMING: MembershipTiming = {
  probeIntervalMs: 1000,
  probeTimeoutMs: 500,
  indirectChecks: 3,
  retransmitMult: 4,
  suspicionMult: 4,
  suspicionMaxTimeoutMult: 6,
  gossipIntervalMs: 200,
  gossipNodes: 3,
  gossipToTheDeadTimeMs: 30_000,
  pushPullIntervalMs: 30_000,
  tcpTimeoutMs: 10_000,
  awarenessMaxMultiplier: 8,
  healIntervalMs: 250,
};

/** memberlist's defaults for a WAN (`--ml-wan-config`). */
export const WAN_TIMING: MembershipTiming = {
  ...LAN_TIMING,
  probeIntervalMs: 5000,
  probeTimeoutMs: 3000,
  suspicionMult: 6,
  gossipIntervalMs: 500,
  gossipNodes: 4,
  gossipToTheDeadTimeMs: 60_000,
  pushPullIntervalMs: 60_000,
  tcpTimeoutMs: 30_000,
};

/** A peer that the API's list of pods names. */
export interface ExpectedPeer {
  readonly node: string;
  /** Canonical text. */
  readonly address: string;
}

export type MemberState = "alive" | "suspect" | "dead" | "left";

export interface Member {
  readonly node: string;
  readonly endpoint: Endpoint;
  readonly state: MemberState;
  readonly incarnation: number;
  readonly meta: Uint8Array;
}

export type MembershipInput =
  | { readonly kind: "datagram"; readonly from: Endpoint; readonly bytes: Uint8Array }
  | { readonly kind: "streamAccepted"; readonly stream: StreamId; readonly from: Endpoint }
  | { readonly kind: "streamConnected"; readonly stream: StreamId }
  | { readonly kind: "streamBytes"; readonly stream: StreamId; readonly bytes: Uint8Array }
  /** The peer has sent all it will; our direction is still open. */
  | { readonly kind: "streamEnded"; readonly stream: StreamId }
  /** Refused, reset or timed out: the stream is gone. `reason` is the OS's code in lower camel case, such as "connectionRefused". */
  | { readonly kind: "streamFailed"; readonly stream: StreamId; readonly reason: string }
  /** All peers that should be there, this node left out; replaces the list before. Kept while the API is away. */
  | { readonly kind: "expected"; readonly peers: readonly ExpectedPeer[] }
  /** Sends application bytes to a member, by datagram (at most MAX_USER_DATAGRAM bytes) or over a stream. Unknown members: dropped("unknownMember"). */
  | { readonly kind: "send"; readonly to: string; readonly bytes: Uint8Array; readonly reliable: boolean }
  /** Somebody knows better than the probe: the member is dead (a verdict of the detection). Nothing happens if it is dead or left, or its incarnation is newer. */
  | { readonly kind: "condemn"; readonly node: string; readonly incarnation: number }
  /** This process did not run for so long: what timed out meanwhile says nothing about others. Probes and suspicions in flight start again. */
  | { readonly kind: "woke"; readonly lagMs: number }
  /** Goodbye: broadcasts that this member left; `left` comes when that is out (or after a second). */
  | { readonly kind: "leave" }
  | { readonly kind: "timeout" };

export type MembershipOutput =
  | { readonly kind: "datagram"; readonly to: Endpoint; readonly bytes: Uint8Array }
  | { readonly kind: "connect"; readonly stream: StreamId; readonly to: Endpoint }
  | { readonly kind: "streamSend"; readonly stream: StreamId; readonly bytes: Uint8Array }
  /** Nothing more will be sent: half-close once what was sent is out. */
  | { readonly kind: "streamEnd"; readonly stream: StreamId }
  /** Done with it, both ways, once what was sent is out. No input about this stream is heeded afterwards. */
  | { readonly kind: "streamClose"; readonly stream: StreamId }
  /** A member was heard of for the first time, changed its state, or came back with other meta or endpoint. Never about this node. */
  | { readonly kind: "member"; readonly member: Member; readonly before: MemberState | undefined }
  /** Application bytes came. `from` is the sender's socket; who it is, the bytes must say. */
  | { readonly kind: "received"; readonly from: Endpoint; readonly bytes: Uint8Array; readonly reliable: boolean }
  /** Something was left out; the reason is from a fixed list (metric label). */
  | { readonly kind: "dropped"; readonly reason: MembershipDropReason }
  | { readonly kind: "left" };

export type MembershipDropReason =
  | "notEncrypted"
  | "decryptionFailed"
  | "unexpectedEncryption"
  | "checksumMismatch"
  | "malformed"
  | "tooLong"
  | "decompressionBomb"
  | "unknownMessage"
  | "unexpectedLabel"
  | "wrongNode"
  | "unknownMember"
  | "staleAck"
  | "staleIncarnation"
  | "addressConflict"
  | "tooManyStreams"
  | "streamTimeout"
  | "tooManyMembers"
  | "protocolMismatch";

/** Most application bytes that fit a datagram, whatever wraps them. */
export const MAX_USER_DATAGRAM = 1250;
