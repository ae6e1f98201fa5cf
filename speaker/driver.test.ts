import { beforeEach, describe, expect, test } from "vitest";

import { FakeInterfaceMonitor } from "../sys/interfaces-fake.ts";
import type { Link } from "../sys/interfaces.ts";
import { FakeSegment } from "../sys/packet-socket-fake.ts";
import type { FakePacketSocket } from "../sys/packet-socket-fake.ts";
import { FakePoller } from "../sys/poll-fake.ts";
import { SysError } from "../sys/sys-error.ts";
import { formatIpAddress, parseIpAddress } from "../wire/ip-address.ts";
import { BROADCAST_MAC, parseMacAddress, ZERO_MAC } from "../wire/mac-address.ts";
import { Driver, MAX_WAIT_MS, TRIM_AFTER_MS } from "./driver.ts";
import { StandaloneElector } from "./elector.ts";
import { ArpOperation, decodeArpPacket, encodeArpPacket } from "./layer2/arp-packet.ts";
import type { ArpPacket } from "./layer2/arp-packet.ts";
import { PacketCounters } from "./packet-counters.ts";
import type { AddressRow, FromPacketThread } from "./packet-protocol.ts";
import { MAX_FRAMES_PER_SOCKET } from "./segments.ts";
import type { PacketThreadMessage } from "./table-queue.ts";

const MAC = parseMacAddress("02:00:00:00:00:0a");
const CLIENT_MAC = parseMacAddress("02:00:00:00:00:01");
const WAKE_FD = -800;
const eth0: Link = { index: 2, name: "eth0", up: true, carrier: true, broadcast: true, noArp: false, mac: MAC };

function row(address: string, change: Partial<AddressRow> = {}): AddressRow {
  return { address, group: address, interfaces: "all", candidates: [{ node: "node1", score: 0 }], ...change };
}

let now: number;
/** Milliseconds that every look at the clock takes: 0 stands for a fast machine. */
let clockStep: number;
let segment: FakeSegment;
let client: FakePacketSocket;
let opened: Map<number, FakePacketSocket>;
let openError: SysError | undefined;
let interfaces: FakeInterfaceMonitor;
let poller: FakePoller;
let messages: PacketThreadMessage[];
let facts: FromPacketThread[];
let slicesTaken: number;
let beats: number;
let sequence: number;
let trims: number;

function start(): Driver {
  return new Driver(
    { exclude: [/^docker/] },
    {
      clock: { now: () => (now += clockStep), wallMs: () => 1_700_000_000_000 + now },
      random: { next: () => 0.5 },
      poller,
      interfaces,
      wake: { fd: WAKE_FD, drain: () => {} },
      openSocket: (index) => {
        if (openError !== undefined) throw openError;
        const socket = segment.open();
        opened.set(index, socket);
        return socket;
      },
      receive: () => messages.shift(),
      post: (fact) => facts.push(fact),
      sliceTaken: () => (slicesTaken += 1),
      beat: () => (beats += 1),
      trimHeap: () => (trims += 1),
      counters: new PacketCounters(),
      elector: new StandaloneElector("node1"),
    },
  );
}

beforeEach(() => {
  now = 0;
  clockStep = 0;
  segment = new FakeSegment();
  client = segment.open();
  opened = new Map();
  openError = undefined;
  interfaces = new FakeInterfaceMonitor([eth0]);
  messages = [];
  facts = [];
  [slicesTaken, beats, sequence, trims] = [0, 0, 0, 0];
  poller = new FakePoller({
    isReadable: (fd) => (fd === WAKE_FD ? messages.length > 0 : fd === interfaces.fd ? interfaces.hasNews : [...opened.values()].some((socket) => socket.fd === fd && socket.waiting > 0)),
    onWait: (timeoutMs) => (now += timeoutMs),
  });
});

function slice(upsert: readonly AddressRow[], remove: readonly string[] = [], completes?: number): void {
  sequence += 1;
  messages.push({ kind: "slice", sequence, upsert, remove, ...(completes === undefined ? {} : { completes }) });
}

function turns(driver: Driver, count = 3): void {
  for (let turn = 0; turn < count; turn++) driver.turn();
}

function heard(): ArpPacket[] {
  const buffer = new Uint8Array(100);
  const packets: ArpPacket[] = [];
  for (let length = client.receive(buffer); length !== undefined; length = client.receive(buffer)) packets.push(decodeArpPacket(buffer.subarray(0, length)));
  return packets;
}

function ask(address: string): void {
  client.send(
    encodeArpPacket({
      ethernetDestination: BROADCAST_MAC,
      ethernetSource: CLIENT_MAC,
      operation: ArpOperation.request,
      senderHardwareAddress: CLIENT_MAC,
      senderProtocolAddress: parseIpAddress("192.0.2.1"),
      targetHardwareAddress: ZERO_MAC,
      targetProtocolAddress: parseIpAddress(address),
    }),
  );
}

function replies(): string[] {
  return heard()
    .filter(({ operation }) => operation === ArpOperation.reply)
    .map(({ senderProtocolAddress }) => formatIpAddress(senderProtocolAddress));
}

function kinds(): string[] {
  return facts.map(({ kind }) => kind);
}

function counters(driver: Driver): Extract<FromPacketThread, { kind: "counters" }> {
  messages.push({ kind: "collect" });
  turns(driver, 2);
  const fact = facts.findLast(({ kind }) => kind === "counters");
  if (fact?.kind !== "counters") throw new Error("no counters");
  return fact;
}

describe("driver", () => {
  test("tells its interfaces first, and takes a table that waited before anybody could wake it", () => {
    slice([row("192.0.2.80")], [], 1);
    const driver = start();
    driver.turn();
    expect(kinds()).toEqual(["started", "owned", "tableApplied"]);
    expect(facts[1]).toMatchObject({ address: "192.0.2.80", reason: "FirstInRank", sinceUnixMs: 1_700_000_000_000, interfaces: [{ name: "eth0" }] });
    expect(slicesTaken).toBe(1);
    expect(heard()).toHaveLength(1);
  });

  test("waits no longer than the sign of life allows, or the next deadline", () => {
    const driver = start();
    turns(driver);
    expect(poller.waits).toEqual([0, MAX_WAIT_MS, MAX_WAIT_MS]);
    expect(beats).toBe(3);
    slice([row("192.0.2.80")]);
    turns(driver, 2);
    expect(poller.waits.at(-1)).toBe(50);
  });

  test("gives memory back once after each burst of changes, when nothing else is to be done", () => {
    const driver = start();
    slice([row("192.0.2.80")], [], 1);
    turns(driver, 2);
    now += TRIM_AFTER_MS - 1000;
    turns(driver, 1);
    expect(trims).toBe(0);
    now += 2000;
    turns(driver, 5);
    expect(trims).toBe(1);
    slice([row("192.0.2.81")], [], 2);
    now += TRIM_AFTER_MS;
    turns(driver, 1);
    expect(trims).toBe(1);
    now += 2 * TRIM_AFTER_MS;
    turns(driver, 2);
    expect(trims).toBe(2);
  });

  test("answers for what it owns and counts", () => {
    slice([row("192.0.2.80"), row("192.0.2.81", { candidates: [{ node: "node2", score: 0 }] })]);
    const driver = start();
    turns(driver, 1);
    for (const address of ["192.0.2.80", "192.0.2.81", "192.0.2.80"]) ask(address);
    turns(driver, 1);
    expect(replies()).toEqual(["192.0.2.80", "192.0.2.80"]);
    expect(counters(driver)).toMatchObject({
      addresses: [{ address: "192.0.2.80", requestsReceived: 2, responsesSent: 2 }],
      dropped: { notOwner: 1 },
    });
  });

  test("packets come between the rows of a long table", () => {
    slice([row("192.0.2.80")]);
    slice(Array.from({ length: 100 }, (_, index) => row(`10.0.0.${index}`)), [], 2);
    clockStep = 0.3;
    const driver = start();
    driver.turn();
    expect(facts.some(({ kind }) => kind === "tableApplied")).toBe(false);
    ask("192.0.2.80");
    driver.turn();
    expect(replies()).toEqual(["192.0.2.80"]);
    expect(facts.some(({ kind }) => kind === "tableApplied")).toBe(false);
    turns(driver, 100);
    expect(facts.filter(({ kind }) => kind === "owned")).toHaveLength(101);
    expect(facts.some(({ kind }) => kind === "tableApplied")).toBe(true);
  });

  test("a flood on one socket leaves the others their turn", () => {
    const driver = start();
    turns(driver, 1);
    for (let count = 0; count < MAX_FRAMES_PER_SOCKET + 10; count++) ask("192.0.2.99");
    driver.turn();
    expect(opened.get(2)?.waiting).toBe(10);
  });

  test("neither a flood of frames nor one of interface news stops the table, the heartbeat or an answer", () => {
    slice([row("192.0.2.80")]);
    const driver = start();
    turns(driver, 1);
    slice(Array.from({ length: 100 }, (_, index) => row(`10.0.0.${index}`)), [], 2);
    beats = 0;
    for (let turn = 0; turn < 40; turn++) {
      for (let count = 0; count < MAX_FRAMES_PER_SOCKET; count++) ask(count === 0 ? "192.0.2.80" : "192.0.2.99");
      interfaces.set([eth0, { ...eth0, index: 50 + turn, name: `docker${turn}` }]);
      clockStep = 0.1;
      driver.turn();
      expect(replies()).toContain("192.0.2.80");
    }
    expect(beats).toBe(40);
    expect(facts).toContainEqual({ kind: "tableApplied", version: 2 });
  });

  test("a socket that says its device is gone, while netlink says nothing, is opened anew and the address announced", () => {
    slice([row("192.0.2.80")]);
    const driver = start();
    turns(driver, 10);
    heard();
    const dead = opened.get(2);
    if (dead === undefined) throw new Error("no socket");
    dead.receive = () => {
      throw new SysError({ code: "ENETDOWN", syscall: "recv" });
    };
    ask("192.0.2.80");
    turns(driver, 4);
    expect(opened.get(2)).not.toBe(dead);
    expect(poller.descriptors.has(dead.fd)).toBe(false);
    expect(heard().length).toBeGreaterThan(0);
    ask("192.0.2.80");
    driver.turn();
    expect(replies()).toEqual(["192.0.2.80"]);
  });

  test("an excluded interface has no socket, and an address that wants it is blocked", () => {
    interfaces = new FakeInterfaceMonitor([eth0, { ...eth0, index: 3, name: "docker0" }]);
    slice([row("192.0.2.80", { interfaces: ["docker0"] })]);
    const driver = start();
    driver.turn();
    expect([...opened.keys()]).toEqual([2]);
    expect(facts[1]).toEqual({ kind: "blocked", address: "192.0.2.80", wanted: ["docker0"] });
  });

  test("an interface that goes takes its addresses along, and brings them back and announces them", () => {
    slice([row("192.0.2.80")]);
    const driver = start();
    turns(driver, 1);
    heard();
    facts = [];
    interfaces.set([{ ...eth0, carrier: false }]);
    driver.turn();
    expect(kinds()).toEqual(["interfaces", "lost", "blocked"]);
    expect(poller.descriptors.has(opened.get(2)?.fd ?? 0)).toBe(false);
    ask("192.0.2.80");
    driver.turn();
    expect(replies()).toEqual([]);
    facts = [];
    interfaces.set([eth0]);
    driver.turn();
    expect(kinds()).toEqual(["interfaces", "owned"]);
    expect(facts[1]).toMatchObject({ reason: "InterfacesChanged" });
    expect(heard()).toHaveLength(1);
  });

  test("an interface that gets another MAC is announced with it, and the address keeps its age", () => {
    slice([row("192.0.2.80")]);
    const driver = start();
    turns(driver, 3);
    heard();
    const other = parseMacAddress("02:00:00:00:00:bb");
    interfaces.set([{ ...eth0, mac: other }]);
    driver.turn();
    expect(heard().map(({ senderHardwareAddress }) => senderHardwareAddress)).toEqual([other]);
    expect(facts.at(-1)).toMatchObject({ kind: "owned", sinceUnixMs: 1_700_000_000_000 });
    ask("192.0.2.80");
    driver.turn();
    expect(heard().at(-1)).toMatchObject({ operation: ArpOperation.reply, senderHardwareAddress: other });
  });

  test("an interface that joins is told of the address, and the others are not told again", () => {
    slice([row("192.0.2.80")]);
    const driver = start();
    turns(driver, 10);
    const before = counters(driver).addresses[0]?.gratuitousSent;
    expect(before).toBeGreaterThanOrEqual(5);
    interfaces.set([eth0, { ...eth0, index: 9, name: "pod9", mac: parseMacAddress("02:00:00:00:00:99") }]);
    turns(driver, 10);
    expect(counters(driver).addresses[0]?.gratuitousSent).toBe((before ?? 0) + 5);
  });

  test("an interface that goes while its socket is being opened counts as down", () => {
    openError = new SysError({ code: "ENODEV", syscall: "bind" });
    start();
    expect(facts).toMatchObject([{ kind: "started", interfaces: [{ name: "eth0", usable: false, reason: "down" }] }]);
  });

  test("without the right to open sockets it ends", () => {
    openError = new SysError({ code: "EPERM", syscall: "socket" });
    expect(start).toThrow("EPERM");
  });

  test("a send that fails because the link went down is counted, not fatal", () => {
    slice([row("192.0.2.80")]);
    const driver = start();
    turns(driver, 1);
    const socket = opened.get(2);
    if (socket === undefined) throw new Error("no socket");
    segment.setDown(socket, true);
    ask("192.0.2.80");
    driver.turn();
    expect(counters(driver)).toMatchObject({ addresses: [{ responsesSent: 0, requestsReceived: 1 }], dropped: { sendInterfaceDown: 1 } });
  });

  test("a send that the OS refuses is counted, and warned of once", () => {
    slice([row("192.0.2.80")]);
    const driver = start();
    turns(driver, 1);
    const socket = opened.get(2);
    if (socket === undefined) throw new Error("no socket");
    socket.send = () => {
      throw new SysError({ code: "EPERM", syscall: "send" });
    };
    ask("192.0.2.80");
    ask("192.0.2.80");
    driver.turn();
    expect(facts.filter(({ kind }) => kind === "warning")).toEqual([{ kind: "warning", event: "sendFailed", fields: { code: "EPERM", syscall: "send" } }]);
    expect(counters(driver)).toMatchObject({ dropped: { sendFailed: 2 } });
  });

  test("a socket that is none is a mistake of ours, and ends the thread", () => {
    slice([row("192.0.2.80")]);
    const driver = start();
    turns(driver, 1);
    opened.get(2)?.close();
    expect(() => turns(driver, 5)).toThrow("EBADF");
  });

  test("a row that goes takes the address and its counts with it", () => {
    slice([row("192.0.2.80")]);
    const driver = start();
    turns(driver, 1);
    slice([], ["192.0.2.80"], 2);
    turns(driver, 1);
    expect(facts.slice(-2)).toEqual([
      { kind: "lost", address: "192.0.2.80", reason: "Removed" },
      { kind: "tableApplied", version: 2 },
    ]);
    expect(counters(driver).addresses).toEqual([]);
  });

  test("a slice that is missing is a broken invariant", () => {
    sequence = 1;
    slice([]);
    const driver = start();
    expect(() => driver.turn()).toThrow("table slice 2 follows 0");
  });

  test("gives everything up when told to stop", () => {
    slice([row("192.0.2.80")]);
    messages.push({ kind: "stop" });
    const driver = start();
    expect(driver.turn()).toBe(false);
    expect(facts.slice(-2)).toEqual([{ kind: "lost", address: "192.0.2.80", reason: "Stopping" }, { kind: "stopped" }]);
    expect([...poller.descriptors]).toEqual([WAKE_FD, interfaces.fd]);
  });
});
