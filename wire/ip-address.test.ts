import { isIP } from "node:net";

import fc from "fast-check";
import { describe, expect, test } from "vitest";

import {
  AddressError,
  compareIpAddresses,
  formatIpAddress,
  ipAddressFromBytes,
  ipAddressToBytes,
  parseCidr,
  parseIpAddress,
  parseIpRange,
  rangeContains,
  rangesOverlap,
} from "./ip-address.ts";
import type { IpAddress, IpRange } from "./ip-address.ts";

const ipv4 = fc.bigInt({ min: 0n, max: 0xffffffffn }).map((value): IpAddress => ({ family: "IPv4", value }));
/** Mostly-zero groups make the compression of zeros interesting; mapped addresses are IPv4 in text. */
const ipv6 = fc
  .array(fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 0xffff })), { minLength: 8, maxLength: 8 })
  .map((groups): IpAddress => ({ family: "IPv6", value: groups.reduce((value, group) => (value << 16n) | BigInt(group), 0n) }))
  .filter(({ value }) => value >> 32n !== 0xffffn);
const address = fc.oneof(ipv4, ipv6);

describe("address text", () => {
  test.each([
    ["192.0.2.1", "192.0.2.1"],
    ["255.255.255.255", "255.255.255.255"],
    ["2001:DB8:0:0:1:0:0:1", "2001:db8::1:0:0:1"],
    ["::", "::"],
    ["::1", "::1"],
    ["1::", "1::"],
    ["2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"],
    ["::ffff:192.0.2.1", "192.0.2.1"],
    ["64:ff9b::192.0.2.33", "64:ff9b::c000:221"],
  ])("%s is %s", (text, canonical) => {
    expect(formatIpAddress(parseIpAddress(text))).toBe(canonical);
  });

  test.each(["", "1.2.3", "1.2.3.4.5", "01.2.3.4", "256.0.0.1", "1.2.3.4 ", "1::2::3", ":::", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "::12345", "fe80::1%eth0", "1.2.3.4::", "a".repeat(60)])(
    "%j is none",
    (text) => {
      expect(() => parseIpAddress(text)).toThrow(AddressError);
    },
  );

  test("survives the way through text and through bytes", () => {
    fc.assert(
      fc.property(address, (value) => {
        expect(parseIpAddress(formatIpAddress(value))).toEqual(value);
        expect(ipAddressFromBytes(ipAddressToBytes(value))).toEqual(value);
      }),
    );
  });

  test("the canonical text is as Node's URL parser writes it", () => {
    fc.assert(
      fc.property(ipv6, (value) => {
        expect(`[${formatIpAddress(value)}]`).toBe(new URL(`http://[${formatIpAddress(value)}]/`).hostname);
      }),
    );
  });

  test("whatever is parsed is an address to Node too; nothing else is thrown", () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.ipV4(), fc.ipV6(), fc.stringMatching(/^[0-9a-f:.]{0,45}$/)), (text) => {
        try {
          parseIpAddress(text);
        } catch (error) {
          expect(error).toBeInstanceOf(AddressError);
          expect(isIP(text)).toBe(0);
          return;
        }
        expect(isIP(text)).not.toBe(0);
      }),
    );
  });
});

describe("ranges", () => {
  test.each([
    ["192.0.2.77/24", "192.0.2.0", "192.0.2.255"],
    ["0.0.0.0/0", "0.0.0.0", "255.255.255.255"],
    ["192.0.2.1/32", "192.0.2.1", "192.0.2.1"],
    ["192.0.2.1 - 192.0.2.9", "192.0.2.1", "192.0.2.9"],
    ["2001:db8::/126", "2001:db8::", "2001:db8::3"],
    ["2001:db8::1-2001:db8::ff", "2001:db8::1", "2001:db8::ff"],
  ])("%s is from %s to %s", (text, first, last) => {
    const range = parseIpRange(text);
    expect([formatIpAddress({ family: range.family, value: range.first }), formatIpAddress({ family: range.family, value: range.last })]).toEqual([first, last]);
  });

  test.each([
    ["192.0.2.1", "invalid CIDR"],
    ["192.0.2.0/33", "invalid CIDR"],
    ["192.0.2.0/1234", "invalid CIDR"],
    ["192.0.2.0/", "invalid CIDR"],
    ["192.0.2.9-192.0.2.1", "start is after end"],
    ["192.0.2.9-2001:db8::1", "different families"],
    ["192.0.2.9-", "is not an IP address"],
    ["1.2.3.4-1.2.3.5-1.2.3.6", "invalid IP range"],
  ])("%s is refused: %s", (text, message) => {
    expect(() => parseIpRange(text)).toThrow(message);
  });

  test("a CIDR has 2 to the power of its host bits addresses, starts at a multiple of that, and holds the address it was written with", () => {
    const cidr = fc.oneof(fc.tuple(ipv4, fc.integer({ min: 0, max: 32 })), fc.tuple(ipv6, fc.integer({ min: 0, max: 128 })));
    fc.assert(
      fc.property(cidr, ([value, length]) => {
        const range = parseCidr(`${formatIpAddress(value)}/${length}`);
        const size = 1n << BigInt((value.family === "IPv4" ? 32 : 128) - length);
        expect(range.last - range.first + 1n).toBe(size);
        expect(range.first % size).toBe(0n);
        expect(rangeContains(range, value)).toBe(true);
      }),
    );
  });

  test("two ranges overlap when, and only when, an end of one lies in the other", () => {
    const small = fc.tuple(fc.bigInt({ min: 0n, max: 12n }), fc.bigInt({ min: 0n, max: 12n })).map(([a, b]): IpRange => ({ family: "IPv4", first: a < b ? a : b, last: a < b ? b : a }));
    fc.assert(
      fc.property(small, small, (a, b) => {
        let common = false;
        for (let value = 0n; value <= 12n; value++) common ||= rangeContains(a, { family: "IPv4", value }) && rangeContains(b, { family: "IPv4", value });
        expect(rangesOverlap(a, b)).toBe(common);
      }),
    );
    expect(rangesOverlap({ family: "IPv4", first: 0n, last: 9n }, { family: "IPv6", first: 0n, last: 9n })).toBe(false);
  });

  test("addresses sort by family, then by value", () => {
    const sorted = ["2001:db8::1", "192.0.2.10", "192.0.2.9"].map(parseIpAddress).sort(compareIpAddresses).map(formatIpAddress);
    expect(sorted).toEqual(["192.0.2.9", "192.0.2.10", "2001:db8::1"]);
  });
});
