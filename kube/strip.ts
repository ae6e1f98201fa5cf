/**
 * What an informer keeps of an object: the fields that `objects.ts` declares and nothing else. Managed fields, pod
 * specifications and the images of a node are most of what an API server sends and none of what Herald reads.
 */
import type { KubeObject, Node, ObjectMeta, Pod, ResourceType, Service } from "./objects.ts";

const lastApplied = "kubectl.kubernetes.io/last-applied-configuration";

type AnyObject = KubeObject & Record<string, unknown>;

/** The default transform of an informer for `type`. Pure: gives a new object, and the same result when applied twice. */
export function stripFor<T extends KubeObject>(type: ResourceType<T>): (object: T) => T {
  const body = bodies[`${type.group}/${type.plural}`] ?? keepBody;
  // Every body function keeps all fields that the kind's own type declares.
  return (object) => ({ metadata: stripMetadata(object.metadata), ...body(object as KubeObject as AnyObject) }) as KubeObject as T;
}

const bodies: Readonly<Record<string, (object: AnyObject) => object>> = {
  "/pods": stripPod,
  "/nodes": stripNode,
  "/services": stripService,
};

function stripMetadata(metadata: ObjectMeta): ObjectMeta {
  const kept: ObjectMeta = defined(metadata, [
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "labels",
    "ownerReferences",
  ]);
  if (metadata.annotations !== undefined) {
    const { [lastApplied]: _, ...annotations } = metadata.annotations;
    if (Object.keys(annotations).length > 0) kept.annotations = annotations;
  }
  return kept;
}

function keepBody(object: AnyObject): object {
  const { apiVersion: _apiVersion, kind: _kind, metadata: _metadata, ...body } = object;
  return body;
}

function stripPod(object: KubeObject): object {
  const { spec, status } = object as Pod;
  return {
    ...(spec === undefined ? {} : { spec: defined(spec, ["nodeName", "hostNetwork"]) }),
    ...(status === undefined ? {} : { status: defined(status, ["phase", "podIP", "podIPs", "hostIP", "hostIPs"]) }),
  };
}

function stripNode(object: KubeObject): object {
  const { status } = object as Node;
  if (status === undefined) return {};
  const conditions = status.conditions?.map(({ type, status: value }) => ({ type, status: value }));
  return { status: { ...defined(status, ["addresses"]), ...(conditions === undefined ? {} : { conditions }) } };
}

function stripService(object: KubeObject): object {
  const { spec, status } = object as Service;
  const kept = defined(spec, [
    "type",
    "clusterIP",
    "clusterIPs",
    "ipFamilies",
    "ipFamilyPolicy",
    "loadBalancerIP",
    "loadBalancerClass",
    "externalTrafficPolicy",
    "selector",
  ]);
  if (spec.ports !== undefined) kept.ports = spec.ports.map((port) => defined(port, ["name", "protocol", "port"]));
  return { spec: kept, ...(status === undefined ? {} : { status }) };
}

/** A copy with the named fields, those that are undefined left out. */
function defined<T extends object>(from: T, keys: readonly (keyof T)[]): T {
  const kept: Partial<T> = {};
  for (const key of keys) if (from[key] !== undefined) kept[key] = from[key];
  // The fields left out are optional or not declared by the type.
  return kept as T;
}
