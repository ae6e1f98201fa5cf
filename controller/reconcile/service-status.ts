/** The status that a Service should have, compared with the one it has, and the one patch between them. Pure. */
import { IP_ALLOCATED_FROM_POOL, LEGACY_IP_ALLOCATED_FROM_POOL } from "../../config/annotations.ts";
import type { Condition, LoadBalancerIngress, Service } from "../../kube/objects.ts";
import { formatIpAddress, type IpAddress, parseIpAddress } from "../../wire/ip-address.ts";
import { ADDRESS_ASSIGNED, conditionOf, type Verdict, withCondition } from "./conditions.ts";

/** A JSON merge patch for services/status, conditional on the version that it was made from. */
export interface ServiceStatusPatch {
  readonly metadata: { readonly resourceVersion?: string; readonly annotations?: Readonly<Record<string, string | null>> };
  readonly status: { readonly loadBalancer?: { readonly ingress: readonly LoadBalancerIngress[] | null }; readonly conditions?: readonly Condition[] | null };
}

/** What Herald wants to see on a Service. */
export interface DesiredStatus {
  /** Addresses of status.loadBalancer.ingress; "untouched" leaves that part to whoever wrote it. */
  readonly addresses: readonly IpAddress[] | "untouched";
  /** Name of the pool; absent removes the annotation. */
  readonly pool?: string;
  /** Absent removes the condition. */
  readonly condition?: Verdict;
}

/** The addresses in a Service's status. Entries that are no address (a hostname alone) are left out. */
export function statusAddresses(service: Service): IpAddress[] {
  const addresses: IpAddress[] = [];
  for (const { ip } of service.status?.loadBalancer?.ingress ?? []) {
    if (ip === undefined) continue;
    try {
      addresses.push(parseIpAddress(ip));
    } catch {
      // Somebody else wrote it; a text that is no address can't be adopted.
    }
  }
  return addresses;
}

/** Whether the Service carries something that only Herald (or MetalLB) writes. */
export function isMarkedOurs(service: Service): boolean {
  const { annotations } = service.metadata;
  return annotations?.[IP_ALLOCATED_FROM_POOL] !== undefined || annotations?.[LEGACY_IP_ALLOCATED_FROM_POOL] !== undefined || conditionOf(service.status?.conditions, ADDRESS_ASSIGNED) !== undefined;
}

/**
 * The patch from what the Service shows to what it should, or undefined when there is nothing to write.
 * @param now RFC 3339, whole seconds.
 */
export function statusPatch(service: Service, desired: DesiredStatus, now: string): ServiceStatusPatch | undefined {
  const annotations = annotationsPatch(service, desired.pool);
  const ingress = ingressPatch(service, desired.addresses);
  const conditions = conditionsPatch(service, desired.condition, now);
  if (annotations === undefined && ingress === undefined && conditions === undefined) return undefined;
  const { resourceVersion } = service.metadata;
  return {
    metadata: {
      ...(resourceVersion === undefined ? {} : { resourceVersion }),
      ...(annotations === undefined ? {} : { annotations }),
    },
    status: {
      ...(ingress === undefined ? {} : { loadBalancer: { ingress: ingress.length === 0 ? null : ingress } }),
      ...(conditions === undefined ? {} : { conditions: conditions.length === 0 ? null : conditions }),
    },
  };
}

/** null removes an annotation; undefined means that all is as it should be. */
function annotationsPatch(service: Service, pool: string | undefined): Record<string, string | null> | undefined {
  const { annotations } = service.metadata;
  const changesPool = annotations?.[IP_ALLOCATED_FROM_POOL] !== pool;
  const dropsFormer = annotations?.[LEGACY_IP_ALLOCATED_FROM_POOL] !== undefined;
  if (!changesPool && !dropsFormer) return undefined;
  return { ...(changesPool ? { [IP_ALLOCATED_FROM_POOL]: pool ?? null } : {}), ...(dropsFormer ? { [LEGACY_IP_ALLOCATED_FROM_POOL]: null } : {}) };
}

function ingressPatch(service: Service, addresses: readonly IpAddress[] | "untouched"): LoadBalancerIngress[] | undefined {
  if (addresses === "untouched") return undefined;
  const current = service.status?.loadBalancer?.ingress ?? [];
  const desired = addresses.map((address): LoadBalancerIngress => ({ ip: formatIpAddress(address), ipMode: "VIP" }));
  const same = current.length === desired.length && current.every((entry, index) => sameIngress(entry, desired[index]));
  return same ? undefined : desired;
}

/** An API server before Kubernetes 1.29 drops the mode, and means VIP; writing it again and again would help nobody. */
function sameIngress(current: LoadBalancerIngress, desired: LoadBalancerIngress | undefined): boolean {
  return current.ip === desired?.ip && current.hostname === undefined && (current.ipMode ?? "VIP") === "VIP";
}

function conditionsPatch(service: Service, verdict: Verdict | undefined, now: string): readonly Condition[] | undefined {
  const current = service.status?.conditions ?? [];
  const desired = verdict === undefined ? current.filter((condition) => condition.type !== ADDRESS_ASSIGNED) : withCondition(current, verdict, now);
  return desired === current || (verdict === undefined && desired.length === current.length) ? undefined : desired;
}
