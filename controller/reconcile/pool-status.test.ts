import { describe, expect, it } from "vitest";
import type { Pool } from "../../config/config.ts";
import { parseIpAddress, parseIpRange } from "../../wire/ip-address.ts";
import { Allocator } from "../allocator/allocator.ts";
import { poolStatusPatch } from "./pool-status.ts";

const NOW = "2026-01-01T00:00:00Z";

function allocatorWith(...addresses: string[]): Allocator {
  return allocatorOf({ addresses, avoidBuggyIps: false });
}

function allocatorOf({ addresses, avoidBuggyIps }: { addresses: readonly string[]; avoidBuggyIps: boolean }): Allocator {
  const pool: Pool = { name: "p", ranges: addresses.map(parseIpRange), autoAssign: true, avoidBuggyIps };
  const allocator = new Allocator();
  allocator.setPools(new Map([["p", pool]]));
  return allocator;
}

describe("a pool's status", () => {
  it("counts exactly, beyond what a JavaScript number can say", () => {
    const allocator = allocatorWith("fd00::/64", "10.0.0.0/24");
    allocator.adopt("n/a", [parseIpAddress("fd00::1")]);
    const patch = poolStatusPatch({ metadata: { name: "p" } }, { allocator, errors: [], neighbours: () => [] }, NOW);
    const text = JSON.stringify(patch);
    expect(text).toContain('"assignedIPv6":1,"availableIPv4":256,"availableIPv6":9223372036854775806,');
    const shown: { status: object } = JSON.parse(text);
    expect(poolStatusPatch({ metadata: { name: "p" }, status: shown.status }, { allocator, errors: [], neighbours: () => [] }, NOW)).toBeUndefined();
  });

  const MAX = "9223372036854775807";
  it.each<[string, string[], string, string]>([
    ["one address", ["10.0.0.1/32"], "1", "0"],
    ["two by two", ["10.0.0.0/31", "fd00::/127"], "2", "2"],
    ["a range over a border", ["10.0.0.250-10.0.1.5"], "12", "0"],
    ["a /8", ["10.0.0.0/8"], "16777216", "0"],
    ["everything that IPv4 has", ["0.0.0.0/0"], "4294967296", "0"],
    ["the largest that a double says exactly, and one more", ["fd00::-fd00::1f:ffff:ffff:ffff", "fe00::/128"], "0", "9007199254740993"],
    ["a /66", ["fd00::/66"], "0", "4611686018427387904"],
    ["one short of the largest", ["fd00::-fd00::7fff:ffff:ffff:fffd"], "0", "9223372036854775806"],
    ["the largest count", ["fd00::-fd00::7fff:ffff:ffff:fffe"], "0", MAX],
    ["a /65, one more than that", ["fd00::/65"], "0", MAX],
    ["a /64", ["fd00::/64"], "0", MAX],
    ["a /64 less one", ["fd00::1-fd00::ffff:ffff:ffff:ffff"], "0", MAX],
    ["two /66 and a bit", ["fd00::/66", "fd01::/66", "fd02::/120"], "0", MAX],
    ["many huge ones", ["fd00::/64", "fd01::/64", "fd02::/66", "fd03::/128"], "0", MAX],
    ["a /8 of IPv6", ["fd00::/8"], "0", MAX],
    ["everything that IPv6 has, beside some IPv4", ["::/0", "10.0.0.0/30"], "4", MAX],
  ])("counts %s", (_title, addresses, ipv4, ipv6) => {
    const allocator = allocatorWith(...addresses);
    const view = { allocator, errors: [], neighbours: () => [] };
    const shown = (): string => JSON.stringify(poolStatusPatch({ metadata: { name: "p" } }, view, NOW));
    expect(shown()).toContain(`{"assignedIPv4":0,"assignedIPv6":0,"availableIPv4":${ipv4},"availableIPv6":${ipv6},`);
    // One address less is one less, to the last digit.
    const family = addresses.some((address) => address.includes(":")) ? "IPv6" : "IPv4";
    expect(allocator.allocate({ service: "n/a", families: [family], oneIsEnough: false, addresses: [], admits: () => true }).kind).toBe("assigned");
    const less = String(BigInt(family === "IPv6" ? ipv6 : ipv4) - 1n);
    expect(shown()).toContain(family === "IPv6" ? `"assignedIPv6":1,"availableIPv4":${ipv4},"availableIPv6":${less},` : `"assignedIPv6":0,"availableIPv4":${less},`);
  });

  it.each<[string[], string, string]>([
    [["10.0.0.0/24"], "254", "0"],
    [["10.0.0.0/23"], "508", "0"],
    [["10.0.0.0/25"], "127", "0"],
    [["10.0.0.128/25"], "127", "0"],
    [["10.0.0.64/26"], "64", "0"],
    [["10.0.0.255/32"], "0", "0"],
    [["10.0.0.0/31"], "1", "0"],
    [["10.0.0.255-10.0.1.0"], "0", "0"],
    [["10.0.0.254-10.0.2.1"], "256", "0"],
    [["0.0.0.0/0"], "4261412864", "0"],
    [["fd00::/120", "10.0.0.0/30"], "3", "256"],
  ])("leaves out what avoidBuggyIPs does: %s", (addresses, ipv4, ipv6) => {
    const allocator = allocatorOf({ addresses, avoidBuggyIps: true });
    expect(JSON.stringify(poolStatusPatch({ metadata: { name: "p" } }, { allocator, errors: [], neighbours: () => [] }, NOW))).toContain(`"availableIPv4":${ipv4},"availableIPv6":${ipv6},`);
  });

  it("tells the pool at fault from the one that waits for it", () => {
    const allocator = allocatorWith("10.0.0.0/24");
    const errors = [{ kind: "IPAddressPool", name: "q", path: "spec.addresses[0]", message: "invalid CIDR" }];
    const of = (name: string): string => JSON.stringify(poolStatusPatch({ metadata: { name, generation: 3 } }, { allocator, errors, neighbours: () => [] }, NOW));
    expect(of("q")).toMatch(/"observedGeneration":3,"status":"False","reason":"ConfigurationError","message":"spec.addresses\[0\]: invalid CIDR; the pool is not in effect"/);
    expect(of("p")).toMatch(/"status":"Unknown","reason":"OtherConfigurationError".*last valid version stays in effect/);
  });
});
