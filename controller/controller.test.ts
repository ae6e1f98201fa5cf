import { describe, expect, it } from "vitest";
import { KubeError } from "../kube/client.ts";
import { type CustomResource, configurationStates, namespaces, type Service } from "../kube/objects.ts";
import { ANNOTATION, CONDITION, NAMESPACE, oneAddress, World } from "./fake-world.ts";

const BROKEN = new KubeError({ code: 500, reason: "InternalError", message: "etcd" });

describe("assignment", () => {
  it("gives the lowest addresses in order of age, with mode, annotation, condition and event, in one patch each", async () => {
    const world = new World();
    world.pool("my-ippool", ["172.20.255.200-172.20.255.250"]);
    for (const name of ["svc1", "svc2", "svc3"]) world.service(name, { created: 0 });
    await world.lead();
    expect(["svc1", "svc2", "svc3"].map((name) => world.ip(name))).toEqual(["172.20.255.200", "172.20.255.201", "172.20.255.202"]);
    const { metadata, status } = world.get("svc1");
    expect(status?.loadBalancer).toEqual({ ingress: [{ ip: "172.20.255.200", ipMode: "VIP" }] });
    expect(metadata.annotations).toEqual({ [ANNOTATION]: "my-ippool" });
    expect(status?.conditions).toEqual([{ type: CONDITION, status: "True", reason: "Assigned", message: '["172.20.255.200"] from pool "my-ippool"', lastTransitionTime: "2026-01-01T00:00:00Z" }]);
    expect(world.events("svc1")).toEqual(['IPAllocated: Assigned IP ["172.20.255.200"]']);
    expect(world.patches()).toBe(3);
    expect(world.poolStatus("my-ippool")).toMatchObject({ assignedIPv4: 3, availableIPv4: 48, assignedIPv6: 0, availableIPv6: 0, conditions: [{ type: "Valid", status: "True", reason: "Accepted" }] });
    const state = world.client.peek<CustomResource>(configurationStates, { namespace: NAMESPACE, name: "controller" });
    expect(state?.status).toMatchObject({ result: "Valid", conditions: [{ type: "poolReconcilerValid", status: "True", reason: "Reconciled" }] });
    expect(await world.metrics.registry.metrics()).toContain('metallb_allocator_addresses_in_use_total{pool="my-ippool"} 3');
  });

  it("answers requests by spec and by both annotation prefixes, and warns of the old one", async () => {
    const world = new World();
    world.pool("a", ["10.0.0.0/24"]);
    world.pool("b", ["10.0.1.0/24"], { autoAssign: false });
    world.service("spec", { spec: { loadBalancerIP: "10.0.0.7" } });
    world.service("annotation", { annotations: { "metallb.io/loadBalancerIPs": " 10.0.0.8 " } });
    world.service("old", { annotations: { "metallb.universe.tf/address-pool": "b" } });
    await world.lead();
    expect(["spec", "annotation", "old"].map((name) => world.ip(name))).toEqual(["10.0.0.7", "10.0.0.8", "10.0.1.0"]);
    expect(world.events("old")).toContain("deprecatedAnnotation: Service uses deprecated annotation metallb.universe.tf/address-pool");
  });

  it("says why in condition and event, once, and moves nothing else", async () => {
    const world = new World();
    world.pool("p", ["10.0.0.1-10.0.0.9"]);
    world.service("holder");
    world.service("outside", { spec: { loadBalancerIP: "192.0.2.1" } });
    world.service("taken", { spec: { loadBalancerIP: "10.0.0.1" } });
    world.service("malformed", { annotations: { "metallb.io/loadBalancerIPs": "10.0.0" } });
    world.service("both", { spec: { loadBalancerIP: "10.0.0.3" }, annotations: { "metallb.io/loadBalancerIPs": "10.0.0.3" } });
    world.service("nopool", { annotations: { "metallb.io/address-pool": "nowhere" } });
    world.service("v6", { spec: { loadBalancerIP: "fd00::1" } });
    await world.lead();
    const names = ["outside", "taken", "malformed", "both", "nopool", "v6"];
    expect(names.map((name) => world.condition(name))).toEqual(
      ["AddressNotInPool", "AddressInUse", "InvalidRequest", "InvalidRequest", "UnknownPool", "FamilyMismatch"].map((reason) => `False ${reason}`),
    );
    expect(world.events("outside")).toEqual(['AllocationFailed: Failed to allocate IP for "default/outside": ["192.0.2.1"] is not allowed in config']);
    expect(world.events("malformed")[0]).toMatch(/^LoadBalancerFailed: invalid requested loadbalancer IPs: /);
    const before = world.patches();
    for (const name of names) world.change(name, ({ metadata }) => void (metadata.labels = { touched: "yes" }));
    await world.settle();
    expect(world.patches()).toBe(before);
    expect(names.map((name) => world.events(name).length)).toEqual([1, 1, 1, 1, 1, 1]);
    expect(world.ip("holder")).toBe("10.0.0.1");
  });

  it("keeps the old address while a new request is impossible, and says so", async () => {
    const world = new World();
    world.pool("p", ["10.0.0.1-10.0.0.9"]);
    world.service("a");
    await world.lead();
    world.change("a", ({ spec }) => void (spec.loadBalancerIP = "192.0.2.1"));
    await world.settle();
    expect([world.ip("a"), world.condition("a")]).toEqual(["10.0.0.1", "True RequestRefused"]);
    expect(world.events("a")).toHaveLength(2);
    world.change("a", ({ spec }) => void (spec.loadBalancerIP = "10.0.0.5"));
    await world.settle();
    expect([world.ip("a"), world.condition("a")]).toEqual(["10.0.0.5", "True Assigned"]);
  });

  it("gives dual-stack Services both addresses, or one where that is preferred", async () => {
    const world = new World();
    world.pool("p", ["10.0.0.1-10.0.0.9", "fd00::1/128"]);
    const spec: Partial<Service["spec"]> = { clusterIPs: ["10.96.0.9", "fd01::9"], ipFamilies: ["IPv4", "IPv6"] };
    world.service("both", { spec: { ...spec, ipFamilyPolicy: "RequireDualStack" } });
    world.service("require", { spec: { ...spec, ipFamilyPolicy: "RequireDualStack" } });
    world.service("prefer", { spec: { ...spec, ipFamilyPolicy: "PreferDualStack" } });
    await world.lead();
    expect([world.ip("both"), world.ip("require"), world.ip("prefer")]).toEqual(["10.0.0.1,fd00::1", undefined, "10.0.0.2"]);
    world.drop("both");
    await world.settle();
    expect(world.ip("require")).toBe("10.0.0.1,fd00::1");
    world.drop("require");
    await world.settle();
    expect(world.ip("prefer")).toBe("10.0.0.2,fd00::1");
    expect(world.events("prefer")).toContain('IPAllocated: Assigned additional IP "fd00::1"');
  });

  it("gives a pool with serviceAllocation to the namespaces it is for, as soon as their labels say so", async () => {
    const world = new World();
    world.pool("reserved", ["10.0.0.1/32"], { serviceAllocation: { namespaceSelectors: [{ matchLabels: { team: "red" } }] } });
    world.service("a");
    await world.lead();
    expect(world.condition("a")).toBe("False NoPools");
    world.client.put(namespaces, { metadata: { name: "default", labels: { team: "red" } } });
    await world.settle();
    expect(world.ip("a")).toBe("10.0.0.1");
  });
});

describe("Services of others", () => {
  it("never writes to another class, another type or a Service with external IPs", async () => {
    const world = new World();
    world.pool("p", ["10.0.0.1-10.0.0.9"]);
    world.service("class", { spec: { loadBalancerClass: "example.com/other" }, ingress: ["10.0.0.1"], annotations: { [ANNOTATION]: "p" } });
    world.service("cluster", { spec: { type: "ClusterIP" } });
    world.service("ours");
    await world.lead();
    expect(world.client.calls.filter(({ verb, plural }) => verb === "patch" && plural === "services").map(({ name }) => name?.name)).toEqual(["ours"]);
  });

  it("serves one class alone when told to", async () => {
    const world = new World();
    world.pool("p", ["10.0.0.1-10.0.0.9"]);
    world.service("none");
    world.service("mine", { spec: { loadBalancerClass: "example.com/herald" } });
    await world.lead({ lbClass: "example.com/herald" });
    expect([world.ip("none"), world.ip("mine")]).toEqual([undefined, "10.0.0.1"]);
  });

  it("leaves conditions that are not ours, and clears what is ours when the type changes", async () => {
    const world = oneAddress("a", "b");
    const foreign = { type: "example.com/Ready", status: "True" as const, reason: "Yes", message: "", lastTransitionTime: "2026-01-01T00:00:00Z" };
    world.change("a", (service) => void (service.status = { ...service.status, conditions: [foreign] }));
    await world.lead();
    expect(world.get("a").status?.conditions).toHaveLength(2);
    world.change("a", ({ spec }) => void (spec.type = "ClusterIP"));
    await world.settle();
    const { metadata, status } = world.get("a");
    expect([metadata.annotations ?? {}, status?.loadBalancer?.ingress, status?.conditions]).toEqual([{}, undefined, [foreign]]);
    expect(world.ip("b")).toBe("10.0.0.1");
  });
});

describe("freed addresses", () => {
  it("go to the Service that waits longest, not to a newcomer", async () => {
    const world = oneAddress("first", "second", "third");
    await world.lead();
    expect([world.condition("second"), world.condition("third")]).toEqual(["False NoFreeAddress", "False NoFreeAddress"]);
    world.service("newcomer");
    world.drop("first");
    await world.settle();
    expect([world.ip("second"), world.ip("third"), world.ip("newcomer")]).toEqual(["10.0.0.1", undefined, undefined]);
    expect(world.events("second")).toContain('IPAllocated: Assigned IP ["10.0.0.1"]');
  });

  it("are given on only after the old holder's status shows them no more", async () => {
    const world = oneAddress("a", "b");
    world.pool("q", ["10.1.0.1/32"], { autoAssign: false });
    await world.lead();
    world.client.failNext({ verb: "patch", plural: "services", times: 3, error: BROKEN });
    world.change("a", ({ metadata }) => void (metadata.annotations = { ...metadata.annotations, "metallb.io/address-pool": "q" }));
    for (let round = 0; round < 200; round++) {
      await world.clock.advance(1);
      expect(world.ip("a") === world.ip("b")).toBe(false);
    }
    await world.settle();
    expect([world.ip("a"), world.ip("b")]).toEqual(["10.1.0.1", "10.0.0.1"]);
  });
});
