import fc from "fast-check";
import { describe, expect, test } from "vitest";

import { parseIpAddress } from "../../wire/ip-address.ts";
import { BROADCAST_MAC, parseMacAddress, ZERO_MAC } from "../../wire/mac-address.ts";
import type { MacAddress } from "../../wire/mac-address.ts";
import { ArpOperation, encodeArpPacket } from "./arp-packet.ts";
import type { ArpPacket } from "./arp-packet.ts";
import { encodeNeighborMessage } from "./ndp-packet.ts";
import { MAX_RECENT_ASKERS, RecentAskers } from "./recent-askers.ts";

const ETH0 = 2;
const MAC = parseMacAddress("02:00:00:00:00:c1");
const mac = (index: number): MacAddress => parseMacAddress(`02:00:00:00:01:${index.toString(16).padStart(2, "0")}`);

function arp(sender: string, from: MacAddress, change: Partial<ArpPacket> = {}): Uint8Array {
  return encodeArpPacket({
    ethernetDestination: BROADCAST_MAC,
    ethernetSource: from,
    operation: ArpOperation.request,
    senderHardwareAddress: from,
    senderProtocolAddress: parseIpAddress(sender),
    targetHardwareAddress: ZERO_MAC,
    targetProtocolAddress: parseIpAddress("10.9.1.1"),
    ...change,
  });
}

function solicitation(source: string, from: MacAddress): Uint8Array {
  return encodeNeighborMessage({
    kind: "solicitation",
    ethernetDestination: parseMacAddress("33:33:ff:00:01:01"),
    ethernetSource: from,
    source: parseIpAddress(source),
    destination: parseIpAddress("ff02::1:ff00:101"),
    target: parseIpAddress("fd09::101"),
    options: [],
  });
}

describe("recent askers", () => {
  test("are whoever asked for something, by ARP or by a solicitation, the last one first, each interface's apart", () => {
    const askers = new RecentAskers();
    askers.note(ETH0, arp("10.9.0.77", MAC), false);
    askers.note(ETH0, solicitation("fd09::77", MAC), true);
    askers.note(3, arp("10.9.0.78", MAC), false);
    askers.note(ETH0, arp("10.9.0.79", MAC), false);
    askers.note(ETH0, arp("10.9.0.77", mac(1)), false);
    expect(askers.on(ETH0)).toEqual([{ address: "10.9.0.77", mac: mac(1) }, { address: "10.9.0.79", mac: MAC }, { address: "fd09::77", mac: MAC }]);
    expect(askers.on(3)).toEqual([{ address: "10.9.0.78", mac: MAC }]);
    askers.keep((index) => index === 3);
    expect([askers.on(ETH0), askers.on(3).length]).toEqual([[], 1]);
  });

  test.each([
    ["a reply", arp("10.9.0.77", MAC, { operation: ArpOperation.reply })],
    ["an announcement", arp("10.9.1.1", MAC)],
    ["a probe", arp("0.0.0.0", MAC)],
    ["a question in another's name", arp("10.9.0.77", MAC, { senderHardwareAddress: mac(9) })],
    ["a question from everybody", arp("10.9.0.77", BROADCAST_MAC)],
    ["a question that is cut", arp("10.9.0.77", MAC).subarray(0, 40)],
  ])("%s names none", (_what, bytes) => {
    const askers = new RecentAskers();
    askers.note(ETH0, bytes, false);
    expect(askers.on(ETH0)).toEqual([]);
  });

  test("a solicitation without a source, as duplicate address detection sends them, names none", () => {
    const askers = new RecentAskers();
    askers.note(ETH0, solicitation("::", MAC), true);
    expect(askers.on(ETH0)).toEqual([]);
  });

  test("of too many the one that asked longest ago is forgotten; any bytes are no harm", () => {
    const askers = new RecentAskers();
    for (let index = 0; index <= MAX_RECENT_ASKERS; index++) askers.note(ETH0, arp(`10.9.0.${index}`, mac(index)), false);
    expect(askers.on(ETH0).map(({ address }) => address)).toEqual(Array.from({ length: MAX_RECENT_ASKERS }, (_, index) => `10.9.0.${MAX_RECENT_ASKERS - index}`));
    fc.assert(fc.property(fc.uint8Array({ maxLength: 90 }), fc.boolean(), (bytes, isIpv6) => askers.note(ETH0, bytes, isIpv6)));
    expect(askers.on(ETH0).length).toBe(MAX_RECENT_ASKERS);
  });
});
