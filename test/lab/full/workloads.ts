/** Pods of the full lab that answer as `BackendAnswer`, over HTTP on port 8080 and UDP on port 8081. */
import { labImage } from "../images.ts";
import { onBackend } from "./full-lab.ts";

/** Where and how many. */
export interface BackendOptions {
  /** One on every node, the control-plane node too, when left out. */
  readonly replicas?: number;
  /** The node that they all run on; `backend` is the one for this, in labs that have it. */
  readonly node?: string;
  /** Seconds that a pod goes on answering after it was told to end; 0 when left out. */
  readonly drainSeconds?: number;
  readonly labels?: Readonly<Record<string, string>>;
  /** More fields of the pod's spec. */
  readonly podSpec?: object;
}

/** Ports of a backend. */
export const BACKEND_PORTS = { http: 8080, udp: 8081 } as const;

/** A Deployment, or a DaemonSet, of backends with the label `app: NAME`. */
export function backends(name: string, options: BackendOptions = {}): object {
  const labels = { app: name, ...options.labels };
  const isDeployment = options.replicas !== undefined || options.node !== undefined;
  return {
    apiVersion: "apps/v1",
    kind: isDeployment ? "Deployment" : "DaemonSet",
    metadata: { name, namespace: "default" },
    spec: {
      ...(isDeployment ? { replicas: options.replicas ?? 1 } : {}),
      selector: { matchLabels: { app: name } },
      template: { metadata: { labels }, spec: { ...place(options, isDeployment), ...options.podSpec, ...backendPod(options.drainSeconds ?? 0) } },
    },
  };
}

/** The container of a backend and how long it may take to end. */
export function backendPod(drainSeconds = 0): object {
  const field = (name: string, fieldPath: string): object => ({ name, valueFrom: { fieldRef: { fieldPath } } });
  return {
    terminationGracePeriodSeconds: drainSeconds + 3,
    containers: [{
      name: "backend",
      image: labImage("backend").reference,
      imagePullPolicy: "IfNotPresent",
      env: [field("POD_NAME", "metadata.name"), field("NODE_NAME", "spec.nodeName"), { name: "DRAIN_SECONDS", value: String(drainSeconds) }],
      ports: [{ name: "http", containerPort: BACKEND_PORTS.http }, { name: "udp", containerPort: BACKEND_PORTS.udp, protocol: "UDP" }],
      readinessProbe: { httpGet: { path: "/healthz", port: BACKEND_PORTS.http }, periodSeconds: 1, timeoutSeconds: 10 },
    }],
  };
}

function place({ node }: BackendOptions, isDeployment: boolean): object {
  if (node === "backend") return onBackend();
  if (node !== undefined) return { nodeSelector: { "kubernetes.io/hostname": node } };
  return isDeployment ? {} : { tolerations: [{ key: "node-role.kubernetes.io/control-plane", operator: "Exists" }] };
}
