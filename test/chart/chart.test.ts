/** What the chart renders, without a cluster. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { load, loadAll } from "js-yaml";
import { parseControllerFlags } from "../../controller/flags.ts";
import { parseExcludeInterfaces } from "../../config/exclude-interfaces.ts";
import { CHART, helm, packageVersion, renderChart } from "../../scripts/chart-render.ts";
import { manifests } from "../../scripts/manifests.ts";
import { parseSpeakerFlags } from "../../speaker/flags.ts";
import { findProgram } from "../lab/programs.ts";
import { MATRIX } from "./matrix.ts";
import { containerOf, find, renderedObjects, type Rendered } from "./objects.ts";

const hasHelm = findProgram("helm") !== undefined;
const because = hasHelm ? "" : " (no helm: run 'scripts/setup full')";

/** The rendering as it is kept: definitions are compared with crds/ elsewhere, and a release is no change. */
function snapshotOf(text: string): string {
  const version = packageVersion().replaceAll(".", String.raw`\.`);
  return text
    .split(/^---\n/m)
    .filter((document) => !document.includes("kind: CustomResourceDefinition"))
    .join("---\n")
    .replaceAll(new RegExp(`(helm.sh/chart: herald-|app.kubernetes.io/version: "|image: "herald:)${version}`, "g"), "$1VERSION");
}

/** Arguments and environment as the container gets them. */
function commandLine(workload: Rendered): { argv: readonly string[]; env: Record<string, string> } {
  const { args, env } = containerOf(workload);
  // What Kubernetes fills in is not known here; that it is set is enough.
  return { argv: args.slice(1), env: Object.fromEntries(env.map(({ name, value }) => [name, value ?? "filled-in"])) };
}

describe.skipIf(!hasHelm)(`the chart${because}`, () => {
  it("has the version of package.json", () => {
    const chart = load(readFileSync(join(CHART, "Chart.yaml"), "utf8")) as { version: string; appVersion: string };
    expect(chart).toMatchObject({ version: packageVersion(), appVersion: packageVersion() });
  });

  it("passes helm lint", () => {
    const { code, stdout, stderr } = helm(["lint", "--strict", CHART]);
    assert.equal(code, 0, stdout + stderr);
  });

  it.each(MATRIX)("renders $name as it did", async ({ name, values, ...where }) => {
    const rendering = renderChart({ values, ...where });
    assert.ok(rendering.kind === "rendered", rendering.kind === "refused" ? rendering.message : "");
    await expect(snapshotOf(rendering.text)).toMatchFileSnapshot(join(import.meta.dirname, "snapshots", `${name}.yaml`));
  });

  it.each(MATRIX)("gives the programs flags that they know: $name", ({ values, ...where }) => {
    const workloads = renderedObjects({ values, ...where }).filter(({ kind }) => kind === "Deployment" || kind === "DaemonSet");
    expect(workloads.length).toBeGreaterThan(0);
    for (const workload of workloads) {
      const { argv, env } = commandLine(workload);
      const isSpeaker = workload.kind === "DaemonSet";
      expect(containerOf(workload).args[0]).toBe(isSpeaker ? "/opt/herald/speaker.mjs" : "/opt/herald/controller.mjs");
      expect(isSpeaker ? parseSpeakerFlags(argv, env) : parseControllerFlags(argv, env)).toMatchObject({ kind: "run" });
    }
  });

  it("takes a values file of MetalLB's to mean the same", () => {
    const { values = "", release } = MATRIX.find(({ name }) => name === "from-metallb") ?? {};
    const objects = renderedObjects({ values, ...(release === undefined ? {} : { release }) });
    const speaker = find(objects, "DaemonSet", "lb-speaker");
    const { argv, env } = commandLine(speaker);
    const parsed = parseSpeakerFlags(argv, env);
    assert.ok(parsed.kind === "run");
    expect(parsed.values).toMatchObject({ port: 7472, "lb-class": "example.org/metallb", "ml-bindport": 7947, "ignore-exclude-lb": true });
    expect(speaker.spec?.template?.spec).toMatchObject({
      nodeSelector: { edge: "true", "kubernetes.io/os": "linux" },
      tolerations: [{ key: "dedicated" }],
      volumes: [{ name: "memberlist", secret: { secretName: "my-memberlist" } }],
    });
    expect(commandLine(find(objects, "Deployment", "lb-controller")).env).toMatchObject({ METALLB_ML_SECRET_NAME: "my-memberlist", METALLB_DEPLOYMENT: "lb-controller" });
    expect(containerOf(find(objects, "Deployment", "lb-controller"))).toMatchObject({ readinessProbe: { initialDelaySeconds: 10, periodSeconds: 10 } });
  });

  it.each([
    ["no certificate when nothing is said", "", { insecureSkipVerify: true }],
    ["certificates by an authority", "tlsConfig: {insecureSkipVerify: false, ca: {secret: {name: ca, key: ca.crt}}, serverName: herald}", { insecureSkipVerify: false, ca: { secret: { name: "ca", key: "ca.crt" } }, serverName: "herald" }],
  ])("lets a PodMonitor check %s", (_whose, tlsConfig, expected) => {
    const values = `prometheus: {serviceAccount: p, namespace: m, podMonitor: {enabled: true, ${tlsConfig}}}`;
    const { spec } = find(renderedObjects({ values }), "PodMonitor", "herald-speaker");
    expect(spec?.["podMetricsEndpoints"]).toMatchObject([{ tlsConfig: expected }]);
  });

  it("excludes the interfaces that MetalLB excludes", () => {
    const { data } = find(renderedObjects(), "ConfigMap", "metallb-excludel2") as Rendered & { readonly data: Record<string, string> };
    const patterns = parseExcludeInterfaces(data["excludel2.yaml"] ?? "").map((source) => new RegExp(source));
    const excluded = (name: string): boolean => patterns.some((pattern) => pattern.test(name));
    expect(["docker0", "cbr0", "dummy0", "virbr0", "lxcbr0", "veth1a2b", "lo", "cali12", "tunl0", "flannel.1", "kube-ipvs0", "cni0", "nodelocaldns", "lxc1"].filter((name) => !excluded(name))).toEqual([]);
    expect(["eth0", "ens3", "bond0", "br0", "vlan.10", "lo0"].filter(excluded)).toEqual([]);
  });

  it("makes a new version of the speakers' pods when the list of interfaces changes, for it is read once", () => {
    const template = (values: string): unknown => find(renderedObjects({ values }), "DaemonSet", "herald-speaker").spec?.template;
    expect(template("speaker: {excludeInterfaces: {interfaces: [^eth9$]}}")).not.toEqual(template(""));
  });

  it("keeps every definition when it is uninstalled", () => {
    const definitions = renderedObjects().filter(({ kind }) => kind === "CustomResourceDefinition");
    expect(definitions).toHaveLength(9);
    for (const { metadata } of definitions) expect(metadata.annotations).toMatchObject({ "helm.sh/resource-policy": "keep" });
  });

  it("gives the speaker one capability, and the controller none", () => {
    const objects = renderedObjects();
    const common = { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, seccompProfile: { type: "RuntimeDefault" } };
    expect(containerOf(find(objects, "DaemonSet", "herald-speaker")).securityContext).toEqual({ ...common, runAsUser: 0, runAsGroup: 0, capabilities: { drop: ["ALL"], add: ["NET_RAW"] } });
    expect(containerOf(find(objects, "Deployment", "herald-controller")).securityContext).toEqual({ ...common, capabilities: { drop: ["ALL"] } });
    expect(find(objects, "Deployment", "herald-controller").spec?.template?.spec).toMatchObject({ securityContext: { runAsNonRoot: true, runAsUser: 65534 } });
  });

  it("gives speakers no priority over MetalLB's where no cluster was asked whether it is there, unless a value says so", () => {
    const classOf = (values: string): unknown => find(renderedObjects({ values }), "DaemonSet", "herald-speaker").spec?.template?.spec["priorityClassName"];
    expect(classOf("")).toBeUndefined();
    expect(classOf("speaker: {priorityClassName: system-node-critical}")).toBe("system-node-critical");
  });

  it("names containers and ports as MetalLB's chart does", () => {
    const objects = renderedObjects({ values: "controller: {webhookMode: enabled}" });
    const names = (workload: Rendered): unknown => [containerOf(workload).name, ...containerOf(workload).ports.map(({ name, containerPort }) => `${name} ${containerPort}`)];
    expect(names(find(objects, "Deployment", "herald-controller"))).toEqual(["controller", "metricshttps 9120", "webhook-server 9443"]);
    expect(names(find(objects, "DaemonSet", "herald-speaker"))).toEqual(["speaker", "metricshttps 9120", "memberlist-tcp 7946", "memberlist-udp 7946"]);
  });
});

describe.skipIf(!hasHelm)(`plain manifests${because}`, () => {
  it("hold the namespace, all that the chart renders, and nothing of helm's", () => {
    const text = manifests();
    const kinds = (loadAll(text) as Rendered[]).map(({ kind, metadata }) => `${kind} ${metadata.name}`);
    expect(kinds[0]).toBe("Namespace metallb-system");
    expect(kinds.slice(1)).toEqual(renderedObjects().map(({ kind, metadata }) => `${kind} ${metadata.name}`));
    expect(text).not.toMatch(/helm\.sh|managed-by/);
  });
});
