/**
 * Who is in the cluster: SWIM (Das, Gupta, Motivala, 2002) with Lifeguard (Dadgar, Phillips, Currey, 2017), speaking
 * memberlist's protocol 2, so that Herald's and MetalLB's speakers form one cluster.
 *
 *     alive --(nobody gets an answer)--> suspect --(time runs out)--> dead --(gossipToTheDeadTime)--> forgotten
 *       ^------(higher incarnation: the member itself refutes)---------'
 *     alive, suspect --(it says goodbye)--> left
 *
 * `member-rules.ts` has the beliefs, `probe.ts` and `relay.ts` the questions, `push-pull.ts` the exchange of lists,
 * `healing.ts` the search for absent peers, `streams.ts` what runs over TCP; here is what joins them, gossip, and goodbye.
 *
 * Deadlines run only on a timeout input: whoever drives this hands over the packets that wait before it lets time run out.
 *
 * Beyond memberlist: absent peers are looked for without end, somebody who knows better may condemn a member, and a
 * process that slept gives everybody another chance. Left out: labels, delegates, the periodic rejoin.
 */

import type { Instant, Machine, Random } from "../machine.ts";
import { Context } from "./context.ts";
import type { MembershipOptions } from "./context.ts";
import { Healing } from "./healing.ts";
import { isGone, memberOf } from "./member-list.ts";
import { MemberRules } from "./member-rules.ts";
import { MAX_USER_DATAGRAM } from "./membership-protocol.ts";
import type { Member, MembershipInput, MembershipOutput, MemberState } from "./membership-protocol.ts";
import type { AckMessage, Endpoint, PacketMessage, PingMessage, StreamMessage } from "./message.ts";
import { decodePacket } from "./packet-codec.ts";
import { PacketError } from "./packet-error.ts";
import { Prober } from "./probe.ts";
import { PushPull } from "./push-pull.ts";
import { Relay } from "./relay.ts";
import { Streams } from "./streams.ts";
import type { Accepted } from "./streams.ts";

export type { MembershipOptions } from "./context.ts";

/** Most application bytes in a stream. */
export const MAX_USER_STREAM = 1024 * 1024;
/** How long the goodbye may take to get out. */
export const LEAVE_TIMEOUT_MS = 1_000;
/** Members that hear the goodbye directly; the others by gossip. */
export const MAX_DIRECT_GOODBYES = 32;

/** For metrics and tests; this node is not counted. */
export interface MembershipSnapshot {
  readonly members: Readonly<Record<MemberState, number>>;
  readonly incarnation: number;
  /** Lifeguard's local health: 0 is healthy. */
  readonly awarenessScore: number;
  readonly queuedNews: number;
  readonly streams: number;
  readonly statesWaiting: number;
  readonly absentPeers: number;
}

export class Membership implements Machine<MembershipInput, MembershipOutput> {
  readonly #context: Context;
  readonly #rules: MemberRules;
  readonly #streams: Streams;
  readonly #prober: Prober;
  readonly #relay: Relay;
  readonly #pushPull: PushPull;
  readonly #healing: Healing;
  /** The grid that gossip keeps to, and whether anything waits for its next point. */
  #gossipAt: Instant | undefined;
  #hasGossip = false;
  #leftBy: Instant | undefined;
  #lastNow: Instant = Number.NEGATIVE_INFINITY;

  constructor(options: MembershipOptions, random: Random) {
    this.#context = new Context(options, random);
    this.#rules = new MemberRules(this.#context, (record) => this.#healing.changed(record));
    this.#streams = new Streams(this.#context, (message, accepted) => this.#answerStream(message, accepted));
    this.#prober = new Prober(this.#context, this.#rules, this.#streams);
    this.#relay = new Relay(this.#context);
    this.#pushPull = new PushPull(this.#context, this.#rules, this.#streams);
    this.#healing = new Healing(this.#context, this.#pushPull);
  }

  /** Everybody known but this node, the dead until they are forgotten. */
  members(): readonly Member[] {
    const members: Member[] = [];
    for (const record of this.#context.list.values()) if (record !== this.#context.self) members.push(memberOf(record));
    return members;
  }

  /** This node's own incarnation: it jumps when others remember a higher one. */
  get incarnation(): number {
    return this.#context.self.incarnation;
  }

  snapshot(): MembershipSnapshot {
    const members = { alive: 0, suspect: 0, dead: 0, left: 0 };
    for (const { state } of this.members()) members[state] += 1;
    const { self, awareness, broadcasts } = this.#context;
    return {
      members,
      incarnation: self.incarnation,
      awarenessScore: awareness.score,
      queuedNews: broadcasts.length,
      streams: this.#streams.size,
      statesWaiting: this.#pushPull.statesWaiting,
      absentPeers: this.#healing.absentCount,
    };
  }

  handle(input: MembershipInput, now: Instant): MembershipOutput[] {
    if (now < this.#lastNow) throw new Error(`time went back from ${this.#lastNow} to ${now}`);
    this.#context.now = now;
    if (this.#gossipAt === undefined) this.#start(now);
    this.#lastNow = now;
    this.#take(input);
    this.#finishLeaving();
    this.#armGossip();
    return this.#context.takeOutputs();
  }

  /** Undefined before the first input: time begins with it. */
  nextTimeout(): Instant | undefined {
    let next = earlier(this.#prober.nextDeadline(), this.#rules.nextDeadline());
    next = earlier(next, this.#relay.nextDeadline());
    next = earlier(next, this.#streams.nextDeadline());
    next = earlier(next, this.#pushPull.nextDeadline());
    next = earlier(next, this.#healing.nextDeadline());
    next = earlier(next, this.#leftBy);
    return this.#hasGossip ? earlier(next, this.#gossipAt) : next;
  }

  #start(now: Instant): void {
    const { random, timing } = this.#context;
    this.#gossipAt = now + random.next() * timing.gossipIntervalMs;
    this.#prober.start();
    this.#pushPull.start();
    this.#context.broadcast(this.#context.selfAlive());
  }

  #take(input: MembershipInput): void {
    switch (input.kind) {
      case "datagram":
        return this.#datagram(input.bytes, input.from);
      case "streamAccepted":
        return this.#streams.accept(input.stream, input.from);
      case "streamConnected":
        return this.#streams.connected(input.stream);
      case "streamBytes":
        return this.#streams.received(input.stream, input.bytes);
      case "streamEnded":
        return this.#streams.peerEnded(input.stream);
      case "streamFailed":
        return this.#streams.failed(input.stream);
      case "expected":
        return this.#healing.expect(input.peers);
      case "send":
        return this.#send(input.to, input.bytes, input.reliable);
      case "condemn":
        return this.#condemn(input.node, input.incarnation);
      case "woke":
        return this.#wake();
      case "leave":
        return this.#leave();
      case "timeout":
        return this.#runDeadlines();
    }
  }

  #runDeadlines(): void {
    this.#prober.run();
    this.#rules.expire();
    this.#relay.expire();
    this.#streams.expire();
    this.#pushPull.run();
    this.#healing.run();
    this.#gossip();
  }

  #datagram(bytes: Uint8Array, from: Endpoint): void {
    let messages: readonly PacketMessage[];
    try {
      messages = decodePacket(bytes, this.#context.options.keyring, ({ reason }) => this.#context.drop(reason));
    } catch (error) {
      if (!(error instanceof PacketError)) throw error;
      return this.#context.drop(error.reason);
    }
    this.#healing.heardFrom(from.address);
    // Pings last: the ack then carries what the rest of the packet made us refute.
    for (const message of messages) if (message.kind !== "ping") this.#message(message, from);
    for (const message of messages) if (message.kind === "ping") this.#ping(message, from);
  }

  #message(message: Exclude<PacketMessage, PingMessage>, from: Endpoint): void {
    switch (message.kind) {
      case "indirectPing":
        return this.#relay.ask(message, from);
      case "ack":
        return this.#ack(message);
      case "nack":
        if (!this.#prober.nacked(message.sequence)) this.#context.drop("staleAck");
        return undefined;
      case "alive":
        return this.#rules.alive(message);
      case "suspect":
        return this.#rules.suspect(message);
      case "dead":
        return this.#rules.declaredDead(message);
      case "user":
        return this.#context.emit({ kind: "received", from, bytes: message.bytes, reliable: false });
    }
  }

  #ping({ node, sequence, source }: PingMessage, from: Endpoint): void {
    if (node !== "" && node !== this.#context.self.node) return this.#context.drop("wrongNode");
    return this.#context.send(source ?? from, { kind: "ack", sequence, payload: new Uint8Array() });
  }

  #ack({ sequence }: AckMessage): void {
    if (!this.#prober.acked(sequence) && !this.#relay.acked(sequence) && !this.#healing.acked(sequence)) this.#context.drop("staleAck");
  }

  /** The first message on a stream that another member opened: it is the only one. */
  #answerStream(message: StreamMessage, accepted: Accepted): void {
    const { stream, from } = accepted;
    switch (message.kind) {
      case "pushPull":
        return this.#pushPull.answer(message, accepted);
      case "ping":
        if (message.node !== "" && message.node !== this.#context.self.node) this.#context.drop("wrongNode");
        else this.#streams.send(stream, { kind: "ack", sequence: message.sequence, payload: new Uint8Array() });
        return this.#streams.close(stream);
      case "user":
        this.#context.emit({ kind: "received", from, bytes: message.bytes, reliable: true });
        return this.#streams.close(stream);
      case "ack":
      case "error":
        this.#context.drop("malformed");
        return this.#streams.close(stream);
    }
  }

  #send(to: string, bytes: Uint8Array, reliable: boolean): void {
    const record = this.#context.list.get(to);
    if (record === undefined || record === this.#context.self) return this.#context.drop("unknownMember");
    if (bytes.length > (reliable ? MAX_USER_STREAM : MAX_USER_DATAGRAM)) return this.#context.drop("tooLong");
    if (!reliable) return this.#context.sendExactly(record.endpoint, [{ kind: "user", bytes }]);
    this.#streams.open({
      to: record.endpoint,
      send: () => ({ kind: "user", bytes }),
      received: (_message, stream) => this.#streams.close(stream),
      ended: () => {},
      isOneWay: true,
    });
    return undefined;
  }

  #condemn(node: string, incarnation: number): void {
    const record = this.#context.list.get(node);
    if (record === undefined || record === this.#context.self || isGone(record) || record.incarnation > incarnation) return;
    this.#rules.dead({ kind: "dead", node, incarnation: record.incarnation, from: this.#context.self.node });
  }

  #wake(): void {
    this.#prober.restart();
    this.#rules.restartSuspicions();
    this.#streams.restart();
  }

  #gossip(): void {
    const { now, list, self, timing } = this.#context;
    if (!this.#hasGossip || this.#gossipAt === undefined || this.#gossipAt > now) return;
    this.#hasGossip = false;
    const hears = ({ state, stateChangedAt }: { state: MemberState; stateChangedAt: Instant }): boolean =>
      state === "alive" || state === "suspect" || (state === "dead" && now - stateChangedAt <= timing.gossipToTheDeadTimeMs);
    for (const { endpoint } of list.pick(timing.gossipNodes, (record) => record !== self && hears(record))) {
      if (!this.#context.gossipTo(endpoint)) return;
    }
  }

  /** Nothing to say, no deadline: else the next point of the grid. */
  #armGossip(): void {
    const { now, broadcasts, list, timing } = this.#context;
    if (this.#hasGossip || broadcasts.length === 0 || list.size < 2 || this.#gossipAt === undefined) return;
    this.#hasGossip = true;
    if (this.#gossipAt <= now) this.#gossipAt += (Math.floor((now - this.#gossipAt) / timing.gossipIntervalMs) + 1) * timing.gossipIntervalMs;
  }

  #leave(): void {
    if (this.#context.leaving) return;
    const { list, self, now } = this.#context;
    const goodbye = this.#rules.leave();
    const others = list.pick(MAX_DIRECT_GOODBYES, (record) => record !== self && !isGone(record));
    for (const { endpoint } of others) this.#context.sendExactly(endpoint, [goodbye]);
    if (others.length === 0) this.#context.emit({ kind: "left" });
    else this.#leftBy = now + LEAVE_TIMEOUT_MS;
  }

  #finishLeaving(): void {
    const { now, self, broadcasts } = this.#context;
    if (this.#leftBy === undefined || (this.#leftBy > now && broadcasts.has(self.node))) return;
    this.#leftBy = undefined;
    this.#context.emit({ kind: "left" });
  }
}

function earlier(a: Instant | undefined, b: Instant | undefined): Instant | undefined {
  if (a === undefined) return b;
  return b === undefined || a <= b ? a : b;
}
