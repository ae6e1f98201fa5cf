import fc from "fast-check";
import { beforeEach, describe, expect, test } from "vitest";

import { formatIpAddress, parseIpAddress } from "../../wire/ip-address.ts";
import { BROADCAST_MAC, parseMacAddress, ZERO_MAC } from "../../wire/mac-address.ts";
import { ArpOperation, decodeArpPacket, encodeArpPacket } from "./arp-packet.ts";
import type { ArpPacket } from "./arp-packet.ts";
import { Responder } from "./responder.ts";
import type { ResponderOutput } from "./responder.ts";

const OWN = parseMacAddress("02:00:00:00:00:0a");
const OTHER_OWN = parseMacAddress("02:00:00:00:00:0b");
const ASKER = parseMacAddress("02:00:00:00:00:01");
const VIP = "192.0.2.80";
const [ETH0, ETH1] = [2, 3];

const plain: ArpPacket = {
  ethernetDestination: BROADCAST_MAC,
  ethernetSource: ASKER,
  operation: ArpOperation.request,
  senderHardwareAddress: ASKER,
  senderProtocolAddress: parseIpAddress("192.0.2.1"),
  targetHardwareAddress: ZERO_MAC,
  targetProtocolAddress: parseIpAddress(VIP),
};

let responder: Responder;
beforeEach(() => {
  responder = new Responder();
  responder.handle({ kind: "interfaceUp", interfaceIndex: ETH0, mac: OWN }, 0);
  responder.handle({ kind: "interfaceUp", interfaceIndex: ETH1, mac: OTHER_OWN }, 0);
  responder.handle({ kind: "own", address: VIP, interfaceIndexes: [ETH0] }, 0);
});

function ask(change: Partial<ArpPacket> = {}, interfaceIndex: number = ETH0): ResponderOutput[] {
  return responder.handle({ kind: "frame", interfaceIndex, bytes: encodeArpPacket({ ...plain, ...change }) }, 0);
}

describe("responder", () => {
  test("answers a request with the interface's own MAC, to the asker alone", () => {
    const [output, ...more] = ask();
    expect(more).toEqual([]);
    if (output?.kind !== "frame") throw new Error(`no answer: ${JSON.stringify(output)}`);
    expect(output).toMatchObject({ interfaceIndex: ETH0, address: VIP, asker: "192.0.2.1" });
    expect(decodeArpPacket(output.bytes)).toEqual({
      ethernetDestination: ASKER,
      ethernetSource: OWN,
      operation: ArpOperation.reply,
      senderHardwareAddress: OWN,
      senderProtocolAddress: parseIpAddress(VIP),
      targetHardwareAddress: ASKER,
      targetProtocolAddress: parseIpAddress("192.0.2.1"),
    });
  });

  test("answers a request sent to it alone, as a neighbour's kernel does to see whether it is still there", () => {
    expect(ask({ ethernetDestination: OWN })).toMatchObject([{ kind: "frame" }]);
  });

  test("answers a probe, so that nobody else takes the address", () => {
    expect(ask({ senderProtocolAddress: parseIpAddress("0.0.0.0") })).toMatchObject([{ kind: "frame", asker: "0.0.0.0" }]);
  });

  test.each<[string, Partial<ArpPacket>, number, object]>([
    ["for another station", { ethernetDestination: OTHER_OWN }, ETH0, { reason: "notForUs" }],
    ["by multicast", { ethernetDestination: parseMacAddress("01:00:5e:00:00:01") }, ETH0, { reason: "notForUs" }],
    ["that is a reply", { operation: ArpOperation.reply }, ETH0, { reason: "notRequest" }],
    ["for an address that is not ours", { targetProtocolAddress: parseIpAddress("192.0.2.81") }, ETH0, { reason: "notOwner" }],
    ["on an interface where it is not announced", {}, ETH1, { reason: "notOnInterface", address: VIP }],
    ["from another that announces it", { senderProtocolAddress: parseIpAddress(VIP) }, ETH0, { reason: "announcement", address: VIP }],
    ["that is our own come back", { ethernetSource: OWN }, ETH0, { reason: "ownFrame" }],
    ["on an interface that is not there", {}, 9, { reason: "interfaceDown" }],
  ])("does not answer a frame %s", (_name, change, interfaceIndex, expected) => {
    expect(ask(change, interfaceIndex)).toEqual([{ kind: "dropped", ...expected }]);
  });

  test("does not answer after the address, or the interface, has gone", () => {
    responder.handle({ kind: "disown", address: VIP }, 0);
    expect(ask()).toEqual([{ kind: "dropped", reason: "notOwner" }]);
    responder.handle({ kind: "interfaceDown", interfaceIndex: ETH0 }, 0);
    expect(ask()).toEqual([{ kind: "dropped", reason: "interfaceDown" }]);
  });

  test("moves with the interfaces it is told", () => {
    responder.handle({ kind: "own", address: VIP, interfaceIndexes: [ETH1] }, 0);
    expect(ask()).toMatchObject([{ reason: "notOnInterface" }]);
    const [answer] = ask({}, ETH1);
    expect(answer?.kind === "frame" && decodeArpPacket(answer.bytes).senderHardwareAddress).toBe(OTHER_OWN);
  });

  test("any bytes get one output, and an answer only ever names an owned address and our MAC", () => {
    const target = fc.constantFrom(VIP, "192.0.2.81").map(parseIpAddress);
    const mac = fc.constantFrom(OWN, OTHER_OWN, ASKER, BROADCAST_MAC, ZERO_MAC);
    const frame = fc
      .record({ ethernetDestination: mac, ethernetSource: mac, senderHardwareAddress: mac, targetProtocolAddress: target, senderProtocolAddress: target })
      .map((change) => encodeArpPacket({ ...plain, ...change }));
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 80 }), frame), fc.constantFrom(ETH0, ETH1, 9), (bytes, interfaceIndex) => {
        const outputs = responder.handle({ kind: "frame", interfaceIndex, bytes }, 0);
        expect(outputs).toHaveLength(1);
        const [output] = outputs;
        if (output?.kind !== "frame") return;
        const answer = decodeArpPacket(output.bytes);
        expect([formatIpAddress(answer.senderProtocolAddress), answer.senderHardwareAddress, output.interfaceIndex]).toEqual([VIP, OWN, ETH0]);
      }),
    );
  });
});
