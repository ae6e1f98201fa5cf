import { describe, expect, it } from "vitest";
import { KubeError } from "../kube/client.ts";
import { type CustomResource, configurationStates, namespaces, pods } from "../kube/objects.ts";
import { ANNOTATION, NAMESPACE, oneAddress, World } from "./fake-world.ts";
import { WatchfulClient } from "./late-client.ts";

const BROKEN = new KubeError({ code: 500, reason: "InternalError", message: "etcd" });

describe("no address is doubled", () => {
  it("by a patch that was on its way when its Service was given a better address", async () => {
    const world = new World();
    world.pool("p", ["10.0.0.1-10.0.0.2"]);
    world.service("a");
    world.service("b");
    const client = new WatchfulClient(world);
    const controller = world.start({ client });
    void controller.lead();
    await world.settle();
    world.service("c", { spec: { loadBalancerIP: "10.0.0.1" } });
    await world.settle();
    client.hold("patch");
    world.change("a", ({ spec }) => void (spec.loadBalancerIP = "10.0.0.2"));
    await world.settle();
    world.drop("b");
    await world.settle();
    client.release();
    await world.settle();
    expect(client.doubled).toEqual([]);
    expect([world.ip("a"), world.ip("c")]).toEqual(["10.0.0.2", "10.0.0.1"]);
  });

  it("by a Service made anew under the same name before the watch tells", async () => {
    const world = oneAddress("a", "b");
    const client = new WatchfulClient(world);
    await world.lead({ client });
    world.client.failNext({ verb: "patch", plural: "services", times: 5, error: BROKEN });
    world.change("a", ({ metadata }) => void delete metadata.annotations);
    await world.clock.advance(1);
    client.hold("watch");
    world.drop("a");
    world.service("a");
    await world.settle();
    client.release();
    await world.settle();
    expect(client.doubled).toEqual([]);
    expect(world.ip("b")).toBe("10.0.0.1");
  });

  it("by a pool that is deleted and comes back while a patch is on its way", async () => {
    const world = new World();
    world.pool("q", ["10.1.0.1/32"]);
    world.service("first");
    const client = new WatchfulClient(world);
    await world.lead({ client });
    client.hold("patch");
    world.pool("p", ["10.0.0.1/32"]);
    world.service("a");
    await world.settle();
    world.dropPool("p");
    await world.settle();
    world.pool("p", ["10.0.0.1/32"]);
    world.service("b");
    await world.settle();
    client.release();
    await world.settle();
    expect(client.doubled).toEqual([]);
    expect([world.ip("a"), world.ip("b")]).toEqual(["10.0.0.1", undefined]);
  });
});

describe("what a Service shows without holding it", () => {
  it("goes to nobody else before it is cleared, though its pool came later", async () => {
    const world = new World();
    world.pool("q", ["10.1.0.1-10.1.0.2"]);
    world.service("a", { ingress: ["10.0.0.1"] });
    world.client.failNext({ verb: "patch", plural: "services", times: 8, error: BROKEN });
    const client = new WatchfulClient(world);
    await world.lead({ client });
    world.client.failNext({ verb: "patch", plural: "services", times: 8, error: BROKEN });
    world.change("a", ({ metadata }) => void (metadata.labels = { touched: "yes" }));
    await world.clock.advance(1);
    world.pool("p", ["10.0.0.1/32"]);
    world.service("b", { spec: { loadBalancerIP: "10.0.0.1" } });
    await world.settle(60_000);
    expect(client.doubled).toEqual([]);
    expect([world.ip("a"), world.ip("b")]).toEqual(["10.1.0.1", "10.0.0.1"]);
  });
});

describe("takeover", () => {
  it("keeps no address for a Service that was deleted while the Services were read", async () => {
    const world = new World();
    world.pool("p", ["10.0.0.1/32"]);
    world.service("a", { ingress: ["10.0.0.1"] });
    const client = new WatchfulClient(world);
    const standby = world.start({ client });
    await world.settle();
    client.hold("list");
    void standby.lead();
    await world.settle();
    world.drop("a");
    await world.settle();
    client.release();
    world.service("b");
    await world.settle(10_000);
    expect([world.ip("b"), standby.snapshot().holders]).toEqual(["10.0.0.1", 1]);
  });

  it("reads the Services afresh though its first list is still on its way", async () => {
    const world = new World();
    world.pool("p", ["10.0.0.1-10.0.0.9"]);
    world.service("a");
    const client = new WatchfulClient(world);
    client.hold("list");
    const standby = world.start({ client });
    await world.settle();
    world.service("b", { ingress: ["10.0.0.1"] });
    void standby.lead();
    client.release();
    client.hold("watch");
    await world.settle();
    client.release();
    await world.settle();
    expect(client.doubled).toEqual([]);
    expect([world.ip("a"), world.ip("b")]).toEqual(["10.0.0.2", "10.0.0.1"]);
  });

  it("on a bad configuration forgets nothing that its watch has not brought", async () => {
    const world = new World();
    world.pool("p", ["nonsense"]);
    world.service("a");
    const client = new WatchfulClient(world);
    const standby = world.start({ client });
    await world.settle();
    client.hold("watch");
    world.service("b", { ingress: ["10.0.0.1"] });
    void standby.lead();
    await world.settle();
    world.pool("p", ["10.0.0.1-10.0.0.9"]);
    await world.settle();
    client.release();
    await world.settle();
    expect(client.doubled).toEqual([]);
    expect([world.ip("a"), world.ip("b")]).toEqual(["10.0.0.2", "10.0.0.1"]);
  });
});

describe("an API server that refuses", () => {
  it("a Service that goes to another class is cleared, though the first patch fails", async () => {
    const world = oneAddress("a", "b");
    const client = new WatchfulClient(world);
    await world.lead({ client });
    world.client.failNext({ verb: "patch", plural: "services", times: 2, error: BROKEN });
    world.change("a", ({ spec }) => void (spec.loadBalancerClass = "example.com/other"));
    await world.settle();
    expect([world.ip("a"), world.condition("a"), world.ip("b")]).toEqual([undefined, undefined, "10.0.0.1"]);
    expect(client.doubled).toEqual([]);
  });

  it("a Service that is no LoadBalancer any more is cleared, though its pool is gone", async () => {
    const world = new World();
    world.pool("p", ["10.0.0.1/32"]);
    world.service("a", { spec: { type: "ClusterIP" }, ingress: ["10.9.0.1"], annotations: { [ANNOTATION]: "gone" } });
    await world.lead();
    expect([world.ip("a"), world.get("a").metadata.annotations ?? {}]).toEqual([undefined, {}]);
  });

  it("a conflict that has no newer version behind it is tried again ever more slowly", async () => {
    const world = oneAddress("a");
    world.client.failNext({ verb: "patch", plural: "services", times: 100_000, error: new KubeError({ code: 409, reason: "Conflict", message: "a webhook says no" }) });
    await world.lead();
    await world.settle(10_000);
    expect(world.patches()).toBeGreaterThan(5);
    expect(world.patches()).toBeLessThan(30);
  });

  it("waits as long as the API server asks", async () => {
    const world = oneAddress("a");
    world.client.failNext({ verb: "patch", plural: "services", error: new KubeError({ code: 429, reason: "TooManyRequests", message: "busy", retryAfterSeconds: 3 }) });
    await world.lead();
    await world.settle(1500);
    expect(world.patches()).toBe(1);
    await world.settle(2000);
    expect(world.ip("a")).toBe("10.0.0.1");
  });

  it.each([0, 504])("tells of an assignment, once, though the answer to its patch got lost (%i)", async (code) => {
    const world = oneAddress("a");
    const client = new WatchfulClient(world);
    client.answersToLose = 1;
    if (code !== 0) client.lostAnswer = new KubeError({ code, reason: "Timeout", message: "its time was over, but etcd carried it out" });
    await world.lead({ client });
    expect([world.ip("a"), world.patches()]).toEqual(["10.0.0.1", 1]);
    expect(world.events("a")).toEqual(['IPAllocated: Assigned IP ["10.0.0.1"]']);
  });

  it("is tried again every ten seconds at least, however long it was away", async () => {
    const world = oneAddress("a", "b");
    await world.lead();
    world.client.failNext({ verb: "patch", plural: "services", times: 30, error: BROKEN });
    world.drop("a");
    await world.settle(300_000);
    expect(world.ip("b")).toBe("10.0.0.1");
  });

  it("a 404 frees nothing while the Service is there", async () => {
    const world = oneAddress("a", "b");
    const client = new WatchfulClient(world);
    await world.lead({ client });
    world.client.failNext({ verb: "patch", plural: "services", error: new KubeError({ code: 404, reason: "NotFound", message: "no such resource yet" }) });
    world.change("a", ({ metadata }) => void delete metadata.annotations);
    await world.settle();
    expect(client.doubled).toEqual([]);
    expect([world.ip("a"), world.ip("b")]).toEqual(["10.0.0.1", undefined]);
  });

  it("gets no message longer than it takes", async () => {
    const world = oneAddress("a");
    world.service("b", { annotations: { "metallb.io/address-pool": "x".repeat(200_000) } });
    await world.lead();
    expect(world.condition("b")).toBe("False UnknownPool");
    expect(world.get("b").status?.conditions?.[0]?.message.length).toBeLessThan(8192);
    world.pool("bad", Array.from({ length: 500 }, (_, index) => `${index}${"x".repeat(300)}`));
    await world.settle();
    const state = world.client.peek<CustomResource>(configurationStates, { namespace: NAMESPACE, name: "controller" })?.status as { errorSummary: string; conditions: { message: string }[] };
    expect(state.errorSummary).toMatch(/^configuration error: IPAddressPool "bad": spec.addresses\[0\]/);
    expect(state.conditions[0]?.message.length).toBeLessThan(8192);
  });
});

describe("what lags or comes late", () => {
  it("a namespace unknown so far is waited for where a pool selects namespaces", async () => {
    const world = new World();
    world.pool("plain", ["10.0.0.1/32"]);
    world.pool("reserved", ["10.9.0.1/32"], { serviceAllocation: { namespaceSelectors: [{ matchLabels: { team: "red" } }] } });
    world.client.remove(namespaces, { name: "default" });
    await world.lead();
    world.service("a");
    await world.settle();
    expect(world.ip("a")).toBeUndefined();
    world.client.put(namespaces, { metadata: { name: "default", labels: { team: "red" } } });
    await world.settle();
    expect(world.ip("a")).toBe("10.9.0.1");
  });

  it("tells why an address is taken back when its pool no longer admits the Service", async () => {
    const world = new World();
    world.pool("a", ["10.0.0.1/32"]);
    world.pool("b", ["10.1.0.1/32"]);
    world.service("x");
    await world.lead();
    world.pool("a", ["10.0.0.1/32"], { serviceAllocation: { namespaces: ["other"] } });
    await world.settle();
    expect(world.ip("x")).toBe("10.1.0.1");
    expect(world.events("x")).toContain('ClearAssignment: current IP for "default/x" not allowed by config, will attempt for new IP assignment: pool a not compatible for ip assignment');
  });

  it("finds the Pod that owns the ConfigurationState when it is needed, and does without one that is not there", async () => {
    const owners = (world: World): unknown => world.client.peek<CustomResource>(configurationStates, { namespace: NAMESPACE, name: "controller" })?.metadata.ownerReferences;
    const world = oneAddress("a");
    world.client.put(pods, { metadata: { namespace: NAMESPACE, name: "me", uid: "u1" } });
    world.client.failNext({ verb: "get", plural: "pods", times: 2, error: BROKEN });
    await world.lead({ podName: "me" });
    expect(owners(world)).toEqual([{ apiVersion: "v1", kind: "Pod", name: "me", uid: "u1" }]);
    const other = oneAddress("a");
    await other.lead({ podName: "nobody" });
    expect(other.client.peek(configurationStates, { namespace: NAMESPACE, name: "controller" })).toBeDefined();
    expect(owners(other)).toBeUndefined();
  });
});
