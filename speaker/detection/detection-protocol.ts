/**
 * Inputs and outputs of the detection machine: heartbeats between Herald members, and questions to a silent node's kernel
 * that tell a dead machine from a dead process from a paused one.
 */

import type { Instant } from "../machine.ts";

/** How fast, and how sure. Milliseconds. */
export interface DetectionProfile {
  readonly name: "fast" | "default" | "calm";
  /** Between two heartbeats to one peer. */
  readonly beatIntervalMs: number;
  /** Silence after which the peer's kernel is asked: one beat and some jitter. */
  readonly askAfterMs: number;
  /** Silence, of process and kernel both, that means power off or a cut cable. */
  readonly powerOffAfterMs: number;
  /** The kernel must have been asked for at least so long without an answer: longer than the machine pause that is tolerated. */
  readonly kernelSilentForMs: number;
  /** Silence of a process whose kernel answers, until its addresses are taken. */
  readonly pausedAfterMs: number;
  /** Between two rounds of questions while a peer is silent. */
  readonly askIntervalMs: number;
}

/** A Herald member that is to be watched or beaten to. */
export interface WatchedPeer {
  readonly node: string;
  /** Canonical text of its node address. */
  readonly address: string;
}

export type Question = "arp" | "icmp" | "tcp";

/**
 * What an observer says about a silent peer: `silent` neither process nor kernel answers, `refused` the kernel says that
 * no process listens, `paused` the kernel answers and the process is silent, `heard` it was heard again.
 */
export type ReportClass = "silent" | "refused" | "paused" | "heard";

export type VerdictClass = "powerOff" | "processGone" | "paused";

export type DetectionInput =
  /** All Herald members that are alive or suspect, this node left out. Replaces the list before. A peer that is new counts as heard now. */
  | { readonly kind: "peers"; readonly peers: readonly WatchedPeer[] }
  /** Anything that only the running process of that node can have sent. `boot` is its boot id; a new one starts its silence anew and voids verdicts. */
  | { readonly kind: "heard"; readonly node: string; readonly boot: number }
  /** The node's kernel answered a question: "refused" only for tcp (nobody listens). */
  | { readonly kind: "answer"; readonly node: string; readonly question: Question; readonly result: "answered" | "refused" }
  | { readonly kind: "report"; readonly from: string; readonly about: string; readonly boot: number; readonly class: ReportClass }
  /** This process did not run for so long: silence measured meanwhile is our own. */
  | { readonly kind: "woke"; readonly lagMs: number }
  | { readonly kind: "timeout" };

export type DetectionOutput =
  | { readonly kind: "heartbeat"; readonly to: string }
  /** Ask the kernel of that node, all three ways. */
  | { readonly kind: "ask"; readonly node: string; readonly address: string; readonly questions: readonly Question[] }
  /** Tell the other members what this observer sees. */
  | { readonly kind: "report"; readonly about: string; readonly boot: number; readonly class: ReportClass }
  /** It has missed a beat. `since` is when it was last heard: whoever wants to take over must have heard something later. */
  | { readonly kind: "suspected"; readonly node: string; readonly since: Instant }
  | { readonly kind: "cleared"; readonly node: string }
  /** Enough observers agree. Comes once; `cleared` follows if it is heard again. */
  | { readonly kind: "verdict"; readonly node: string; readonly boot: number; readonly class: VerdictClass; readonly silentForMs: number };
