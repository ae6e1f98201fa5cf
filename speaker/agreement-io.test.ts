import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { FakeIcmpNetwork } from "../sys/icmp-socket-fake.ts";
import { openIcmpSocket } from "../sys/icmp-socket.ts";
import { inNetworkNamespace } from "../sys/network-namespace.ts";
import { FakePoller } from "../sys/poll-fake.ts";
import { createPoller } from "../sys/poll.ts";
import type { Poller } from "../sys/poll.ts";
import { FakeTcpNetwork } from "../sys/tcp-socket-fake.ts";
import { connectTcp, listenTcp } from "../sys/tcp-socket.ts";
import { FakeUdpNetwork } from "../sys/udp-socket-fake.ts";
import { openUdpSocket } from "../sys/udp-socket.ts";
import { makeVethPair, whyNoNamespaces } from "../test/netns/veth-pair.ts";
import type { AgreementInput } from "./agreement/agreement-protocol.ts";
import { AgreementIo, MAX_DATAGRAMS_PER_TURN } from "./agreement-io.ts";
import type { AgreementIoOutput, AgreementIoPorts } from "./agreement-io.ts";
import { ACCEPT_PAUSE_MS, CLOSE_WITHIN_MS, MAX_ACCEPTED_STREAMS, MAX_ACCEPTED_STREAMS_PER_PEER, MAX_BYTES_PER_STREAM_PER_TURN, MAX_OPENED_STREAMS, MAX_WAITING_BYTES_PER_STREAM } from "./agreement-streams.ts";
import * as streams from "./membership/streams.ts";

const A = { address: "10.9.0.1", port: 7946 };
const B = { address: "10.9.0.2", port: 7946 };

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

/** One speaker's sockets, with a poller of its own and all that came in so far. */
interface Node {
  readonly io: AgreementIo;
  readonly poller: Poller;
  readonly inputs: AgreementInput[];
  readonly dropped: string[];
}

let now: number;

function turn(node: Node, waitMs = 0): AgreementInput[] {
  const fresh = node.poller.wait(waitMs).flatMap((fd) => (node.io.owns(fd) ? node.io.ready(fd, now) : []));
  node.inputs.push(...fresh);
  return fresh;
}

function perform(node: Node, output: AgreementIoOutput): void {
  node.inputs.push(...node.io.perform(output, now));
}

/** What came over a stream, its events in order and its bytes joined. */
function story(node: Node, stream: number): readonly string[] {
  const told: string[] = [];
  for (const input of node.inputs) {
    if (!("stream" in input) || input.stream !== stream) continue;
    if (input.kind === "streamBytes") {
      const text = new TextDecoder().decode(input.bytes);
      if (told.at(-1)?.startsWith("bytes ") === true) told[told.length - 1] += text;
      else told.push(`bytes ${text}`);
    } else {
      told.push(input.kind === "streamFailed" ? `failed ${input.reason}` : input.kind === "streamAccepted" ? `accepted from ${input.from.address}` : input.kind);
    }
  }
  return told;
}

/** Sends until something arrives: a cable that was just plugged in loses what comes first. Nothing of it is left behind. */
function warmUp(a: Node, b: Node): void {
  const end = performance.now() + 10_000;
  const isThere = (text: string): boolean => b.inputs.some((input) => input.kind === "datagram" && new TextDecoder().decode(input.bytes) === text);
  for (const text of ["anybody there?", "warm"]) {
    while (!isThere(text)) {
      if (performance.now() > end) throw new Error("the cable stays dead");
      perform(a, { kind: "datagram", to: B, bytes: bytes(text) });
      turn(b, 50);
    }
  }
  // What is still under way arrived before the last one did, or comes right after it.
  while (turn(b, 50).length > 0);
  b.inputs.length = 0;
}

interface Subject {
  readonly a: Node;
  readonly b: Node;
  close(): void;
}

function suite(open: () => Subject): void {
  let subject: Subject;
  beforeEach(() => {
    now = 0;
    subject = open();
  });
  afterEach(() => subject.close());

  const until = (done: () => boolean): void => {
    const end = performance.now() + 5_000;
    do {
      if (done()) return;
      for (const node of [subject.a, subject.b]) turn(node, node.poller instanceof FakePoller ? 0 : 5);
    } while (performance.now() < end);
    throw new Error(`never came; ${JSON.stringify([subject.a.inputs, subject.b.inputs])}`);
  };

  test("datagrams go from endpoint to endpoint", () => {
    const { a, b } = subject;
    perform(a, { kind: "datagram", to: B, bytes: bytes("one") });
    perform(a, { kind: "datagram", to: B, bytes: bytes("two") });
    until(() => b.inputs.length === 2);
    expect(b.inputs).toEqual([{ kind: "datagram", from: A, bytes: bytes("one") }, { kind: "datagram", from: A, bytes: bytes("two") }]);
    perform(b, { kind: "datagram", to: A, bytes: bytes("back") });
    until(() => a.inputs.length === 1);
  });

  test("a question and its answer over a stream, each side ending by itself", () => {
    const { a, b } = subject;
    perform(a, { kind: "connect", stream: 2, to: B });
    perform(a, { kind: "streamSend", stream: 2, bytes: bytes("question") });
    perform(a, { kind: "streamEnd", stream: 2 });
    until(() => story(b, 1).includes("streamEnded"));
    expect(story(b, 1)).toEqual(["accepted from 10.9.0.1", "bytes question", "streamEnded"]);
    perform(b, { kind: "streamSend", stream: 1, bytes: bytes("answer") });
    perform(b, { kind: "streamClose", stream: 1 });
    until(() => story(a, 2).includes("streamEnded"));
    expect(story(a, 2)).toEqual(["streamConnected", "bytes answer", "streamEnded"]);
    perform(a, { kind: "streamClose", stream: 2 });
    // Both are over: no descriptor of theirs is left to end a wait.
    expect(turn(a)).toEqual([]);
    expect(turn(b)).toEqual([]);
  });

  test("more than the kernel has room for arrives whole, and before the end", () => {
    const { a, b } = subject;
    perform(a, { kind: "connect", stream: 2, to: B });
    const chunk = "0123456789abcdef".repeat(4096);
    for (let count = 0; count < 15; count++) perform(a, { kind: "streamSend", stream: 2, bytes: bytes(chunk) });
    perform(a, { kind: "streamClose", stream: 2 });
    until(() => story(b, 1).includes("streamEnded"));
    expect(story(b, 1)[1] === `bytes ${chunk.repeat(15)}`).toBe(true);
  });

  test("a peer whose process is gone refuses, and says so to a question", () => {
    const { a, b } = subject;
    b.io.close();
    perform(a, { kind: "connect", stream: 2, to: B });
    perform(a, { kind: "ask", address: B.address, questions: ["arp", "icmp", "tcp"] });
    until(() => a.inputs.length >= 3);
    expect(story(a, 2)).toEqual(["failed connectionRefused"]);
    expect(a.inputs).toContainEqual({ kind: "answer", address: B.address, question: "tcp", result: "refused" });
    expect(a.inputs).toContainEqual({ kind: "answer", address: B.address, question: "icmp", result: "answered" });
  });

  test("a peer that is there answers both questions, and loses nothing but a stream that was never used", () => {
    const { a, b } = subject;
    perform(a, { kind: "ask", address: B.address, questions: ["tcp", "icmp"] });
    until(() => a.inputs.length === 2 && story(b, 1).length === 2);
    expect(a.inputs.map((input) => (input.kind === "answer" ? `${input.question} ${input.result}` : input.kind)).sort()).toEqual(["icmp answered", "tcp answered"]);
    expect(story(b, 1)).toEqual(["accepted from 10.9.0.1", "failed connectionReset"]);
  });

  test("a stream that ended both ways wakes nobody, though the machine has not closed it", () => {
    const { a, b } = subject;
    perform(a, { kind: "connect", stream: 2, to: B });
    perform(a, { kind: "streamEnd", stream: 2 });
    until(() => story(b, 1).includes("streamEnded"));
    // The peer sends nothing more: waiting for bytes of it would never end.
    expect(b.poller.wait(0)).toEqual([]);
    perform(b, { kind: "streamEnd", stream: 1 });
    until(() => story(a, 2).includes("streamEnded"));
    expect([a.poller.wait(0), b.poller.wait(0)]).toEqual([[], []]);
    expect(a.io.perform({ kind: "streamSend", stream: 2, bytes: bytes("late") }, now)).toEqual([]);
  });

  test("a port that is taken ends the start with a sentence", () => {
    expect(() => reopen()).toThrow("bind: EADDRINUSE (UDP port 7946 of 10.9.0.1 is taken: another speaker runs on this node, Herald's or MetalLB's)");
  });
}

/** Opens the first node once more; set by whoever made the subject. */
let reopen: () => void;

function makeNode(ports: Omit<AgreementIoPorts, "dropped" | "warn">, endpoint: typeof A): Node {
  const dropped: string[] = [];
  const io = new AgreementIo({ endpoint, icmpIdentifier: 7 }, { ...ports, dropped: (reason) => void dropped.push(reason), warn: () => {} });
  return { io, poller: ports.poller as Poller, inputs: [], dropped };
}

let udp: FakeUdpNetwork;
let tcp: FakeTcpNetwork;
let icmp: FakeIcmpNetwork;

function makeFakeNode(endpoint: typeof A): Node {
  const host = tcp.host(endpoint.address);
  icmp.setAnswering(endpoint.address, true);
  const poller = new FakePoller({ isReadable: (fd) => udp.isReadable(fd) || tcp.isReadable(fd) || icmp.isReadable(fd), isWritable: (fd) => tcp.isWritable(fd) });
  return makeNode({ poller, openUdpSocket: udp.open, listenTcp: (at) => host.listen(at), connectTcp: (to) => host.connect(to), openIcmpSocket: icmp.open }, endpoint);
}

function makeFakes(): Subject {
  [udp, tcp, icmp] = [new FakeUdpNetwork(), new FakeTcpNetwork(), new FakeIcmpNetwork()];
  reopen = () => void makeFakeNode(A);
  return { a: makeFakeNode(A), b: makeFakeNode(B), close: () => {} };
}

describe("on fakes", () => {
  suite(makeFakes);

  describe("bounds", () => {
    let a: Node;
    let b: Node;
    beforeEach(() => {
      now = 0;
      ({ a, b } = makeFakes());
    });

    test("a flood of datagrams is read in parts, until nothing is left", () => {
      for (let count = 0; count < 3 * MAX_DATAGRAMS_PER_TURN; count++) perform(a, { kind: "datagram", to: B, bytes: bytes(`${count}`) });
      expect(turn(b)).toHaveLength(MAX_DATAGRAMS_PER_TURN);
      const rest = [...b.io.drain(), ...b.io.drain()];
      expect(rest).toHaveLength(2 * MAX_DATAGRAMS_PER_TURN);
      expect(rest[0]).toEqual({ kind: "datagram", from: A, bytes: bytes(`${MAX_DATAGRAMS_PER_TURN}`) });
      expect(b.io.drain()).toEqual([]);
    });

    test("a datagram that cannot be sent is counted, and nothing else happens", () => {
      perform(a, { kind: "datagram", to: { address: "fd00::1", port: 7946 }, bytes: bytes("x") });
      udp.failSending("EAGAIN");
      perform(a, { kind: "datagram", to: B, bytes: bytes("x") });
      expect([a.inputs, a.dropped]).toEqual([[], ["datagramSendFailed", "datagramSendQueueFull"]]);
    });

    test("too many streams from peers are reset, and there is room again when one has gone", () => {
      const peers = MAX_ACCEPTED_STREAMS / MAX_ACCEPTED_STREAMS_PER_PEER;
      for (let peer = 0; peer < peers; peer++) for (let count = 0; count < MAX_ACCEPTED_STREAMS_PER_PEER; count++) tcp.host(`10.9.1.${peer}`).connect(B);
      const late = tcp.host("10.9.0.9").connect(B);
      for (let count = 0; count < 10; count++) turn(b);
      expect(b.inputs).toHaveLength(MAX_ACCEPTED_STREAMS);
      expect(b.dropped).toEqual(["tooManyStreams"]);
      expect(() => late.connected()).toThrow("ECONNRESET");
      perform(b, { kind: "streamClose", stream: 1 });
      tcp.host("10.9.0.9").connect(B);
      expect(turn(b)).toMatchObject([{ kind: "streamAccepted", stream: 2 * MAX_ACCEPTED_STREAMS + 1 }]);
    });

    test("a peer that opens streams without end leaves room for the others, and costs each turn little", () => {
      const flooder = tcp.host("10.9.0.9");
      for (let count = 0; count < 10; count++) {
        for (let opened = 0; opened < 100; opened++) flooder.connect(B);
        for (let reading = 0; reading < 4; reading++) turn(b);
      }
      expect(b.inputs).toHaveLength(MAX_ACCEPTED_STREAMS_PER_PEER);
      perform(a, { kind: "connect", stream: 2, to: B });
      expect(turn(b)).toMatchObject([{ kind: "streamAccepted", from: { address: A.address } }]);
      perform(b, { kind: "streamClose", stream: 1 });
      flooder.connect(B);
      expect(turn(b)).toMatchObject([{ kind: "streamAccepted", from: { address: "10.9.0.9" } }]);
    });

    test("a stream that never ends is read in parts", () => {
      perform(a, { kind: "connect", stream: 2, to: B });
      perform(a, { kind: "streamSend", stream: 2, bytes: new Uint8Array(3 * MAX_BYTES_PER_STREAM_PER_TURN) });
      turn(a);
      turn(b);
      for (let part = 0; part < 3; part++) expect(turn(b)).toMatchObject([{ kind: "streamBytes", bytes: { length: MAX_BYTES_PER_STREAM_PER_TURN } }]);
      expect(turn(b)).toEqual([]);
    });

    test("there is room for all streams that membership awaits messages on", () => {
      expect(MAX_OPENED_STREAMS).toBeGreaterThan(streams.MAX_OPENED_STREAMS);
      expect(MAX_ACCEPTED_STREAMS).toBeGreaterThan(streams.MAX_ACCEPTED_STREAMS);
    });

    test("too many streams of our own fail, whatever peers have opened", () => {
      for (let count = 1; count <= MAX_OPENED_STREAMS + 1; count++) perform(a, { kind: "connect", stream: 2 * count, to: B });
      expect(a.inputs).toEqual([{ kind: "streamFailed", stream: 2 * (MAX_OPENED_STREAMS + 1), reason: "tooManyStreams" }]);
    });

    test("a peer that does not read costs a bounded amount of memory", () => {
      perform(a, { kind: "connect", stream: 2, to: B });
      turn(a);
      const chunk = new Uint8Array(64 * 1024);
      for (let sent = 0; sent < MAX_WAITING_BYTES_PER_STREAM + 2 * chunk.length; sent += chunk.length) perform(a, { kind: "streamSend", stream: 2, bytes: chunk });
      expect(story(a, 2)).toEqual(["streamConnected", "failed noBufferSpace"]);
      for (let count = 0; count < 3; count++) turn(b);
      expect(story(b, 1).at(-1)).toBe("failed connectionReset");
    });

    test("a stream that was closed and does not get out is given up in time", () => {
      perform(a, { kind: "connect", stream: 2, to: B });
      turn(a);
      perform(a, { kind: "streamSend", stream: 2, bytes: new Uint8Array(100_000) });
      perform(a, { kind: "streamClose", stream: 2 });
      expect(a.io.nextTimeout()).toBe(CLOSE_WITHIN_MS);
      a.io.timeout(CLOSE_WITHIN_MS - 1);
      expect(a.dropped).toEqual([]);
      a.io.timeout(CLOSE_WITHIN_MS);
      expect([a.dropped, a.io.nextTimeout(), story(a, 2)]).toEqual([["streamCloseTimeout"], undefined, ["streamConnected"]]);
    });

    test("when the system has no descriptor left, the listener rests instead of ending every wait", () => {
      tcp.failAccepting("EMFILE");
      tcp.host("10.9.0.9").connect(B);
      expect(turn(b)).toEqual([]);
      expect(b.dropped).toEqual(["streamAcceptFailed"]);
      expect(b.poller.wait(0)).toEqual([]);
      tcp.failAccepting(undefined);
      expect(b.io.nextTimeout()).toBe(ACCEPT_PAUSE_MS);
      b.io.timeout(ACCEPT_PAUSE_MS);
      expect(turn(b)).toHaveLength(1);
    });

    test("nothing is told of a stream after the machine closed it", () => {
      perform(a, { kind: "connect", stream: 2, to: B });
      perform(a, { kind: "streamSend", stream: 2, bytes: bytes("x") });
      perform(a, { kind: "streamClose", stream: 2 });
      turn(a);
      for (let count = 0; count < 3; count++) turn(b);
      perform(b, { kind: "streamSend", stream: 1, bytes: bytes("y") });
      turn(a);
      expect(a.inputs).toEqual([]);
      expect(story(b, 1)).toEqual(["accepted from 10.9.0.1", "bytes x", "streamEnded", "failed brokenPipe"]);
    });

    test("closing leaves nothing open, and a start that failed half-way neither", () => {
      perform(a, { kind: "connect", stream: 2, to: B });
      perform(a, { kind: "ask", address: "10.9.0.9", questions: ["tcp"] });
      a.io.close();
      expect((a.poller as FakePoller).descriptors.size).toBe(0);
      tcp.host(A.address).listen({ ...A, backlog: 1 });
      expect(() => makeFakeNode(A)).toThrow("TCP port 7946 of 10.9.0.1 is taken");
      expect(() => udp.open(A).close()).not.toThrow();
    });
  });
});

const why = whyNoNamespaces();
describe.skipIf(why !== undefined)(`on real sockets${why === undefined ? "" : ` (${why})`}`, () => {
  suite(() => {
    const pair = makeVethPair("agree");
    pair.ip(pair.client, "address", "add", `${A.address}/24`, "dev", "eth0");
    pair.ip(pair.speaker, "address", "add", `${B.address}/24`, "dev", "eth0");
    const within = (namespace: string, endpoint: typeof A): Node => {
      const poller = createPoller();
      return inNetworkNamespace(namespace, () =>
        makeNode({ poller, openUdpSocket, listenTcp, connectTcp: (to) => inNetworkNamespace(namespace, () => connectTcp(to)), openIcmpSocket }, endpoint),
      );
    };
    reopen = () => void within(pair.client, A);
    const [a, b] = [within(pair.client, A), within(pair.speaker, B)];
    warmUp(a, b);
    return {
      a,
      b,
      close() {
        a.io.close();
        b.io.close();
        pair.remove();
      },
    };
  });
});
