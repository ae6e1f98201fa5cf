/**
 * The membership's sockets on a real kernel while things go wrong. Nothing here may end the process, and nothing may keep
 * the poller from sleeping.
 */

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { openIcmpSocket } from "../sys/icmp-socket.ts";
import { inNetworkNamespace } from "../sys/network-namespace.ts";
import { createPoller } from "../sys/poll.ts";
import type { Poller } from "../sys/poll.ts";
import { connectTcp, listenTcp } from "../sys/tcp-socket.ts";
import type { TcpStream } from "../sys/tcp-socket.ts";
import { openUdpSocket } from "../sys/udp-socket.ts";
import { makeVethPair, whyNoNamespaces } from "../test/netns/veth-pair.ts";
import type { VethPair } from "../test/netns/veth-pair.ts";
import type { AgreementInput } from "./agreement/agreement-protocol.ts";
import { AgreementIo } from "./agreement-io.ts";
import { MAX_ACCEPTED_STREAMS_PER_PEER } from "./agreement-streams.ts";

const HERE = { address: "10.9.0.1", port: 7946 };
const THERE = { address: "10.9.0.2", port: 7946 };
const PATIENCE_MS = 10_000;

const why = whyNoNamespaces();
describe.skipIf(why !== undefined)(`the membership's sockets in trouble${why === undefined ? "" : ` (${why})`}`, () => {
  let pair: VethPair;
  let poller: Poller;
  let io: AgreementIo;
  let inputs: AgreementInput[];
  let dropped: string[];
  let warnings: string[];
  let peers: TcpStream[];

  const here = <T>(action: () => T): T => inNetworkNamespace(pair.speaker, action);
  const there = <T>(action: () => T): T => inNetworkNamespace(pair.client, action);
  const connectFromThere = (): TcpStream => {
    const stream = there(() => connectTcp(HERE));
    peers.push(stream);
    return stream;
  };
  const turn = (waitMs: number): number => {
    const ready = poller.wait(waitMs);
    for (const fd of ready) if (io.owns(fd)) inputs.push(...io.ready(fd, performance.now()));
    return ready.length;
  };
  const until = (done: () => boolean): void => {
    const end = performance.now() + PATIENCE_MS;
    while (!done()) {
      if (performance.now() > end) throw new Error(`never came; ${JSON.stringify({ inputs, dropped })}`);
      turn(10);
    }
  };
  const send = (): void => void io.perform({ kind: "datagram", to: THERE, bytes: Uint8Array.of(7) }, performance.now());
  const kinds = (): string[] => inputs.map(({ kind }) => kind);
  /** A poller that is woken again and again by what nobody takes in would never get to this. */
  const expectSleep = (): void => {
    let quiet = 0;
    for (let turns = 0; turns < 50 && quiet < 3; turns++) quiet = turn(20) === 0 ? quiet + 1 : 0;
    expect(quiet).toBe(3);
  };

  beforeEach(() => {
    pair = makeVethPair("trouble");
    for (const [namespace, { address }] of [[pair.speaker, HERE], [pair.client, THERE]] as const) pair.ip(namespace, "address", "add", `${address}/24`, "dev", "eth0");
    poller = createPoller();
    [inputs, dropped, warnings, peers] = [[], [], [], []];
    io = here(
      () =>
        new AgreementIo(
          { endpoint: HERE, icmpIdentifier: 7 },
          {
            poller,
            openUdpSocket,
            listenTcp,
            connectTcp: (to) => here(() => connectTcp(to)),
            openIcmpSocket,
            dropped: (reason) => void dropped.push(reason),
            warn: (event, { code }) => void warnings.push(`${event} ${code}`),
          },
        ),
    );
  });
  afterEach(() => {
    for (const peer of peers) peer.close();
    io.close();
    pair.remove();
  });

  test("an address that disappears and comes back: what is sent is counted, what is bound works again", () => {
    const peer = there(() => openUdpSocket(THERE));
    try {
      pair.ip(pair.speaker, "address", "del", `${HERE.address}/24`, "dev", "eth0");
      send();
      io.perform({ kind: "ask", address: THERE.address, questions: ["icmp", "tcp"] }, performance.now());
      io.perform({ kind: "connect", stream: 2, to: THERE }, performance.now());
      expect(dropped.filter((reason) => reason.startsWith("datagramSend"))).toHaveLength(1);
      expectSleep();
      pair.ip(pair.speaker, "address", "add", `${HERE.address}/24`, "dev", "eth0");
      const buffer = new Uint8Array(10);
      until(() => {
        send();
        return peer.receive(buffer) !== undefined;
      });
      until(() => {
        peer.send(Uint8Array.of(8), HERE);
        return kinds().includes("datagram");
      });
      connectFromThere();
      until(() => kinds().includes("streamAccepted"));
    } finally {
      peer.close();
    }
  });

  test.each([
    ["unreachable", "EHOSTUNREACH", "datagramSendUnreachable"],
    ["prohibit", "EACCES", "datagramSendFailed"],
    ["blackhole", "EINVAL", "datagramSendFailed"],
  ])("a route that is %s (%s) costs nothing but the datagrams", (kind, code, reason) => {
    pair.ip(pair.speaker, "route", "add", kind, `${THERE.address}/32`);
    send();
    send();
    expect(dropped).toEqual([reason, reason]);
    expect(warnings).toEqual(reason.endsWith("Failed") ? [`datagramSendFailed ${code}`] : []);
    io.perform({ kind: "connect", stream: 2, to: THERE }, performance.now());
    until(() => kinds().includes("streamFailed") || io.perform({ kind: "connect", stream: 4, to: THERE }, performance.now()).some((input) => input.kind === "streamFailed"));
    expectSleep();
  });

  test("no route at all is no reason to warn", () => {
    io.perform({ kind: "datagram", to: { address: "203.0.113.1", port: 7946 }, bytes: Uint8Array.of(7) }, performance.now());
    expect([dropped, warnings]).toEqual([["datagramSendUnreachable"], []]);
  });

  test("peers that reset, in whatever state the stream is, let the poller sleep", () => {
    const count = 4;
    for (let index = 0; index < count; index++) connectFromThere();
    until(() => kinds().filter((kind) => kind === "streamAccepted").length === count);
    const [early, ended, closed, unread] = peers;
    early?.abort();
    ended?.endWriting();
    until(() => kinds().includes("streamEnded") && kinds().includes("streamFailed"));
    ended?.abort();
    // More than the kernel keeps for a peer that does not read: bytes wait here when it resets.
    for (const stream of [5, 7]) io.perform({ kind: "streamSend", stream, bytes: new Uint8Array(1024 * 1024) }, performance.now());
    io.perform({ kind: "streamClose", stream: 5 }, performance.now());
    closed?.abort();
    unread?.abort();
    until(() => kinds().filter((kind) => kind === "streamFailed").length >= 3);
    expectSleep();
  });

  test("a peer that ended and says nothing more lets the poller sleep, and may still be answered", () => {
    const peer = connectFromThere();
    until(() => kinds().includes("streamAccepted"));
    peer.endWriting();
    until(() => kinds().includes("streamEnded"));
    expectSleep();
    io.perform({ kind: "streamSend", stream: 1, bytes: Uint8Array.of(1, 2, 3) }, performance.now());
    io.perform({ kind: "streamEnd", stream: 1 }, performance.now());
    const buffer = new Uint8Array(10);
    until(() => peer.receive(buffer) === 3);
    expectSleep();
  });

  test("a peer that connects without end is bounded, and leaves the poller its sleep", () => {
    for (let count = 0; count < 300; count++) connectFromThere();
    until(() => dropped.filter((reason) => reason === "tooManyStreams").length === 300 - MAX_ACCEPTED_STREAMS_PER_PEER);
    expect(kinds().filter((kind) => kind === "streamAccepted")).toHaveLength(MAX_ACCEPTED_STREAMS_PER_PEER);
    expectSleep();
  });

  test("a link that goes down and up leaves nothing that wakes the poller for ever", () => {
    connectFromThere();
    until(() => kinds().includes("streamAccepted"));
    pair.ip(pair.speaker, "link", "set", "eth0", "down");
    send();
    io.perform({ kind: "ask", address: THERE.address, questions: ["icmp", "tcp"] }, performance.now());
    io.perform({ kind: "streamSend", stream: 1, bytes: Uint8Array.of(1) }, performance.now());
    expectSleep();
    pair.ip(pair.speaker, "link", "set", "eth0", "up");
    expectSleep();
  });
});
