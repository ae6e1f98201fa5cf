import { execFileSync } from "node:child_process";

import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";

import { inNetworkNamespace } from "../sys/network-namespace.ts";
import type { PacketSocket } from "../sys/packet-socket.ts";
import { makeVethPair, openClient, whyNoNamespaces } from "../test/netns/veth-pair.ts";
import type { VethPair } from "../test/netns/veth-pair.ts";
import { parseIpAddress } from "../wire/ip-address.ts";
import { BROADCAST_MAC, parseMacAddress, ZERO_MAC } from "../wire/mac-address.ts";
import type { MacAddress } from "../wire/mac-address.ts";
import { ArpOperation, decodeArpPacket, encodeArpPacket } from "./layer2/arp-packet.ts";
import type { ArpPacket } from "./layer2/arp-packet.ts";
import { startPacketThread } from "./packet-thread-handle.ts";
import type { PacketThreadHandle } from "./packet-thread-handle.ts";
import type { AddressRow, FromPacketThread } from "./packet-protocol.ts";

const VIP = parseIpAddress("192.0.2.80");
const ASKER = parseIpAddress("192.0.2.1");
const row: AddressRow = { address: "192.0.2.80", group: "192.0.2.80", interfaces: "all", candidates: [{ node: "node1", score: 0 }] };
const reasonToSkip = whyNoNamespaces();

function request(from: MacAddress): Uint8Array {
  return encodeArpPacket({
    ethernetDestination: BROADCAST_MAC,
    ethernetSource: from,
    operation: ArpOperation.request,
    senderHardwareAddress: from,
    senderProtocolAddress: ASKER,
    targetHardwareAddress: ZERO_MAC,
    targetProtocolAddress: VIP,
  });
}

describe.skipIf(reasonToSkip !== undefined)(`packet thread on a veth pair${reasonToSkip === undefined ? "" : ` (${reasonToSkip})`}`, { timeout: 120_000 }, () => {
  let pair: VethPair;
  let client: PacketSocket;
  let clientMac: MacAddress;
  let handle: PacketThreadHandle;
  const facts: FromPacketThread[] = [];
  const exits: (Error | undefined)[] = [];
  let version = 0;

  const received = (): ArpPacket[] => {
    const packets: ArpPacket[] = [];
    const buffer = new Uint8Array(2048);
    for (let length = client.receive(buffer); length !== undefined; length = client.receive(buffer)) packets.push(decodeArpPacket(buffer.subarray(0, length)));
    return packets;
  };
  const table = (upsert: readonly AddressRow[], remove: readonly string[] = []): void => {
    version += 1;
    handle.send({ kind: "table", version, full: false, upsert, remove });
  };
  const answers = async (): Promise<ArpPacket[]> => {
    received();
    client.send(request(clientMac));
    const all: ArpPacket[] = [];
    await vi.waitFor(
      () => {
        all.push(...received());
        expect(all.filter(({ operation }) => operation === ArpOperation.reply)).toHaveLength(1);
      },
      { timeout: 30_000, interval: 5 },
    );
    return all.filter(({ operation }) => operation === ArpOperation.reply);
  };
  const fact = async (matches: (fact: FromPacketThread) => boolean): Promise<void> => {
    await vi.waitFor(() => expect(facts.some(matches), JSON.stringify(facts)).toBe(true), { timeout: 30_000, interval: 5 });
    facts.length = 0;
  };

  beforeAll(async () => {
    pair = makeVethPair("thread");
    const opened = openClient(pair.client);
    client = opened.socket;
    clientMac = parseMacAddress(opened.mac);
    handle = inNetworkNamespace(pair.speaker, () =>
      startPacketThread({
        node: "node1",
        excludeInterfaces: ["^lo$"],
        entry: new URL("packet-thread.ts", import.meta.url),
        onFact: (heard) => facts.push(heard),
        onExit: (error) => exits.push(error),
      }),
    );
    await fact((heard) => heard.kind === "started" && heard.interfaces.some(({ name, usable }) => name === "eth0" && usable));
  });
  afterAll(async () => {
    await handle?.stop();
    client?.close();
    pair?.remove();
  });

  test("announces an address and answers for it", async () => {
    received();
    table([row]);
    await fact((heard) => heard.kind === "owned" && heard.address === "192.0.2.80" && heard.reason === "FirstInRank");
    const seen: ArpPacket[] = [];
    await vi.waitFor(() => {
      seen.push(...received());
      expect(seen.filter(({ ethernetDestination }) => ethernetDestination === BROADCAST_MAC).length).toBe(5);
    }, { timeout: 30_000, interval: 20 });
    const speakerMac = seen[0]?.senderHardwareAddress;
    expect(seen[0]).toMatchObject({ operation: ArpOperation.request, senderProtocolAddress: VIP, targetProtocolAddress: VIP });
    expect(await answers()).toEqual([
      {
        ethernetDestination: clientMac,
        ethernetSource: speakerMac,
        operation: ArpOperation.reply,
        senderHardwareAddress: speakerMac,
        senderProtocolAddress: VIP,
        targetHardwareAddress: clientMac,
        targetProtocolAddress: ASKER,
      },
    ]);
  });

  test("counts what it did", async () => {
    handle.send({ kind: "collect" });
    await fact((heard) => heard.kind === "counters" && heard.addresses.some((counts) => counts.address === "192.0.2.80" && counts.responsesSent === 1 && counts.gratuitousSent >= 5));
  });

  test("loses and regains the address with its interface, and announces it again", async () => {
    pair.ip(pair.speaker, "link", "set", "eth0", "down");
    await fact((heard) => heard.kind === "blocked");
    pair.ip(pair.speaker, "link", "set", "eth0", "up");
    await fact((heard) => heard.kind === "owned" && heard.reason === "InterfacesChanged");
    await answers();
  });

  test("notices that the other end of the cable is out", async () => {
    pair.ip(pair.client, "link", "set", "eth0", "down");
    await fact((heard) => heard.kind === "interfaces" && heard.interfaces.some(({ name, reason }) => name === "eth0" && reason === "noCarrier"));
    pair.ip(pair.client, "link", "set", "eth0", "up");
    await fact((heard) => heard.kind === "owned");
    // The client's socket has the news of its own link to get rid of.
    expect(() => received()).toThrow("ENETDOWN");
    await answers();
  });

  test("answers again on a device that went to another namespace and came back under its old index", async () => {
    const elsewhere = `${pair.speaker}-away`;
    execFileSync("ip", ["netns", "add", elsewhere]);
    try {
      pair.ip(pair.speaker, "link", "set", "eth0", "netns", elsewhere);
      pair.ip(elsewhere, "link", "set", "eth0", "netns", pair.speaker);
      pair.ip(pair.speaker, "link", "set", "eth0", "up");
    } finally {
      execFileSync("ip", ["netns", "delete", elsewhere]);
    }
    await fact((heard) => heard.kind === "owned" && heard.reason === "InterfacesChanged");
    // The other end of the cable lost its carrier for a moment.
    await vi.waitFor(() => expect(() => received()).not.toThrow(), { timeout: 30_000, interval: 20 });
    await answers();
  });

  test("gives signs of life while idle", async () => {
    await vi.waitFor(() => expect(handle.lastTurnAgoMs()).toBeGreaterThan(100), { timeout: 30_000, interval: 5 });
    await vi.waitFor(() => expect(handle.lastTurnAgoMs()).toBeLessThan(50), { timeout: 30_000, interval: 5 });
  });

  test("stops answering once the address is taken away, and ends in order", async () => {
    table([], ["192.0.2.80"]);
    await fact((heard) => heard.kind === "lost" && heard.reason === "Removed");
    received();
    client.send(request(clientMac));
    handle.send({ kind: "collect" });
    await fact((heard) => heard.kind === "counters");
    expect(received()).toEqual([]);
    await handle.stop();
    expect(facts.at(-1)).toEqual({ kind: "stopped" });
    expect(exits).toEqual([]);
  });
});

test.skipIf(reasonToSkip !== undefined)("a thread that dies says so", async () => {
  const died = Promise.withResolvers<Error | undefined>();
  startPacketThread({ node: "node1", excludeInterfaces: ["("], entry: new URL("packet-thread.ts", import.meta.url), onFact: () => {}, onExit: died.resolve });
  expect((await died.promise)?.message).toContain("Invalid regular expression");
});
