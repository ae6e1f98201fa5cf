import fc from "fast-check";
import { beforeEach, describe, expect, test } from "vitest";

import { formatIpAddress, parseIpAddress } from "../../wire/ip-address.ts";
import { multicastMac, solicitedNodeGroup } from "../../wire/ipv6-multicast.ts";
import { BROADCAST_MAC, parseMacAddress, ZERO_MAC } from "../../wire/mac-address.ts";
import { decodeNeighborMessage, encodeNeighborMessage } from "./ndp-packet.ts";
import type { NeighborMessage, NeighborSolicitation } from "./ndp-packet.ts";
import { NdpResponder } from "./ndp-responder.ts";
import type { ResponderOutput } from "./responder.ts";

const OWN = parseMacAddress("02:00:00:00:00:0a");
const OTHER_OWN = parseMacAddress("02:00:00:00:00:0b");
const ASKER = parseMacAddress("02:00:00:00:00:01");
const NAMED = parseMacAddress("02:00:00:00:00:02");
const VIP = "fd00::80";
/** It shares the VIP's solicited-node group. */
const NEIGHBOUR = "fd00:1::80";
const [ETH0, ETH1] = [2, 3];

const plain: NeighborSolicitation = {
  kind: "solicitation",
  ethernetDestination: multicastMac(solicitedNodeGroup(parseIpAddress(VIP))),
  ethernetSource: ASKER,
  source: parseIpAddress("fd00::1"),
  destination: solicitedNodeGroup(parseIpAddress(VIP)),
  target: parseIpAddress(VIP),
  options: [{ kind: "sourceLinkLayerAddress", mac: ASKER }],
};
const probe: Partial<NeighborSolicitation> = { source: parseIpAddress("::"), options: [] };

let responder: NdpResponder;
beforeEach(() => {
  responder = new NdpResponder();
  responder.handle({ kind: "interfaceUp", interfaceIndex: ETH0, mac: OWN }, 0);
  responder.handle({ kind: "interfaceUp", interfaceIndex: ETH1, mac: OTHER_OWN }, 0);
  responder.handle({ kind: "own", address: VIP, interfaceIndexes: [ETH0] }, 0);
});

function handle(message: NeighborMessage, interfaceIndex: number = ETH0): ResponderOutput[] {
  return responder.handle({ kind: "frame", interfaceIndex, bytes: encodeNeighborMessage(message) }, 0);
}

function answerTo(change: Partial<NeighborSolicitation>): NeighborMessage {
  const [output, ...more] = handle({ ...plain, ...change });
  expect(more).toEqual([]);
  if (output?.kind !== "frame") throw new Error(`no answer: ${JSON.stringify(output)}`);
  return decodeNeighborMessage(output.bytes);
}

describe("NDP responder", () => {
  test("answers from the address itself, with the interface's own MAC, to the asker alone", () => {
    expect(handle(plain)).toMatchObject([{ interfaceIndex: ETH0, address: VIP, asker: "fd00::1" }]);
    expect(answerTo({})).toEqual({
      kind: "advertisement",
      ethernetDestination: ASKER,
      ethernetSource: OWN,
      source: parseIpAddress(VIP),
      destination: parseIpAddress("fd00::1"),
      target: parseIpAddress(VIP),
      fromRouter: false,
      solicited: true,
      override: true,
      options: [{ kind: "targetLinkLayerAddress", mac: OWN }],
    });
  });

  test("answers a probe to all nodes, as something that nobody solicited; a nonce changes nothing", () => {
    const expected = { ethernetDestination: "33:33:00:00:00:01", source: parseIpAddress(VIP), destination: parseIpAddress("ff02::1"), solicited: false, override: true, fromRouter: false };
    expect(answerTo(probe)).toMatchObject(expected);
    expect(answerTo({ ...probe, options: [{ kind: "nonce", bytes: Uint8Array.of(1, 2, 3, 4, 5, 6) }] })).toMatchObject({ ...expected, options: [{ kind: "targetLinkLayerAddress", mac: OWN }] });
  });

  test("answers a question sent to it alone, as a neighbour's kernel asks whether it is still there", () => {
    expect(answerTo({ ethernetDestination: OWN, destination: parseIpAddress(VIP), options: [] })).toMatchObject({ ethernetDestination: ASKER });
  });

  test.each([
    ["the MAC that the asker names", NAMED, NAMED],
    ["the frame's sender when that is a group's", parseMacAddress("33:33:00:00:00:01"), ASKER],
    ["the frame's sender when that is nobody's", ZERO_MAC, ASKER],
  ])("answers to %s", (_name, named, expected) => {
    expect(answerTo({ options: [{ kind: "raw", type: 200, bytes: new Uint8Array(6) }, { kind: "sourceLinkLayerAddress", mac: named }] }).ethernetDestination).toBe(expected);
  });

  test.each<[string, NeighborMessage, number, object]>([
    ["for another station", { ...plain, ethernetDestination: OTHER_OWN }, ETH0, { reason: "notForUs" }],
    ["by broadcast", { ...plain, ethernetDestination: BROADCAST_MAC }, ETH0, { reason: "notForUs" }],
    ["that is an advertisement", { ...plain, kind: "advertisement", destination: parseIpAddress(VIP), fromRouter: false, solicited: true, override: true }, ETH0, { reason: "notRequest" }],
    ["for an address of the same group that is not ours", { ...plain, target: parseIpAddress(NEIGHBOUR) }, ETH0, { reason: "notOwner" }],
    ["on an interface where it is not announced", plain, ETH1, { reason: "notOnInterface", address: VIP }],
    ["from another that has the address", { ...plain, source: parseIpAddress(VIP) }, ETH0, { reason: "announcement", address: VIP }],
    ["that is our own come back", { ...plain, ethernetSource: OWN }, ETH0, { reason: "ownFrame" }],
    ["from no station", { ...plain, ethernetSource: BROADCAST_MAC, options: [] }, ETH0, { reason: "malformed", address: VIP }],
    ["on an interface that is not there", plain, 9, { reason: "interfaceDown" }],
  ])("does not answer a frame %s", (_name, message, interfaceIndex, expected) => {
    expect(handle(message, interfaceIndex)).toEqual([{ kind: "dropped", ...expected }]);
  });

  test("does not answer what RFC 4861 wants dropped", () => {
    const bytes = encodeNeighborMessage(plain).slice();
    bytes[21] = 254;
    expect(responder.handle({ kind: "frame", interfaceIndex: ETH0, bytes }, 0)).toEqual([{ kind: "dropped", reason: "malformed" }]);
  });

  test("does not answer after the address, or the interface, has gone", () => {
    responder.handle({ kind: "disown", address: VIP }, 0);
    expect(handle(plain)).toEqual([{ kind: "dropped", reason: "notOwner" }]);
    responder.handle({ kind: "interfaceDown", interfaceIndex: ETH0 }, 0);
    expect(handle(plain)).toEqual([{ kind: "dropped", reason: "interfaceDown" }]);
  });

  test("any bytes get one output, and an answer only ever names an owned address and our MAC", () => {
    const address = fc.constantFrom(VIP, NEIGHBOUR, "::", "fd00::1").map(parseIpAddress);
    const mac = fc.constantFrom(OWN, OTHER_OWN, ASKER, BROADCAST_MAC, ZERO_MAC, plain.ethernetDestination);
    const frame = fc
      .record({ ethernetDestination: mac, ethernetSource: mac, source: address, target: address, options: fc.array(fc.record({ kind: fc.constant("sourceLinkLayerAddress" as const), mac }), { maxLength: 2 }) })
      .map((change) => encodeNeighborMessage({ ...plain, ...change }));
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 120 }), frame), fc.constantFrom(ETH0, ETH1, 9), (bytes, interfaceIndex) => {
        const outputs = responder.handle({ kind: "frame", interfaceIndex, bytes }, 0);
        expect(outputs).toHaveLength(1);
        const [output] = outputs;
        if (output?.kind !== "frame") return;
        const answer = decodeNeighborMessage(output.bytes);
        expect([answer.kind, formatIpAddress(answer.source), formatIpAddress(answer.target), answer.ethernetSource, output.interfaceIndex]).toEqual(["advertisement", VIP, VIP, OWN, ETH0]);
        expect(answer.options).toEqual([{ kind: "targetLinkLayerAddress", mac: OWN }]);
      }),
    );
  });
});
