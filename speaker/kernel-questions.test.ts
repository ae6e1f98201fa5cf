import { beforeEach, describe, expect, test } from "vitest";

import { FakeIcmpNetwork } from "../sys/icmp-socket-fake.ts";
import type { IcmpSocket } from "../sys/icmp-socket.ts";
import { FakePoller } from "../sys/poll-fake.ts";
import { SysError } from "../sys/sys-error.ts";
import { FakeTcpNetwork } from "../sys/tcp-socket-fake.ts";
import type { AgreementInput } from "./agreement/agreement-protocol.ts";
import { ANSWER_WITHIN_MS, FRESH_AFTER_MS, KernelQuestions, MAX_ADDRESSES_ASKED, MAX_CONNECTIONS_PER_ADDRESS, MAX_ECHOES_WAITING } from "./kernel-questions.ts";
import { NetworkFailures } from "./network-failures.ts";

const US = "10.9.0.1";
const PEER = "10.9.0.2";
const PORT = 7946;

let tcp: FakeTcpNetwork;
let icmp: FakeIcmpNetwork;
let poller: FakePoller;
let dropped: string[];
let icmpSocket: IcmpSocket;
let connectError: string | undefined;
let questions: KernelQuestions;

beforeEach(() => {
  tcp = new FakeTcpNetwork();
  icmp = new FakeIcmpNetwork();
  dropped = [];
  connectError = undefined;
  poller = new FakePoller({ isReadable: (fd) => tcp.isReadable(fd) || icmp.isReadable(fd), isWritable: (fd) => tcp.isWritable(fd) });
  const drop = (reason: string): void => void dropped.push(reason);
  const us = tcp.host(US);
  questions = new KernelQuestions(
    { endpoint: { address: US, port: PORT }, identifier: 7 },
    {
      poller,
      failures: new NetworkFailures({ dropped: drop, warn: () => {} }),
      dropped: drop,
      connectTcp: (to) => {
        if (connectError !== undefined) throw new SysError({ code: connectError, syscall: "connect" });
        return us.connect(to);
      },
      openIcmpSocket: (options) => (icmpSocket = icmp.open(options)),
    },
  );
});

/** Everything that the sockets have now. */
function turn(now: number): AgreementInput[] {
  return poller.wait(0).flatMap((fd) => (questions.owns(fd) ? questions.ready(fd, now) : []));
}

const tcpAnswer = (result: "answered" | "refused", address = PEER): AgreementInput => ({ kind: "answer", address, question: "tcp", result });

describe("TCP", () => {
  test("a port that somebody has open is an answer, and the connection is reset at once", () => {
    const listener = tcp.host(PEER).listen({ address: PEER, port: PORT, backlog: 8 });
    expect(questions.askTcp(PEER, 0)).toEqual([]);
    expect(turn(1)).toEqual([tcpAnswer("answered")]);
    expect(() => listener.accept()?.receive(new Uint8Array(1))).toThrow("ECONNRESET");
    expect(questions.nextTimeout()).toBeUndefined();
    expect(turn(2)).toEqual([]);
  });

  test("a port that nobody has open is a refusal", () => {
    tcp.host(PEER);
    questions.askTcp(PEER, 0);
    expect(turn(1)).toEqual([tcpAnswer("refused")]);
    expect(tcp.openStreams).toBe(0);
  });

  test("a refusal that this host knows at once is told at once", () => {
    connectError = "ECONNREFUSED";
    expect(questions.askTcp(PEER, 0)).toEqual([tcpAnswer("refused")]);
  });

  test("no way there is no answer, but counted", () => {
    connectError = "ENETUNREACH";
    expect(questions.askTcp(PEER, 0)).toEqual([]);
    expect(dropped).toEqual(["tcpQuestionUnreachable"]);
  });

  test("asked again, a fresh connection is opened once the latest is old enough, and the fifth replaces the first", () => {
    for (let now = 0; now < FRESH_AFTER_MS; now += 10) questions.askTcp(PEER, now);
    expect(tcp.openStreams).toBe(1);
    for (let round = 1; round < MAX_CONNECTIONS_PER_ADDRESS; round++) questions.askTcp(PEER, round * FRESH_AFTER_MS);
    expect(tcp.openStreams).toBe(MAX_CONNECTIONS_PER_ADDRESS);
    expect(questions.nextTimeout()).toBe(ANSWER_WITHIN_MS);
    questions.askTcp(PEER, MAX_CONNECTIONS_PER_ADDRESS * FRESH_AFTER_MS);
    expect(tcp.openStreams).toBe(MAX_CONNECTIONS_PER_ADDRESS);
    // The one begun first has gone: the next to give up is the second.
    expect(questions.nextTimeout()).toBe(ANSWER_WITHIN_MS + FRESH_AFTER_MS);
  });

  test("the fresh connection is answered though the first one's SYN was lost, and ends all others", () => {
    questions.askTcp(PEER, 0);
    tcp.host(PEER);
    expect(turn(50)).toEqual([]);
    questions.askTcp(PEER, FRESH_AFTER_MS);
    expect(turn(FRESH_AFTER_MS)).toEqual([tcpAnswer("refused")]);
    expect(tcp.openStreams).toBe(0);
    expect([...poller.descriptors]).toEqual([icmpSocket.fd]);
  });

  test("silence is given up after a second, one by one", () => {
    questions.askTcp(PEER, 0);
    questions.askTcp("10.9.0.3", 30);
    questions.timeout(ANSWER_WITHIN_MS - 1);
    expect(tcp.openStreams).toBe(2);
    questions.timeout(ANSWER_WITHIN_MS);
    expect(tcp.openStreams).toBe(1);
    expect(questions.nextTimeout()).toBe(ANSWER_WITHIN_MS + 30);
    questions.timeout(ANSWER_WITHIN_MS + 30);
    expect([tcp.openStreams, questions.nextTimeout()]).toEqual([0, undefined]);
  });

  test("an answer that is found too late says nothing about now", () => {
    tcp.host(PEER);
    questions.askTcp(PEER, 0);
    expect(turn(ANSWER_WITHIN_MS + 1)).toEqual([]);
    expect([dropped, tcp.openStreams]).toEqual([["tcpAnswerLate"], 0]);
  });

  test("more addresses than are asked at a time are left out and counted", () => {
    for (let index = 0; index <= MAX_ADDRESSES_ASKED; index++) questions.askTcp(`10.8.0.${index}`, 0);
    expect(tcp.openStreams).toBe(MAX_ADDRESSES_ASKED);
    expect(dropped).toEqual(["tcpQuestionTooMany"]);
  });
});

describe("ICMP", () => {
  const answer = { kind: "answer", address: PEER, question: "icmp", result: "answered" };

  test("a reply is an answer, each once", () => {
    icmp.setAnswering(PEER, true);
    questions.askIcmp(PEER, 0);
    questions.askIcmp("10.9.0.3", 0);
    questions.askIcmp(PEER, 10);
    expect(turn(11)).toEqual([answer, answer]);
    expect(turn(12)).toEqual([]);
  });

  test("a reply that comes too late, or to no question, says nothing", () => {
    icmp.setAnswering(PEER, true);
    questions.askIcmp(PEER, 0);
    expect(turn(ANSWER_WITHIN_MS + 1)).toEqual([]);
    icmpSocket.send({ address: PEER, sequence: 4711 });
    expect(turn(ANSWER_WITHIN_MS + 2)).toEqual([]);
    expect(dropped).toEqual(["icmpReplyUnasked", "icmpReplyUnasked"]);
  });

  test("a reply from another address than was asked says nothing", () => {
    icmp.setAnswering(PEER, true);
    questions.askIcmp("10.9.0.3", 0);
    icmpSocket.send({ address: PEER, sequence: 1 });
    expect(turn(1)).toEqual([]);
  });

  test("of too many questions the oldest are forgotten", () => {
    for (let index = 0; index < MAX_ECHOES_WAITING; index++) questions.askIcmp("10.9.0.3", 0);
    icmp.setAnswering("10.9.0.3", true);
    questions.askIcmp("10.9.0.3", 0);
    icmpSocket.send({ address: "10.9.0.3", sequence: 1 });
    icmpSocket.send({ address: "10.9.0.3", sequence: 2 });
    expect(turn(1)).toHaveLength(2);
    expect(dropped).toEqual(["icmpReplyUnasked"]);
  });

  test("a question that cannot be sent is counted", () => {
    icmp.failSending("EHOSTUNREACH");
    questions.askIcmp(PEER, 0);
    questions.askIcmp("fd00::1", 0);
    expect(dropped).toEqual(["icmpQuestionUnreachable", "icmpQuestionFailed"]);
  });
});

test("closing ends all of it", () => {
  questions.askTcp(PEER, 0);
  questions.close();
  expect([tcp.openStreams, poller.descriptors.size]).toEqual([0, 0]);
  expect(() => icmpSocket.receive()).toThrow("EBADF");
});
