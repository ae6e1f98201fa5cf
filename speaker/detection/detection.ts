/**
 * Who of the Herald members is silent, and why: SWIM's probes take seconds to be sure of a death, since silence is all
 * they have; this asks the silent node's kernel, which tells a dead machine from a dead process from a paused one.
 *
 * Every member beats to its observers (`observers.ts`). An observer that misses a beat suspects, asks the kernel
 * (`peer-watch.ts`), and tells all members what it sees for as long as it sees it (a report). Enough observers that agree
 * make a verdict, at every member by itself:
 * - an observer of the peer must see it silent itself; it needs a second that does too, or none when no other observer is
 *   left that it hears;
 * - a member that does not observe the peer needs the reports of two;
 * - a refused connection needs one report: that is the kernel's word.
 * Whatever is heard of the peer's process undoes suspicion, reports and verdict.
 *
 * **Doubting itself.** A node that has heard nothing from anybody since its suspicion of a peer began may be the deaf one.
 * It reports nothing, and, if it observes two or more, reaches no verdict before `pausedAfterMs` of silence; by then
 * SWIM alone would not have decided, and whether it may take anything over is up to the claims, which want a frame heard.
 *
 * **Waking up.** If this process itself did not run for more than WOKE_LAG_MS, all silences start anew.
 *
 * Bounds: state per listed peer; reports per peer, one of each listed peer. Work per turn: the observed peers (at most 15)
 * and those that reports are about.
 */

import { strict as assert } from "node:assert";

import type { Instant, Machine } from "../machine.ts";
import type { DetectionInput, DetectionOutput, DetectionProfile, ReportClass, WatchedPeer } from "./detection-protocol.ts";
import { observedBy, observerRing, observersOf } from "./observers.ts";
import type { ObserverRing } from "./observers.ts";
import { PeerWatch } from "./peer-watch.ts";
import type { DeathClass } from "./peer-watch.ts";
import { verdictOf } from "./verdict.ts";

export interface DetectionOptions {
  /** This node's name, as peers list it. */
  readonly node: string;
  readonly profile: DetectionProfile;
}

/** What an observer sees is repeated so often while it lasts. */
export const REPORT_INTERVAL_MS = 250;
/** A report counts for so long: three may be lost. */
export const REPORT_TTL_MS = 1_000;
/** Own absence that makes what was silent meanwhile count for nothing. */
export const WOKE_LAG_MS = 100;
/** Former observers are beaten to for so long: they may not know yet that others observe now. */
export const LINGER_MS = 5_000;
/** Peers that were taken off the list while suspected, and are remembered so that their return is told. */
export const MAX_GONE_SUSPECTS = 1_024;

interface Report {
  readonly class: DeathClass;
  readonly boot: number;
  readonly expiresAt: Instant;
}

interface Peer {
  readonly node: string;
  address: string;
  /** Boot id last heard; 0 before that. */
  boot: number;
  heardAt: Instant;
  /** While this node is one of its observers. */
  watch: PeerWatch | undefined;
  /** What was reported of it last, and when. */
  reported: DeathClass | undefined;
  reportedAt: Instant;
  /** `suspected` is out, `cleared` is not. */
  isSuspect: boolean;
  hasVerdict: boolean;
  /** What others see, by observer. */
  readonly reports: Map<string, Report>;
}

export class Detection implements Machine<DetectionInput, DetectionOutput> {
  readonly #node: string;
  readonly #profile: DetectionProfile;
  readonly #peers = new Map<string, Peer>();
  #ring: ObserverRing = [];
  #observed: Peer[] = [];
  /** Peers that are not observed here, about which reports have come. */
  readonly #rumoured = new Set<Peer>();
  /** Names that this node beats to, and until when. */
  readonly #beatUntil = new Map<string, Instant>();
  #nextBeat: Instant | undefined;
  readonly #goneSuspects = new Set<string>();
  /** When anything came in from anybody: a process, or a kernel. */
  #heardAnybodyAt: Instant = -Infinity;
  /** The last time that all that was due was done. */
  #lastLook: Instant = -Infinity;
  #lastNow: Instant = -Infinity;

  constructor({ node, profile }: DetectionOptions) {
    this.#node = node;
    this.#profile = profile;
  }

  handle(input: DetectionInput, now: Instant): DetectionOutput[] {
    assert.ok(now >= this.#lastNow, "time went back");
    this.#lastNow = now;
    const outputs: DetectionOutput[] = [];
    switch (input.kind) {
      case "peers":
        this.#setPeers(input.peers, now, outputs);
        break;
      case "heard":
        this.#heard(input.node, input.boot, now, outputs);
        break;
      case "answer":
        this.#answered(input, now, outputs);
        break;
      case "report":
        this.#takeReport(input, now, outputs);
        break;
      case "woke":
        if (input.lagMs > WOKE_LAG_MS) this.#wake(now);
        break;
      case "timeout":
        this.#timeout(now, outputs);
        break;
    }
    return outputs;
  }

  nextTimeout(): Instant | undefined {
    let next = this.#nextBeat;
    for (const { watch } of this.#observed) if (watch !== undefined) next = earlier(next, watch.nextLook(this.#lastLook));
    for (const { reports } of this.#rumoured) for (const { expiresAt } of reports.values()) next = earlier(next, expiresAt);
    return next;
  }

  /**
   * Whether this node takes the peer to be alive: as its observer, because it has heard its process and has not missed a
   * beat; else because no observer reports anything.
   */
  vouchesFor(node: string): boolean {
    const peer = this.#peers.get(node);
    if (peer === undefined) return false;
    if (peer.watch === undefined) return peer.reports.size === 0;
    return peer.boot > 0 && peer.watch.suspectedSince === undefined;
  }

  /** Plain data for metrics and tests. */
  snapshot(): { readonly peers: number; readonly observed: readonly string[]; readonly observers: readonly string[]; readonly suspects: readonly string[] } {
    return {
      peers: this.#peers.size,
      observed: this.#observed.map(({ node }) => node),
      observers: [...observersOf(this.#node, this.#ring)],
      suspects: [...this.#peers.values()].flatMap(({ node, isSuspect }) => (isSuspect ? [node] : [])),
    };
  }

  #setPeers(peers: readonly WatchedPeer[], now: Instant, outputs: DetectionOutput[]): void {
    const listed = new Map(peers.map((peer) => [peer.node, peer]));
    listed.delete(this.#node);
    for (const peer of this.#peers.values()) if (!listed.has(peer.node)) this.#forget(peer);
    for (const { node, address } of listed.values()) {
      const known = this.#peers.get(node);
      if (known === undefined) this.#meet(node, address, now, outputs);
      else known.address = address;
    }
    this.#ring = observerRing([this.#node, ...this.#peers.keys()]);
    this.#observeNeighbours(now, outputs);
    this.#beatToNeighbours(now);
  }

  #meet(node: string, address: string, now: Instant, outputs: DetectionOutput[]): void {
    this.#peers.set(node, { node, address, boot: 0, heardAt: now, watch: undefined, reported: undefined, reportedAt: -Infinity, isSuspect: false, hasVerdict: false, reports: new Map() });
    if (this.#goneSuspects.delete(node)) outputs.push({ kind: "cleared", node });
  }

  #forget(peer: Peer): void {
    this.#peers.delete(peer.node);
    this.#rumoured.delete(peer);
    this.#beatUntil.delete(peer.node);
    for (const { reports } of this.#peers.values()) reports.delete(peer.node);
    // Those that died are what is waited for: the suspicion of them lasts until they are back.
    if (peer.isSuspect && this.#goneSuspects.size < MAX_GONE_SUSPECTS) this.#goneSuspects.add(peer.node);
  }

  #observeNeighbours(now: Instant, outputs: DetectionOutput[]): void {
    const observed = new Set(observedBy(this.#node, this.#ring));
    this.#observed = [];
    for (const peer of this.#peers.values()) {
      if (observed.has(peer.node)) {
        peer.watch ??= new PeerWatch(this.#profile, now);
        this.#rumoured.delete(peer);
        this.#observed.push(peer);
      } else if (peer.watch !== undefined) {
        peer.watch = undefined;
        peer.reported = undefined;
        if (peer.reports.size > 0) this.#rumoured.add(peer);
        else clear(peer, outputs);
      }
    }
  }

  #beatToNeighbours(now: Instant): void {
    const observers = new Set(observersOf(this.#node, this.#ring));
    for (const node of observers) this.#beatUntil.set(node, Infinity);
    for (const [node, until] of this.#beatUntil) if (until === Infinity && !observers.has(node)) this.#beatUntil.set(node, now + LINGER_MS);
    if (this.#beatUntil.size === 0) this.#nextBeat = undefined;
    else this.#nextBeat ??= now;
  }

  #heard(node: string, boot: number, now: Instant, outputs: DetectionOutput[]): void {
    const peer = this.#peers.get(node);
    if (peer === undefined || boot < peer.boot) return;
    this.#heardAnybodyAt = now;
    peer.boot = boot;
    peer.heardAt = now;
    peer.hasVerdict = false;
    peer.reports.clear();
    this.#rumoured.delete(peer);
    peer.watch?.heard(now);
    if (peer.reported !== undefined) this.#report(peer, undefined, now, outputs);
    clear(peer, outputs);
  }

  #answered({ node, question, result }: Extract<DetectionInput, { kind: "answer" }>, now: Instant, outputs: DetectionOutput[]): void {
    const peer = this.#peers.get(node);
    if (peer === undefined) return;
    this.#heardAnybodyAt = now;
    peer.watch?.answered(question, result, now);
    this.#look(peer, now, outputs);
  }

  #takeReport({ from, about, boot, class: reported }: Extract<DetectionInput, { kind: "report" }>, now: Instant, outputs: DetectionOutput[]): void {
    const peer = this.#peers.get(about);
    // What is said of an earlier boot says nothing of this one.
    if (peer === undefined || from === about || !this.#peers.has(from) || boot < peer.boot) return;
    if (reported === "heard") peer.reports.delete(from);
    else peer.reports.set(from, { class: reported, boot, expiresAt: now + REPORT_TTL_MS });
    if (peer.watch === undefined) this.#lookAtReports(peer, now, outputs);
    else this.#judge(peer, now, outputs);
  }

  #wake(now: Instant): void {
    for (const peer of this.#peers.values()) {
      peer.watch?.restart(now);
      peer.reported = undefined;
      // They came in before this process slept; those that still hold come again.
      for (const [from, report] of peer.reports) peer.reports.set(from, { ...report, expiresAt: now });
    }
    this.#nextBeat = this.#nextBeat === undefined ? undefined : now;
  }

  #timeout(now: Instant, outputs: DetectionOutput[]): void {
    this.#lastLook = now;
    this.#beat(now, outputs);
    for (const peer of this.#observed) this.#look(peer, now, outputs);
    for (const peer of this.#rumoured) this.#lookAtReports(peer, now, outputs);
  }

  #beat(now: Instant, outputs: DetectionOutput[]): void {
    if (this.#nextBeat === undefined || now < this.#nextBeat) return;
    for (const [node, until] of this.#beatUntil) {
      if (now < until) outputs.push({ kind: "heartbeat", to: node });
      else this.#beatUntil.delete(node);
    }
    // Keeps the rhythm when it is a little late, and begins a new one when it is very late.
    const next = this.#nextBeat + this.#profile.beatIntervalMs;
    this.#nextBeat = next > now ? next : now + this.#profile.beatIntervalMs;
  }

  /** Looks at an observed peer with this node's own eyes. */
  #look(peer: Peer, now: Instant, outputs: DetectionOutput[]): void {
    const { watch } = peer;
    if (watch === undefined) return;
    if (watch.suspect(now)) {
      peer.isSuspect = true;
      outputs.push({ kind: "suspected", node: peer.node, since: watch.silentSince });
    }
    if (watch.suspectedSince === undefined) return;
    if (watch.takeAsk(now)) outputs.push({ kind: "ask", node: peer.node, address: peer.address, questions: ["arp", "icmp", "tcp"] });
    const seen = this.#doubtsItself(watch) ? undefined : watch.class(now);
    if (seen !== peer.reported || (seen !== undefined && now >= peer.reportedAt + REPORT_INTERVAL_MS)) this.#report(peer, seen, now, outputs);
    this.#judge(peer, now, outputs);
  }

  /** Looks at a peer that this node does not observe, through the eyes of others. */
  #lookAtReports(peer: Peer, now: Instant, outputs: DetectionOutput[]): void {
    dropExpired(peer.reports, now);
    if (peer.reports.size === 0) {
      this.#rumoured.delete(peer);
      clear(peer, outputs);
      return;
    }
    this.#rumoured.add(peer);
    if (!peer.isSuspect) {
      peer.isSuspect = true;
      outputs.push({ kind: "suspected", node: peer.node, since: now });
    }
    this.#decide(peer, { own: undefined, needed: 2, silentSince: peer.heardAt }, now, outputs);
  }

  #judge(peer: Peer, now: Instant, outputs: DetectionOutput[]): void {
    const { watch } = peer;
    if (watch?.suspectedSince === undefined || peer.hasVerdict) return;
    dropExpired(peer.reports, now);
    const isAlone = this.#observed.length < 2;
    if (!isAlone && this.#doubtsItself(watch) && now < watch.silentSince + this.#profile.pausedAfterMs) return;
    const own = watch.class(now);
    const isRefused = own === "refused" || [...peer.reports.values()].some((report) => report.class === "refused");
    if (own === undefined && !isRefused) return;
    this.#decide(peer, { own, needed: this.#hearsAnotherObserver(peer) ? 2 : 1, silentSince: watch.silentSince }, now, outputs);
  }

  #decide(peer: Peer, { own, needed, silentSince }: { own: DeathClass | undefined; needed: number; silentSince: Instant }, now: Instant, outputs: DetectionOutput[]): void {
    if (peer.hasVerdict) return;
    const classes: DeathClass[] = own === undefined ? [] : [own];
    let boot = peer.boot;
    for (const report of peer.reports.values()) {
      classes.push(report.class);
      boot = Math.max(boot, report.boot);
    }
    const verdict = verdictOf(classes, needed);
    if (verdict === undefined) return;
    peer.hasVerdict = true;
    outputs.push({ kind: "verdict", node: peer.node, boot, class: verdict, silentForMs: now - silentSince });
  }

  /** Whether a second opinion can be had. */
  #hearsAnotherObserver(peer: Peer): boolean {
    return observersOf(peer.node, this.#ring).some((node) => node !== this.#node && this.#peers.get(node)?.isSuspect === false);
  }

  /** Nothing at all has come in since the suspicion began: it may be this node that can't hear. */
  #doubtsItself({ suspectedSince }: PeerWatch): boolean {
    return suspectedSince !== undefined && this.#heardAnybodyAt <= suspectedSince;
  }

  #report(peer: Peer, seen: DeathClass | undefined, now: Instant, outputs: DetectionOutput[]): void {
    const reported: ReportClass = seen ?? "heard";
    peer.reported = seen;
    peer.reportedAt = now;
    outputs.push({ kind: "report", about: peer.node, boot: peer.boot, class: reported });
  }
}

function clear(peer: Peer, outputs: DetectionOutput[]): void {
  if (!peer.isSuspect) return;
  peer.isSuspect = false;
  outputs.push({ kind: "cleared", node: peer.node });
}

function dropExpired(reports: Map<string, Report>, now: Instant): void {
  for (const [from, { expiresAt }] of reports) if (expiresAt <= now) reports.delete(from);
}

function earlier(a: Instant | undefined, b: Instant): Instant {
  return a === undefined || b < a ? b : a;
}
