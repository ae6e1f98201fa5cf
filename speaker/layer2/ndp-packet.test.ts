import fc from "fast-check";
import { describe, expect, test } from "vitest";

import { loadVectors } from "../../test/vectors/load.ts";
import { DecodeError } from "../../wire/decode-error.ts";
import { formatIpAddress, parseIpAddress } from "../../wire/ip-address.ts";
import type { IpAddress } from "../../wire/ip-address.ts";
import { isMulticast } from "../../wire/ipv6-multicast.ts";
import { macAddressFromBytes } from "../../wire/mac-address.ts";
import { decodeNeighborMessage, encodeNeighborMessage, MAX_NEIGHBOR_OPTIONS } from "./ndp-packet.ts";
import type { NeighborAdvertisement, NeighborMessage, NeighborOption } from "./ndp-packet.ts";

const mac = fc.uint8Array({ minLength: 6, maxLength: 6 }).map(macAddressFromBytes);
/** Any but the multicast ones and the unspecified one. */
const ipv6 = fc.bigInt({ min: 1n, max: (0xffn << 120n) - 1n }).map((value): IpAddress => ({ family: "IPv6", value }));
const bytes = fc.nat({ max: 3 }).chain((units) => fc.uint8Array({ minLength: 6 + 8 * units, maxLength: 6 + 8 * units }));
const option: fc.Arbitrary<NeighborOption> = fc.oneof(
  fc.record({ kind: fc.constantFrom("sourceLinkLayerAddress" as const, "targetLinkLayerAddress" as const), mac }),
  fc.record({ kind: fc.constant("nonce" as const), bytes }),
  fc.record({ kind: fc.constant("raw" as const), type: fc.integer({ min: 15, max: 255 }), bytes }),
);
const headers = { ethernetDestination: mac, ethernetSource: mac, source: ipv6, destination: ipv6, target: ipv6, options: fc.array(option, { maxLength: 4 }) };
const message: fc.Arbitrary<NeighborMessage> = fc.oneof(
  fc.record({ kind: fc.constant("solicitation" as const), ...headers }),
  fc.record({ kind: fc.constant("advertisement" as const), fromRouter: fc.boolean(), solicited: fc.boolean(), override: fc.boolean(), ...headers }),
);

function readable(value: NeighborMessage): unknown {
  const options = value.options.map((each) => ("bytes" in each ? { ...each, bytes: undefined, hex: Buffer.from(each.bytes).toString("hex") } : each));
  return { ...value, source: formatIpAddress(value.source), destination: formatIpAddress(value.destination), target: formatIpAddress(value.target), options };
}

describe("NDP vectors", () => {
  const vectors = loadVectors("ndp");

  test("some are good and some are refused", () => {
    expect(vectors.filter(({ clause }) => clause === undefined).length).toBeGreaterThanOrEqual(6);
    expect(vectors.filter(({ clause }) => clause !== undefined).length).toBeGreaterThanOrEqual(18);
  });

  test.each(vectors)("$name", ({ bytes: frame, padding, decoded, clause }) => {
    if (clause !== undefined) {
      let thrown: unknown;
      try {
        decodeNeighborMessage(frame);
      } catch (error) {
        thrown = error;
      }
      expect(thrown).toBeInstanceOf(DecodeError);
      expect(thrown).toMatchObject({ clause });
      return;
    }
    const value = decodeNeighborMessage(frame);
    expect(readable(value)).toEqual(decoded);
    expect(encodeNeighborMessage(value)).toEqual(frame.subarray(0, frame.length - padding));
  });
});

describe("NDP message", () => {
  test("survives the way through its bytes, whatever padding follows", () => {
    fc.assert(
      fc.property(message, fc.uint8Array({ maxLength: 64 }), (value, padding) => {
        expect(decodeNeighborMessage(Uint8Array.of(...encodeNeighborMessage(value), ...padding))).toEqual(value);
      }),
    );
  });

  test("a single changed bit of the addresses or the message is refused", () => {
    fc.assert(
      fc.property(message, fc.nat(), fc.integer({ min: 0, max: 7 }), (value, at, bit) => {
        const frame = encodeNeighborMessage(value).slice();
        // From the addresses on everything is under the checksum.
        const index = 22 + (at % (frame.length - 22));
        frame[index] = (frame[index] ?? 0) ^ (1 << bit);
        expect(() => decodeNeighborMessage(frame)).toThrow(DecodeError);
      }),
    );
  });

  test("any bytes are a message that lives through encoding, or a DecodeError", () => {
    const nearly = fc.tuple(message, fc.nat({ max: 150 }), fc.nat({ max: 85 }), fc.nat({ max: 255 })).map(([value, length, at, byte]) => {
      const frame = encodeNeighborMessage(value).slice();
      if (at < frame.length) frame[at] = byte;
      return frame.subarray(0, Math.max(length, 60));
    });
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 150 }), nearly), (frame) => {
        try {
          const value = decodeNeighborMessage(frame);
          expect(decodeNeighborMessage(encodeNeighborMessage(value))).toEqual(value);
          expect(isMulticast(value.target) || isMulticast(value.source)).toBe(false);
          expect(value.options.length).toBeLessThanOrEqual(MAX_NEIGHBOR_OPTIONS);
        } catch (error) {
          expect(error).toBeInstanceOf(DecodeError);
        }
      }),
    );
  });

  test("carries no IPv4 address, and no option that is not whole", () => {
    const value: NeighborAdvertisement = {
      kind: "advertisement",
      ethernetDestination: macAddressFromBytes(new Uint8Array(6)),
      ethernetSource: macAddressFromBytes(new Uint8Array(6)),
      source: parseIpAddress("fd00::1"),
      destination: parseIpAddress("fd00::2"),
      target: parseIpAddress("fd00::1"),
      fromRouter: false,
      solicited: true,
      override: true,
      options: [],
    };
    expect(() => encodeNeighborMessage({ ...value, target: parseIpAddress("192.0.2.1") })).toThrow(RangeError);
    expect(() => encodeNeighborMessage({ ...value, source: parseIpAddress("192.0.2.1") })).toThrow(RangeError);
    expect(() => encodeNeighborMessage({ ...value, options: [{ kind: "nonce", bytes: new Uint8Array(7) }] })).toThrow(RangeError);
  });
});
