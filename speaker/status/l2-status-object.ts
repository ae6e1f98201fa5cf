/**
 * The shape of a ServiceL2Status: what it is called, how it is labelled, what it says. Pure.
 */
import type { CustomResource, OwnerReference } from "../../kube/objects.ts";
import { rfc3339Seconds } from "../../sys/clock.ts";
import type { OwnedAddress } from "../announced-services.ts";
import { nodeLabelValue } from "./node-label.ts";

const nodeLabel = "metallb.io/node";
const serviceNameLabel = "metallb.io/service-name";
const serviceNamespaceLabel = "metallb.io/service-namespace";

/** The status as the API spells it. */
export interface L2Status {
  readonly node: string;
  readonly serviceName: string;
  readonly serviceNamespace: string;
  /** null stands for every interface: in a merge patch it clears the field. */
  readonly interfaces: readonly { readonly name: string }[] | null;
  /** RFC 3339. */
  readonly since: string;
  readonly reason: string;
  /** null when no interface is known. */
  readonly mac: string | null;
}

/** Says how this node announces a Service. `restricted`: its advertisements name interfaces. Key: "namespace/name". */
export function l2StatusOf(options: { key: string; node: string; restricted: boolean; owned: OwnedAddress }): L2Status {
  const { key, node, restricted, owned } = options;
  const [serviceNamespace = "", serviceName = ""] = key.split("/");
  const interfaces = owned.interfaces.toSorted((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
  return {
    node,
    serviceName,
    serviceNamespace,
    interfaces: restricted ? interfaces.map(({ name }) => ({ name })) : null,
    since: rfc3339Seconds(owned.sinceUnixMs),
    reason: owned.reason,
    mac: interfaces[0]?.mac ?? null,
  };
}

/** Whether the object already says all of `wanted`. */
export function saysAlready(object: CustomResource, wanted: L2Status): boolean {
  const status: Readonly<Record<string, unknown>> = typeof object.status === "object" && object.status !== null ? { ...object.status } : {};
  return Object.entries(wanted).every(([field, value]) => JSON.stringify(status[field] ?? null) === JSON.stringify(value));
}

/** A new object, still without its status: the API takes that in a second call. */
export function newL2StatusObject(options: { namespace: string; key: string; node: string; owner: OwnerReference | undefined }): CustomResource {
  const { namespace, key, node, owner } = options;
  const [serviceNamespace = "", serviceName = ""] = key.split("/");
  return {
    apiVersion: "metallb.io/v1beta1",
    kind: "ServiceL2Status",
    metadata: {
      // The server makes the name up from the prefix.
      name: "",
      generateName: "l2-",
      namespace,
      labels: { [nodeLabel]: nodeLabelValue(node), [serviceNameLabel]: serviceName, [serviceNamespaceLabel]: serviceNamespace },
      ...(owner === undefined ? {} : { ownerReferences: [owner] }),
    },
  };
}

/** "namespace/name" of the Service that the object is about, by its labels; undefined without them. */
export function serviceKeyOfStatus(object: CustomResource): string | undefined {
  const labels = object.metadata.labels ?? {};
  const name = labels[serviceNameLabel];
  const namespace = labels[serviceNamespaceLabel];
  return name === undefined || namespace === undefined ? undefined : `${namespace}/${name}`;
}

/** Whether the object is the node's own. */
export function isOfNode(object: CustomResource, node: string): boolean {
  return object.metadata.labels?.[nodeLabel] === nodeLabelValue(node);
}
