/**
 * The exchange of whole lists of members over a stream: when joining, when healing, and now and then with somebody at
 * random, so that what gossip missed arrives after all. memberlist's anti-entropy.
 *
 * A list that came in is merged in slices, each a short piece of work, so that a large one never holds up an answer to a
 * ping. What it says of this node is looked at first: the refutation is then part of our answer.
 */

import type { Instant } from "../machine.ts";
import type { Context } from "./context.ts";
import type { MemberRules } from "./member-rules.ts";
import type { MemberRecord } from "./member-list.ts";
import type { Endpoint, PushPullMessage, PushPullState } from "./message.ts";
import type { Accepted, Streams } from "./streams.ts";

/** States merged in one go: well below a millisecond's work. */
export const STATES_PER_SLICE = 64;
/** States that may wait to be merged; a list that would exceed it is dropped. */
export const MAX_STATES_WAITING = 65_536;
/** Up to so many members the interval between two push-pulls is the configured one; each doubling adds it once more. */
const SCALE_FROM_MEMBERS = 32;

interface Waiting {
  readonly states: readonly PushPullState[];
  next: number;
}

/** The time between two periodic push-pulls among so many members, so that all together do not flood the network. */
export function pushPullIntervalMs(intervalMs: number, members: number): number {
  if (members <= SCALE_FROM_MEMBERS) return intervalMs;
  return intervalMs * (Math.ceil(Math.log2(members) - Math.log2(SCALE_FROM_MEMBERS)) + 1);
}

export class PushPull {
  readonly #context: Context;
  readonly #rules: MemberRules;
  readonly #streams: Streams;
  readonly #waiting: Waiting[] = [];
  #statesWaiting = 0;
  #nextAt: Instant | undefined;

  constructor(context: Context, rules: MemberRules, streams: Streams) {
    this.#context = context;
    this.#rules = rules;
    this.#streams = streams;
  }

  /** States that wait to be merged. */
  get statesWaiting(): number {
    return this.#statesWaiting;
  }

  /** The first periodic one comes after one to two intervals, at random, so that members do not exchange in step. */
  start(): void {
    const { now, random, timing } = this.#context;
    this.#nextAt = now + (1 + random.next()) * timing.pushPullIntervalMs;
  }

  nextDeadline(): Instant | undefined {
    return this.#waiting.length > 0 ? this.#context.now : this.#nextAt;
  }

  run(): void {
    this.#mergeSlice();
    const { now, list, self, timing, leaving } = this.#context;
    if (this.#nextAt === undefined || this.#nextAt > now) return;
    this.#nextAt = now + pushPullIntervalMs(timing.pushPullIntervalMs, list.size);
    if (leaving) return;
    const [peer] = list.pick(1, (record) => record !== self && record.state === "alive");
    if (peer !== undefined) this.exchange({ to: peer.endpoint, join: false, done: () => {} });
  }

  /** Starts an exchange. `done` is called when it has ended, one way or the other. False when no stream is free. */
  exchange({ to, join, done }: { readonly to: Endpoint; readonly join: boolean; readonly done: () => void }): boolean {
    const stream = this.#streams.open({
      to,
      send: () => this.#ours(join),
      received: (message, id) => {
        this.#streams.close(id);
        if (message.kind === "pushPull") this.#take(message, to);
        else if (message.kind !== "error") this.#context.drop("malformed");
        done();
      },
      ended: done,
      isOneWay: false,
    });
    return stream !== undefined;
  }

  /** The other side began: it gets our list in return. */
  answer(message: PushPullMessage, { stream }: Accepted): void {
    this.#take(message, undefined);
    this.#streams.send(stream, this.#ours(false));
    this.#streams.close(stream);
  }

  /** `from`: whom to tell at once when what it believes of us is refuted. */
  #take({ states }: PushPullMessage, from: Endpoint | undefined): void {
    const { self } = this.#context;
    const before = self.incarnation;
    for (const state of states) if (state.node === self.node) this.#rules.merge(state);
    if (from !== undefined && self.incarnation !== before) this.#context.sendExactly(from, [this.#context.selfAlive()]);
    if (this.#statesWaiting + states.length > MAX_STATES_WAITING) return this.#context.drop("tooManyMembers");
    this.#waiting.push({ states, next: 0 });
    this.#statesWaiting += states.length;
    this.#mergeSlice();
  }

  #mergeSlice(): void {
    const { self } = this.#context;
    for (let left = STATES_PER_SLICE; left > 0; ) {
      const [first] = this.#waiting;
      if (first === undefined) return;
      const end = Math.min(first.states.length, first.next + left);
      for (const state of first.states.slice(first.next, end)) if (state.node !== self.node) this.#rules.merge(state);
      left -= Math.max(1, end - first.next);
      this.#statesWaiting -= end - first.next;
      first.next = end;
      if (end === first.states.length) this.#waiting.shift();
    }
  }

  #ours(join: boolean): PushPullMessage {
    return { kind: "pushPull", join, states: Array.from(this.#context.list.values(), stateOf), userState: new Uint8Array() };
  }
}

function stateOf({ node, endpoint, incarnation, state, meta, versions }: MemberRecord): PushPullState {
  return { node, endpoint, incarnation, state, meta, versions };
}
