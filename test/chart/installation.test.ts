/** The chart on a real API server: every object is accepted, rights are no wider than said, and helm's verbs do what users expect. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { CHART, helm, type HelmResult, packageVersion, renderChart } from "../../scripts/chart-render.ts";
import { manifests } from "../../scripts/manifests.ts";
import { startApiServer, type ApiServer, type KubectlResult } from "../apiserver/api-server.ts";
import { findApiServerBinaries } from "../apiserver/binaries.ts";
import { eventually } from "../lab/eventually.ts";
import { findProgram } from "../lab/programs.ts";
import { MATRIX } from "./matrix.ts";
import { renderedObjects, type Rule } from "./objects.ts";

const found = findApiServerBinaries();
const missing = found.kind === "missing" ? found.reason : findProgram("helm") === undefined ? "no helm: run 'scripts/setup full'" : undefined;

const NAMESPACE = "metallb-system";

/** Longest wait for a test of several installations, ms; each takes a second or two. */
const INSTALLATIONS_MS = 120_000;

/** The monitors' kinds are other people's: here it matters that they are there, not what they check. */
function monitoringDefinition(kind: string, plural: string): unknown {
  return {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name: `${plural}.monitoring.coreos.com` },
    spec: {
      group: "monitoring.coreos.com",
      scope: "Namespaced",
      names: { kind, plural },
      versions: [{ name: "v1", served: true, storage: true, schema: { openAPIV3Schema: { type: "object", properties: { spec: { type: "object", "x-kubernetes-preserve-unknown-fields": true } } } } }],
    },
  };
}

/** A DaemonSet that may be MetalLB's speaker. */
function daemonSet(labels: Readonly<Record<string, string>>, image: string): unknown {
  return {
    apiVersion: "apps/v1",
    kind: "DaemonSet",
    metadata: { name: "lb", namespace: NAMESPACE, labels },
    spec: { selector: { matchLabels: { x: "y" } }, template: { metadata: { labels: { x: "y" } }, spec: { containers: [{ name: "speaker", image }] } } },
  };
}

describe.skipIf(missing !== undefined)(`the chart on an API server${missing === undefined ? "" : ` (${missing})`}`, () => {
  let server: ApiServer;

  beforeAll(async () => {
    server = await startApiServer();
    for (const name of [NAMESPACE, "network"]) await run(["create", "namespace", name]);
    for (const [kind, plural] of [["PodMonitor", "podmonitors"], ["ServiceMonitor", "servicemonitors"], ["PrometheusRule", "prometheusrules"]] as const) {
      await apply(monitoringDefinition(kind, plural));
    }
    await run(["wait", "--for=condition=Established", "--timeout=30s", "crd", "--all"]);
  });
  afterAll(() => server?.stop());

  /** Runs kubectl, which must succeed. */
  async function run(args: readonly string[], input?: string): Promise<KubectlResult> {
    const result = await server.kubectl(args, input === undefined ? {} : { input });
    assert.equal(result.code, 0, `kubectl ${args.join(" ")}: ${result.stderr}`);
    return result;
  }

  async function apply(object: unknown): Promise<void> {
    await run(["apply", "-f", "-"], JSON.stringify(object));
  }

  function helmHere(...args: string[]): HelmResult {
    return helm(args, { env: { KUBECONFIG: server.kubeconfig } });
  }

  /** helm must succeed. */
  function mustHelm(...args: string[]): HelmResult {
    const result = helmHere(...args);
    assert.equal(result.code, 0, `helm ${args.join(" ")}: ${result.stderr}`);
    return result;
  }

  it.each(MATRIX)("is accepted object by object: $name", async ({ values, ...where }) => {
    const rendering = renderChart({ values, ...where });
    assert.ok(rendering.kind === "rendered");
    const { stdout } = await run(["apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-"], rendering.text);
    expect(stdout.trim().split("\n")).toHaveLength(renderedObjects({ values, ...where }).length);
  });

  it("installs, upgrades, and leaves users' resources when it is uninstalled; the next installation takes them up", { timeout: INSTALLATIONS_MS }, async () => {
    const where = ["-n", NAMESPACE];
    const installed = mustHelm("install", "herald", CHART, ...where).stdout;
    expect(installed).toContain("Next, say which addresses it may give away");
    expect(installed).toContain(`No registry has the image herald:${packageVersion()}: load it on every node`);
    expect(installed).not.toContain("rollout restart");
    expect((await run(["get", "daemonset", "herald-speaker", ...where, "-o", "jsonpath={.spec.template.spec.priorityClassName}"])).stdout).toBe("system-node-critical");
    await run(["wait", "--for=condition=Established", "--timeout=30s", "crd/ipaddresspools.metallb.io"]);
    await apply({ apiVersion: "metallb.io/v1beta1", kind: "IPAddressPool", metadata: { name: "p", namespace: NAMESPACE }, spec: { addresses: ["192.0.2.0/24"] } });

    const upgraded = mustHelm("upgrade", "herald", CHART, ...where, "--set", "controller.replicas=3").stdout;
    expect(upgraded).toContain(`kubectl -n ${NAMESPACE} rollout restart deployment/herald-controller daemonset/herald-speaker`);
    expect(mustHelm("upgrade", "herald", CHART, ...where, "--set", "image.repository=registry.example/herald", "--set", "speaker.enabled=false", "--dry-run=client").stdout).not.toMatch(/No registry|daemonset\/herald-speaker/);
    expect((await run(["get", "deployment", "herald-controller", ...where, "-o", "jsonpath={.spec.replicas}"])).stdout).toBe("3");
    const second = helmHere("install", "second", CHART, "-n", "network");
    expect(second.stderr).toMatch(/(DaemonSet|Deployment) metallb-system\/herald-\w+ is there already: two load balancers/);

    mustHelm("uninstall", "herald", ...where);
    expect((await run(["get", "ipaddresspools", ...where, "-o", "name"])).stdout).toContain("/p");
    expect((await run(["get", "daemonsets,deployments,configmaps,serviceaccounts,roles,rolebindings", ...where, "-o", "name"])).stdout).not.toContain("herald");

    mustHelm("install", "herald", CHART, ...where);
    mustHelm("uninstall", "herald", ...where);
    expect(helmHere("install", "other", CHART, "-n", "network").stderr).toContain("invalid ownership metadata");
    mustHelm("install", "other", CHART, "-n", "network", "--take-ownership");
    mustHelm("uninstall", "other", "-n", "network");
  });

  describe("what a controller would make otherwise", () => {
    const where = ["-n", NAMESPACE];
    const secret = async (): Promise<string> => (await run(["get", "secret", "metallb-memberlist", ...where, "--ignore-not-found", "-o", "jsonpath={.data.secretkey}"])).stdout;
    const decoded = (text: string): string => Buffer.from(text, "base64").toString();

    it("the membership protocol's key comes with the installation, stays the same in an upgrade, and goes with it; the next one is another", { timeout: INSTALLATIONS_MS }, async () => {
      mustHelm("install", "herald", CHART, ...where, "--set", "crds.enabled=false");
      const first = await secret();
      // As MetalLB makes it: sixteen bytes in base64 without padding.
      expect(decoded(first)).toMatch(/^[A-Za-z0-9+/]{22}$/);
      mustHelm("upgrade", "herald", CHART, ...where, "--set", "crds.enabled=false", "--set", "speaker.logLevel=debug");
      expect(await secret()).toBe(first);
      mustHelm("uninstall", "herald", ...where);
      expect(await secret()).toBe("");
      mustHelm("install", "herald", CHART, ...where, "--set", "crds.enabled=false");
      expect(await secret()).toMatch(/./);
      expect(await secret()).not.toBe(first);
      mustHelm("uninstall", "herald", ...where);
    });

    it("the key is left to itself where somebody else has made it", { timeout: INSTALLATIONS_MS }, async () => {
      await apply({ apiVersion: "v1", kind: "Secret", metadata: { name: "metallb-memberlist", namespace: NAMESPACE }, stringData: { secretkey: "made elsewhere" } });
      mustHelm("install", "herald", CHART, ...where, "--set", "crds.enabled=false");
      mustHelm("upgrade", "herald", CHART, ...where, "--set", "crds.enabled=false");
      mustHelm("uninstall", "herald", ...where);
      expect(decoded(await secret())).toBe("made elsewhere");
      await run(["delete", "secret", "metallb-memberlist", ...where]);
    });

    it("the Lease comes and goes with the installation", { timeout: INSTALLATIONS_MS }, async () => {
      const lease = async (path: string): Promise<string> => (await run(["get", "lease", "herald-controller", ...where, "--ignore-not-found", "-o", `jsonpath={${path}}`])).stdout;
      mustHelm("install", "herald", CHART, ...where, "--set", "crds.enabled=false");
      await run(["patch", "lease", "herald-controller", ...where, "--type=merge", "-p", '{"spec":{"holderIdentity":"somebody","leaseDurationSeconds":15}}']);
      mustHelm("upgrade", "herald", CHART, ...where, "--set", "crds.enabled=false");
      expect(await lease(".spec.holderIdentity")).toBe("somebody");
      mustHelm("uninstall", "herald", ...where);
      expect(await lease(".metadata.name")).toBe("");
    });

    it("an upgrade leaves the webhooks' certificate and registration as the controller wrote them", { timeout: INSTALLATIONS_MS }, async () => {
      const read = async (...what: string[]): Promise<string> => (await run(["get", ...what])).stdout;
      const bundle = (): Promise<string> => read("validatingwebhookconfiguration", "metallb-webhook-configuration", "-o", "jsonpath={.webhooks[*].clientConfig.caBundle}");
      mustHelm("install", "herald", CHART, ...where, "--set", "crds.enabled=false");
      const { webhooks } = JSON.parse(await read("validatingwebhookconfiguration", "metallb-webhook-configuration", "-o", "json")) as { webhooks: { clientConfig: object }[] };
      // Any authority does, as long as nothing is called.
      const caBundle = Buffer.from(server.certificateAuthority).toString("base64");
      const registered = webhooks.map((webhook) => ({ ...webhook, clientConfig: { ...webhook.clientConfig, caBundle } }));
      await run(["patch", "validatingwebhookconfiguration", "metallb-webhook-configuration", "--type=merge", "-p", JSON.stringify({ webhooks: registered })]);
      await run(["patch", "secret", "metallb-webhook-cert", ...where, "--type=merge", "-p", JSON.stringify({ data: { "tls.crt": caBundle } })]);
      const before = await bundle();
      mustHelm("upgrade", "herald", CHART, ...where, "--set", "crds.enabled=false", "--set", "crds.validationFailurePolicy=Fail");
      expect(await bundle()).toBe(before);
      expect(await read("secret", "metallb-webhook-cert", ...where, "-o", "jsonpath={.data.tls\\.crt}")).toBe(caBundle);
      mustHelm("uninstall", "herald", ...where);
    });

    it("key and Lease are not rendered without a cluster, where each rendering would make another key", () => {
      expect(renderedObjects().filter(({ kind, metadata }) => kind === "Lease" || metadata.name === "metallb-memberlist")).toEqual([]);
    });
  });

  it.each([
    ["its manifests", { app: "metallb", component: "speaker" }, "internal/lb:v1"],
    ["its chart", { "app.kubernetes.io/name": "metallb", "app.kubernetes.io/component": "speaker" }, "internal/lb:v1"],
    ["a mirror of its image", {}, "example.com/mirrored-metallb-speaker:v0.15"],
  ])("is not installed beside MetalLB, known by %s", async (_by, labels, image) => {
    await apply(daemonSet(labels, image));
    const { code, stderr } = helmHere("install", "herald", CHART, "-n", NAMESPACE, "--set", "crds.enabled=false");
    await run(["delete", "daemonset", "lb", "-n", NAMESPACE]);
    expect(code).not.toBe(0);
    expect(stderr.replaceAll(/\s+/g, " ")).toContain("DaemonSet metallb-system/lb is there already: two load balancers that give addresses to the same Services would take them from one another. Uninstall it first");
  });

  it("is installed beside a speaker of another kind", { timeout: INSTALLATIONS_MS }, async () => {
    await apply(daemonSet({ app: "music" }, "example.com/music:v1"));
    const { code, stderr } = helmHere("install", "herald", CHART, "-n", NAMESPACE, "--set", "crds.enabled=false");
    await run(["delete", "daemonset", "lb", "-n", NAMESPACE]);
    assert.equal(code, 0, stderr);
    mustHelm("uninstall", "herald", "-n", NAMESPACE);
  });

  describe("what MetalLB leaves when only its workloads are deleted is taken over", () => {
    const where = ["-n", NAMESPACE];
    const service = { name: "metallb-webhook-service", namespace: NAMESPACE };
    const crd = "crd/bgppeers.metallb.io";
    const conversion = async (): Promise<unknown> => JSON.parse((await run(["get", crd, "-o", "jsonpath={.spec.conversion}"])).stdout);
    const selector = async (): Promise<unknown> => JSON.parse((await run(["get", "service", service.name, ...where, "-o", "jsonpath={.spec.selector}"])).stdout);

    /** A definition that converts by a webhook of MetalLB's, as its chart and its manifests have it. */
    async function leaveDefinition(): Promise<void> {
      // A test before this one may have left it.
      await server.kubectl(["create", "-f", join(CHART, "../../crds/bgppeer.yaml")]);
      const clientConfig = { service: { ...service, path: "/convert" }, caBundle: Buffer.from(server.certificateAuthority).toString("base64") };
      await run(["patch", crd, "--type=merge", "-p", JSON.stringify({ spec: { conversion: { strategy: "Webhook", webhook: { conversionReviewVersions: ["v1beta1", "v1beta2"], clientConfig } } } })]);
      expect(await conversion()).toMatchObject({ strategy: "Webhook" });
    }

    it("by helm: the definition that converts by a webhook, and the Service of the webhooks with the labels of MetalLB's manifests", { timeout: INSTALLATIONS_MS }, async () => {
      await leaveDefinition();
      await apply({ apiVersion: "v1", kind: "Service", metadata: service, spec: { selector: { component: "controller" }, ports: [{ port: 443, targetPort: 9443 }] } });
      mustHelm("install", "herald", CHART, ...where, "--take-ownership");
      expect(await conversion()).toEqual({ strategy: "None" });
      const ours = { "app.kubernetes.io/name": "herald", "app.kubernetes.io/instance": "herald", "app.kubernetes.io/component": "controller" };
      expect(await selector()).toEqual(ours);
      mustHelm("upgrade", "herald", CHART, ...where);
      expect([await conversion(), await selector()]).toEqual([{ strategy: "None" }, ours]);
      mustHelm("uninstall", "herald", ...where);
    });

    it("by plain manifests, once the definition converts by nothing, as docs/install.md tells", async () => {
      await leaveDefinition();
      const command = /^ *kubectl patch (crd bgppeers\.metallb\.io) --type=json -p '(.*)'$/m.exec(readFileSync(join(CHART, "../../docs/install.md"), "utf8"));
      assert.ok(command?.[1] !== undefined && command[2] !== undefined, "docs/install.md has the command");
      await run(["patch", ...command[1].split(" "), "--type=json", "-p", command[2]]);
      const text = manifests();
      await run(["apply", "--server-side", "--force-conflicts", "-f", "-"], text);
      expect(await conversion()).toEqual({ strategy: "None" });
      const own = text.split(/^---\n/m).filter((document) => !/^kind: (?:Namespace|CustomResourceDefinition)$/m.test(document)).join("---\n");
      await run(["delete", "--ignore-not-found", "-f", "-"], own);
    });
  });

  describe("rights", () => {
    const controller = "herald-controller";
    const speaker = "herald-speaker";

    beforeAll(async () => {
      const rendering = renderChart();
      assert.ok(rendering.kind === "rendered");
      await run(["apply", "--server-side", "--force-conflicts", "-f", "-"], rendering.text);
      // The API server judges by a cache of its own, which knows a moment later.
      await eventually(async () => {
        for (const account of [controller, speaker]) assert.ok(await can(account, "list", "services"), account);
      }, { timeoutMs: 20_000, what: "the roles are in force" });
    });

    async function can(account: string, ...what: string[]): Promise<boolean> {
      const { stdout } = await server.kubectl(["auth", "can-i", ...what, `--as=system:serviceaccount:${NAMESPACE}:${account}`]);
      return stdout.trim() === "yes";
    }

    it.each([
      [controller, true, ["patch", "services", "--subresource=status", "-n", "default"]],
      [controller, true, ["get", "secret/metallb-memberlist", "-n", NAMESPACE]],
      [controller, true, ["patch", "lease.coordination.k8s.io/herald-controller", "-n", NAMESPACE]],
      [controller, false, ["patch", "services", "-n", "default"]],
      [controller, false, ["get", "secret/other", "-n", NAMESPACE]],
      [controller, false, ["list", "secrets", "-n", NAMESPACE]],
      [controller, false, ["get", "secret/metallb-memberlist", "-n", "default"]],
      [controller, false, ["patch", "lease.coordination.k8s.io/other", "-n", NAMESPACE]],
      [controller, false, ["patch", "ipaddresspools.metallb.io", "-n", NAMESPACE]],
      [controller, false, ["watch", "pods", "-n", NAMESPACE]],
      [controller, false, ["list", "pods", "-n", "default"]],
      [controller, true, ["patch", "validatingwebhookconfigurations/metallb-webhook-configuration"]],
      [controller, false, ["patch", "validatingwebhookconfigurations/other"]],
      [controller, false, ["patch", "customresourcedefinitions/bgppeers.metallb.io"]],
      [speaker, true, ["watch", "nodes"]],
      [speaker, true, ["delete", "servicel2statuses.metallb.io", "-n", NAMESPACE]],
      [speaker, false, ["get", "secret/metallb-memberlist", "-n", NAMESPACE]],
      [speaker, false, ["create", "secrets", "-n", NAMESPACE]],
      [speaker, false, ["patch", "services", "--subresource=status", "-n", "default"]],
      [speaker, false, ["list", "pods", "-n", "default"]],
      [speaker, false, ["delete", "ipaddresspools.metallb.io", "-n", NAMESPACE]],
      [speaker, false, ["patch", "nodes"]],
      [speaker, false, ["get", "validatingwebhookconfigurations/other"]],
    ] as const)("%s: %s for %j", async (account, expected, what) => {
      expect(await can(account, ...what)).toBe(expected);
    });
  });
});

describe.skipIf(missing !== undefined)(`rights of all cases${missing === undefined ? "" : ` (${missing})`}`, () => {
  const page = readFileSync(join(import.meta.dirname, "../../docs/chart.md"), "utf8");
  const rows = page.split("\n").filter((line) => /^\| (controller|speaker|controller, speaker) \| (cluster|own) \|/.test(line)).map((line) => line.split("|").map((cell) => cell.trim()));
  const rules = MATRIX.flatMap(({ values, ...where }) => renderedObjects({ values, ...where }))
    .filter(({ kind, metadata }) => (kind === "Role" || kind === "ClusterRole") && !/prometheus|metrics-reader/.test(metadata.name))
    .flatMap(({ kind, metadata, rules: list = [] }) => list.map((rule) => ({ rule, who: metadata.name.endsWith("speaker") ? "speaker" : "controller", where: kind === "Role" ? "own" : "cluster" })));

  it("have no wildcard, and each verb is in the table of docs/chart.md", () => {
    expect(rules.length).toBeGreaterThan(20);
    for (const { rule, who, where } of rules) {
      const words = [...(rule.apiGroups ?? []), ...(rule.resources ?? []), ...rule.verbs];
      expect(words).not.toContain("*");
      for (const resource of rule.resources ?? []) {
        const cells = rows.filter(([, whom = "", place]) => whom.includes(who) && place === where).map(([, , , what = ""]) => what).filter((what) => what.includes(resource));
        expect(rule.verbs.filter((verb) => !cells.some((cell) => cell.includes(verb))), `${who}: ${describeRule(rule)} is not in docs/chart.md`).toEqual([]);
      }
    }
  });
});

function describeRule({ resources = [], verbs }: Rule): string {
  return `${verbs.join(", ")} of ${resources.join(", ")}`;
}
