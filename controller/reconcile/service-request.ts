/** What a Service asks for, read from its spec and annotations. Pure. */
import { ANNOTATION_PREFIX, LOAD_BALANCER_IPS, readServiceAnnotations } from "../../config/annotations.ts";
import type { Service } from "../../kube/objects.ts";
import { formatIpAddress, type IpAddress, type IpFamily, parseIpAddress } from "../../wire/ip-address.ts";

export type ServiceRequest =
  /** Another load balancer's Service: none of our business. */
  | { readonly kind: "foreign" }
  /** Not of type LoadBalancer: it holds no address. */
  | { readonly kind: "none" }
  /** It can't have an address as long as it looks like this, not even the one it has. */
  | { readonly kind: "impossible"; readonly reason: "NoClusterIp" | "NotEnoughClusterIps"; readonly message: string }
  /** The request can't be read. */
  | { readonly kind: "malformed"; readonly message: string }
  | WantedAddresses;

export interface WantedAddresses {
  readonly kind: "wanted";
  /** One, or both with the primary one first. */
  readonly families: readonly IpFamily[];
  /** With two families: whether one address is better than none. */
  readonly oneIsEnough: boolean;
  /** Asked for by name; empty when any will do. */
  readonly addresses: readonly IpAddress[];
  readonly pool?: string;
  /** The Service wants to share its address, which is not supported yet. */
  readonly wantsToShare: boolean;
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
  let addresses: readonly IpAddress[];
  try {
    addresses = readRequestedAddresses(service.spec.loadBalancerIP, annotations.loadBalancerIps);
  } catch (error) {
    return { kind: "malformed", message: error instanceof Error ? error.message : String(error) };
  }
  const pool = annotations.addressPool;
  return {
    kind: "wanted",
    families: clusterFamilies,
    oneIsEnough: policy === "PreferDualStack",
    addresses,
    wantsToShare: (annotations.allowSharedIp ?? "") !== "",
    ...(pool === undefined || pool === "" ? {} : { pool }),
  };
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

