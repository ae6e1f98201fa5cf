/** The controller's webhooks, called by a real API server: refusals as kubectl shows them, conversion, and the CA bundle. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { KubeConfig } from "@kubernetes/client-node/dist/config.js";
import { load } from "js-yaml";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { QuickMaker } from "../../controller/webhook/fake-certificates.ts";
import { validations } from "../../controller/webhook/validation.ts";
import { Webhooks } from "../../controller/webhook/webhooks.ts";
import { createKubeClient } from "../../kube/http-client.ts";
import { nodes, secrets } from "../../kube/objects.ts";
import { customResourceDefinitions, validatingWebhookConfigurations } from "../../kube/registrations.ts";
import { systemClock } from "../../sys/clock.ts";
import { silentLogger } from "../../sys/log.ts";
import { startApiServer, type ApiServer, type KubectlResult } from "./api-server.ts";
import { findApiServerBinaries } from "./binaries.ts";

const CRDS = join(import.meta.dirname, "../../crds");
const found = findApiServerBinaries();
const namespace = "metallb-system";
const HOST = "127.0.0.1";
const WAIT = { timeout: 60_000, interval: 200 };
/** What MetalLB's definition of the former version lacks. */
const ONLY_TODAYS = ["localASN", "dynamicASN", "interface", "connectTime", "passwordSecret", "enableGracefulRestart", "vrf", "disableMP", "dualStackAddressFamily"];

describe.skipIf(found.kind === "missing")(`webhooks on a real API server${found.kind === "missing" ? ` (${found.reason})` : ""}`, () => {
  let server: ApiServer;
  let client: ReturnType<typeof createKubeClient>;
  const replicas: Webhooks[] = [];

  beforeAll(async () => {
    server = await startApiServer();
    const kubeConfig = new KubeConfig();
    kubeConfig.loadFromFile(server.kubeconfig);
    client = createKubeClient({ kubeConfig, userAgent: "herald-test", clock: systemClock });
    expect(await server.kubectl(["create", "namespace", namespace])).toMatchObject({ code: 0 });
    expect(await server.kubectl(["apply", "-f", CRDS])).toMatchObject({ code: 0 });
    expect(await server.kubectl(["wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"])).toMatchObject({ code: 0 });
    // As an installation brings it along: empty, for the replicas to fill.
    await client.create(secrets, { metadata: { namespace, name: "metallb-webhook-cert" }, type: "Opaque" });
    for (const maker of [new QuickMaker(), new QuickMaker()]) {
      const replica = new Webhooks({ client, clock: systemClock, log: silentLogger, namespace, serviceName: "metallb-webhook-service", secretName: "metallb-webhook-cert", host: HOST, port: 0, extraNames: [HOST], http2: replicas.length === 1, maker });
      replicas.push(replica);
      replica.start();
    }
    await until(() => replicas.every(({ port }) => port !== undefined));
    await register(0);
  }, 180_000);
  afterAll(async () => {
    await Promise.all(replicas.map((replica) => replica.stop()));
    client?.close();
    await server?.stop();
  });

  function url(replica: number, path: string): string {
    return `https://${HOST}:${replicas[replica]?.port}${path}`;
  }

  async function until(reached: () => boolean | Promise<boolean>): Promise<void> {
    await vi.waitFor(async () => expect(await reached()).toBe(true), WAIT);
  }

  /** Has the API server call a replica, whose CA bundle the other one writes, and waits until it does. */
  async function register(replica: number): Promise<void> {
    const webhooks = [...validations].map(([path, { type }], index) => ({
      name: `w${index}.metallb.io`, admissionReviewVersions: ["v1"], sideEffects: "None", failurePolicy: "Fail", clientConfig: { url: url(replica, path) },
      rules: [{ apiGroups: [type.group], apiVersions: [type.version], operations: ["CREATE", "UPDATE", "DELETE"], resources: [type.plural] }],
    }));
    const name = "metallb-webhook-configuration";
    await server.kubectl(["delete", "validatingwebhookconfiguration", name, "--ignore-not-found"]);
    await client.create(validatingWebhookConfigurations, { metadata: { name }, webhooks });
    await replicas[1 - replica]?.register();
    expect((await client.get(validatingWebhookConfigurations, { name })).webhooks?.map(({ clientConfig }) => clientConfig.caBundle ?? "")).not.toContain("");
    // The API server hears of it through a watch.
    await until(async () => (await apply("Community", "probe", { communities: [{ name: "probe", value: "bad" }] })).stderr.includes("denied the request: Community"));
  }

  function apply(kind: string, name: string, spec: unknown, { version = kind === "BGPPeer" ? "v1beta2" : "v1beta1", into = namespace } = {}): Promise<KubectlResult> {
    return server.kubectl(["apply", "-f", "-"], { input: JSON.stringify({ apiVersion: `metallb.io/${version}`, kind, metadata: { namespace: into, name }, spec }) });
  }

  const taken = { code: 0 };
  const refused = (message: string): object => ({ code: 1, stderr: expect.stringContaining(message) });
  const peer = (address: string, rest: object = {}): object => ({ myASN: 64512, peerASN: 64513, peerAddress: address, ...rest });

  it("refuse what crosses objects, and say which field of which object", async () => {
    expect(await apply("IPAddressPool", "a", { addresses: ["10.0.0.0/24"] })).toMatchObject(taken);
    expect(await apply("IPAddressPool", "b", { addresses: ["10.0.0.128/25"] })).toMatchObject(refused('denied the request: IPAddressPool "b": spec.addresses[0]: CIDR "10.0.0.128/25" in pool "b" overlaps with already defined CIDR "10.0.0.0/24"'));
    expect(await apply("IPAddressPool", "b", { addresses: ["10.0.1.0/28"] })).toMatchObject(taken);
    expect(await apply("IPAddressPool", "b", { addresses: ["10.0.0.0/28"] }), "an update").toMatchObject(refused("overlaps"));
    expect(await apply("IPAddressPool", "c", { addresses: ["10.2.0.0/24"] }, { into: "default" })).toMatchObject(refused("resource must be created in metallb-system namespace"));
    expect(await apply("BGPAdvertisement", "a", { aggregationLength: 26, ipAddressPools: ["b"] })).toMatchObject(refused("invalid aggregation length 26: prefix 28 in this pool is more specific"));
    expect(await apply("L2Advertisement", "a", { ipAddressPools: ["a", "a"] })).toMatchObject(refused("duplicate definition of ipAddressPools"));
    expect(await apply("Community", "a", { communities: [{ name: "x", value: "1:1" }] })).toMatchObject(taken);
    expect(await apply("Community", "b", { communities: [{ name: "x", value: "1:1" }] })).toMatchObject(refused('duplicate definition of community "x"'));
  }, 120_000);

  it("judge peers by the nodes that exist, in both versions", async () => {
    await client.create(nodes, { metadata: { name: "n1", labels: { zone: "a" } } });
    await client.create(nodes, { metadata: { name: "n2", labels: { zone: "b" } } });
    const zone = (name: string): object => ({ nodeSelectors: [{ matchLabels: { zone: name } }] });
    expect(await apply("BGPPeer", "a", peer("10.9.0.1", zone("a")))).toMatchObject(taken);
    expect(await apply("BGPPeer", "b", peer("10.9.0.1", zone("b")))).toMatchObject(taken);
    expect(await apply("BGPPeer", "c", peer("10.9.0.1"))).toMatchObject(refused('BGPPeer "a" already exists for address 10.9.0.1'));
    expect(await apply("BGPPeer", "c", peer("nonsense"), { version: "v1beta1" })).toMatchObject(refused('invalid BGPPeer address "nonsense"'));
    expect(await apply("BGPPeer", "c", peer("10.9.0.3", { disableMP: true }))).toMatchObject({ code: 0, stderr: expect.stringContaining("spec.disableMP is deprecated") });
  }, 120_000);

  it("keep a BFD profile that is in use", async () => {
    expect(await apply("BFDProfile", "fast", { receiveInterval: 50 })).toMatchObject(taken);
    expect(await apply("BGPPeer", "watched", peer("10.9.0.9", { bfdProfile: "fast" }))).toMatchObject(taken);
    expect(await server.kubectl(["delete", "bfdprofiles", "fast", "-n", namespace])).toMatchObject(refused('failed to delete BFDProfile "fast", used by BGPPeer "watched"'));
    expect(await server.kubectl(["delete", "bgppeers", "watched", "-n", namespace])).toMatchObject(taken);
    expect(await server.kubectl(["delete", "bfdprofiles", "fast", "-n", namespace])).toMatchObject(taken);
  }, 120_000);

  it("convert peers for a definition that asks for it, as MetalLB's does, and lose nothing", async () => {
    const definition = load(readFileSync(join(CRDS, "bgppeer.yaml"), "utf8")) as { spec: { conversion: unknown; versions: { name: string; schema: { openAPIV3Schema: { properties: { spec: { properties: Record<string, unknown>; "x-kubernetes-validations"?: unknown } } } } }[] } };
    for (const { name, schema } of definition.spec.versions) {
      const { spec } = schema.openAPIV3Schema.properties;
      if (name !== "v1beta1") continue;
      delete spec["x-kubernetes-validations"];
      for (const field of ONLY_TODAYS) delete spec.properties[field];
    }
    definition.spec.conversion = { strategy: "Webhook", webhook: { conversionReviewVersions: ["v1beta1", "v1beta2", "v1"], clientConfig: { url: url(1, "/convert") } } };
    expect(await server.kubectl(["replace", "-f", "-"], { input: JSON.stringify(definition) })).toMatchObject(taken);
    await replicas[0]?.register();
    expect((await client.get(customResourceDefinitions, { name: "bgppeers.metallb.io" })).spec?.conversion?.webhook?.clientConfig?.caBundle ?? "").not.toBe("");

    const spec = async (version: string): Promise<unknown> => {
      const { stdout } = await server.kubectl(["get", `bgppeers.${version}.metallb.io`, "conv", "-n", namespace, "-o", "json"]);
      return stdout === "" ? undefined : (JSON.parse(stdout) as { spec: unknown }).spec;
    };
    await until(async () => (await apply("BGPPeer", "conv", peer("10.9.0.5", { peerPort: 0 }), { version: "v1beta1" })).code === 0);
    expect(await spec("v1beta2"), "no timer appears").toEqual({ myASN: 64512, peerASN: 64513, peerAddress: "10.9.0.5", peerPort: 179, disableMP: false, dualStackAddressFamily: false });
    expect(await server.kubectl(["patch", "bgppeers.v1beta2.metallb.io", "conv", "-n", namespace, "--type=merge", "-p", '{"spec":{"vrf":"red","connectTime":"5s"}}'])).toMatchObject(taken);
    expect(await spec("v1beta1")).toEqual({ myASN: 64512, peerASN: 64513, peerAddress: "10.9.0.5", peerPort: 179 });
    expect(await server.kubectl(["patch", "bgppeers.v1beta1.metallb.io", "conv", "-n", namespace, "--type=merge", "-p", '{"spec":{"holdTime":"9s"}}'])).toMatchObject(taken);
    expect(await spec("v1beta2")).toMatchObject({ holdTime: "9s", vrf: "red", connectTime: "5s" });
    const { stdout } = await server.kubectl(["get", "bgppeers", "conv", "-n", namespace, "-o", "jsonpath={.metadata.annotations}"]);
    expect(stdout, "the annotation is gone where its fields are").not.toContain("v1beta2-fields");
  }, 180_000);

  it("are the same from another replica, over HTTP/2 too", async () => {
    await register(1);
    expect(await apply("IPAddressPool", "z", { addresses: ["10.0.0.0/25"] })).toMatchObject(refused("overlaps"));
  }, 180_000);
});
