import fc from "fast-check";
import { expect, test } from "vitest";
import { formatIpAddress, type IpAddress, parseIpAddress } from "../wire/ip-address.ts";
import { formatDefaultGateways, MAX_DEFAULT_GATEWAYS, parseDefaultGateways } from "./default-gateways.ts";

const read = (text: string): string[] => parseDefaultGateways(text).map(formatIpAddress);

test("addresses in order, each once", () => {
  expect(formatDefaultGateways(["fd00::1", "10.0.0.2", "10.0.0.1", "10.0.0.2"].map(parseIpAddress))).toBe("10.0.0.1,10.0.0.2,fd00::1");
  expect(formatDefaultGateways([])).toBe("");
  expect(read("")).toEqual([]);
});

test("a text of people's is read as far as it makes sense", () => {
  expect(read(" 10.0.0.2 , fd00:0::1,10.0.0.2, ::ffff:10.0.0.1")).toEqual(["10.0.0.1", "10.0.0.2", "fd00::1"]);
  expect(read("gateway,10.0.0.256,,10.0.0.1/24,fe80::1%eth0,null")).toEqual([]);
});

test("no more than its share is read, or written", () => {
  const many = Array.from({ length: 5_000 }, (_, index) => `10.0.${index >> 8}.${index & 255}`);
  expect(read(many.join(",")).length).toBe(MAX_DEFAULT_GATEWAYS);
  expect(read("x".repeat(1_000_000))).toEqual([]);
  expect(formatDefaultGateways(many.map(parseIpAddress)).split(",").length).toBe(MAX_DEFAULT_GATEWAYS);
});

const address = fc.oneof(
  fc.bigInt({ min: 0n, max: 2n ** 32n - 1n }).map((value): IpAddress => ({ family: "IPv4", value })),
  // From 2000:: on: mapped addresses are IPv4's.
  fc.bigInt({ min: 1n << 125n, max: 2n ** 128n - 1n }).map((value): IpAddress => ({ family: "IPv6", value })),
);

test("what is written is read back, all of it", () => {
  fc.assert(fc.property(fc.array(address, { maxLength: MAX_DEFAULT_GATEWAYS }), (addresses) => {
    const text = formatDefaultGateways(addresses);
    expect(formatDefaultGateways(parseDefaultGateways(text))).toBe(text);
    expect(new Set(text === "" ? [] : text.split(","))).toEqual(new Set(addresses.map(formatIpAddress)));
  }));
});

test("any text gives addresses", () => {
  fc.assert(fc.property(fc.oneof(fc.string({ maxLength: 2_000 }), fc.array(fc.ipV4(), { maxLength: 99 }).map(String)), (text) => {
    expect(parseDefaultGateways(text).length).toBeLessThanOrEqual(MAX_DEFAULT_GATEWAYS);
  }));
});
