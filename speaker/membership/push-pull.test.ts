import { beforeEach, describe, expect, test } from "vitest";

import { OUR_VERSIONS } from "./context.ts";
import { LAN_TIMING } from "./membership-protocol.ts";
import type { PushPullMessage, PushPullState } from "./message.ts";
import { pushPullIntervalMs, STATES_PER_SLICE } from "./push-pull.ts";
import { alive, endpointOf, SELF, SELF_ENDPOINT, SELF_INCARNATION, ToyMember } from "./toy-member.ts";

let member: ToyMember;

beforeEach(() => {
  member = new ToyMember();
});

function state(number: number, more: Partial<PushPullState> = {}): PushPullState {
  return { node: `node-${number}`, endpoint: endpointOf(number), incarnation: 1, state: "alive", meta: new Uint8Array(), versions: OUR_VERSIONS, ...more };
}

function pushPull(...states: readonly PushPullState[]): PushPullMessage {
  return { kind: "pushPull", join: false, states, userState: new Uint8Array() };
}

/** The list that came back. */
function answered(stream: number): readonly PushPullState[] {
  const [message] = member.written(stream);
  if (message?.kind !== "pushPull") throw new Error("no push-pull");
  return message.states;
}

// memberlist's own examples.
test.each([
  [1, 1],
  [32, 1],
  [33, 2],
  [64, 2],
  [65, 3],
  [128, 3],
])("among %d members the interval is %d times the configured one", (members, factor) => {
  expect(pushPullIntervalMs(30_000, members)).toBe(30_000 * factor);
});

describe("a push-pull that came", () => {
  beforeEach(() => member.handle({ kind: "streamAccepted", stream: 1, from: endpointOf(1) }));

  test("is answered with all that is known, then the stream is closed", () => {
    member.feed(endpointOf(2), alive(2), alive(3), { kind: "dead", node: "node-3", incarnation: 1, from: "node-2" });
    member.feedStream(1, pushPull(state(1)));
    const states = answered(1);
    expect(states.map(({ node, state }) => [node, state])).toEqual(expect.arrayContaining([[SELF, "alive"], ["node-1", "alive"], ["node-2", "alive"], ["node-3", "dead"]]));
    expect(states.find(({ node }) => node === SELF)).toEqual({ node: SELF, endpoint: SELF_ENDPOINT, incarnation: SELF_INCARNATION, state: "alive", meta: Uint8Array.of(7), versions: OUR_VERSIONS });
    expect(member.told.at(-1)).toEqual({ kind: "streamClose", stream: 1 });
  });

  test.each<[PushPullState["state"], string]>([
    ["alive", "alive"],
    ["suspect", "suspect"],
    ["dead", "suspect"],
    ["left", "left"],
  ])("that calls a member %s makes it %s", (theirs, ours) => {
    member.feed(endpointOf(2), alive(2));
    member.feedStream(1, pushPull(state(2, { state: theirs })));
    expect(member.machine.members().find(({ node }) => node === "node-2")?.state).toBe(ours);
  });

  test("that calls this node dead is answered with the refutation", () => {
    member.feedStream(1, pushPull(...Array.from({ length: 200 }, (_, index) => state(index + 1)), state(0, { node: SELF, endpoint: SELF_ENDPOINT, incarnation: 300, state: "dead" })));
    expect(answered(1).find(({ node }) => node === SELF)).toMatchObject({ incarnation: 301, state: "alive" });
  });

  test("with a long list is merged in slices, each due at once", () => {
    member.feedStream(1, pushPull(...Array.from({ length: 3 * STATES_PER_SLICE - 1 }, (_, index) => state(index + 1, { node: `m-${index}` }))));
    const sizes: number[] = [];
    while (member.machine.snapshot().statesWaiting > 0) {
      sizes.push(member.machine.members().length);
      expect(member.machine.nextTimeout()).toBe(member.now);
      member.handle({ kind: "timeout" });
    }
    expect(sizes).toEqual([STATES_PER_SLICE, 2 * STATES_PER_SLICE]);
    expect(member.machine.members()).toHaveLength(3 * STATES_PER_SLICE - 1);
    expect(member.machine.nextTimeout()).toBeGreaterThan(member.now);
  });
});

describe("a push-pull of our own", () => {
  test("comes once per interval, to somebody alive", () => {
    member.feed(endpointOf(1), alive(1), alive(2), { kind: "dead", node: "node-2", incarnation: 1, from: "node-1" });
    for (let second = 0; second < 200; second += 1) {
      member.run(1_000);
      // Nobody answers pings here: it refutes instead.
      member.feed(endpointOf(1), alive(1, second + 2));
    }
    const periodic = member.toldOf("connect").filter(({ stream }) => member.written(stream)[0]?.kind !== "ping");
    expect(new Set(periodic.map(({ to }) => to.address))).toEqual(new Set([endpointOf(1).address]));
  });

  test("sends our list, merges theirs, and tells them at once what it makes us refute", () => {
    member.handle({ kind: "expected", peers: [{ node: "node-1", address: endpointOf(1).address }] });
    const [connect] = member.toldOf("connect");
    expect(connect?.to).toEqual(endpointOf(1));
    const stream = connect?.stream ?? 0;
    member.handle({ kind: "streamConnected", stream });
    expect(member.written(stream)).toMatchObject([{ kind: "pushPull", join: true, states: [{ node: SELF }] }]);
    member.sent = [];
    member.feedStream(stream, pushPull(state(1), state(0, { node: SELF, endpoint: SELF_ENDPOINT, incarnation: SELF_INCARNATION, state: "dead" })));
    expect(member.sentOf("alive")).toMatchObject([{ to: endpointOf(1), message: { node: SELF, incarnation: SELF_INCARNATION + 1 } }]);
    expect(member.machine.members()).toMatchObject([{ node: "node-1", state: "alive" }]);
    expect(member.toldOf("streamClose")).toEqual([{ kind: "streamClose", stream }]);
  });

  test("that nobody answers is given up after the TCP timeout", () => {
    member.handle({ kind: "expected", peers: [{ node: "node-1", address: endpointOf(1).address }] });
    member.run(LAN_TIMING.tcpTimeoutMs - 1);
    expect(member.toldOf("streamClose")).toEqual([]);
    member.run(1);
    expect(member.toldOf("streamClose")).toHaveLength(1);
    expect(member.drops()).toEqual(["streamTimeout"]);
  });
});
