import { beforeEach, expect, test } from "vitest";

import { FakeInterfaceMonitor } from "../sys/interfaces-fake.ts";
import type { Link } from "../sys/interfaces.ts";
import { FakeSegment } from "../sys/packet-socket-fake.ts";
import type { FakePacketSocket } from "../sys/packet-socket-fake.ts";
import { FakePoller } from "../sys/poll-fake.ts";
import { SysError } from "../sys/sys-error.ts";
import { formatIpAddress, parseIpAddress } from "../wire/ip-address.ts";
import { ALL_NODES, multicastMac, solicitedNodeGroup } from "../wire/ipv6-multicast.ts";
import { parseMacAddress } from "../wire/mac-address.ts";
import { Driver } from "./driver.ts";
import { StandaloneElector } from "./elector.ts";
import { decodeNeighborMessage, encodeNeighborMessage } from "./layer2/ndp-packet.ts";
import type { NeighborMessage } from "./layer2/ndp-packet.ts";
import { PacketCounters } from "./packet-counters.ts";
import type { AddressRow, FromPacketThread } from "./packet-protocol.ts";
import type { PacketThreadMessage } from "./table-queue.ts";

const MAC = parseMacAddress("02:00:00:00:00:0a");
const CLIENT_MAC = parseMacAddress("02:00:00:00:00:01");
const VIP = "fd00::80";
const WAKE_FD = -800;
const withoutIpv6: Link = { index: 2, name: "eth0", up: true, carrier: true, broadcast: true, noArp: false, mac: MAC };
const eth0: Link = { ...withoutIpv6, linkLocal: "fe80::a" };
const row: AddressRow = { address: VIP, group: VIP, interfaces: "all", candidates: [{ node: "node1", score: 0 }] };

let now: number;
let segment: FakeSegment;
let client: FakePacketSocket;
let sockets: Map<string, FakePacketSocket>;
let openError: SysError | undefined;
let interfaces: FakeInterfaceMonitor;
let poller: FakePoller;
let messages: PacketThreadMessage[];
let facts: FromPacketThread[];

function start(link: Link): Driver {
  interfaces = new FakeInterfaceMonitor([link]);
  messages.push({ kind: "slice", sequence: 1, upsert: [row], remove: [] });
  return new Driver(
    { exclude: [] },
    {
      clock: { now: () => now, wallMs: () => now },
      random: { next: () => 0.5 },
      poller,
      interfaces,
      wake: { fd: WAKE_FD, drain: () => {} },
      openSocket: (_index, family) => {
        if (family === "IPv6" && openError !== undefined) throw openError;
        const socket = segment.open(family);
        sockets.set(family, socket);
        return socket;
      },
      receive: () => messages.shift(),
      post: (fact) => facts.push(fact),
      sliceTaken: () => {},
      beat: () => {},
      trimHeap: () => {},
      counters: new PacketCounters(),
      elector: new StandaloneElector("node1"),
    },
  );
}

beforeEach(() => {
  now = 0;
  segment = new FakeSegment();
  client = segment.open("IPv6");
  sockets = new Map();
  openError = undefined;
  messages = [];
  facts = [];
  poller = new FakePoller({
    isReadable: (fd) => (fd === WAKE_FD ? messages.length > 0 : fd === interfaces.fd ? interfaces.hasNews : [...sockets.values()].some((socket) => socket.fd === fd && socket.waiting > 0)),
    onWait: (timeoutMs) => (now += timeoutMs),
  });
});

function turns(driver: Driver, count = 3): void {
  for (let turn = 0; turn < count; turn++) driver.turn();
}

function heard(): NeighborMessage[] {
  const buffer = new Uint8Array(200);
  const all: NeighborMessage[] = [];
  for (let length = client.receive(buffer); length !== undefined; length = client.receive(buffer)) all.push(decodeNeighborMessage(buffer.subarray(0, length)));
  return all;
}

function ask(address = VIP): void {
  const group = solicitedNodeGroup(parseIpAddress(address));
  client.send(
    encodeNeighborMessage({
      kind: "solicitation",
      ethernetDestination: multicastMac(group),
      ethernetSource: CLIENT_MAC,
      source: parseIpAddress("fd00::1"),
      destination: group,
      target: parseIpAddress(address),
      options: [{ kind: "sourceLinkLayerAddress", mac: CLIENT_MAC }],
    }),
  );
}

/** "target S=... to" of each advertisement heard. */
function told(): string[] {
  return heard().map((message) => `${message.kind} ${formatIpAddress(message.target)} ${message.kind === "advertisement" && message.solicited ? "solicited" : "unsolicited"} to ${message.ethernetDestination}`);
}

const UNSOLICITED = `advertisement ${VIP} unsolicited to ${multicastMac(ALL_NODES)}`;
const ANSWER = `advertisement ${VIP} solicited to ${CLIENT_MAC}`;

function counters(driver: Driver): Extract<FromPacketThread, { kind: "counters" }> {
  messages.push({ kind: "collect" });
  turns(driver, 2);
  const fact = facts.findLast(({ kind }) => kind === "counters");
  if (fact?.kind !== "counters") throw new Error("no counters");
  return fact;
}

test("tells all nodes by the schedule, answers, and counts both", () => {
  const driver = start(eth0);
  turns(driver, 1);
  expect(facts.filter(({ kind }) => kind === "warning")).toEqual([]);
  expect(told()).toEqual([UNSOLICITED]);
  turns(driver, 5);
  expect(now).toBe(1100);
  expect(told()).toEqual([UNSOLICITED, UNSOLICITED, UNSOLICITED, UNSOLICITED]);
  ask();
  ask("fd00::81");
  turns(driver, 1);
  expect(told()).toEqual([ANSWER]);
  expect(counters(driver)).toMatchObject({ addresses: [{ address: VIP, requestsReceived: 1, responsesSent: 1, gratuitousSent: 5 }], dropped: { notOwner: 1 } });
});

test("an interface without a link-local address has no socket for NDP; when it gets one, the address is announced there", () => {
  const driver = start(withoutIpv6);
  turns(driver, 5);
  expect(facts.filter(({ kind }) => kind === "warning")).toMatchObject([{ event: "ipv6NotAnnounced", fields: { address: VIP } }]);
  expect([...sockets.keys()]).toEqual(["IPv4"]);
  expect(told()).toEqual([]);
  interfaces.set([eth0]);
  turns(driver, 1);
  expect([...sockets.keys()]).toEqual(["IPv4", "IPv6"]);
  expect(told()).toEqual([UNSOLICITED]);
  ask();
  turns(driver, 1);
  expect(told()).toContain(ANSWER);
  interfaces.set([withoutIpv6]);
  turns(driver, 1);
  heard();
  ask();
  turns(driver, 10);
  expect(told()).toEqual([]);
  expect(poller.descriptors.has(sockets.get("IPv6")?.fd ?? 0)).toBe(false);
});

test("an interface that loses IPv6 while its socket is being opened is as one without", () => {
  openError = new SysError({ code: "ENODEV", syscall: "bind" });
  const driver = start(eth0);
  turns(driver, 2);
  expect(facts[0]).toMatchObject({ kind: "started", interfaces: [{ name: "eth0", usable: true }] });
  expect(facts[0]?.kind === "started" && facts[0].interfaces[0]?.linkLocal).toBeUndefined();
  expect(told()).toEqual([]);
});

test("an interface that gets another MAC is announced with it", () => {
  const driver = start(eth0);
  turns(driver, 10);
  heard();
  const other = parseMacAddress("02:00:00:00:00:bb");
  interfaces.set([{ ...eth0, mac: other }]);
  turns(driver, 1);
  expect(heard()).toMatchObject([{ ethernetSource: other, options: [{ kind: "targetLinkLayerAddress", mac: other }] }]);
});

test("an interface that goes takes the address along, and brings it back and announces it", () => {
  const driver = start(eth0);
  turns(driver, 10);
  heard();
  interfaces.set([{ ...withoutIpv6, carrier: false }]);
  turns(driver, 1);
  ask();
  turns(driver, 1);
  expect(told()).toEqual([]);
  interfaces.set([eth0]);
  turns(driver, 1);
  expect(told()).toEqual([UNSOLICITED]);
});

test("a row that goes takes the address along", () => {
  const driver = start(eth0);
  turns(driver, 10);
  heard();
  messages.push({ kind: "slice", sequence: 2, upsert: [], remove: [VIP] });
  turns(driver, 2);
  ask();
  turns(driver, 5);
  expect(told()).toEqual([]);
});
