/**
 * How the speakers agree: membership (who is there), detection (who died, and how) and claims (who owns which address),
 * joined into one machine. It hands the outputs of each to the others as inputs until only those for the outside are left.
 *
 * | from | what | to |
 * |---|---|---|
 * | membership | a member came, went, changed | detection (whom to watch), claims (who may own) |
 * | membership | a Herald message | detection (its sender runs), and by type detection or claims |
 * | detection | heartbeat, report | membership, as messages |
 * | detection | verdict | membership (the member is dead), and through it claims |
 * | claims | updates, requests for lists | membership, as messages |
 * | claims | everything handed over | membership (goodbye) |
 */

import { strict as assert } from "node:assert";

import { DecodeError } from "../../wire/decode-error.ts";
import { Detection } from "../detection/detection.ts";
import type { DetectionInput, DetectionOutput } from "../detection/detection-protocol.ts";
import { Claims } from "../election/claims.ts";
import type { ClaimsDigest, ClaimsInput, ClaimsOutput } from "../election/claims-protocol.ts";
import { isDue } from "../machine.ts";
import type { Instant, Machine, Random } from "../machine.ts";
import { Membership } from "../membership/membership.ts";
import { MAX_USER_DATAGRAM } from "../membership/membership-protocol.ts";
import type { MembershipInput, MembershipOutput } from "../membership/membership-protocol.ts";
import type { AgreementInput, AgreementOptions, AgreementOutput } from "./agreement-protocol.ts";
import { decodeHeraldMessage, encodeHeraldMessage, MAX_DIGESTS, passedOn } from "./herald-message.ts";
import type { HeraldBody, HeraldMessage } from "./herald-message.ts";
import { HERALD_META, Roster } from "./roster.ts";

/** Up to so many members are told directly; in larger clusters a message goes to RELAY_FANOUT, who pass it on. */
export const MAX_DIRECT_MEMBERS = 32;
export const FIRST_FANOUT = 12;
export const RELAY_FANOUT = 4;
/** A message is passed on at most so often: 12 x 4^5 is more than any cluster has. */
export const MAX_HOPS = 6;
/** Nodes whose answers by ARP or NDP prove that a segment can be heard. */
const SEGMENT_WITNESSES = 4;
/** An incarnation so far above the process's start in seconds was not reached by refuting suspicions of its own. */
const CLOCK_SET_BACK_INCARNATIONS = 60;
/** Others' word on a start beyond this is not believed: the year 6429 in milliseconds. A clock may have been wrong by years. */
const MAX_BOOT = 2 ** 47;
/** Steps that one input may cause between the three machines: more is a loop. */
const MAX_STEPS = 100_000;

type Step =
  | { readonly to: "membership"; readonly input: MembershipInput }
  | { readonly to: "detection"; readonly input: DetectionInput }
  | { readonly to: "claims"; readonly input: ClaimsInput }
  /** The members changed: detection and claims are told once, however many did. */
  | { readonly to: "roster" };

export class Agreement implements Machine<AgreementInput, AgreementOutput> {
  readonly #options: AgreementOptions;
  readonly #random: Random;
  readonly #membership: Membership;
  readonly #detection: Detection;
  readonly #claims: Claims;
  readonly #roster: Roster;
  /** Digests of others' lists, newest last: large clusters pass them on. */
  readonly #digests = new Map<string, ClaimsDigest>();
  #digest: ClaimsDigest;
  /** Goes with every message. */
  #boot: number;
  #sequence = 0;
  #stopping = false;
  /** A step that tells of the members is under way. */
  #rosterIsNews = false;
  #lastNow: Instant = -Infinity;

  /** @param wallMs Unix ms at an instant, for terms. */
  constructor(options: AgreementOptions, random: Random, wallMs: (now: Instant) => number) {
    const { node, endpoint, timing, profile, failback, template } = options;
    const boot = options.bootUnixMs;
    this.#options = options;
    this.#random = random;
    this.#roster = new Roster(node);
    const detection = new Detection({ node, profile });
    this.#detection = detection;
    const vouchesFor = (member: string): boolean => detection.vouchesFor(member);
    this.#membership = new Membership({ node, endpoint, keyring: { keys: options.keys }, incarnation: Math.floor(boot / 1000), meta: HERALD_META, timing, vouchesFor }, random);
    this.#claims = new Claims({ node, boot, wallMs, failback, template });
    this.#boot = boot;
    this.#digest = { owner: node, boot, version: 0, hash: 0 };
  }

  handle(input: AgreementInput, now: Instant): AgreementOutput[] {
    assert.ok(now >= this.#lastNow, "time goes back");
    this.#lastNow = now;
    const outputs: AgreementOutput[] = [];
    this.#run(this.#begin(input, now), now, outputs);
    return outputs;
  }

  nextTimeout(): Instant | undefined {
    const deadlines = [this.#membership.nextTimeout(), this.#detection.nextTimeout(), this.#claims.nextTimeout(), this.#roster.dampedUntil];
    return deadlines.reduce<Instant | undefined>((first, next) => (next === undefined || (first !== undefined && first <= next) ? first : next), undefined);
  }

  /** Plain data for metrics, tests and the simulation's checkers. */
  snapshot(): { readonly membership: ReturnType<Membership["snapshot"]>; readonly claims: ReturnType<Claims["snapshot"]> } {
    return { membership: this.#membership.snapshot(), claims: this.#claims.snapshot() };
  }

  /** Names of the members that are alive or suspect, MetalLB's included, this node left out. */
  usableMembers(): string[] {
    return this.#membership.members().flatMap(({ node, state }) => (state === "alive" || state === "suspect" ? [node] : []));
  }

  #begin(input: AgreementInput, now: Instant): Step[] {
    switch (input.kind) {
      case "datagram":
      case "streamAccepted":
      case "streamConnected":
      case "streamBytes":
      case "streamEnded":
      case "streamFailed":
        return [{ to: "membership", input }];
      case "peers":
        this.#roster.setExpected(input.peers);
        return [{ to: "membership", input: { kind: "expected", peers: input.peers } }, ...this.#rosterSteps(now)];
      case "row":
      case "removeRow":
      case "ready":
      case "fresh":
      case "interfaces":
      case "gateway":
      case "frame":
        return [{ to: "claims", input }];
      case "answer": {
        const node = this.#roster.nodeAt(input.address);
        return node === undefined ? [] : [{ to: "detection", input: { kind: "answer", node, question: input.question, result: input.result } }];
      }
      case "woke":
        return [{ to: "membership", input }, { to: "detection", input }, { to: "claims", input }];
      case "stop":
        this.#stopping = true;
        return [{ to: "claims", input: { kind: "release" } }];
      case "timeout":
        return this.#timeoutSteps(now);
    }
  }

  #timeoutSteps(now: Instant): Step[] {
    const steps: Step[] = [];
    if (isDue(this.#membership.nextTimeout(), now)) steps.push({ to: "membership", input: { kind: "timeout" } });
    if (isDue(this.#detection.nextTimeout(), now)) steps.push({ to: "detection", input: { kind: "timeout" } });
    if (isDue(this.#claims.nextTimeout(), now)) steps.push({ to: "claims", input: { kind: "timeout" } });
    if (isDue(this.#roster.dampedUntil, now)) steps.push({ to: "claims", input: { kind: "members", members: this.#roster.electionMembers(now) } });
    return steps;
  }

  /** Runs the steps and all that follow from them, in order. */
  #run(steps: Step[], now: Instant, outputs: AgreementOutput[]): void {
    let heartbeat: Uint8Array | undefined;
    // The list grows while it is walked.
    for (const step of steps) {
      assert.ok(steps.length < MAX_STEPS, "the machines of the agreement go round in circles");
      switch (step.to) {
        case "membership":
          for (const output of this.#membership.handle(step.input, now)) this.#fromMembership(output, now, steps, outputs);
          this.#catchUp(steps);
          break;
        case "roster":
          this.#rosterIsNews = false;
          steps.push(...this.#rosterSteps(now));
          break;
        case "detection":
          for (const output of this.#detection.handle(step.input, now)) {
            if (output.kind !== "heartbeat") {
              this.#fromDetection(output, steps, outputs);
              continue;
            }
            // One round of beats carries the same bytes.
            heartbeat ??= this.#encode({ kind: "heartbeat", digests: this.#digestsToSend() });
            steps.push(sendTo(output.to, heartbeat, false));
          }
          break;
        case "claims":
          for (const output of this.#claims.handle(step.input, now)) this.#fromClaims(output, steps, outputs);
          break;
      }
    }
  }

  #fromMembership(output: MembershipOutput, now: Instant, steps: Step[], outputs: AgreementOutput[]): void {
    switch (output.kind) {
      case "datagram":
      case "connect":
      case "streamSend":
      case "streamEnd":
      case "streamClose":
      case "dropped":
        outputs.push(output);
        return;
      case "member": {
        const { member, before } = output;
        this.#roster.setMember(member, now);
        if (!this.#roster.isPresent(member.node)) this.#digests.delete(member.node);
        if (member.state !== before) {
          outputs.push({ kind: "member", node: member.node, state: member.state, before, isHerald: this.#roster.isHerald(member.node), endpoint: member.endpoint });
        }
        if (!this.#rosterIsNews) steps.push({ to: "roster" });
        this.#rosterIsNews = true;
        return;
      }
      case "received":
        this.#received(output.bytes, output.reliable, steps, outputs);
        return;
      case "left":
        outputs.push({ kind: "stopped" });
        return;
    }
  }

  #fromDetection(output: Exclude<DetectionOutput, { kind: "heartbeat" }>, steps: Step[], outputs: AgreementOutput[]): void {
    switch (output.kind) {
      case "ask":
        outputs.push({ kind: "ask", address: output.address, questions: output.questions });
        return;
      case "report":
        this.#tellAll({ kind: "report", about: output.about, boot: output.boot, class: output.class }, steps);
        return;
      case "suspected":
        steps.push({ to: "claims", input: { kind: "suspected", node: output.node, since: output.since } });
        return;
      case "cleared":
        steps.push({ to: "claims", input: { kind: "suspected", node: output.node, since: undefined } });
        return;
      case "verdict": {
        outputs.push({ kind: "verdict", node: output.node, class: output.class, silentForMs: output.silentForMs });
        const member = this.#roster.member(output.node);
        if (member !== undefined) steps.push({ to: "membership", input: { kind: "condemn", node: output.node, incarnation: member.incarnation } });
        return;
      }
    }
  }

  #fromClaims(output: ClaimsOutput, steps: Step[], outputs: AgreementOutput[]): void {
    switch (output.kind) {
      case "owned":
      case "blocked":
      case "lost":
      case "reannounce":
      case "handingOver":
      case "settled":
      case "silence":
      case "speak":
      case "dropped":
        outputs.push(output);
        return;
      case "send":
        if (output.to === "all") this.#tellAll({ kind: "update", update: output.update }, steps);
        else steps.push(sendTo(output.to, this.#encode({ kind: "update", update: output.update }), output.reliable));
        return;
      case "pull":
        steps.push(sendTo(output.to, this.#encode({ kind: "pull", owner: output.owner }), false));
        return;
      case "askSegment":
        outputs.push({ kind: "askSegment", interfaceIndex: output.interfaceIndex, addresses: this.#roster.segmentWitnesses(SEGMENT_WITNESSES, (list, count) => this.#pick(list, count)) });
        return;
      case "digest":
        this.#digest = output.digest;
        return;
      case "released":
        if (this.#stopping) steps.push({ to: "membership", input: { kind: "leave" } });
        return;
    }
  }

  /** A Herald message came in. Only datagrams say that their sender runs now: a stream may have been on its way for long. */
  #received(bytes: Uint8Array, reliable: boolean, steps: Step[], outputs: AgreementOutput[]): void {
    const message = decode(bytes);
    if (message === undefined) {
      outputs.push({ kind: "dropped", reason: "heraldMessageMalformed" });
      return;
    }
    const { sender, boot, body } = message;
    const verdict = sender === this.#options.node ? "replayed" : this.#roster.judge(sender, boot, message.sequence);
    if (verdict === "stranger" || verdict === "replayed") {
      // What was passed on arrives more than once by design.
      const laterBoot = message.hops > 0 || reliable ? undefined : this.#roster.laterBoot(sender, boot, this.#lastNow);
      if (laterBoot !== undefined) steps.push(sendTo(sender, this.#encode({ kind: "heartbeat", digests: [this.#digest, { owner: sender, boot: laterBoot, version: 0, hash: 0 }] }), false));
      if (verdict === "stranger" || message.hops === 0) outputs.push({ kind: "dropped", reason: verdict === "stranger" ? "heraldMessageFromStranger" : "heraldMessageReplayed" });
      return;
    }
    if (verdict === "fresh" && !reliable && message.hops === 0) steps.push({ to: "detection", input: { kind: "heard", node: sender, boot } });
    switch (body.kind) {
      case "heartbeat":
        for (const digest of body.digests) {
          if (digest.owner === this.#options.node && digest.boot <= MAX_BOOT) this.#startedBefore(digest.boot, steps);
          this.#noteDigest(digest);
          steps.push({ to: "claims", input: { kind: "digest", digest, from: sender } });
        }
        // It slept, or was cut off, and still thinks that it owns what it did: it should not have to wait for the next ping.
        if (this.#roster.shouldTellDead(sender, this.#lastNow)) steps.push(sendTo(sender, this.#encode({ kind: "heartbeat", digests: this.#digestsToSend() }), false));
        break;
      case "report":
        steps.push({ to: "detection", input: { kind: "report", from: sender, about: body.about, boot: body.boot, class: body.class } });
        this.#passOn(bytes, message, steps);
        break;
      case "update":
        steps.push({ to: "claims", input: { kind: "update", update: body.update } });
        // A whole list is an answer to this node.
        if (!reliable && body.update.base !== undefined) this.#passOn(bytes, message, steps);
        break;
      case "pull":
        steps.push({ to: "claims", input: { kind: "pull", from: sender, owner: body.owner } });
        break;
    }
  }

  /**
   * Others drop what comes from an earlier start than the one they remember. A clock that was set back before a restart
   * makes this one look earlier; membership notices, as it has to refute an incarnation far above its own.
   */
  #catchUp(steps: Step[]): void {
    const { incarnation } = this.#membership;
    if (incarnation - Math.floor(this.#boot / 1000) >= CLOCK_SET_BACK_INCARNATIONS) this.#startedBefore(incarnation * 1000 - 1, steps);
  }

  /** Others know of a start of this node that looks later than this one: this one goes beyond it. */
  #startedBefore(boot: number, steps: Step[]): void {
    if (boot <= this.#boot) return;
    this.#boot = boot + 1;
    steps.push({ to: "claims", input: { kind: "boot", boot: this.#boot } });
  }

  #encode(body: HeraldBody): Uint8Array {
    this.#sequence += 1;
    return encodeHeraldMessage({ sender: this.#options.node, boot: this.#boot, sequence: this.#sequence, hops: 0, body });
  }

  #tellAll(body: HeraldBody, steps: Step[]): void {
    const reachable = this.#roster.reachable();
    if (reachable.length === 0) return;
    const bytes = this.#encode(body);
    const isLarge = reachable.length > MAX_DIRECT_MEMBERS;
    for (const { node } of isLarge ? this.#pick(reachable, FIRST_FANOUT) : reachable) steps.push(sendTo(node, bytes, false));
  }

  /** In a large cluster every message for all is passed on by those who see it for the first time. */
  #passOn(bytes: Uint8Array, { hops, sender }: HeraldMessage, steps: Step[]): void {
    if (hops >= MAX_HOPS) return;
    const reachable = this.#roster.reachable();
    if (reachable.length <= MAX_DIRECT_MEMBERS) return;
    const onward = passedOn(bytes, hops + 1);
    for (const { node } of this.#pick(reachable, RELAY_FANOUT)) if (node !== sender) steps.push(sendTo(node, onward, false));
  }

  #digestsToSend(): ClaimsDigest[] {
    // Where all beat to all, everybody hears of every list from its owner.
    if (this.#roster.reachable().length < MAX_DIGESTS) return [this.#digest];
    return [this.#digest, ...this.#pick([...this.#digests.values()], 4)];
  }

  #noteDigest(digest: ClaimsDigest): void {
    const known = this.#digests.get(digest.owner);
    if (digest.owner === this.#options.node || !this.#roster.isPresent(digest.owner)) return;
    if (known === undefined || digest.boot > known.boot || (digest.boot === known.boot && digest.version > known.version)) this.#digests.set(digest.owner, digest);
  }

  /** So many of the list, at random, each once. */
  #pick<T>(list: readonly T[], count: number): T[] {
    if (list.length <= count) return [...list];
    const indexes = new Set<number>();
    while (indexes.size < count) indexes.add(Math.floor(this.#random.next() * list.length));
    return [...indexes].flatMap((index) => list[index] ?? []);
  }

  #rosterSteps(now: Instant): Step[] {
    return [
      { to: "detection", input: { kind: "peers", peers: this.#roster.reachable() } },
      { to: "claims", input: { kind: "known", nodes: this.#roster.witnesses() } },
      { to: "claims", input: { kind: "members", members: this.#roster.electionMembers(now) } },
    ];
  }
}

function sendTo(node: string, bytes: Uint8Array, reliable: boolean): Step {
  return { to: "membership", input: { kind: "send", to: node, bytes, reliable: reliable || bytes.length > MAX_USER_DATAGRAM } };
}

function decode(bytes: Uint8Array): HeraldMessage | undefined {
  try {
    return decodeHeraldMessage(bytes);
  } catch (error) {
    if (error instanceof DecodeError) return undefined;
    throw error;
  }
}
