import { expect, it } from "vitest";
import type { Pool } from "../../config/config.ts";
import { parseIpRange } from "../../wire/ip-address.ts";
import type { AllocationRequest, AllocationResult } from "./allocation.ts";
import { Allocator } from "./allocator.ts";
import { sharingTerms } from "./sharing.ts";

const DUAL = { families: ["IPv4", "IPv6"], oneIsEnough: false } as const;
const IPV4 = { families: ["IPv4"], oneIsEnough: false } as const;
const IPV6 = { families: ["IPv6"], oneIsEnough: false } as const;

function allocatorWith(...addresses: string[]): Allocator {
  const pool: Pool = { name: "p", ranges: addresses.map(parseIpRange), autoAssign: true, avoidBuggyIps: false };
  const allocator = new Allocator();
  allocator.setPools(new Map([["p", pool]]));
  return allocator;
}

function ask(allocator: Allocator, service: string, rest: Pick<AllocationRequest, "families" | "oneIsEnough" | "pool"> & { readonly key?: string }): AllocationResult {
  const { key, ...families } = rest;
  return allocator.allocate({ service, addresses: [], admits: () => true, ...families, ...(key === undefined ? {} : { sharing: sharingTerms(key, "", ["TCP/80"]) }) });
}

it("a conflict is told only where an address is wanting: not with somebody on IPv4 when it is IPv6 that has run out", () => {
  const allocator = allocatorWith("10.0.0.1-10.0.0.9", "fd00::1/128");
  ask(allocator, "holder-of-ipv6", IPV6);
  ask(allocator, "namesake", { ...IPV4, key: "k" });
  expect(ask(allocator, "s", { ...DUAL, key: "k" })).toEqual({ kind: "refused", reason: "NoFreeAddress", message: "no available IPs" });
});

it("and it is told of the family that has run out", () => {
  const allocator = allocatorWith("10.0.0.1-10.0.0.9", "fd00::1/128");
  ask(allocator, "namesake", { ...DUAL, key: "k" });
  expect(ask(allocator, "s", { ...DUAL, key: "k" })).toMatchObject({ kind: "refused", reason: "SharingConflict", message: 'no available IPs: port TCP/80 is already in use on "fd00::1" by namesake' });
});

it("pools without the family are not exhausted: no address that becomes free would help", () => {
  const ofIpv4 = allocatorWith("10.0.0.1/32");
  expect(ask(ofIpv4, "six", IPV6)).toEqual({ kind: "refused", reason: "PoolHasNoSuchFamily", message: "no available IPs: no pool with autoAssign that admits this service has IPv6 addresses" });
  expect(ask(ofIpv4, "both", DUAL)).toEqual({ kind: "refused", reason: "PoolHasNoSuchFamily", message: "no available IPs: no pool with autoAssign that admits this service has both IPv4 and IPv6 addresses" });
  expect(ask(ofIpv4, "both", { ...DUAL, pool: "p" })).toEqual({ kind: "refused", reason: "PoolHasNoSuchFamily", message: "no available IPs in pool p: it does not have both IPv4 and IPv6 addresses" });
  expect(ask(ofIpv4, "six", { ...IPV6, pool: "p" })).toEqual({ kind: "refused", reason: "PoolHasNoSuchFamily", message: "no available IPs in pool p: it has no IPv6 addresses" });
  ask(ofIpv4, "holder", IPV4);
  expect(ask(ofIpv4, "late", { ...DUAL, oneIsEnough: true })).toEqual({ kind: "refused", reason: "NoFreeAddress", message: "no available IPs" });
});
