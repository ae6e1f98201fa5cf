import type { ApiObject } from "./api.ts";
import type { Host } from "./hosts.ts";

/** The parts of a Pod that the lab plays by. */
export interface Pod extends ApiObject {
  readonly spec: {
    readonly nodeName?: string;
    readonly hostNetwork?: boolean;
    readonly nodeSelector?: Readonly<Record<string, string>>;
    readonly affinity?: {
      readonly nodeAffinity?: {
        readonly requiredDuringSchedulingIgnoredDuringExecution?: {
          readonly nodeSelectorTerms: readonly { readonly matchFields?: readonly { readonly key: string; readonly values?: readonly string[] }[] }[];
        };
      };
    };
    readonly containers: readonly PodContainer[];
    readonly volumes?: readonly { readonly name: string; readonly secret?: { readonly secretName: string; readonly optional?: boolean } }[];
    readonly terminationGracePeriodSeconds?: number;
  };
  readonly status?: {
    readonly phase?: string;
    readonly podIP?: string;
    readonly podIPs?: readonly { readonly ip: string }[];
    readonly startTime?: string;
    readonly conditions?: readonly { readonly type: string; readonly status: string; readonly lastTransitionTime?: string }[];
    readonly containerStatuses?: readonly { readonly restartCount: number }[];
  };
}

/** The parts of a container that the lab plays by. */
export interface PodContainer {
  readonly name: string;
  readonly image?: string;
  readonly args?: readonly string[];
  readonly env?: readonly {
    readonly name: string;
    readonly value?: string;
    readonly valueFrom?: { readonly fieldRef?: { readonly fieldPath: string } };
  }[];
  readonly ports?: readonly { readonly containerPort: number; readonly protocol?: string }[];
  readonly volumeMounts?: readonly { readonly name: string; readonly mountPath: string }[];
}

/** What differs for a program on one node from what its pod says. */
export interface ProgramOverride {
  /** More arguments. */
  readonly args?: readonly string[];
  /** Environment above the pod's own. */
  readonly env?: Readonly<Record<string, string>>;
  /** Keys of its Secret volumes that have another text there. */
  readonly secret?: Readonly<Record<string, string>>;
}

/** The parts of a Node that the lab plays by. */
export interface Node extends ApiObject {
  readonly spec?: { readonly unschedulable?: boolean; readonly taints?: readonly { readonly key: string; readonly effect: string }[] };
  readonly status?: { readonly conditions?: readonly { readonly type: string; readonly status: string }[] };
}

/** Annotation of a pod: "false" keeps it from being Ready while it goes on answering. */
export const READY_ANNOTATION = "lab.herald/ready";
/** Annotation of a pod: path of a JavaScript program that is run as this pod, on its node. */
export const PROGRAM_ANNOTATION = "lab.herald/program";
/** Annotation of a pod: JSON, a `ProgramOverride` by node name. */
export const OVERRIDES_ANNOTATION = "lab.herald/overrides";
export const HOSTNAME_LABEL = "kubernetes.io/hostname";
export const COMPONENT_LABEL = "app.kubernetes.io/component";
export const HERALD_NAMESPACE = "metallb-system";

/** Ports of a pod that names none, as many images listen without saying so. */
const DEFAULT_PORTS = [{ containerPort: 80 }, { containerPort: 8080 }] as const;

/** `controller` or `speaker` when the pod is one of Herald's. */
export function componentOf(pod: Pod): "controller" | "speaker" | undefined {
  const component = pod.metadata.labels?.[COMPONENT_LABEL];
  return pod.metadata.namespace === HERALD_NAMESPACE && (component === "controller" || component === "speaker") ? component : undefined;
}

/** Program to run as this pod; undefined for an ordinary pod, which the backend server plays. */
export function programOf(pod: Pod, heraldFolder: string): string | undefined {
  const component = componentOf(pod);
  return pod.metadata.annotations?.[PROGRAM_ANNOTATION] ?? (component && `${heraldFolder}/${component}.mjs`);
}

/** What differs for this pod's program on its node. */
export function overrideOf(pod: Pod, node: string): ProgramOverride {
  const overrides = JSON.parse(pod.metadata.annotations?.[OVERRIDES_ANNOTATION] ?? "{}") as Readonly<Record<string, ProgramOverride>>;
  return overrides[node] ?? {};
}

/** Every port of the pod's containers, SCTP left out. */
export function portsOf(pod: Pod): { port: number; protocol: "TCP" | "UDP" }[] {
  const named = pod.spec.containers.flatMap((container) => container.ports ?? []);
  return (named.length > 0 ? named : DEFAULT_PORTS).flatMap((port: { containerPort: number; protocol?: string }) => {
    const protocol = port.protocol ?? "TCP";
    return protocol === "TCP" || protocol === "UDP" ? [{ port: port.containerPort, protocol }] : [];
  });
}

export function isConditionTrue(object: Pod | Node, type: string): boolean {
  return object.status?.conditions?.some((condition) => condition.type === type && condition.status === "True") ?? false;
}

/** Name of the one node that a DaemonSet or a nodeSelector asks for. */
export function requestedNode(pod: Pod): string | undefined {
  const terms = pod.spec.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution?.nodeSelectorTerms ?? [];
  const field = terms.flatMap((term) => term.matchFields ?? []).find((match) => match.key === "metadata.name");
  return field?.values?.[0] ?? pod.spec.nodeSelector?.[HOSTNAME_LABEL];
}

/**
 * The node for a pod: the one it asks for, else of the nodes that match its selector and take
 * pods the one with the fewest pods of the same owner, then with the fewest pods, then the first
 * by name. Undefined while there is none.
 */
export function chooseNode(pod: Pod, nodes: readonly Node[], placed: readonly { readonly node: string; readonly pod: Pod }[]): string | undefined {
  const requested = requestedNode(pod);
  if (requested !== undefined) return nodes.find((node) => node.metadata.name === requested)?.metadata.name;
  const selector = Object.entries(pod.spec.nodeSelector ?? {});
  const fitting = nodes.filter((node) => {
    const repelled = node.spec?.unschedulable === true || (node.spec?.taints ?? []).some((taint) => taint.effect !== "PreferNoSchedule");
    return !repelled && isConditionTrue(node, "Ready") && selector.every(([key, value]) => node.metadata.labels?.[key] === value);
  });
  const owner = ownerOf(pod);
  const counted = fitting.map((node) => {
    const here = placed.filter((other) => other.node === node.metadata.name).map((other) => other.pod);
    return { name: node.metadata.name, siblings: here.filter((other) => owner !== undefined && ownerOf(other) === owner).length, pods: here.length };
  });
  counted.sort((a, b) => a.siblings - b.siblings || a.pods - b.pods || (a.name < b.name ? -1 : 1));
  return counted[0]?.name;
}

/** What the pod is doing, as far as its status tells. */
export interface PodView {
  readonly ips: readonly string[];
  readonly ready: boolean;
  readonly restarts: number;
}

/** Whether the pod's status already says this. */
export function statusSays(pod: Pod, view: PodView): boolean {
  return pod.status?.phase === "Running" && isConditionTrue(pod, "Ready") === view.ready
    && (pod.status.podIPs ?? []).map((entry) => entry.ip).join() === view.ips.join()
    && (pod.status.containerStatuses?.[0]?.restartCount ?? -1) === view.restarts;
}

/** The patch that a kubelet would send for a running pod. */
export function runningStatus(pod: Pod, host: Host, view: PodView, now: string): unknown {
  const startTime = pod.status?.startTime ?? now;
  const condition = (type: string, status: boolean): unknown => {
    const before = pod.status?.conditions?.find((other) => other.type === type);
    const text = status ? "True" : "False";
    return { type, status: text, lastTransitionTime: before?.status === text ? before.lastTransitionTime ?? now : now };
  };
  return {
    status: {
      phase: "Running",
      startTime,
      hostIP: host.ipv4,
      hostIPs: [{ ip: host.ipv4 }, { ip: host.ipv6 }],
      podIP: view.ips[0],
      podIPs: view.ips.map((ip) => ({ ip })),
      conditions: [condition("Initialized", true), condition("ContainersReady", view.ready), condition("Ready", view.ready), condition("PodScheduled", true)],
      containerStatuses: pod.spec.containers.map((container) => ({
        name: container.name,
        image: container.image ?? "",
        imageID: container.image ?? "",
        ready: view.ready,
        started: true,
        restartCount: view.restarts,
        state: { running: { startedAt: startTime } },
      })),
    },
  };
}

function ownerOf(pod: Pod): string | undefined {
  return pod.metadata.ownerReferences?.[0]?.uid;
}
