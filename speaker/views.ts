/**
 * From Kubernetes objects to the few facts that the speaker judges by, and the transforms that let informers keep no more
 * than those: on a node every megabyte counts, and a Node or an EndpointSlice is mostly things that nobody here reads.
 */
import { ALLOW_SHARED_IP, ANNOTATION_PREFIX, LEGACY_ANNOTATION_PREFIX, readServiceAnnotations } from "../config/annotations.ts";
import { DEFAULT_GATEWAYS } from "../config/default-gateways.ts";
import type { CustomResource, EndpointSlice, Node, ObjectMeta, Service } from "../kube/objects.ts";
import type { EndpointFacts, NodeFacts, ServiceFacts } from "./election/eligibility.ts";

/** Label of an EndpointSlice that names its Service. */
export const SERVICE_NAME_LABEL = "kubernetes.io/service-name";

const sharedIpKeys: readonly string[] = [`${ANNOTATION_PREFIX}${ALLOW_SHARED_IP}`, `${LEGACY_ANNOTATION_PREFIX}${ALLOW_SHARED_IP}`];

/** What matters of a Service. */
export function serviceFacts(service: Service): ServiceFacts {
  return {
    key: `${service.metadata.namespace ?? ""}/${service.metadata.name}`,
    type: service.spec.type ?? "ClusterIP",
    loadBalancerClass: service.spec.loadBalancerClass,
    labels: service.metadata.labels ?? {},
    localTraffic: service.spec.externalTrafficPolicy === "Local",
    sharesAddress: readServiceAnnotations(service.metadata).allowSharedIp !== undefined,
    ingress: (service.status?.loadBalancer?.ingress ?? []).map((entry) => (entry.ip === "" ? undefined : entry.ip)),
  };
}

/** What matters of a Node. */
export function nodeFacts(node: Node): NodeFacts {
  return {
    name: node.metadata.name,
    labels: node.metadata.labels ?? {},
    networkUnavailable: (node.status?.conditions ?? []).some((condition) => condition.type === "NetworkUnavailable" && condition.status === "True"),
  };
}

/** The endpoints of a slice, without their addresses. */
export function endpointFacts(slice: EndpointSlice): EndpointFacts[] {
  return (slice.endpoints ?? []).map(({ nodeName, conditions }) => ({ nodeName, ready: conditions?.ready, serving: conditions?.serving }));
}

/** "namespace/name" of the Service that a slice belongs to; undefined for a slice without the label. */
export function serviceKeyOfSlice(slice: EndpointSlice): string | undefined {
  const name = slice.metadata.labels?.[SERVICE_NAME_LABEL];
  return name === undefined || name === "" ? undefined : `${slice.metadata.namespace ?? ""}/${name}`;
}

/** Keeps of a Service what `serviceFacts` reads; of one that is no load balancer, its identity and type only. */
export function stripService(service: Service): Service {
  const { type, loadBalancerClass, externalTrafficPolicy } = service.spec;
  const metadata = identity(service.metadata);
  if (type !== "LoadBalancer") return { metadata, spec: type === undefined ? {} : { type } };
  if (service.metadata.labels !== undefined) metadata.labels = service.metadata.labels;
  const annotations = Object.entries(service.metadata.annotations ?? {}).filter(([key]) => sharedIpKeys.includes(key));
  if (annotations.length > 0) metadata.annotations = Object.fromEntries(annotations);
  const ingress = (service.status?.loadBalancer?.ingress ?? []).map(({ ip }) => (ip === undefined ? {} : { ip }));
  return {
    metadata,
    spec: {
      type,
      ...(loadBalancerClass === undefined ? {} : { loadBalancerClass }),
      ...(externalTrafficPolicy === undefined ? {} : { externalTrafficPolicy }),
    },
    ...(ingress.length === 0 ? {} : { status: { loadBalancer: { ingress } } }),
  };
}

/** Keeps of a slice what `endpointFacts` and `serviceKeyOfSlice` read. Addresses go: who serves matters, not where. */
export function stripEndpointSlice(slice: EndpointSlice): EndpointSlice {
  const metadata = identity(slice.metadata);
  const name = slice.metadata.labels?.[SERVICE_NAME_LABEL];
  if (name !== undefined) metadata.labels = { [SERVICE_NAME_LABEL]: name };
  const endpoints = (slice.endpoints ?? []).map(({ nodeName, conditions }) => ({
    addresses: [],
    ...(nodeName === undefined ? {} : { nodeName }),
    ...(conditions === undefined ? {} : { conditions }),
  }));
  return { metadata, addressType: slice.addressType, endpoints };
}

/** Keeps of a Node its labels and the one condition that counts. */
export function stripNode(node: Node): Node {
  const metadata = identity(node.metadata);
  if (node.metadata.labels !== undefined) metadata.labels = node.metadata.labels;
  const conditions = (node.status?.conditions ?? [])
    .filter((condition) => condition.type === "NetworkUnavailable")
    .map(({ type, status }) => ({ type, status }));
  return { metadata, ...(conditions.length === 0 ? {} : { status: { conditions } }) };
}

/** Keeps of a pool or an advertisement what the configuration is made of: its labels and spec. */
export function stripConfigResource(resource: CustomResource): CustomResource {
  const metadata = identity(resource.metadata);
  if (resource.metadata.labels !== undefined) metadata.labels = resource.metadata.labels;
  return { metadata, spec: resource.spec };
}

/** Keeps of a status resource (ServiceL2Status, ConfigurationState) its labels, owners, status, and the one annotation of ours. */
export function stripStatus(resource: CustomResource): CustomResource {
  const metadata = identity(resource.metadata);
  if (resource.metadata.labels !== undefined) metadata.labels = resource.metadata.labels;
  const gateways = resource.metadata.annotations?.[DEFAULT_GATEWAYS];
  if (gateways !== undefined) metadata.annotations = { [DEFAULT_GATEWAYS]: gateways };
  if (resource.metadata.ownerReferences !== undefined) metadata.ownerReferences = resource.metadata.ownerReferences;
  return { metadata, ...(resource.status === undefined ? {} : { status: resource.status }) };
}

function identity({ name, namespace, uid, resourceVersion }: ObjectMeta): ObjectMeta {
  return {
    name,
    ...(namespace === undefined ? {} : { namespace }),
    ...(uid === undefined ? {} : { uid }),
    ...(resourceVersion === undefined ? {} : { resourceVersion }),
  };
}
