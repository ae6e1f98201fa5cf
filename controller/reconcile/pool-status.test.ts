import { describe, expect, it } from "vitest";
import type { Pool } from "../../config/config.ts";
import { parseIpAddress, parseIpRange } from "../../wire/ip-address.ts";
import { Allocator } from "../allocator/allocator.ts";
import { poolStatusPatch } from "./pool-status.ts";

const NOW = "2026-01-01T00:00:00Z";

function allocatorWith(...addresses: string[]): Allocator {
  const pool: Pool = { name: "p", ranges: addresses.map(parseIpRange), autoAssign: true, avoidBuggyIps: false };
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

  it("tells the pool at fault from the one that waits for it", () => {
    const allocator = allocatorWith("10.0.0.0/24");
    const errors = [{ kind: "IPAddressPool", name: "q", path: "spec.addresses[0]", message: "invalid CIDR" }];
    const of = (name: string): string => JSON.stringify(poolStatusPatch({ metadata: { name, generation: 3 } }, { allocator, errors, neighbours: () => [] }, NOW));
    expect(of("q")).toMatch(/"observedGeneration":3,"status":"False","reason":"ConfigurationError","message":"spec.addresses\[0\]: invalid CIDR; the pool is not in effect"/);
    expect(of("p")).toMatch(/"status":"Unknown","reason":"OtherConfigurationError".*last valid version stays in effect/);
  });
});
