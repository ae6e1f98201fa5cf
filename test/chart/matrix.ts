/** Values that the chart is rendered with, each for what no other shows. */
import { readFileSync } from "node:fs";
import { join } from "node:path";

export interface ChartCase {
  readonly name: string;
  /** YAML or JSON. */
  readonly values: string;
  readonly release?: string;
  readonly namespace?: string;
}

const MONITORED = { serviceAccount: "prometheus", namespace: "monitoring" };

export const MATRIX: readonly ChartCase[] = [
  { name: "defaults", values: "" },
  { name: "from-metallb", values: readFileSync(join(import.meta.dirname, "metallb-values.yaml"), "utf8"), release: "metallb" },
  {
    name: "all-features",
    release: "lb",
    namespace: "network",
    values: JSON.stringify({
      image: { repository: "registry.example.org/herald", tag: "v9", pullPolicy: "Always" },
      imagePullSecrets: [{ name: "registry" }],
      loadBalancerClass: "example.org/herald",
      tls: { minVersion: "VersionTLS12", cipherSuites: "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", curvePreferences: "29", controllerMetricsTLSSecret: "c-tls", speakerMetricsTLSSecret: "s-tls" },
      prometheus: {
        ...MONITORED,
        scrapeAnnotations: true,
        podMonitor: { enabled: true, additionalLabels: { release: "p" }, annotations: { a: "b" }, interval: "30s", metricRelabelings: [{ action: "keep", sourceLabels: ["__name__"], regex: "metallb_.*" }] },
        prometheusRule: { enabled: true, annotations: { a: "b" }, addressPoolUsage: { excludePools: "test-.*" }, extraAlerts: [{ alert: "Mine", expr: "vector(1)" }] },
      },
      controller: { replicas: 3, webhookMode: "enabled", labels: { team: "network" }, podAnnotations: { note: "1" }, serviceAccount: { name: "c", annotations: { a: "b" } }, extraContainers: [{ name: "beside", image: "beside:1" }], runtimeClassName: "kata" },
      speaker: {
        layer2: { election: "metallb", failback: "rank", profile: "fast" }, wanConfig: true, ignoreExcludeLB: true, memberlist: { mlBindAddrOverride: "192.0.2.1" }, labels: { team: "network" },
        excludeInterfaces: { interfaces: ["^eth9$"] }, tolerations: [{ operator: "Exists" }], affinity: { nodeAffinity: {} }, extraContainers: [{ name: "beside", image: "beside:1" }], securityContext: { supplementalGroups: [1] },
      },
      crds: { validationFailurePolicy: "Fail" },
      networkpolicies: { enabled: true, defaultDeny: true, apiPort: 443 },
    }),
  },
  { name: "service-monitors", values: JSON.stringify({ prometheus: { ...MONITORED, serviceMonitor: { enabled: true, speaker: { tlsConfig: { insecureSkipVerify: false, serverName: "speaker" } } } } }) },
  { name: "plain-metrics", values: JSON.stringify({ prometheus: { secureMetrics: false, rbacPrometheus: false, serviceMonitor: { enabled: true } } }) },
  { name: "no-membership", values: JSON.stringify({ speaker: { memberlist: { enabled: false }, excludeInterfaces: { enabled: false }, startupProbe: { enabled: false } } }) },
  { name: "controller-only", values: JSON.stringify({ speaker: { enabled: false }, controller: { replicas: 1 }, rbac: { create: false }, crds: { enabled: false } }) },
  { name: "speaker-only", values: JSON.stringify({ nameOverride: "metallb", controller: { enabled: false }, speaker: { serviceAccount: { create: false, name: "mine" } }, crds: { enabled: false } }) },
];
