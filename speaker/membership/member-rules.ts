/**
 * What is believed of a member, and when it changes: SWIM's rules of alive, suspect and dead with incarnations, as
 * memberlist applies them.
 *
 * - Only a higher incarnation makes a member alive again; an equal one is enough to suspect it or to declare it dead.
 * - Only the member itself raises its incarnation: that is how this node refutes what is said about it.
 * - What another member believes dead (in a push-pull) is only suspected here; what left by itself has left.
 * - So is whom another declares dead while this node vouches for it: one that was cut off by itself comes back with a tale of
 *   everybody's death, and may not cost them anything. The suspicion reaches the member, and it refutes.
 * - A member that is there keeps its endpoint: an alive message from elsewhere is another node of that name, and dropped.
 *   One that is gone may come back from anywhere, at once.
 *
 * Unlike memberlist, a member that is gone needs a higher incarnation for its new endpoint, too. An old message sent again
 * changes nothing this way; a newcomer that counts from 1 hears in its first push-pull what is said of it, and refutes.
 */

import type { Instant } from "../machine.ts";
import type { Context } from "./context.ts";
import { MAX_UINT32 } from "./context.ts";
import { isGone, MAX_MEMBERS, memberOf } from "./member-list.ts";
import type { MemberRecord } from "./member-list.ts";
import type { MemberState } from "./membership-protocol.ts";
import type { AliveMessage, DeadMessage, Endpoint, ProtocolVersions, PushPullState, SuspectMessage } from "./message.ts";
import { Suspicion } from "./suspicion.ts";

/** The version of memberlist's protocol that Herald speaks. */
const OUR_PROTOCOL = 2;

export class MemberRules {
  readonly #context: Context;
  readonly #changed: (record: MemberRecord) => void;
  readonly #suspects = new Set<MemberRecord>();

  /** `changed` hears of each member whose state is another than before. */
  constructor(context: Context, changed: (record: MemberRecord) => void) {
    this.#context = context;
    this.#changed = changed;
  }

  /** The earliest end of a suspicion. */
  nextDeadline(): Instant | undefined {
    let next: Instant | undefined;
    for (const { suspicion } of this.#suspects) {
      if (suspicion !== undefined && (next === undefined || suspicion.deadline < next)) next = suspicion.deadline;
    }
    return next;
  }

  alive(message: AliveMessage): void {
    const context = this.#context;
    const { node } = message;
    const isSelf = node === context.self.node;
    if (isSelf && context.leaving) return;
    if (!speaksOurProtocol(message.versions)) return context.drop("protocolMismatch");
    const record = context.list.get(node);
    if (record === undefined) return this.#takeIn(message);
    if (!isSameEndpoint(record.endpoint, message.endpoint) && !isGone(record)) return context.drop("addressConflict");
    if (message.incarnation < record.incarnation) return context.drop("staleIncarnation");
    if (isSelf) {
      const isSame = message.incarnation === record.incarnation && isSameBytes(message.meta, record.meta) && isSameBytes(message.versions, record.versions);
      if (!isSame) this.#refute(message.incarnation);
      return;
    }
    if (message.incarnation === record.incarnation) return;
    const before = record.state;
    record.endpoint = message.endpoint;
    record.incarnation = message.incarnation;
    record.meta = message.meta;
    record.versions = message.versions;
    this.#setState(record, "alive");
    context.broadcast(message);
    this.#tell(record, before);
  }

  suspect(message: SuspectMessage): void {
    const context = this.#context;
    const record = context.list.get(message.node);
    if (record === undefined) return;
    if (message.incarnation < record.incarnation) return context.drop("staleIncarnation");
    if (record.suspicion !== undefined) {
      // Passed on only as long as it is news, else two members would confirm each other for ever.
      if (record.suspicion.confirm(message.from)) context.broadcast(message);
      return;
    }
    if (record.state !== "alive") return;
    if (record === context.self) return this.#refute(message.incarnation);
    const before = record.state;
    record.incarnation = message.incarnation;
    this.#setState(record, "suspect", message.from);
    context.broadcast(message);
    this.#tell(record, before);
  }

  /** Another member says that one is dead, or that it leaves. */
  declaredDead(message: DeadMessage): void {
    const { node, incarnation, from } = message;
    const isVouchedFor = from !== node && node !== this.#context.self.node && this.#context.options.vouchesFor?.(node) === true;
    if (isVouchedFor) this.suspect({ kind: "suspect", node, incarnation, from });
    else this.dead(message);
  }

  dead(message: DeadMessage): void {
    const context = this.#context;
    const record = context.list.get(message.node);
    if (record === undefined) return;
    if (message.incarnation < record.incarnation) return context.drop("staleIncarnation");
    if (isGone(record)) return;
    if (record === context.self) return this.#refute(message.incarnation);
    const before = record.state;
    record.incarnation = message.incarnation;
    this.#setState(record, message.from === message.node ? "left" : "dead");
    context.broadcast(message);
    this.#tell(record, before);
  }

  /** What a push-pull says of a member. */
  merge({ node, endpoint, incarnation, state, meta, versions }: PushPullState): void {
    switch (state) {
      case "alive":
        return this.alive({ kind: "alive", node, endpoint, incarnation, meta, versions });
      case "left":
        return this.dead({ kind: "dead", node, incarnation, from: node });
      case "dead":
      case "suspect":
        return this.suspect({ kind: "suspect", node, incarnation, from: this.#context.self.node });
    }
  }

  /** Declares dead whose suspicion has run out. */
  expire(): void {
    const { now, self } = this.#context;
    for (const record of this.#suspects) {
      if (record.suspicion === undefined || record.suspicion.deadline > now) continue;
      this.dead({ kind: "dead", node: record.node, incarnation: record.incarnation, from: self.node });
    }
  }

  /** This process slept: everybody suspected gets the full time again. */
  restartSuspicions(): void {
    for (const { suspicion } of this.#suspects) suspicion?.restart(this.#context.now);
  }

  /** This node leaves: the last thing it says about itself. */
  leave(): DeadMessage {
    const { self } = this.#context;
    const message: DeadMessage = { kind: "dead", node: self.node, incarnation: self.incarnation, from: self.node };
    this.#context.leaving = true;
    this.#setState(self, "left");
    this.#context.broadcast(message);
    return message;
  }

  /** Somebody is heard of for the first time. */
  #takeIn(message: AliveMessage): void {
    const { list, now } = this.#context;
    if (list.size >= MAX_MEMBERS) return this.#context.drop("tooManyMembers");
    const { node, endpoint, incarnation, meta, versions } = message;
    const record: MemberRecord = { node, endpoint, incarnation, meta, versions, state: "alive", stateChangedAt: now, suspicion: undefined };
    list.add(record);
    this.#context.broadcast(message);
    this.#changed(record);
    this.#tell(record, undefined);
  }

  /** Says with a higher incarnation than the accusation's that this node is alive, as it is. */
  #refute(accused: number): void {
    const context = this.#context;
    // At the end of the numbers nothing can be refuted any more; to start again from 0 would only be ignored.
    context.self.incarnation = Math.min(MAX_UINT32, Math.max(context.self.incarnation, accused) + 1);
    context.awareness.apply(1);
    context.broadcast(context.selfAlive());
  }

  #setState(record: MemberRecord, state: MemberState, suspectedBy?: string): void {
    const { timing, list, now } = this.#context;
    this.#suspects.delete(record);
    record.suspicion = undefined;
    if (suspectedBy !== undefined) {
      record.suspicion = new Suspicion(
        {
          from: suspectedBy,
          multiplier: timing.suspicionMult,
          maxTimeoutMultiplier: timing.suspicionMaxTimeoutMult,
          members: list.size,
          probeIntervalMs: timing.probeIntervalMs,
        },
        now,
      );
      this.#suspects.add(record);
    }
    if (record.state === state) return;
    record.state = state;
    record.stateChangedAt = now;
    if (record !== this.#context.self) this.#changed(record);
  }

  #tell(record: MemberRecord, before: MemberState | undefined): void {
    this.#context.emit({ kind: "member", member: memberOf(record), before });
  }
}

function speaksOurProtocol(versions: ProtocolVersions): boolean {
  const [min = 0, max = 0] = versions;
  return versions.length >= 6 && min > 0 && min <= OUR_PROTOCOL && OUR_PROTOCOL <= max;
}

function isSameEndpoint(a: Endpoint, b: Endpoint): boolean {
  return a.address === b.address && a.port === b.port;
}

export function isSameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, index) => byte === b[index]);
}
