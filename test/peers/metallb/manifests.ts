/** MetalLB as its own manifests have it, as far as it matters who else is in the cluster: labels, container names, ports of the node, membership. */
import { metalLbImages } from "./images.ts";

/** Namespace that MetalLB is installed in when nobody says otherwise; Herald's too. */
export const METALLB_NAMESPACE = "metallb-system";

/**
 * MetalLB's controller, and its speaker on one node. Custom resource definitions have to be there.
 * It may do everything in the cluster, for what it may is not what is looked at, and serves no webhooks.
 */
export function metalLb(speakerNode: string): object[] {
  const images = metalLbImages();
  const metadata = (name: string): object => ({ name, namespace: METALLB_NAMESPACE, labels: { app: "metallb", component: name } });
  const account = { kind: "ServiceAccount", name: "metallb", namespace: METALLB_NAMESPACE };
  return [
    { apiVersion: "v1", kind: "Namespace", metadata: { name: METALLB_NAMESPACE } },
    { apiVersion: "v1", kind: "ServiceAccount", metadata: { name: "metallb", namespace: METALLB_NAMESPACE } },
    {
      apiVersion: "rbac.authorization.k8s.io/v1",
      kind: "ClusterRoleBinding",
      metadata: { name: "metallb-may-everything" },
      roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "cluster-admin" },
      subjects: [account],
    },
    { apiVersion: "apps/v1", kind: "Deployment", metadata: metadata("controller"), spec: workload("controller", controllerPod(images.controller.reference)) },
    { apiVersion: "apps/v1", kind: "DaemonSet", metadata: metadata("speaker"), spec: workload("speaker", speakerPod(images.speaker.reference, speakerNode)) },
  ];
}

function workload(component: string, podSpec: object): object {
  const labels = { app: "metallb", component };
  return { selector: { matchLabels: labels }, template: { metadata: { labels }, spec: { serviceAccountName: "metallb", ...podSpec } } };
}

/** Probes of its manifests wait ten seconds; here they need not. */
const READINESS = { httpGet: { path: "/metrics", port: 7472 }, periodSeconds: 1 };

function controllerPod(image: string): object {
  return {
    terminationGracePeriodSeconds: 0,
    containers: [{
      name: "controller",
      image,
      args: ["--port=7472", "--webhook-mode=disabled"],
      env: [{ name: "METALLB_ML_SECRET_NAME", value: "memberlist" }, { name: "METALLB_DEPLOYMENT", value: "controller" }],
      ports: [{ name: "monitoring", containerPort: 7472 }],
      readinessProbe: READINESS,
    }],
  };
}

function speakerPod(image: string, node: string): object {
  const field = (name: string, fieldPath: string): object => ({ name, valueFrom: { fieldRef: { fieldPath } } });
  return {
    hostNetwork: true,
    terminationGracePeriodSeconds: 2,
    nodeSelector: { "kubernetes.io/hostname": node },
    containers: [{
      name: "speaker",
      image,
      args: ["--port=7472"],
      env: [
        field("METALLB_NODE_NAME", "spec.nodeName"), field("METALLB_POD_NAME", "metadata.name"),
        field("METALLB_HOST", "status.hostIP"), field("METALLB_ML_BIND_ADDR", "status.podIP"),
        { name: "METALLB_ML_LABELS", value: "app=metallb,component=speaker" }, { name: "METALLB_ML_SECRET_KEY_PATH", value: "/etc/ml_secret_key" },
      ],
      ports: [{ name: "monitoring", containerPort: 7472 }, { name: "memberlist-tcp", containerPort: 7946 }, { name: "memberlist-udp", containerPort: 7946, protocol: "UDP" }],
      readinessProbe: READINESS,
      securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ["ALL"], add: ["NET_RAW"] }, readOnlyRootFilesystem: true },
      volumeMounts: [{ name: "memberlist", mountPath: "/etc/ml_secret_key", readOnly: true }],
    }],
    volumes: [{ name: "memberlist", secret: { secretName: "memberlist" } }],
  };
}
