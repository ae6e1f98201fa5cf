import { beforeEach, expect, test } from "vitest";

import { FakeGatewayMonitor } from "../sys/gateway-monitor-fake.ts";
import { watchGateways } from "../sys/gateway-monitor.ts";
import type { Gateway } from "../sys/gateway-monitor.ts";
import { FakeInterfaceAddresses } from "../sys/interface-addresses-fake.ts";
import { watchInterfaceAddresses } from "../sys/interface-addresses.ts";
import { watchInterfaces } from "../sys/interfaces.ts";
import { inNetworkNamespace } from "../sys/network-namespace.ts";
import { arpFilter, neighborMessageFilter, openArpSocket, openNdpSocket } from "../sys/packet-socket.ts";
import { createPoller } from "../sys/poll.ts";
import { SysError } from "../sys/sys-error.ts";
import { makeVethPair, whyNoNamespaces } from "../test/netns/veth-pair.ts";
import { formatIpAddress } from "../wire/ip-address.ts";
import { decodeArpPacket } from "./layer2/arp-packet.ts";
import { interfaceFacts } from "./layer2/interface-fact.ts";
import type { QuestionFrame } from "./layer2/neighbour-questions.ts";
import { GATEWAY_RECHECK_INTERVAL_MS, GATEWAY_REFRESH_INTERVAL_MS, Neighbours, REFRESH_INTERVAL_MS } from "./neighbours.ts";
import type { InterfaceFact } from "./packet-protocol.ts";

const eth0: InterfaceFact = { index: 2, name: "eth0", mac: "02:00:00:00:00:0a", usable: true };
const dummy: InterfaceFact = { index: 9, name: "kube-ipvs0", mac: "02:00:00:00:00:09", usable: false, reason: "noArp" };
const PEER = "10.9.0.2";

let addresses: FakeInterfaceAddresses;
let gateways: FakeGatewayMonitor;
let dropped: string[];
let neighbours: Neighbours;
beforeEach(() => {
  addresses = new FakeInterfaceAddresses([
    { interfaceIndex: 9, address: "10.9.0.3", prefixLength: 24 },
    { interfaceIndex: 2, address: "10.9.0.1", prefixLength: 24 },
  ]);
  gateways = new FakeGatewayMonitor();
  dropped = [];
  neighbours = new Neighbours({ addresses, gateways, dropped: (reason) => dropped.push(reason), warn: () => {} });
  neighbours.interfaces([eth0, dummy], 0);
});

const senders = (frames: readonly QuestionFrame[]): string[] => frames.map(({ interfaceIndex, bytes }) => `${interfaceIndex} ${formatIpAddress(decodeArpPacket(bytes).senderProtocolAddress)}`);
const targets = (frames: readonly QuestionFrame[]): string[] => frames.map(({ bytes }) => formatIpAddress(decodeArpPacket(bytes).targetProtocolAddress));

test("asks by ARP on interfaces that speak it, and only when asked to", () => {
  expect(senders(neighbours.perform({ kind: "ask", address: PEER, questions: ["arp", "icmp"] }, 0))).toEqual(["2 10.9.0.1"]);
  expect(neighbours.perform({ kind: "ask", address: PEER, questions: ["icmp", "tcp"] }, 0)).toEqual([]);
});

test("of addresses those of interfaces that carry questions are wanted", () => {
  expect(addresses.watched).toEqual([2]);
  neighbours.interfaces([eth0, { ...dummy, usable: true }], 0);
  expect(addresses.watched).toEqual([2, 9]);
});

test("asks a segment", () => {
  expect(targets(neighbours.perform({ kind: "askSegment", interfaceIndex: 2, addresses: [PEER] }, 0))).toEqual([PEER]);
  expect(neighbours.perform({ kind: "askSegment", interfaceIndex: 9, addresses: [PEER] }, 0)).toEqual([]);
});

test("sees interfaces change at once, and addresses a little later", () => {
  const ask = (now: number): string[] => senders(neighbours.perform({ kind: "ask", address: PEER, questions: ["arp"] }, now));
  expect(ask(0)).toEqual(["2 10.9.0.1"]);
  addresses.set([{ interfaceIndex: 2, address: "10.9.0.77", prefixLength: 16 }]);
  expect(ask(REFRESH_INTERVAL_MS - 1)).toEqual(["2 10.9.0.1"]);
  expect(ask(REFRESH_INTERVAL_MS)).toEqual(["2 10.9.0.77"]);
  neighbours.interfaces([{ ...eth0, usable: false, reason: "noCarrier" }], REFRESH_INTERVAL_MS);
  expect(ask(REFRESH_INTERVAL_MS)).toEqual([]);
});

/** Runs what is due at once, as the driver does, until there is no more. Returns the targets of the frames. */
function settle(now: number): string[] {
  const asked: string[] = [];
  for (let turns = 0; turns === 0 || neighbours.nextTimeout() <= now; turns++) {
    if (turns > 100) throw new Error("there is always more");
    asked.push(...targets(neighbours.timeout(now).frames));
  }
  return asked;
}
const on = (via: number | string, address = "10.9.0.254", metric = 100): Gateway => ({ address, via, metric });

test.each([2, "eth0"])("finds the gateway on an interface that carries questions, also one that comes later (by %j)", (via) => {
  expect(settle(0)).toEqual([]);
  gateways.set([on(9, "10.7.0.2", 0), on("wg0", "10.7.0.1", 0), on(via)]);
  expect(neighbours.nextTimeout()).toBe(GATEWAY_REFRESH_INTERVAL_MS);
  expect(settle(GATEWAY_REFRESH_INTERVAL_MS)).toEqual(["10.9.0.254"]);
});

test("when news of gateways cannot be had, the gateway is the one it was", () => {
  gateways.set([on(2)]);
  expect(settle(GATEWAY_REFRESH_INTERVAL_MS)).toEqual(["10.9.0.254"]);
  gateways.error = new SysError({ code: "EMFILE", syscall: "open" });
  gateways.set([]);
  expect(settle(2 * GATEWAY_REFRESH_INTERVAL_MS)).toEqual(["10.9.0.254"]);
  expect(dropped).toEqual(["gatewayReadFailed"]);
  gateways.error = undefined;
  expect(settle(3 * GATEWAY_REFRESH_INTERVAL_MS)).toEqual([]);
});

test("of news of gateways each turn takes one piece, whatever else happens in it, and the next turn is not waited for", () => {
  settle(0);
  gateways.set([on(2)], { pieces: 40 });
  const now = GATEWAY_REFRESH_INTERVAL_MS;
  for (let turn = 1; turn <= 40; turn++) {
    const before = gateways.updates;
    expect(neighbours.timeout(now).frames).toEqual([]);
    for (let frame = 0; frame < 64; frame++) neighbours.frame(2, new Uint8Array(60), now);
    neighbours.perform({ kind: "ask", address: PEER, questions: ["arp"] }, now);
    expect([turn, gateways.updates - before, neighbours.nextTimeout() <= now]).toEqual([turn, 1, true]);
  }
  expect(settle(now)).toEqual(["10.9.0.254"]);
  expect(neighbours.nextTimeout()).toBeGreaterThan(now);
});

test("all gateways are asked for from time to time, and a second later when something is in doubt", () => {
  settle(0);
  const askedWithin = (from: number, until: number): number => {
    const before = gateways.refreshes;
    for (let now = from; now < until; now += 100) settle(now);
    return gateways.refreshes - before;
  };
  const long = 3 * GATEWAY_RECHECK_INTERVAL_MS;
  expect(askedWithin(100, long + 100)).toBe(3);
  gateways.isInDoubt = true;
  expect(askedWithin(long + 100, long + 2 * GATEWAY_REFRESH_INTERVAL_MS)).toBe(1);
  neighbours.interfaces([{ ...eth0, mac: "02:00:00:00:00:0b" }], 2 * long);
  settle(2 * long);
  neighbours.interfaces([eth0], 2 * long);
  expect(askedWithin(2 * long, 2 * long + 2 * GATEWAY_REFRESH_INTERVAL_MS)).toBe(1);
});

test("interfaces that carry no questions come and go without a look at addresses and gateways", () => {
  settle(0);
  const before = { updates: gateways.updates, lists: addresses.lists };
  for (let index = 10; index < 260; index++) neighbours.interfaces([eth0, dummy, { ...dummy, index, name: `cali${index}` }], 0);
  expect({ updates: gateways.updates, lists: addresses.lists }).toEqual(before);
});

test("closing closes what tells of addresses and of gateways", () => {
  neighbours.close();
  expect(() => gateways.update()).toThrow("EBADF");
  expect(() => addresses.list()).toThrow("EBADF");
});

const why = whyNoNamespaces();
const families = [
  { family: "IPv4", own: ["10.9.0.1/24"], theirs: ["10.9.0.2/24", "10.9.0.254/24", "172.16.5.5/32"], gateway: "10.9.0.254", peer: "10.9.0.2", stranger: "172.16.5.5" },
  { family: "IPv6", own: ["fd09::1/64", "fe80::a/64"], theirs: ["fd09::2/64", "fe80::fe/64", "fd16::5/128"], gateway: "fe80::fe", peer: "fd09::2", stranger: "fd16::5" },
] as const;
test.skipIf(why !== undefined).each(families)(`a real kernel answers questions by $family, and for addresses of other subnets${why === undefined ? "" : ` (${why})`}`, ({ family, own, theirs, gateway, peer, stranger }) => {
  const pair = makeVethPair("neighbours");
  try {
    const add = (namespace: string, addresses: readonly string[]): void => addresses.forEach((address) => pair.ip(namespace, "address", "add", address, "dev", "eth0", ...(family === "IPv6" ? ["nodad"] : [])));
    add(pair.speaker, own);
    pair.ip(pair.speaker, "route", "add", "default", "via", gateway, "dev", "eth0");
    add(pair.client, theirs);
    inNetworkNamespace(pair.speaker, () => {
      const monitor = watchInterfaces();
      const facts = interfaceFacts(monitor.links(), []);
      monitor.close();
      const { index = 0 } = facts.find(({ name }) => name === "eth0") ?? {};
      const real = new Neighbours({ addresses: watchInterfaceAddresses(), gateways: watchGateways(family), dropped: () => {}, warn: () => {} });
      real.interfaces(facts.map((fact) => ({ ...fact, usable: fact.name === "eth0" })), 0);
      const socket = family === "IPv4" ? openArpSocket(index, arpFilter) : openNdpSocket(index, neighborMessageFilter);
      const poller = createPoller();
      poller.add(socket.fd);
      const wanted = [`answer ${gateway}`, `answer ${peer}`, `answer ${stranger}`, `frame ${index}`, "gateway true"].toSorted();
      const seen = new Set<string>();
      const buffer = new Uint8Array(200);
      const end = performance.now() + 5_000;
      while (seen.size < wanted.length && performance.now() < end) {
        const now = performance.now();
        for (const { bytes } of [
          ...real.perform({ kind: "ask", address: peer, questions: ["arp"] }, now),
          ...real.perform({ kind: "askSegment", interfaceIndex: index, addresses: [stranger] }, now),
        ]) socket.send(bytes);
        poller.wait(50);
        for (let length = socket.receive(buffer); length !== undefined; length = socket.receive(buffer)) {
          for (const fact of real.frame(index, buffer.subarray(0, length), performance.now())) {
            seen.add(fact.kind === "answer" ? `answer ${fact.address}` : fact.kind === "frame" ? `frame ${fact.interfaceIndex}` : `gateway ${fact.heard}`);
          }
        }
      }
      expect([...seen].toSorted()).toEqual(wanted);
      socket.close();
      real.close();
    });
  } finally {
    pair.remove();
  }
});
