/**
 * What Herald gave a Service, as the Service's own condition records it. The status can be edited by hand, so what it shows
 * may be another's address, or nobody's: who starts anew knows by the record what was given. Pure.
 */
import { IP_ALLOCATED_FROM_POOL } from "../../config/annotations.ts";
import type { Service } from "../../kube/objects.ts";
import { compareIpAddresses, formatIpAddress, type IpAddress, parseIpAddress } from "../../wire/ip-address.ts";
import { ADDRESS_ASSIGNED, conditionOf } from "./conditions.ts";
import { statusAddresses } from "./service-status.ts";

/** The part of the condition's message that is the record: `["10.0.0.1" "fd00::1"] from pool "p"`. */
export function recordText(addresses: readonly IpAddress[], pool: string): string {
  return `${quoteList(addresses)} from pool "${pool}"`;
}

/**
 * The addresses of the record, none when it says that none were given; undefined without one: they were not given by
 * Herald, or somebody took the condition away.
 */
export function recordedAddresses(service: Service): readonly IpAddress[] | undefined {
  const condition = conditionOf(service.status?.conditions, ADDRESS_ASSIGNED);
  if (condition?.status === "False") return [];
  const list = /^(?:keeps )?\[("[0-9a-f.:]+"(?: "[0-9a-f.:]+")*)\] from pool "/.exec(condition?.message ?? "")?.[1];
  if (list === undefined) return undefined;
  try {
    return list.split(" ").map((quoted) => parseIpAddress(quoted.slice(1, -1)));
  } catch {
    // Somebody else's words.
    return undefined;
  }
}

/**
 * The addresses that the Service shows, those first that the record names, then those of the pool that the annotation
 * names (which MetalLB writes too), each group in the order in which it shows them.
 */
export function shownByRecord(service: Service, poolOf: (address: IpAddress) => string | undefined): readonly IpAddress[] {
  const recorded = recordedAddresses(service) ?? [];
  const pool = service.metadata.annotations?.[IP_ALLOCATED_FROM_POOL];
  const rank = (address: IpAddress): number => {
    if (includes(recorded, address)) return 0;
    return pool !== undefined && poolOf(address) === pool ? 1 : 2;
  };
  return statusAddresses(service).toSorted((a, b) => rank(a) - rank(b));
}

/** What it shows of what it was given; all that it shows when there is no record of that. Order and `poolOf` as above. */
export function shownAsRecorded(service: Service, poolOf: (address: IpAddress) => string | undefined): readonly IpAddress[] {
  const recorded = recordedAddresses(service);
  const shown = shownByRecord(service, poolOf);
  return recorded === undefined ? shown : shown.filter((address) => includes(recorded, address));
}

/** Addresses as messages have them: `["10.0.0.1" "fd00::1"]`. */
export function quoteList(addresses: readonly IpAddress[]): string {
  return `[${addresses.map((address) => JSON.stringify(formatIpAddress(address))).join(" ")}]`;
}

/** Whether the address is one of these. */
export function includes(addresses: readonly IpAddress[], address: IpAddress): boolean {
  return addresses.some((other) => compareIpAddresses(other, address) === 0);
}
