import fc from "fast-check";
import { describe, expect, test } from "vitest";

import { loadVectors } from "../../test/vectors/load.ts";
import { DecodeError } from "../../wire/decode-error.ts";
import { formatIpAddress } from "../../wire/ip-address.ts";
import type { IpAddress } from "../../wire/ip-address.ts";
import { macAddressFromBytes } from "../../wire/mac-address.ts";
import { ARP_FRAME_LENGTH, ArpOperation, decodeArpPacket, encodeArpPacket } from "./arp-packet.ts";
import type { ArpPacket } from "./arp-packet.ts";

const mac = fc.uint8Array({ minLength: 6, maxLength: 6 }).map(macAddressFromBytes);
const ipv4 = fc.bigInt({ min: 0n, max: 0xffffffffn }).map((value): IpAddress => ({ family: "IPv4", value }));
const packet: fc.Arbitrary<ArpPacket> = fc.record({
  ethernetDestination: mac,
  ethernetSource: mac,
  operation: fc.constantFrom(ArpOperation.request, ArpOperation.reply),
  senderHardwareAddress: mac,
  senderProtocolAddress: ipv4,
  targetHardwareAddress: mac,
  targetProtocolAddress: ipv4,
});

function readable(value: ArpPacket): unknown {
  return { ...value, senderProtocolAddress: formatIpAddress(value.senderProtocolAddress), targetProtocolAddress: formatIpAddress(value.targetProtocolAddress) };
}

describe("ARP vectors", () => {
  const vectors = loadVectors("arp");

  test("some are good and some are refused", () => {
    expect(vectors.filter(({ clause }) => clause === undefined).length).toBeGreaterThanOrEqual(5);
    expect(vectors.filter(({ clause }) => clause !== undefined).length).toBeGreaterThanOrEqual(8);
  });

  test.each(vectors)("$name", ({ bytes, padding, decoded, clause }) => {
    if (clause !== undefined) {
      let thrown: unknown;
      try {
        decodeArpPacket(bytes);
      } catch (error) {
        thrown = error;
      }
      expect(thrown).toBeInstanceOf(DecodeError);
      expect(thrown).toMatchObject({ clause });
      return;
    }
    const value = decodeArpPacket(bytes);
    expect(readable(value)).toEqual(decoded);
    expect(encodeArpPacket(value)).toEqual(bytes.subarray(0, bytes.length - padding));
  });
});

describe("ARP packet", () => {
  test("survives the way through its bytes, whatever padding follows", () => {
    fc.assert(
      fc.property(packet, fc.uint8Array({ maxLength: 64 }), (value, padding) => {
        const bytes = encodeArpPacket(value);
        expect(bytes).toHaveLength(ARP_FRAME_LENGTH);
        expect(decodeArpPacket(Uint8Array.of(...bytes, ...padding))).toEqual(value);
      }),
    );
  });

  test("any bytes are a packet or a DecodeError", () => {
    const nearly = fc.tuple(packet, fc.nat({ max: ARP_FRAME_LENGTH }), fc.nat({ max: ARP_FRAME_LENGTH - 1 }), fc.nat({ max: 255 })).map(([value, length, at, byte]) => {
      const bytes = encodeArpPacket(value).slice();
      bytes[at] = byte;
      return bytes.subarray(0, Math.max(length, 20));
    });
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 100 }), nearly), (bytes) => {
        try {
          const value = decodeArpPacket(bytes);
          expect(encodeArpPacket(value)).toEqual(bytes.subarray(0, ARP_FRAME_LENGTH));
        } catch (error) {
          expect(error).toBeInstanceOf(DecodeError);
        }
      }),
    );
  });

  test("carries no IPv6 address", () => {
    const [value] = fc.sample(packet, 1);
    if (value === undefined) throw new Error("no sample");
    expect(() => encodeArpPacket({ ...value, senderProtocolAddress: { family: "IPv6", value: 1n } })).toThrow(RangeError);
  });
});
