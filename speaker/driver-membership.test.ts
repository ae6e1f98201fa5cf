import { beforeEach, describe, expect, test } from "vitest";

import { FakeGatewayMonitor } from "../sys/gateway-monitor-fake.ts";
import { FakeInterfaceAddresses } from "../sys/interface-addresses-fake.ts";
import { FakeInterfaceMonitor } from "../sys/interfaces-fake.ts";
import { FakeSegment } from "../sys/packet-socket-fake.ts";
import type { FakePacketSocket } from "../sys/packet-socket-fake.ts";
import { FakePoller } from "../sys/poll-fake.ts";
import { formatIpAddress, parseIpAddress } from "../wire/ip-address.ts";
import { BROADCAST_MAC, parseMacAddress, ZERO_MAC } from "../wire/mac-address.ts";
import type { AgreementInput, AgreementOutput } from "./agreement/agreement-protocol.ts";
import { CATCH_UP_BUDGET_MS, Driver, MAX_WAIT_MS, STOP_WITHIN_MS, WOKE_AFTER_MS } from "./driver.ts";
import { FakeAgreementDoor, ScriptedElector } from "./fake-agreement.ts";
import { ArpOperation, decodeArpPacket, encodeArpPacket } from "./layer2/arp-packet.ts";
import type { ArpPacket } from "./layer2/arp-packet.ts";
import { Neighbours } from "./neighbours.ts";
import { PacketCounters } from "./packet-counters.ts";
import type { AddressRow, FromPacketThread } from "./packet-protocol.ts";
import type { PacketThreadMessage } from "./table-queue.ts";

const MAC = parseMacAddress("02:00:00:00:00:0a");
const CLIENT_MAC = parseMacAddress("02:00:00:00:00:01");
const WAKE_FD = -800;
const PEERS_FD = -700;
const VIP = "192.0.2.80";
const PEER = { address: "192.0.2.2", port: 7946 };
const eth0 = { name: "eth0", index: 2, mac: MAC, usable: true };
const row: AddressRow = { address: VIP, group: VIP, interfaces: "all", candidates: [{ node: "node1", score: 0 }] };
const owned: AgreementOutput = { kind: "owned", address: VIP, reason: "FirstInRank", interfaces: [eth0], taken: true };
const lost: AgreementOutput = { kind: "lost", address: VIP, reason: "HandedOver" };

let now: number;
/** How long the process sleeps in the next wait. */
let sleepMs: number;
let story: string[];
let segment: FakeSegment;
let client: FakePacketSocket;
let sockets: FakePacketSocket[];
let poller: FakePoller;
let elector: ScriptedElector;
let door: FakeAgreementDoor;
let messages: PacketThreadMessage[];
let facts: FromPacketThread[];
let sequence: number;
let counters: PacketCounters;
let driver: Driver;

beforeEach(() => {
  [now, sleepMs, sequence] = [0, 0, 0];
  [story, messages, facts, sockets] = [[], [], [], []];
  segment = new FakeSegment();
  client = segment.open();
  elector = new ScriptedElector((kind) => story.push(kind));
  door = new FakeAgreementDoor({ fd: PEERS_FD, spend: (ms) => (now += ms) });
  counters = new PacketCounters();
  const interfaces = new FakeInterfaceMonitor([{ index: 2, name: "eth0", up: true, carrier: true, broadcast: true, noArp: false, mac: MAC }]);
  poller = new FakePoller({
    isReadable: (fd) => (fd === WAKE_FD ? messages.length > 0 : fd === PEERS_FD ? door.waiting.length > 0 : sockets.some((socket) => socket.fd === fd && socket.waiting > 0)),
    onWait: (timeoutMs) => (now += timeoutMs),
  });
  poller.add(PEERS_FD);
  const wait = poller.wait.bind(poller);
  poller.wait = (timeoutMs) => {
    const before = now;
    const ready = wait(timeoutMs);
    if (sleepMs > 0) now = before + timeoutMs + sleepMs;
    sleepMs = 0;
    return ready;
  };
  driver = new Driver(
    { exclude: [] },
    {
      clock: { now: () => now, wallMs: () => 1_700_000_000_000 + now },
      random: { next: () => 0.5 },
      poller,
      interfaces,
      wake: { fd: WAKE_FD, drain: () => {} },
      openSocket() {
        const socket = segment.open();
        sockets.push(socket);
        return socket;
      },
      receive: () => messages.shift(),
      post(fact) {
        facts.push(fact);
        story.push(`told ${fact.kind}`);
      },
      sliceTaken: () => {},
      beat: () => {},
      trimHeap: () => {},
      counters,
      elector,
      agreement: door,
      neighbours: new Neighbours({ addresses: new FakeInterfaceAddresses([{ interfaceIndex: 2, address: "192.0.2.9", prefixLength: 24 }]), gateways: new FakeGatewayMonitor(), dropped: () => {}, warn: () => {} }),
    },
  );
  driver.turn();
  story = [];
  facts.length = 0;
  elector.inputs.length = 0;
});

function datagram(): AgreementInput {
  return { kind: "datagram", from: PEER, bytes: Uint8Array.of(1) };
}

/** Makes the elector answer the next datagram with these, and sends it one. */
function conclude(...outputs: readonly AgreementOutput[]): boolean {
  elector.script.set("datagram", outputs);
  door.waiting.push(datagram());
  return driver.turn();
}

function ask(address = VIP): void {
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

function heard(): ArpPacket[] {
  const buffer = new Uint8Array(100);
  const packets: ArpPacket[] = [];
  for (let length = client.receive(buffer); length !== undefined; length = client.receive(buffer)) packets.push(decodeArpPacket(buffer.subarray(0, length)));
  return packets;
}

/** What was heard, in words: answers, announcements and questions. */
function said(): string[] {
  return heard().map(({ operation, senderProtocolAddress, targetProtocolAddress }) => {
    const [sender, target] = [formatIpAddress(senderProtocolAddress), formatIpAddress(targetProtocolAddress)];
    return operation === ArpOperation.reply ? `answer ${sender}` : sender === target ? `announce ${sender}` : `ask ${target}`;
  });
}

function slice(upsert: readonly AddressRow[], completes?: number): void {
  sequence += 1;
  messages.push({ kind: "slice", sequence, upsert, remove: [], ...(completes === undefined ? {} : { completes }) });
}

const dropped = (): Readonly<Record<string, number>> => counters.collect().dropped;

describe("driver with membership", () => {
  test("within a turn peers come first, then what ran out of time, then ARP, then the table", () => {
    conclude(owned);
    said();
    story = [];
    ask();
    door.waiting.push(datagram());
    elector.deadline = now;
    messages.push({ kind: "fresh", fresh: true });
    driver.turn();
    // The frame is the client's, heard for the first time.
    expect(story).toEqual(["datagram", "timeout", "frame", "fresh"]);
    expect(said()).toEqual(["answer 192.0.2.80"]);
  });

  test("what a peer said just before decides whether a request is answered", () => {
    conclude(owned);
    said();
    ask();
    conclude(lost);
    expect(said()).toEqual([]);
    expect(dropped()["notOwner"]).toBe(1);
  });

  test("an input that the sockets give back at once goes to the elector in the same turn", () => {
    door.replies.set("connect", [{ kind: "streamFailed", stream: 2, reason: "connectionRefused" }]);
    conclude({ kind: "connect", stream: 2, to: PEER }, { kind: "datagram", to: PEER, bytes: Uint8Array.of(2) });
    expect(door.performed).toEqual(["connect", "datagram"]);
    expect(story).toEqual(["datagram", "streamFailed"]);
  });

  test("sockets and elector that go round in circles end the thread", () => {
    elector.handle = () => [{ kind: "connect", stream: 2, to: PEER }];
    door.replies.set("connect", [{ kind: "streamFailed", stream: 2, reason: "connectionRefused" }]);
    door.waiting.push(datagram());
    expect(() => driver.turn()).toThrow("go round in circles");
  });

  test("what the main thread knows of peers and of its watches reaches the elector", () => {
    messages.push({ kind: "peers", peers: [{ node: "node2", address: PEER.address }] }, { kind: "fresh", fresh: true });
    driver.turn();
    expect(elector.inputs).toEqual([{ kind: "peers", peers: [{ node: "node2", address: PEER.address }] }, { kind: "fresh", fresh: true }]);
  });

  test("ready is given once, when the first table is whole, and before the main thread hears of it", () => {
    slice([row]);
    slice([], 3);
    slice([], 4);
    driver.turn();
    expect(story).toEqual(["row", "ready", "told tableApplied", "told tableApplied"]);
  });

  test("facts of the agreement reach the main thread, and reasons are counted", () => {
    conclude(
      { kind: "member", node: "node2", state: "alive", before: undefined, isHerald: true, endpoint: PEER },
      { kind: "verdict", node: "node2", class: "powerOff", silentForMs: 210 },
      { kind: "dropped", reason: "heraldMessageReplayed" },
      { kind: "dropped", reason: "heraldMessageReplayed" },
    );
    expect(facts).toEqual([
      { kind: "member", node: "node2", state: "alive", before: undefined, isHerald: true },
      { kind: "verdict", node: "node2", class: "powerOff", silentForMs: 210 },
    ]);
    expect(dropped()).toEqual({ heraldMessageReplayed: 2 });
  });

  test("questions become ARP frames, and all but those by ARP go to the sockets as well", () => {
    conclude({ kind: "ask", address: PEER.address, questions: ["arp", "icmp"] });
    conclude({ kind: "ask", address: "192.0.2.3", questions: ["tcp"] });
    conclude({ kind: "askSegment", interfaceIndex: 2, addresses: ["192.0.2.4", "192.0.2.5"] });
    expect(said()).toEqual(["ask 192.0.2.2", "ask 192.0.2.4", "ask 192.0.2.5"]);
    expect(door.performed).toEqual(["ask", "ask"]);
  });

  test("while handing over it answers, and announces nothing more", () => {
    conclude(owned, { kind: "handingOver", address: VIP, to: "node2" });
    expect(said()).toEqual(["announce 192.0.2.80"]);
    expect(facts.map(({ kind }) => kind)).toEqual(["owned", "handingOver"]);
    for (let turn = 0; turn < 200; turn++) driver.turn();
    ask();
    driver.turn();
    expect(said()).toEqual(["answer 192.0.2.80"]);
    conclude(lost);
    ask();
    driver.turn();
    expect(said()).toEqual([]);
  });

  test("announcing again begins the schedule anew, and is nothing for an address that is not ours", () => {
    conclude(owned);
    for (let turn = 0; turn < 10; turn++) driver.turn();
    expect(said()).toHaveLength(5);
    conclude({ kind: "reannounce", address: VIP }, { kind: "reannounce", address: "192.0.2.81" });
    for (let turn = 0; turn < 10; turn++) driver.turn();
    expect(said()).toEqual(Array.from({ length: 5 }, () => "announce 192.0.2.80"));
  });
});

describe("after the process slept", () => {
  test("the elector hears so before what waited, and with how long", () => {
    door.waiting.push(datagram(), datagram());
    elector.deadline = now + 10;
    sleepMs = 1_500;
    driver.turn();
    expect(story).toEqual(["woke", "datagram", "datagram", "timeout"]);
    expect(elector.inputs[0]).toEqual({ kind: "woke", lagMs: 1_500 });
    expect(dropped()).toEqual({ woke: 1 });
  });

  test("a little late is not asleep", () => {
    sleepMs = WOKE_AFTER_MS - 1;
    driver.turn();
    expect(story).toEqual([]);
  });

  test("requests that waited are not answered, and nothing is announced, until it may speak", () => {
    conclude(owned);
    said();
    for (let count = 0; count < 3; count++) ask();
    elector.script.set("woke", [{ kind: "silence" }]);
    sleepMs = 2_000;
    driver.turn();
    ask();
    driver.turn();
    expect(said()).toEqual([]);
    expect(dropped()).toMatchObject({ woke: 1, silentAfterSleep: 4 });
    // The announcements that are due do not keep it from sleeping either.
    driver.turn();
    expect(poller.waits.at(-1)).toBe(MAX_WAIT_MS);
    ask();
    conclude({ kind: "speak" });
    expect(said()).toEqual(["answer 192.0.2.80", "announce 192.0.2.80"]);
  });

  test("what is taken while silent is announced afterwards", () => {
    elector.script.set("woke", [{ kind: "silence" }]);
    sleepMs = 2_000;
    driver.turn();
    conclude(owned);
    driver.turn();
    expect(said()).toEqual([]);
    conclude({ kind: "speak" });
    expect(said()).toEqual(["announce 192.0.2.80"]);
  });

  test("a flood while it catches up does not look like another sleep", () => {
    door.flood = datagram();
    door.costMs = 5;
    sleepMs = 2_000;
    driver.turn();
    expect(story.filter((kind) => kind === "datagram")).toHaveLength(CATCH_UP_BUDGET_MS / door.costMs);
    driver.turn();
    expect(story.filter((kind) => kind === "woke")).toHaveLength(1);
  });

  test("who slept in the middle of a turn answers only after it caught up", () => {
    conclude(owned);
    said();
    ask();
    elector.script.set("datagram", [{ kind: "datagram", to: PEER, bytes: Uint8Array.of(1) }]);
    const perform = door.perform.bind(door);
    door.perform = (output) => {
      now += 3_000;
      return perform(output);
    };
    door.waiting.push(datagram());
    driver.turn();
    expect(said().filter((what) => what.startsWith("answer"))).toEqual([]);
    story = [];
    elector.script.set("woke", [lost]);
    driver.turn();
    expect(story.slice(0, 2)).toEqual(["woke", "told lost"]);
    expect(said().filter((what) => what.startsWith("answer"))).toEqual([]);
  });
});

describe("stopping", () => {
  const stop = (): boolean => {
    messages.push({ kind: "stop" });
    return driver.turn();
  };

  test("it answers and listens until the agreement is done with its goodbye", () => {
    conclude(owned);
    expect(stop()).toBe(true);
    said();
    ask();
    driver.turn();
    expect(said()).toContain("answer 192.0.2.80");
    expect(conclude(lost, { kind: "stopped" })).toBe(false);
    expect(facts.slice(-2)).toEqual([{ kind: "lost", address: VIP, reason: "HandedOver" }, { kind: "stopped" }]);
    expect(door.isOpen).toBe(false);
  });

  test("whatever else comes in its last turn meets open sockets", () => {
    stop();
    ask();
    door.waiting.push(datagram(), datagram());
    elector.script.set("datagram", [{ kind: "stopped" }, { kind: "datagram", to: PEER, bytes: Uint8Array.of(1) }, { kind: "ask", address: PEER.address, questions: ["arp"] }]);
    now += 2_000;
    expect(driver.turn()).toBe(false);
    expect(door.performed).toEqual(["datagram", "ask"]);
    expect(facts.filter(({ kind }) => kind === "stopped")).toHaveLength(1);
  });

  test("an agreement that never gets done does not keep it", () => {
    const begun = now;
    let turns = 0;
    for (let goesOn = stop(); goesOn && turns < 100; turns++) goesOn = driver.turn();
    expect(now - begun).toBe(STOP_WITHIN_MS);
    expect(facts.at(-1)).toEqual({ kind: "stopped" });
  });
});
