import { describe, expect, it } from "vitest";
import { KubeError } from "../kube/client.ts";
import { type CustomResource, configurationStates, ipAddressPools, services } from "../kube/objects.ts";
import { ANNOTATION, NAMESPACE, oneAddress, World } from "./fake-world.ts";
import { LateClient } from "./late-client.ts";

const CONFLICT = new KubeError({ code: 409, reason: "Conflict", message: "stale" });
const BROKEN = new KubeError({ code: 500, reason: "InternalError", message: "etcd" });

describe("restart and takeover", () => {
  it("a restart with 50 Services moves nothing and writes nothing", async () => {
    const world = new World();
    world.pool("p", ["10.0.0.0/24"]);
    for (let index = 0; index < 60; index++) world.service(`s${index}`);
    const first = await world.lead();
    for (let index = 0; index < 60; index += 6) world.drop(`s${index}`);
    await world.settle();
    await first.stop();
    const before = world.client.peekAll(services).map((service) => [service.metadata.name, service.status]);
    const patches = world.patches();
    await world.lead();
    expect(before).toHaveLength(50);
    expect(world.client.peekAll(services).map((service) => [service.metadata.name, service.status])).toEqual(before);
    expect(world.patches()).toBe(patches);
  });

  it("serves no newcomer before all holders, however old they are", async () => {
    const world = new World();
    world.pool("p", ["10.0.0.1-10.0.0.2"]);
    world.service("waiting");
    world.service("holder", { ingress: ["10.0.0.1"] });
    await world.lead();
    expect([world.ip("holder"), world.ip("waiting")]).toEqual(["10.0.0.1", "10.0.0.2"]);
  });

  it("leaves an address that two Services show to the older one", async () => {
    const world = new World();
    world.pool("p", ["10.0.0.1-10.0.0.9"]);
    world.service("younger", { ingress: ["10.0.0.1"], created: 100 });
    world.service("older", { ingress: ["10.0.0.1"], created: 50 });
    await world.lead();
    expect([world.ip("older"), world.ip("younger")]).toEqual(["10.0.0.1", "10.0.0.2"]);
    expect(world.events("younger")[0]).toMatch(/^ClearAssignment: .*in use by default\/older/);
  });

  it("a standby writes nothing until it leads, and then doubles nothing that its cache has not seen yet", async () => {
    const world = new World();
    world.pool("p", ["10.0.0.1-10.0.0.9"]);
    world.service("a");
    const laggard = new LateClient(world.client);
    const standby = world.start({ client: laggard });
    await world.settle();
    expect(world.patches()).toBe(0);
    laggard.hold("watch");
    // The last words of the leader before, which the standby's watch has not brought.
    world.service("b", { ingress: ["10.0.0.1"] });
    void standby.lead();
    await world.settle();
    expect([world.ip("a"), world.ip("b")]).toEqual(["10.0.0.2", "10.0.0.1"]);
    laggard.release();
    world.service("c");
    await world.settle();
    expect([world.ip("b"), world.ip("c")]).toEqual(["10.0.0.1", "10.0.0.3"]);
  });
});

describe("configuration", () => {
  it("is judged by a standby too, in its metrics and nowhere else", async () => {
    const world = new World();
    world.pool("good", ["10.0.0.1-10.0.0.9"]);
    const standby = world.start();
    await world.settle();
    expect(await world.metrics.registry.metrics()).toMatch(/config_loaded_bool 1[^]*config_stale_bool 0/);
    world.pool("good", ["nonsense"]);
    await world.settle();
    expect(await world.metrics.registry.metrics()).toMatch(/config_loaded_bool 1[^]*config_stale_bool 1/);
    expect(world.client.calls.filter(({ verb }) => verb !== "list" && verb !== "watch")).toEqual([]);
    expect(standby.snapshot()).toMatchObject({ leading: false, pools: 0 });
  });

  it("keeps the last good one when a pool goes bad, and says why", async () => {
    const world = new World();
    world.pool("good", ["10.0.0.1-10.0.0.9"]);
    world.service("a");
    await world.lead();
    world.pool("good", ["10.0.0.1-10.0.0.9", "nonsense"]);
    world.pool("other", ["10.5.0.0/24"]);
    world.service("b");
    await world.settle();
    expect([world.ip("a"), world.ip("b")]).toEqual(["10.0.0.1", "10.0.0.2"]);
    const [bad] = world.poolStatus("good").conditions ?? [];
    expect(bad).toMatchObject({ type: "Valid", status: "False", reason: "ConfigurationError" });
    expect(bad?.message).toContain("spec.addresses[1]");
    expect(world.poolStatus("other").conditions?.[0]).toMatchObject({ status: "Unknown", reason: "OtherConfigurationError" });
    expect(world.client.peek<CustomResource>(configurationStates, { namespace: NAMESPACE, name: "controller" })?.status).toMatchObject({ result: "Invalid" });
    expect(await world.metrics.registry.metrics()).toMatch(/config_loaded_bool 1[^]*config_stale_bool 1/);
    world.pool("good", ["10.0.0.1-10.0.0.9"]);
    await world.settle();
    expect(world.poolStatus("good").conditions?.[0]).toMatchObject({ status: "True" });
    expect(await world.metrics.registry.metrics()).toContain("config_stale_bool 0");
  });

  it("gives nothing and takes nothing when it starts with a bad one", async () => {
    const world = new World();
    world.pool("p", ["10.0.0.9-10.0.0.1"]);
    world.service("holder", { ingress: ["10.0.0.5"], annotations: { [ANNOTATION]: "p" } });
    world.service("pending");
    await world.lead();
    expect([world.ip("holder"), world.ip("pending"), world.patches()]).toEqual(["10.0.0.5", undefined, 0]);
    world.pool("p", ["10.0.0.5-10.0.0.9"]);
    await world.settle();
    expect([world.ip("holder"), world.ip("pending")]).toEqual(["10.0.0.5", "10.0.0.6"]);
  });

  it("moves those whose address left the pools, keeps those whose pool has a new name, clears all when no pool is left", async () => {
    const world = new World();
    world.pool("old", ["10.0.0.1-10.0.0.4"]);
    for (const name of ["a", "b", "c"]) world.service(name);
    await world.lead();
    world.dropPool("old");
    world.pool("new", ["10.0.0.1-10.0.0.2", "10.9.0.1/32"]);
    await world.settle();
    expect(["a", "b", "c"].map((name) => world.ip(name))).toEqual(["10.0.0.1", "10.0.0.2", "10.9.0.1"]);
    expect(world.get("a").metadata.annotations?.[ANNOTATION]).toBe("new");
    expect(world.events("c")).toContain('ClearAssignment: current IP for "default/c" not allowed by config, will attempt for new IP assignment: ["10.0.0.3"] is not allowed in config');
    world.dropPool("new");
    await world.settle();
    expect(["a", "b", "c"].map((name) => [world.ip(name), world.get(name).metadata.annotations?.[ANNOTATION], world.condition(name)])).toEqual(
      ["a", "b", "c"].map(() => [undefined, undefined, "False NoPools"]),
    );
  });

  it("reverts a pool status and a ConfigurationState that somebody changed, and Services' too", async () => {
    const world = oneAddress("a");
    await world.lead();
    await world.client.patch(ipAddressPools, { namespace: NAMESPACE, name: "p" }, { status: { assignedIPv4: 77 } }, { subresource: "status" });
    world.client.remove(configurationStates, { namespace: NAMESPACE, name: "controller" });
    world.change("a", (service) => void (service.status = {}));
    await world.settle();
    expect(world.poolStatus("p").assignedIPv4).toBe(1);
    expect(world.client.peek(configurationStates, { namespace: NAMESPACE, name: "controller" })).toBeDefined();
    expect(world.ip("a")).toBe("10.0.0.1");
  });
});

describe("an API server that refuses", () => {
  it("conflicts and failures end in the same state, with one event", async () => {
    const world = new World();
    world.pool("p", ["10.0.0.1-10.0.0.9"]);
    world.client.failNext({ verb: "patch", plural: "services", times: 3, error: CONFLICT });
    world.client.failNext({ verb: "patch", plural: "services", times: 3, error: BROKEN });
    for (const name of ["a", "b"]) world.service(name);
    await world.lead();
    expect([world.ip("a"), world.ip("b")]).toEqual(["10.0.0.1", "10.0.0.2"]);
    expect([world.events("a").length, world.events("b").length]).toEqual([1, 1]);
  });

  it("a Service deleted while its patch is on the way gives its address back", async () => {
    const world = oneAddress("a");
    world.client.failNext({ verb: "patch", plural: "services", error: new KubeError({ code: 404, reason: "NotFound", message: "gone" }) });
    const controller = await world.lead();
    world.drop("a");
    await world.settle();
    expect(controller.snapshot()).toMatchObject({ holders: 0, waiting: 0 });
    world.service("b");
    await world.settle();
    expect(world.ip("b")).toBe("10.0.0.1");
  });

  it("an outage leaves everything as it was", async () => {
    const world = new World();
    world.pool("p", ["10.0.0.1-10.0.0.9"]);
    world.service("a");
    await world.lead();
    world.client.outage(true);
    await world.settle(5000);
    world.client.outage(false);
    world.service("b");
    await world.settle(30_000);
    expect([world.ip("a"), world.ip("b")]).toEqual(["10.0.0.1", "10.0.0.2"]);
  });
});
