/** What a Service asks for, read from its spec and annotations. Pure. */
import { ANNOTATION_PREFIX, LOAD_BALANCER_IPS, readServiceAnnotations } from "../../config/annotations.ts";
import type { Service } from "../../kube/objects.ts";
import { type SharingTerms, sharingTerms } from "../allocator/sharing.ts";
import { formatIpAddress, type IpAddress, type IpFamily, parseIpAddress } from "../../wire/ip-address.ts";

export type ServiceRequest =
  /** Another load balancer's Service: none of our business. */
  | { readonly kind: "foreign" }
  /** Not of type LoadBalancer: it holds no address. */
  | { readonly kind: "none" }
  /** It can't have an address as long as it looks like this, not even the one it has. */
  | { readonly kind: "impossible"; readonly reason: "NoClusterIp" | "NotEnoughClusterIps"; readonly message: string }
  /** The request can't be read. */
  | ({ readonly kind: "malformed"; readonly message: string; readonly sharing?: SharingTerms } & WantedFamilies)
  | WantedAddresses;

/** What may be held, whatever is asked for. */
export interface WantedFamilies {
  /** One, or both with the primary one first. */
  readonly families: readonly IpFamily[];
  /** With two families: whether one address is better than none. */
  readonly oneIsEnough: boolean;
}

export interface WantedAddresses extends WantedFamilies {
  readonly kind: "wanted";
  /** Asked for by name; empty when any will do. */
  readonly addresses: readonly IpAddress[];
  readonly pool?: string;
  /** Absent: it wants its addresses for itself. */
  readonly sharing?: SharingTerms;
}

/** Reads a Service. `lbClass` is the class that Herald serves; empty means Services without a class. */
export function readServiceRequest(service: Service, lbClass: string): ServiceRequest {
  if (service.spec.type !== "LoadBalancer") return { kind: "none" };
  if ((service.spec.loadBalancerClass ?? "") !== lbClass) return { kind: "foreign" };
  const clusterFamilies = familiesOf(service);
  if (clusterFamilies.length === 0) return { kind: "impossible", reason: "NoClusterIp", message: "the Service has no cluster IP" };
  const policy = service.spec.ipFamilyPolicy ?? "SingleStack";
  if (policy === "RequireDualStack" && clusterFamilies.length < 2) {
    return { kind: "impossible", reason: "NotEnoughClusterIps", message: "ipFamilyPolicy is RequireDualStack, but the Service has cluster IPs of one family only" };
  }
  const annotations = readServiceAnnotations(service.metadata);
  const sharing = readSharing(service, annotations.allowSharedIp);
  const wanted: WantedFamilies = { families: clusterFamilies, oneIsEnough: policy === "PreferDualStack" };
  let addresses: readonly IpAddress[];
  try {
    addresses = readRequestedAddresses(service.spec.loadBalancerIP, annotations.loadBalancerIps);
  } catch (error) {
    return { kind: "malformed", message: error instanceof Error ? error.message : String(error), ...wanted, ...sharing };
  }
  const pool = annotations.addressPool;
  return {
    kind: "wanted",
    ...wanted,
    addresses,
    ...sharing,
    ...(pool === undefined || pool === "" ? {} : { pool }),
  };
}

/** The terms, from key, ports and backend: the pods that a Service with traffic policy Local selects decide its nodes. */
function readSharing({ spec }: Service, key: string | undefined): { readonly sharing?: SharingTerms } {
  if (key === undefined || key === "") return {};
  const isLocal = spec.externalTrafficPolicy === "Local";
  const selector = isLocal ? Object.entries(spec.selector ?? {}).sort(([a], [b]) => (a < b ? -1 : 1)) : [];
  const ports = (spec.ports ?? []).map(({ protocol, port }) => `${protocol ?? "TCP"}/${port}`);
  return { sharing: sharingTerms(key, selector.length === 0 ? "" : JSON.stringify(selector), ports) };
}

/** Families of the cluster IPs, the primary one (ipFamilies[0]) first. */
function familiesOf(service: Service): IpFamily[] {
  const texts = service.spec.clusterIPs ?? [service.spec.clusterIP ?? ""];
  const families = new Set<IpFamily>();
  for (const text of texts) {
    if (text !== "" && text !== "None") families.add(text.includes(":") ? "IPv6" : "IPv4");
  }
  const primary = service.spec.ipFamilies?.[0];
  return [...families].sort((a, b) => Number(b === primary) - Number(a === primary));
}

/** @throws Error with a sentence for the user. */
function readRequestedAddresses(specIp: string | undefined, annotation: string | undefined): IpAddress[] {
  const hasSpecIp = specIp !== undefined && specIp !== "";
  if (annotation === undefined || annotation === "") return hasSpecIp ? [parseIpAddress(specIp)] : [];
  if (hasSpecIp) throw new Error(`service can not have both ${ANNOTATION_PREFIX}${LOAD_BALANCER_IPS} and spec.loadBalancerIP`);
  const addresses = annotation.split(",").map((text) => parseIpAddress(text.trim()));
  const families = new Set(addresses.map((address) => address.family));
  if (families.size !== addresses.length) {
    throw new Error(`${ANNOTATION_PREFIX}${LOAD_BALANCER_IPS} takes one address, or one IPv4 and one IPv6: ${addresses.map(formatIpAddress).join(",")}`);
  }
  return addresses;
}

