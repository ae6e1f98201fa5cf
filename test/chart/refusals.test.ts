/** Values that the chart refuses, and what it says. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { renderChart } from "../../scripts/chart-render.ts";
import { findProgram } from "../lab/programs.ts";

const hasHelm = findProgram("helm") !== undefined;

const MONITORED = "serviceAccount: p, namespace: m";

/** Values, and a part of the answer. */
const REFUSED: readonly (readonly [values: string, answer: string])[] = [
  ["configInline: {address-pools: []}", "configInline is gone: configuration is custom resources now: write an IPAddressPool and an L2Advertisement."],
  ["existingConfigMap: config", "existingConfigMap is gone: configuration is custom resources now"],
  ["psp: {create: true}", "psp is gone: Kubernetes has no PodSecurityPolicy any more"],
  ["prometheus: {rbacProxy: {tag: v1}}", "prometheus.rbacProxy is gone: /metrics checks tokens itself."],
  ["prometheus: {secureMetricsPort: 9120}", "prometheus.secureMetricsPort is gone: /metrics is HTTPS at prometheus.metricsPort."],
  ["prometheus: {speakerMetricsTLSSecret: s}", "prometheus.speakerMetricsTLSSecret is gone: it is tls.speakerMetricsTLSSecret now."],
  ["controller: {tlsMinVersion: VersionTLS12, tlsCipherSuites: ''}", "controller.tlsMinVersion is gone: it is tls.minVersion now."],
  ["controller: {tlsCipherSuites: TLS_AES_128_GCM_SHA256}", "controller.tlsCipherSuites is gone: it is tls.cipherSuites now."],
  ["controller: {image: {repository: quay.io/metallb/controller}}", "controller.image is gone: one image holds both of Herald's programs. Set image.repository"],
  ["speaker: {image: {tag: v0.16}}", "speaker.image is gone"],
  ["image: {repository: quay.io/metallb/speaker}", "image.repository names an image of MetalLB"],
  ["speaker: {command: /speaker}", "speaker.command is gone"],
  ["frrk8s: {enabled: true}", "Herald has no frr-k8s. Set both to false, or leave frrk8s out."],
  ["frrk8s: {enabled: false, external: true}", "Herald has no frr-k8s."],
  ["frr-k8s: {prometheus: {}}", "Herald has no frr-k8s. Leave it out."],
  ["speaker: {frr: {enabled: true}}", "Herald runs no FRR."],
  [`prometheus: {${MONITORED}, podMonitor: {enabled: true}, serviceMonitor: {enabled: true}}`, "exclude one another"],
  ["prometheus: {podMonitor: {enabled: true}}", "a monitor needs prometheus.serviceAccount and prometheus.namespace"],
  ["speaker: {memberlist: {enabled: false}, nodeSelector: {a: b}}", "speaker.nodeSelector needs speaker.memberlist.enabled"],
  ["tls: {cipherSuites: TLS_AES_128_GCM_SHA256}", "tls.cipherSuites is for TLS 1.2 alone"],
  ["speakers: {}", "additional properties 'speakers' not allowed"],
  ["speaker: {layer2: {fence: quorum}}", "at '/speaker/layer2': additional properties 'fence' not allowed"],
  ["speaker: {layer2: {profile: slow}}", "at '/speaker/layer2/profile': value must be one of 'fast', 'default', 'calm'"],
  // helm makes this of --set 'speaker.excludeInterfaces.interfaces={}'; it matches every interface.
  ["speaker: {excludeInterfaces: {interfaces: ['']}}", "at '/speaker/excludeInterfaces/interfaces/0'"],
  ["controller: {replicas: 0}", "at '/controller/replicas'"],
  ["controller: {webhookMode: on}", "at '/controller/webhookMode'"],
  ["crds: {validationFailurePolicy: Warn}", "at '/crds/validationFailurePolicy'"],
  ["prometheus: {metricsPort: 70000}", "at '/prometheus/metricsPort'"],
];

/** What MetalLB's own values file says of what Herald lacks, and means nothing by it. */
const TAKEN: readonly string[] = [
  "frrk8s: {enabled: false, external: false, namespace: ''}\nfrr-k8s: {}",
  "speaker: {frr: {enabled: false, image: {repository: quay.io/frrouting/frr, tag: '10'}, metricsPort: 9121, resources: {}}, reloader: {resources: {}}, frrMetrics: {resources: {}}, initContainers: {cpFrrFiles: {resources: {}}}}",
  "speaker: {bgpDebounceTimeout: null, runtimeClassName: '', securityContext: {}}",
  "controller: {image: null, affinity: null, strategy: null, podAnnotations: null, resources: null}",
  "global: {imageRegistry: example.org}",
  "frr-k8s: null\nfrrk8s: null\ncontroller: {tlsMinVersion: null, tlsCipherSuites: ''}",
  "prometheus: {prometheusRule: {enabled: true, extraAlerts: null}}",
  "configInline: {}\nprometheus: {speakerMetricsTLSSecret: ''}",
];

describe.skipIf(!hasHelm)(`the chart's values${hasHelm ? "" : " (no helm: run 'scripts/setup full')"}`, () => {
  it.each(REFUSED)("refuse %s", (values, answer) => {
    const rendering = renderChart({ values });
    expect(rendering).toMatchObject({ kind: "refused" });
    if (rendering.kind === "refused") expect(rendering.message.replaceAll(/\s+/g, " ")).toContain(answer);
  });

  it.each(TAKEN)("take %s", (values) => {
    expect(renderChart({ values })).toMatchObject({ kind: "rendered" });
  });

  it("leave nothing unchecked: every section of the schema names its properties", () => {
    const schema: unknown = JSON.parse(readFileSync(join(import.meta.dirname, "../../charts/herald/values.schema.json"), "utf8"));
    const open: string[] = [];
    const visit = (value: unknown, path: string): void => {
      if (typeof value !== "object" || value === null) return;
      if ("properties" in value && (!("additionalProperties" in value) || value.additionalProperties !== false)) open.push(path);
      for (const [key, inner] of Object.entries(value)) visit(inner, `${path}/${key}`);
    };
    visit(schema, "");
    expect(open).toEqual([]);
  });
});
