/**
 * What a Service's annotations ask for. Every annotation has two spellings: `metallb.io/` is today's, and
 * `metallb.universe.tf/` is MetalLB's former one, still found in many manifests.
 */
import type { ObjectMeta } from "../kube/objects.ts";

/** Prefix of the annotations that are read first, and the only one that is written. */
export const ANNOTATION_PREFIX = "metallb.io/";
/** Former prefix: read when today's is absent, and reported as deprecated. */
export const LEGACY_ANNOTATION_PREFIX = "metallb.universe.tf/";

/** Allot from this pool only. */
export const ADDRESS_POOL = "address-pool";
/** One address, or one per family, separated by commas. */
export const LOAD_BALANCER_IPS = "loadBalancerIPs";
/** Sharing key: Services with equal keys may share an address. */
export const ALLOW_SHARED_IP = "allow-shared-ip";
/** Written by the controller: name of the pool that the address is from. */
export const IP_ALLOCATED_FROM_POOL = `${ANNOTATION_PREFIX}ip-allocated-from-pool`;
/** What former versions of MetalLB wrote there; never read, and removed where it is found. */
export const LEGACY_IP_ALLOCATED_FROM_POOL = `${LEGACY_ANNOTATION_PREFIX}ip-allocated-from-pool`;

/** The requests in a Service's annotations, as written; absent when the annotation is. */
export interface ServiceAnnotations {
  readonly addressPool?: string;
  /** Not split or parsed. */
  readonly loadBalancerIps?: string;
  readonly allowSharedIp?: string;
  /** Full keys with the former prefix that a user wrote, sorted; each is worth a deprecatedAnnotation event. */
  readonly legacyKeys: readonly string[];
}

/** Reads the annotations. Today's prefix wins by being present: even an empty value hides a filled former one. */
export function readServiceAnnotations(metadata: Pick<ObjectMeta, "annotations">): ServiceAnnotations {
  const annotations = metadata.annotations ?? {};
  const addressPool = read(annotations, ADDRESS_POOL);
  const loadBalancerIps = read(annotations, LOAD_BALANCER_IPS);
  const allowSharedIp = read(annotations, ALLOW_SHARED_IP);
  return {
    ...(addressPool === undefined ? {} : { addressPool }),
    ...(loadBalancerIps === undefined ? {} : { loadBalancerIps }),
    ...(allowSharedIp === undefined ? {} : { allowSharedIp }),
    legacyKeys: Object.keys(annotations).filter((key) => key.startsWith(LEGACY_ANNOTATION_PREFIX) && key !== LEGACY_IP_ALLOCATED_FROM_POOL).sort(),
  };
}

function read(annotations: Readonly<Record<string, string>>, suffix: string): string | undefined {
  const key = [ANNOTATION_PREFIX, LEGACY_ANNOTATION_PREFIX].map((prefix) => prefix + suffix).find((candidate) => Object.hasOwn(annotations, candidate));
  return key === undefined ? undefined : annotations[key];
}
