/**
 * What is fuzzed: one target per decoder of bytes that others send. A target starts from good examples, which the fuzzer
 * damages, and throws (anything but DecodeError) when the decoder misbehaves.
 */

import { isDeepStrictEqual } from "node:util";

import { ARP_FRAME_LENGTH, decodeArpPacket, encodeArpPacket } from "../../speaker/layer2/arp-packet.ts";
import { decodeNeighborMessage, encodeNeighborMessage } from "../../speaker/layer2/ndp-packet.ts";
import { NdpResponder } from "../../speaker/layer2/ndp-responder.ts";
import { Responder } from "../../speaker/layer2/responder.ts";
import { ByteReader } from "../../wire/byte-reader.ts";
import { parseMacAddress } from "../../wire/mac-address.ts";
import { loadVectors } from "../vectors/load.ts";
import { agreementTargets } from "./agreement-targets.ts";
import { membershipTargets } from "./membership-targets.ts";
import { systemTargets } from "./system-targets.ts";

export interface FuzzTarget {
  readonly name: string;
  /** Bytes to start from. */
  readonly seeds: () => readonly Uint8Array[];
  /** Tries one input. DecodeError is a good answer; anything else that is thrown is a finding. */
  readonly run: (bytes: Uint8Array) => void;
  /** A target that must be found out: it shows that the fuzzer can find anything. */
  readonly isCanary?: boolean;
}

function arpSeeds(): readonly Uint8Array[] {
  return loadVectors("arp").map(({ bytes }) => bytes);
}

function check(holds: boolean, what: string): void {
  if (!holds) throw new Error(what);
}

const arp: FuzzTarget = {
  name: "arp",
  seeds: arpSeeds,
  run(bytes) {
    const encoded = encodeArpPacket(decodeArpPacket(bytes));
    check(encoded.every((byte, index) => byte === bytes[index]) && encoded.length === ARP_FRAME_LENGTH, "encoding what was decoded gives other bytes");
  },
};

const responder: FuzzTarget = {
  name: "arp-responder",
  seeds: arpSeeds,
  run(bytes) {
    const machine = new Responder();
    machine.handle({ kind: "interfaceUp", interfaceIndex: 2, mac: parseMacAddress("02:00:00:00:00:0b") }, 0);
    machine.handle({ kind: "own", address: "192.0.2.80", interfaceIndexes: [2] }, 0);
    const outputs = machine.handle({ kind: "frame", interfaceIndex: 2, bytes }, 0);
    check(outputs.length === 1, `${outputs.length} outputs for a frame`);
  },
};

function ndpSeeds(): readonly Uint8Array[] {
  return loadVectors("ndp").map(({ bytes }) => bytes);
}

/** The frame with the checksum that its bytes want, as far as it has room for one: else nothing behind the checksum would ever be tried. */
function mended(bytes: Uint8Array): Uint8Array {
  if (bytes.length < 78) return bytes;
  const frame = bytes.slice();
  frame.set([0, 0], 56);
  const message = frame.subarray(54, 54 + (frame[18] ?? 0) * 256 + (frame[19] ?? 0));
  let sum = message.length + 58;
  for (const part of [frame.subarray(22, 54), message]) {
    for (let index = 0; index < part.length; index += 2) sum += (part[index] ?? 0) * 256 + (part[index + 1] ?? 0);
  }
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  frame.set([(~sum >> 8) & 0xff, ~sum & 0xff], 56);
  return frame;
}

const ndp: FuzzTarget = {
  name: "ndp",
  seeds: ndpSeeds,
  run(bytes) {
    const decoded = decodeNeighborMessage(mended(bytes));
    check(isDeepStrictEqual(decodeNeighborMessage(encodeNeighborMessage(decoded)), decoded), "encoding what was decoded gives another message");
  },
};

const ndpResponder: FuzzTarget = {
  name: "ndp-responder",
  seeds: ndpSeeds,
  run(bytes) {
    const machine = new NdpResponder();
    machine.handle({ kind: "interfaceUp", interfaceIndex: 2, mac: parseMacAddress("02:00:00:00:00:0b") }, 0);
    machine.handle({ kind: "own", address: "fd09::b", interfaceIndexes: [2] }, 0);
    const outputs = machine.handle({ kind: "frame", interfaceIndex: 2, bytes: mended(bytes) }, 0);
    check(outputs.length === 1, `${outputs.length} outputs for a frame`);
    const [output] = outputs;
    if (output?.kind !== "frame") return;
    const answer = decodeNeighborMessage(output.bytes);
    check(answer.kind === "advertisement" && answer.ethernetSource === "02:00:00:00:00:0b", "an answer in somebody else's name");
  },
};

const canary: FuzzTarget = {
  name: "canary",
  seeds: arpSeeds,
  isCanary: true,
  run(bytes) {
    // A decoder with the classic mistake: it believes a length.
    const reader = new ByteReader(bytes, { clause: "canary" });
    reader.skip(18);
    const length = reader.u8();
    const table = new Uint8Array(16);
    check(table.subarray(0, length).length === length, "read past the end of a table");
  },
};

export const targets: readonly FuzzTarget[] = [arp, responder, ndp, ndpResponder, ...systemTargets, ...membershipTargets, ...agreementTargets, canary];
