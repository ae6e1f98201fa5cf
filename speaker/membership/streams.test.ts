import { beforeEach, describe, expect, test } from "vitest";

import { CLEAR_KEYRING } from "./keyring.ts";
import { LAN_TIMING } from "./membership-protocol.ts";
import { encodeStreamMessage } from "./stream-codec.ts";
import { MAX_ACCEPTED_STREAMS, MAX_OPENED_STREAMS, MAX_STREAM_BYTES_WAITING } from "./streams.ts";
import { alive, endpointOf, SELF, ToyMember } from "./toy-member.ts";

let member: ToyMember;
const peer = endpointOf(1);

beforeEach(() => {
  member = new ToyMember();
});

function accept(stream: number): void {
  member.handle({ kind: "streamAccepted", stream, from: peer });
}

function closed(): number[] {
  return member.toldOf("streamClose").map(({ stream }) => stream);
}

describe("an accepted stream", () => {
  beforeEach(() => accept(1));

  test("with a ping is answered and closed", () => {
    member.feedStream(1, { kind: "ping", sequence: 8, node: SELF, source: undefined, sourceNode: "" });
    expect(member.written(1)).toMatchObject([{ kind: "ack", sequence: 8 }]);
    expect(closed()).toEqual([1]);
  });

  test("with a ping to another name is closed without an answer", () => {
    member.feedStream(1, { kind: "ping", sequence: 8, node: "node-3", source: undefined, sourceNode: "" });
    expect(member.written(1)).toEqual([]);
    expect(member.drops()).toEqual(["wrongNode"]);
    expect(closed()).toEqual([1]);
  });

  test("with application bytes hands them on, byte by byte as they may come", () => {
    const whole = new ToyMember();
    whole.feed(peer, alive(1));
    whole.handle({ kind: "send", to: "node-1", bytes: Uint8Array.of(1, 2, 3), reliable: true });
    whole.handle({ kind: "streamConnected", stream: 2 });
    const [sent] = whole.toldOf("streamSend");
    expect(whole.toldOf("streamEnd")).toEqual([{ kind: "streamEnd", stream: 2 }]);
    for (const byte of sent?.bytes ?? []) member.handle({ kind: "streamBytes", stream: 1, bytes: Uint8Array.of(byte) });
    expect(member.toldOf("received")).toEqual([{ kind: "received", from: peer, bytes: Uint8Array.of(1, 2, 3), reliable: true }]);
    expect(closed()).toEqual([1]);
  });

  test("that ends without a word asked only whether we listen", () => {
    member.handle({ kind: "streamEnded", stream: 1 });
    expect(member.drops()).toEqual([]);
    expect(closed()).toEqual([1]);
  });

  test("that ends in the middle is malformed", () => {
    member.handle({ kind: "streamBytes", stream: 1, bytes: Uint8Array.of(6) });
    member.handle({ kind: "streamEnded", stream: 1 });
    expect(member.drops()).toEqual(["malformed"]);
    expect(closed()).toEqual([1]);
  });

  test("with bytes that are no message is closed, and the reason counted", () => {
    member.handle({ kind: "streamBytes", stream: 1, bytes: Uint8Array.of(99, 1, 2) });
    expect(member.drops()).toEqual(["unknownMessage"]);
    expect(closed()).toEqual([1]);
  });

  test("has its time, and no more", () => {
    member.run(LAN_TIMING.tcpTimeoutMs - 1);
    expect(closed()).toEqual([]);
    member.run(1);
    expect(member.drops()).toEqual(["streamTimeout"]);
    expect(closed()).toEqual([1]);
  });

  test("gets its time again after a sleep", () => {
    member.run(LAN_TIMING.tcpTimeoutMs - 1);
    member.handle({ kind: "woke", lagMs: 500 });
    member.run(LAN_TIMING.tcpTimeoutMs - 1);
    expect(closed()).toEqual([]);
  });

  test("is heeded no more once it is closed", () => {
    member.feedStream(1, { kind: "user", bytes: Uint8Array.of(1) });
    member.feedStream(1, { kind: "user", bytes: Uint8Array.of(2) });
    expect(member.toldOf("received")).toHaveLength(1);
  });
});

test("streams beyond the bound are closed at once", () => {
  for (let number = 0; number <= MAX_ACCEPTED_STREAMS; number += 1) accept(2 * number + 1);
  expect(member.drops()).toEqual(["tooManyStreams"]);
  expect(closed()).toEqual([2 * MAX_ACCEPTED_STREAMS + 1]);
  // One that ends makes room for another.
  member.handle({ kind: "streamFailed", stream: 1, reason: "connectionReset" });
  accept(999);
  expect(member.machine.snapshot().streams).toBe(MAX_ACCEPTED_STREAMS);
});

test("streams of our own have even numbers, and a bound", () => {
  member.feed(peer, alive(1));
  for (let number = 0; number <= MAX_OPENED_STREAMS; number += 1) member.handle({ kind: "send", to: "node-1", bytes: Uint8Array.of(1), reliable: true });
  expect(member.toldOf("connect").map(({ stream }) => stream)).toEqual(Array.from({ length: MAX_OPENED_STREAMS }, (_, index) => 2 * (index + 1)));
  expect(member.drops()).toEqual(["tooManyStreams"]);
});

test("one of our own that ends makes room for another", () => {
  member.feed(peer, alive(1));
  const send = (): void => member.handle({ kind: "send", to: "node-1", bytes: Uint8Array.of(1), reliable: true });
  for (let number = 0; number < MAX_OPENED_STREAMS; number += 1) send();
  member.handle({ kind: "streamFailed", stream: 2, reason: "connectionReset" });
  send();
  expect(member.toldOf("connect")).toHaveLength(MAX_OPENED_STREAMS + 1);
  expect(member.drops()).toEqual([]);
});

test("all that is incomplete together has a bound, and what is over is room again", () => {
  const whole = encodeStreamMessage({ kind: "user", bytes: new Uint8Array(1024 * 1024) }, CLEAR_KEYRING, { next: () => 0.5 });
  const count = Math.floor(MAX_STREAM_BYTES_WAITING / whole.length);
  const part = whole.subarray(0, whole.length - 1);
  const feedPart = (stream: number): void => {
    accept(stream);
    member.handle({ kind: "streamBytes", stream, bytes: part });
  };
  for (let number = 0; number <= count; number += 1) feedPart(2 * number + 1);
  expect(member.drops()).toEqual(["tooLong"]);
  expect(closed()).toEqual([2 * count + 1]);
  member.handle({ kind: "streamBytes", stream: 1, bytes: whole.subarray(whole.length - 1) });
  expect(member.toldOf("received")).toHaveLength(1);
  feedPart(999);
  expect(member.drops()).toEqual(["tooLong"]);
});

test("garbage on a stream of our own ends it", () => {
  member.feed(peer, alive(1));
  member.handle({ kind: "send", to: "node-1", bytes: Uint8Array.of(1), reliable: true });
  member.handle({ kind: "streamConnected", stream: 2 });
  member.handle({ kind: "streamBytes", stream: 2, bytes: Uint8Array.of(99, 0, 0) });
  expect(closed()).toEqual([2]);
});
