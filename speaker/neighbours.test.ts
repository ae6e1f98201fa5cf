import { beforeEach, expect, test } from "vitest";

import { FakeInterfaceAddresses } from "../sys/interface-addresses-fake.ts";
import type { DefaultGateway } from "../sys/routes.ts";
import { formatIpAddress } from "../wire/ip-address.ts";
import { decodeArpPacket } from "./layer2/arp-packet.ts";
import type { QuestionFrame } from "./layer2/neighbour-questions.ts";
import { GATEWAY_REFRESH_INTERVAL_MS, Neighbours, REFRESH_INTERVAL_MS } from "./neighbours.ts";
import type { InterfaceFact } from "./packet-protocol.ts";

const eth0: InterfaceFact = { index: 2, name: "eth0", mac: "02:00:00:00:00:0a", usable: true };
const dummy: InterfaceFact = { index: 9, name: "kube-ipvs0", mac: "02:00:00:00:00:09", usable: false, reason: "noArp" };
const PEER = "10.9.0.2";

let addresses: FakeInterfaceAddresses;
let gateways: DefaultGateway[];
let neighbours: Neighbours;
beforeEach(() => {
  addresses = new FakeInterfaceAddresses([
    { interfaceIndex: 9, address: "10.9.0.3", prefixLength: 24 },
    { interfaceIndex: 2, address: "10.9.0.1", prefixLength: 24 },
  ]);
  gateways = [];
  neighbours = new Neighbours({ addresses, defaultGateways: () => gateways });
  neighbours.interfaces([eth0, dummy], 0);
});

const senders = (frames: readonly QuestionFrame[]): string[] => frames.map(({ interfaceIndex, bytes }) => `${interfaceIndex} ${formatIpAddress(decodeArpPacket(bytes).senderProtocolAddress)}`);
const targets = (frames: readonly QuestionFrame[]): string[] => frames.map(({ bytes }) => formatIpAddress(decodeArpPacket(bytes).targetProtocolAddress));

test("asks by ARP on interfaces that speak it, and only when asked to", () => {
  expect(senders(neighbours.perform({ kind: "ask", address: PEER, questions: ["arp", "icmp"] }, 0))).toEqual(["2 10.9.0.1"]);
  expect(neighbours.perform({ kind: "ask", address: PEER, questions: ["icmp", "tcp"] }, 0)).toEqual([]);
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

test("finds the gateway on an interface that carries questions, also one that comes later", () => {
  expect(neighbours.timeout(0)).toEqual({ frames: [], inputs: [] });
  gateways = [
    { address: "10.7.0.1", interfaceName: "wg0", metric: 0 },
    { address: "10.9.0.254", interfaceName: "eth0", metric: 100 },
  ];
  expect(neighbours.nextTimeout()).toBe(GATEWAY_REFRESH_INTERVAL_MS);
  expect(targets(neighbours.timeout(GATEWAY_REFRESH_INTERVAL_MS).frames)).toEqual(["10.9.0.254"]);
});

test("closing closes what tells of addresses", () => {
  neighbours.close();
  expect(() => addresses.list()).toThrow("EBADF");
});
