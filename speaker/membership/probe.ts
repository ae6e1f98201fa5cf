/**
 * One member after the other is asked whether it is there. SWIM §3.1 and Lifeguard, with memberlist's times:
 *
 *     ping --(probeTimeout)--> indirect pings through others, and a ping over TCP --(interval x awareness)--> suspect
 *
 * An ack, from whoever brings it, ends the probe at any moment. An answer over TCP alone clears the member, at the end.
 *
 * Nacks of those asked in between say that this node's own packets travel: as many as are missing worsen the awareness. They
 * are asked of members of our own kind only, those with our meta: memberlist sends its nacks so late that they miss the end
 * of every probe that is not stretched, and each real failure would count against this node.
 */

import type { Instant } from "../machine.ts";
import type { Context } from "./context.ts";
import type { MemberRecord } from "./member-list.ts";
import { isSameBytes } from "./member-rules.ts";
import type { MemberRules } from "./member-rules.ts";
import type { StreamId } from "./membership-protocol.ts";
import type { PingMessage } from "./message.ts";
import type { Streams } from "./streams.ts";

/** From this version of the protocol on a member answers pings over TCP. */
const TCP_PING_VERSION = 3;

interface Probe {
  readonly target: MemberRecord;
  /** What was known when the probe began: if it refutes meanwhile, it is not suspected. */
  readonly incarnation: number;
  readonly sequence: number;
  readonly endsAt: Instant;
  /** When to ask others; undefined once they are asked. */
  askOthersAt: Instant | undefined;
  expectedNacks: number;
  nacks: number;
  stream: StreamId | undefined;
  answeredOverTcp: boolean;
}

export class Prober {
  readonly #context: Context;
  readonly #rules: MemberRules;
  readonly #streams: Streams;
  #probe: Probe | undefined;
  #nextAt: Instant | undefined;

  constructor(context: Context, rules: MemberRules, streams: Streams) {
    this.#context = context;
    this.#rules = rules;
    this.#streams = streams;
  }

  /** The first probe comes at a random moment of the interval, so that members do not probe in step. */
  start(): void {
    const { now, random, timing } = this.#context;
    this.#nextAt = now + random.next() * timing.probeIntervalMs;
  }

  nextDeadline(): Instant | undefined {
    return this.#probe === undefined ? this.#nextAt : (this.#probe.askOthersAt ?? this.#probe.endsAt);
  }

  run(): void {
    const { now, timing } = this.#context;
    if (this.#probe?.askOthersAt !== undefined && this.#probe.askOthersAt <= now) this.#askOthers(this.#probe);
    if (this.#probe !== undefined && this.#probe.endsAt <= now) this.#fail(this.#probe);
    if (this.#probe !== undefined || this.#nextAt === undefined || this.#nextAt > now) return;
    // On the grid of intervals: one that was missed is not made up for.
    const missed = Math.floor((now - this.#nextAt) / timing.probeIntervalMs);
    this.#nextAt += (missed + 1) * timing.probeIntervalMs;
    const target = this.#context.list.nextToProbe(this.#context.self.node, now - timing.gossipToTheDeadTimeMs);
    if (target !== undefined) this.#begin(target);
  }

  /** True when the ack was for the probe under way. */
  acked(sequence: number): boolean {
    if (this.#probe?.sequence !== sequence) return false;
    this.#succeed(this.#probe);
    return true;
  }

  nacked(sequence: number): boolean {
    if (this.#probe?.sequence !== sequence) return false;
    this.#probe.nacks += 1;
    return true;
  }

  /** This process slept, and may have missed the answer: the same member is asked again. */
  restart(): void {
    const probe = this.#probe;
    if (probe === undefined) return;
    this.#end(probe);
    if (probe.target.state === "alive" || probe.target.state === "suspect") this.#begin(probe.target);
  }

  #begin(target: MemberRecord): void {
    const { now, timing, awareness, self } = this.#context;
    const sequence = this.#context.nextSequence();
    const endsAt = now + awareness.scale(timing.probeIntervalMs);
    this.#probe = {
      target,
      incarnation: target.incarnation,
      sequence,
      endsAt,
      askOthersAt: Math.min(endsAt, now + timing.probeTimeoutMs),
      expectedNacks: 0,
      nacks: 0,
      stream: undefined,
      answeredOverTcp: false,
    };
    const ping = this.#ping(target.node, sequence);
    if (target.state === "alive") this.#context.send(target.endpoint, ping);
    // The suspicion goes along, so that the member can refute it at once.
    else this.#context.sendExactly(target.endpoint, [ping, { kind: "suspect", node: target.node, incarnation: target.incarnation, from: self.node }]);
  }

  #askOthers(probe: Probe): void {
    const { list, self, timing } = this.#context;
    const { target, sequence } = probe;
    probe.askOthersAt = undefined;
    for (const peer of list.pick(timing.indirectChecks, (record) => record !== self && record !== target && record.state === "alive")) {
      const nack = isSameBytes(peer.meta, self.meta);
      if (nack) probe.expectedNacks += 1;
      this.#context.send(peer.endpoint, { kind: "indirectPing", sequence, node: target.node, target: target.endpoint, nack, source: self.endpoint, sourceNode: self.node });
    }
    if ((target.versions[1] ?? 0) >= TCP_PING_VERSION) this.#askOverTcp(probe);
  }

  #askOverTcp(probe: Probe): void {
    probe.stream = this.#streams.open({
      to: probe.target.endpoint,
      send: () => this.#ping(probe.target.node, probe.sequence),
      received: (message, stream) => {
        if (message.kind === "ack" && message.sequence === probe.sequence) probe.answeredOverTcp = true;
        probe.stream = undefined;
        this.#streams.close(stream);
      },
      ended: () => {
        probe.stream = undefined;
      },
      isOneWay: false,
    });
  }

  #succeed(probe: Probe): void {
    this.#context.awareness.apply(-1);
    this.#end(probe);
  }

  #fail(probe: Probe): void {
    if (probe.answeredOverTcp) return this.#succeed(probe);
    const { awareness, self } = this.#context;
    this.#end(probe);
    // Nobody there who could tell us: then the blame may as well be our own.
    awareness.apply(probe.expectedNacks > 0 ? Math.max(0, probe.expectedNacks - probe.nacks) : 1);
    this.#rules.suspect({ kind: "suspect", node: probe.target.node, incarnation: probe.incarnation, from: self.node });
  }

  #end(probe: Probe): void {
    this.#probe = undefined;
    if (probe.stream !== undefined) this.#streams.close(probe.stream);
  }

  #ping(node: string, sequence: number): PingMessage {
    const { self } = this.#context;
    return { kind: "ping", sequence, node, source: self.endpoint, sourceNode: self.node };
  }
}
