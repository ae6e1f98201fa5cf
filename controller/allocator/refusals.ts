/** Refusals in words for the user. */
import { formatIpAddress, type IpAddress } from "../../wire/ip-address.ts";
import type { AllocationRequest, Refusal, RefusalReason } from "./allocation.ts";
import type { SharingClash, SharingTerms } from "./sharing.ts";

/** A refusal that names the Services in the way. */
export type ClashRefusal = Refusal & { readonly reason: "AddressInUse" | "SharingConflict" };

/** Tells a Service that asked on these terms why it can't have the address. */
export function refusalOf(clash: SharingClash, address: IpAddress, service: string, terms: SharingTerms | undefined): ClashRefusal {
  const text = formatIpAddress(address);
  const others = clash.holders.join(",");
  if (terms === undefined) return { kind: "refused", reason: "AddressInUse", message: `address ${text} is already in use by ${others}` };
  return { kind: "refused", reason: "SharingConflict", message: sentence(clash, text, others, service) };
}

function sentence({ kind, port }: SharingClash, address: string, others: string, service: string): string {
  switch (kind) {
    case "exclusive":
      return `can't share address ${address}: it is already in use by ${others}, without sharing`;
    case "key":
      return `can't change sharing key for "${service}", address ${address} is also in use by ${others}: the sharing keys differ`;
    case "backend":
      return `can't change sharing key for "${service}", address ${address} is also in use by ${others}: Services with externalTrafficPolicy Local share only with those that have it too, and the same selector`;
    case "port":
      return `port ${port} is already in use on "${address}" by ${others}`;
  }
}

/** Addresses as messages have them, in MetalLB's way: `["10.0.0.1" "fd00::1"]`. */
export function quoteList(addresses: readonly IpAddress[]): string {
  return `[${addresses.map((address) => JSON.stringify(formatIpAddress(address))).join(" ")}]`;
}

/** Makes a refusal. */
export function refuse(reason: RefusalReason, message: string): Refusal {
  return { kind: "refused", reason, message };
}

/** Tells that no pool that is asked has the families asked for: no address that becomes free would help. */
export function refuseFamilies({ pool, families, oneIsEnough }: Pick<AllocationRequest, "pool" | "families" | "oneIsEnough">): Refusal {
  const needsAll = families.length > 1 && !oneIsEnough;
  const wanted = needsAll ? `both ${families.join(" and ")}` : families.join(" or ");
  if (pool === undefined) return refuse("PoolHasNoSuchFamily", `no available IPs: no pool with autoAssign that admits this service has ${wanted} addresses`);
  return refuse("PoolHasNoSuchFamily", `no available IPs in pool ${pool}: it ${needsAll ? "does not have" : "has no"} ${wanted} addresses`);
}
