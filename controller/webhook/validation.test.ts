import assert from "node:assert/strict";
import { describe, expect, it } from "vitest";
import { KubeError } from "../../kube/client.ts";
import { FakeKubeClient } from "../../kube/fake-client.ts";
import { bfdProfiles, bgpAdvertisements, bgpPeers, communities, type CustomResource, ipAddressPools, l2Advertisements, nodes, type ResourceType } from "../../kube/objects.ts";
import { webhookRoutes } from "./webhooks.ts";

const namespace = "metallb-system";
type Kind = "ipaddresspool" | "l2advertisement" | "bgpadvertisement" | "community" | "bfdprofile" | "bgppeer";
const types: Readonly<Record<Kind, ResourceType<CustomResource>>> = {
  ipaddresspool: ipAddressPools, l2advertisement: l2Advertisements, bgpadvertisement: bgpAdvertisements, community: communities, bfdprofile: bfdProfiles, bgppeer: bgpPeers,
};

function object(name: string, spec?: unknown, metadata: object = {}): CustomResource {
  return { metadata: { namespace, name, ...metadata }, ...(spec === undefined ? {} : { spec }) };
}

interface Answer {
  readonly uid: string;
  readonly allowed: boolean;
  readonly status?: { readonly message: string; readonly code: number };
  readonly warnings?: readonly string[];
}

/** The API server, as far as the webhooks see it, and its questions. */
class Cluster {
  readonly client = new FakeKubeClient();

  has(kind: Kind, name: string, spec: unknown, metadata: object = {}): this {
    this.client.put(types[kind], object(name, spec, metadata));
    return this;
  }

  node(name: string, labels: Record<string, string>): this {
    this.client.put(nodes, { metadata: { name, labels } });
    return this;
  }

  async ask(kind: Kind, request: object): Promise<Answer> {
    const version = kind === "bgppeer" ? "v1beta2" : "v1beta1";
    const route = webhookRoutes({ client: this.client, namespace }).get(`/validate-metallb-io-${version}-${kind}`);
    assert.ok(route !== undefined);
    const review = await route({ apiVersion: "admission.k8s.io/v1", kind: "AdmissionReview", request: { uid: "u-1", namespace, ...request } });
    expect(review).toMatchObject({ apiVersion: "admission.k8s.io/v1", kind: "AdmissionReview", response: { uid: "u-1" } });
    return (review as { response: Answer }).response;
  }

  create(kind: Kind, name: string, spec: unknown, metadata: object = {}): Promise<Answer> {
    return this.ask(kind, { operation: "CREATE", name, object: object(name, spec, metadata), oldObject: null });
  }

  update(kind: Kind, name: string, { from, to, metadata = {} }: { from: unknown; to: unknown; metadata?: object }): Promise<Answer> {
    this.client.put(types[kind], object(name, from));
    return this.ask(kind, { operation: "UPDATE", name, object: object(name, to, metadata), oldObject: object(name, from) });
  }
}

const peer = (spec: object = {}): object => ({ myASN: 64512, peerASN: 64513, peerAddress: "10.0.0.1", ...spec });
const pool = (...addresses: string[]): object => ({ addresses });

describe("each rule is told with object and field", () => {
  it.each<[Kind, unknown, string]>([
    ["ipaddresspool", { addresses: [] }, 'IPAddressPool "new": spec.addresses: pool has no prefixes defined'],
    ["ipaddresspool", pool("10.0.0.300/24"), 'IPAddressPool "new": spec.addresses[0]: invalid CIDR "10.0.0.300/24"'],
    ["ipaddresspool", pool("10.0.0.9-10.0.0.1"), "spec.addresses[0]: invalid IP range"],
    ["ipaddresspool", pool("10.0.0.0/24", "10.0.0.7-10.0.0.9"), 'CIDR "10.0.0.7-10.0.0.9" in pool "new" overlaps with already defined CIDR "10.0.0.0/24"'],
    ["ipaddresspool", { ...pool("10.0.0.0/24"), serviceAllocation: { namespaces: ["a", "a"] } }, 'spec.serviceAllocation.namespaces[1]: duplicate definition of namespaces "a"'],
    ["ipaddresspool", { ...pool("10.0.0.0/24"), serviceAllocation: { serviceSelectors: [{}, {}] } }, "spec.serviceAllocation.serviceSelectors[1]: duplicate definition of serviceSelectors"],
    ["l2advertisement", { ipAddressPools: ["a", "a"] }, 'L2Advertisement "new": spec.ipAddressPools[1]: duplicate definition of ipAddressPools "a"'],
    ["l2advertisement", { nodeSelectors: [{ matchExpressions: [{ key: "a", operator: "In", values: ["b", "b"] }] }] }, "duplicate definition of match expression value"],
    ["l2advertisement", { nodeSelectors: [{ matchLabels: { "a/b/c": "d" } }] }, "invalid label key"],
    ["bgpadvertisement", { aggregationLength: 26, ipAddressPools: ["small"] }, 'BGPAdvertisement "new": spec.aggregationLength: invalid aggregation length 26: prefix 28 in this pool is more specific than the aggregation length for addresses 172.16.1.0/28'],
    ["bgpadvertisement", { serviceSelectors: [{}], aggregationLength: 24 }, "mutually exclusive"],
    ["bgpadvertisement", { communities: ["1:99999"] }, 'spec.communities[0]: invalid community value: invalid section "99999"'],
    ["bgpadvertisement", { peers: ["a", "a"] }, "duplicate definition of peers"],
    ["bgpadvertisement", { communities: ["a", "a"] }, "duplicate definition of community"],
    ["bgpadvertisement", { localPref: 7, ipAddressPools: ["small"] }, 'spec.localPref: invalid local preference 7: BGPAdvertisement "existing" gives 100 to the same prefixes'],
    ["bgppeer", { peerASN: 1, peerAddress: "10.0.0.9" }, 'BGPPeer "new": spec.myASN: missing local ASN'],
    ["bgppeer", peer({ dynamicASN: "internal" }), "peerASN and dynamicASN exclude each other"],
    ["bgppeer", peer({ peerASN: 64512, ebgpMultiHop: true }), "spec.ebgpMultiHop: invalid for an iBGP peer"],
    ["bgppeer", peer({ interface: "eth0" }), "peerAddress and interface exclude each other"],
    ["bgppeer", peer({ peerAddress: "router" }), 'spec.peerAddress: invalid BGPPeer address "router"'],
    ["bgppeer", peer({ routerID: "x" }), 'invalid router ID "x"'],
    ["bgppeer", peer({ sourceAddress: "x" }), 'invalid source IP "x"'],
    ["bgppeer", peer({ holdTime: "2s" }), "invalid hold time of 2 s"],
    ["bgppeer", peer({ password: "p", passwordSecret: { name: "s" } }), "password and passwordSecret exclude each other"],
    ["bgppeer", peer({ peerAddress: "10.0.0.7" }), 'BGPPeer "existing" already exists for address 10.0.0.7, and both select the same node'],
    ["community", { communities: [{ name: "a", value: "1:2:3" }] }, 'Community "new": spec.communities[0].value: invalid community value: expected community'],
    ["community", { communities: [{ name: "taken", value: "1:2" }] }, 'duplicate definition of community "taken"'],
    ["bfdprofile", { receiveInterval: 1 }, 'BFDProfile "new": spec.receiveInterval: must be from 10 to 60000, not 1'],
  ])("%s %j", async (kind, spec, message) => {
    const cluster = new Cluster().has("ipaddresspool", "small", pool("172.16.1.0/28"));
    cluster.has("bgpadvertisement", "existing", { localPref: 100 }).has("bgppeer", "existing", peer({ peerAddress: "10.0.0.7" })).has("community", "existing", { communities: [{ name: "taken", value: "1:1" }] });
    const answer = await cluster.create(kind, "new", spec);
    expect(answer).toMatchObject({ allowed: false, status: { code: 422, message: expect.stringContaining(message) } });
  });

  it.each<[Kind, unknown]>([
    ["ipaddresspool", pool("10.0.0.0/24", "fd00::/64")],
    ["l2advertisement", undefined],
    ["l2advertisement", { ipAddressPools: ["of-later"] }],
    ["bgpadvertisement", { communities: ["of-later"], peers: ["of-later"], ipAddressPools: ["of-later"] }],
    ["bgppeer", peer({ bfdProfile: "of-later", passwordSecret: { name: "of-later" }, holdTime: "90s" })],
    ["bgppeer", { myASN: 1, dynamicASN: "external", interface: "eth0", localASN: 2, vrf: "red", connectTime: "5s", enableGracefulRestart: true, dualStackAddressFamily: true }],
    ["community", { communities: [{ name: "a", value: "large:1:2:3" }] }],
    ["bfdprofile", {}],
  ])("what is right is let in: %s %j", async (kind, spec) => {
    expect(await new Cluster().create(kind, "new", spec)).toMatchObject({ uid: "u-1", allowed: true });
  });

  it.each(Object.keys(types) as Kind[])("%s belongs into Herald's namespace", async (kind) => {
    const cluster = new Cluster();
    const request = { operation: "CREATE", namespace: "default", name: "new", object: object("new", {}, { namespace: "default" }) };
    const answer = await cluster.ask(kind, request);
    expect(answer).toMatchObject({ allowed: false, status: { message: expect.stringContaining("resource must be created in metallb-system namespace") } });
    expect(await cluster.ask(kind, { ...request, operation: "UPDATE", oldObject: request.object }), "what lies there already may be cleaned up").toMatchObject({ allowed: true });
    expect(await cluster.ask(kind, { operation: "DELETE", namespace: "default", name: "new" })).toMatchObject({ allowed: true });
  });

  it("many errors are cut to a few", async () => {
    const answer = await new Cluster().create("ipaddresspool", "new", pool(...Array.from({ length: 30 }, () => "x")));
    expect(answer.status?.message).toMatch(/and 20 more$/);
  });
});

describe("a change is judged by what it makes wrong", () => {
  it("a pool that takes from another is refused, whichever name comes first", async () => {
    for (const name of ["a", "z"]) {
      const answer = await new Cluster().has("ipaddresspool", "m", pool("10.0.0.0/24")).create("ipaddresspool", name, pool("10.0.0.128/25"));
      expect(answer, name).toMatchObject({ allowed: false, status: { message: expect.stringContaining("overlaps with already defined CIDR") } });
    }
  });

  it("an update is measured against the others, not against its former self", async () => {
    const cluster = new Cluster().has("ipaddresspool", "m", pool("10.0.0.0/24"));
    expect(await cluster.update("ipaddresspool", "a", { from: pool("10.1.0.0/24"), to: pool("10.1.0.0/25") })).toMatchObject({ allowed: true });
    expect(await cluster.update("ipaddresspool", "a", { from: pool("10.1.0.0/24"), to: pool("10.0.0.0/25") })).toMatchObject({ allowed: false });
  });

  it("what was wrong before elsewhere does not stand in the way", async () => {
    const cluster = new Cluster().has("ipaddresspool", "b", pool("10.0.0.0/24")).has("ipaddresspool", "c", pool("10.0.0.0/24"));
    expect(await cluster.create("ipaddresspool", "a", pool("10.9.0.0/24"))).toMatchObject({ allowed: true });
    expect(await cluster.update("ipaddresspool", "c", { from: pool("10.0.0.0/24"), to: pool("10.8.0.0/24") }), "it mends itself").toMatchObject({ allowed: true });
  });

  it("an invalid object may lose its finalizer, gain an annotation, and go", async () => {
    const cluster = new Cluster();
    expect(await cluster.update("ipaddresspool", "a", { from: pool("x"), to: pool("x"), metadata: { annotations: { a: "b" } } })).toMatchObject({ allowed: true });
    expect(await cluster.update("ipaddresspool", "a", { from: pool("x"), to: pool("y"), metadata: { deletionTimestamp: "2026-01-01T00:00:00Z" } })).toMatchObject({ allowed: true });
    expect(await cluster.update("ipaddresspool", "a", { from: pool("x"), to: pool("y") }), "but not be changed into another invalid one").toMatchObject({ allowed: false });
  });

  it("the labels of a pool count: an advertisement may select by them", async () => {
    const cluster = new Cluster().has("ipaddresspool", "p", pool("10.0.0.0/28"), { labels: { tier: "gold" } });
    const spec = { ipAddressPoolSelectors: [{ matchLabels: { tier: "gold" } }], aggregationLength: 24 };
    expect(await cluster.create("bgpadvertisement", "a", spec)).toMatchObject({ allowed: false });
    expect(await cluster.create("bgpadvertisement", "a", { ...spec, ipAddressPoolSelectors: [{ matchLabels: { tier: "silver" } }] })).toMatchObject({ allowed: true });
  });
});

describe("a second peer at one address", () => {
  const zone = (name: string): object => ({ nodeSelectors: [{ matchLabels: { zone: name } }] });

  it("is refused on a shared node and taken on others; nodes are read only then", async () => {
    const cluster = new Cluster().node("n1", { zone: "a" }).node("n2", { zone: "b" }).has("bgppeer", "one", peer(zone("a")));
    const listed = (): number => cluster.client.calls.filter(({ verb, plural }) => verb === "list" && plural === "nodes").length;
    expect(await cluster.create("bgppeer", "two", peer({ ...zone("b"), peerAddress: "10.0.0.2" }))).toMatchObject({ allowed: true });
    expect(listed()).toBe(0);
    expect(await cluster.create("bgppeer", "two", peer(zone("b")))).toMatchObject({ allowed: true });
    expect(listed()).toBe(1);
    cluster.node("n3", { zone: "b", rack: "1" });
    expect(await cluster.create("bgppeer", "two", peer({ nodeSelectors: [{ matchLabels: { rack: "1" } }, { matchLabels: { zone: "a" } }] }))).toMatchObject({
      allowed: false, status: { message: expect.stringContaining('BGPPeer "one" already exists for address 10.0.0.1') },
    });
  });
});

describe("deleting a BFDProfile", () => {
  const request = { operation: "DELETE", name: "fast", object: null, oldObject: object("fast", {}) };

  it("is refused while a peer uses it, and not for one that is on its way out", async () => {
    const cluster = new Cluster().has("bgppeer", "p1", peer()).has("bgppeer", "p2", peer({ bfdProfile: "fast" }));
    expect(await cluster.ask("bfdprofile", request)).toMatchObject({ allowed: false, status: { message: 'failed to delete BFDProfile "fast", used by BGPPeer "p2"' } });
    expect(await cluster.ask("bfdprofile", { ...request, name: "slow" })).toMatchObject({ allowed: true });
    cluster.has("bgppeer", "p2", peer({ bfdProfile: "fast" }), { deletionTimestamp: "2026-01-01T00:00:00Z" });
    expect(await cluster.ask("bfdprofile", request)).toMatchObject({ allowed: true });
  });

  it("takes the name from the object when many are deleted at once", async () => {
    const cluster = new Cluster().has("bgppeer", "p2", peer({ bfdProfile: "fast" }));
    expect(await cluster.ask("bfdprofile", { operation: "DELETE", oldObject: object("fast", {}) })).toMatchObject({ allowed: false });
  });
});

it("who asks for BGP hears that there is none yet, and who asks for layer 2 hears nothing", async () => {
  const cluster = new Cluster();
  const warning = "Herald does not speak BGP yet: this is kept and checked, and nothing is announced by it";
  for (const [kind, spec] of [["bgppeer", peer()], ["bgpadvertisement", {}]] as const) expect(await cluster.create(kind, "b", spec)).toEqual({ uid: "u-1", allowed: true, warnings: [warning] });
  for (const [kind, spec] of [["ipaddresspool", pool("10.0.0.0/24")], ["l2advertisement", {}], ["bfdprofile", {}], ["community", {}]] as const) expect(await cluster.create(kind, "b", spec)).toEqual({ uid: "u-1", allowed: true });
});

it("disableMP is told of, and nothing else is skipped for it", async () => {
  const cluster = new Cluster();
  expect(await cluster.create("bgppeer", "p", peer({ disableMP: true }))).toMatchObject({ uid: "u-1", allowed: true, warnings: [/BGP/, "spec.disableMP is deprecated and has no effect"].map((text) => expect.stringMatching(text)) });
  expect(await cluster.create("bgppeer", "p", peer({ disableMP: true, peerAddress: "x" }))).toMatchObject({ allowed: false });
});

it("nothing is judged without knowing what exists", async () => {
  const cluster = new Cluster();
  cluster.client.failNext({ verb: "list", error: new KubeError({ code: 503, reason: "ServiceUnavailable", message: "away" }) });
  await expect(cluster.create("ipaddresspool", "p", pool("10.0.0.0/24"))).rejects.toThrow("away");
});
