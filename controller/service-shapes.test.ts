/** Services that change under the controller's eyes, or whose status somebody else has written. */
import { describe, expect, it } from "vitest";
import { services, type LoadBalancerIngress, type Service } from "../kube/objects.ts";
import { ANNOTATION, oneAddress, World } from "./fake-world.ts";

const CLASS = "example.com/herald";
const DUAL: Partial<Service["spec"]> = { clusterIPs: ["10.96.0.9", "fd01::9"], ipFamilies: ["IPv4", "IPv6"], ipFamilyPolicy: "PreferDualStack" };

async function turn(world: World, name: string, edit: (service: Service) => void): Promise<void> {
  world.change(name, edit);
  await world.settle();
}

function expectNothingOfOurs(world: World, name: string): void {
  const { metadata, status } = world.get(name);
  expect([metadata.annotations?.[ANNOTATION], status?.loadBalancer?.ingress, status?.conditions]).toEqual([undefined, undefined, undefined]);
}

describe("the type", () => {
  it.each(["ClusterIP", "NodePort", "ExternalName"] as const)("LoadBalancer to %s and back: the address is given up, and the Service takes its turn like a new one", async (type) => {
    const world = oneAddress("a", "b");
    await world.lead();
    await turn(world, "a", ({ spec }) => void (spec.type = type));
    expectNothingOfOurs(world, "a");
    expect(world.ip("b")).toBe("10.0.0.1");
    await turn(world, "a", ({ spec }) => void (spec.type = "LoadBalancer"));
    expect([world.condition("a"), world.ip("b")]).toEqual(["False NoFreeAddress", "10.0.0.1"]);
    world.drop("b");
    await world.settle();
    expect(world.ip("a")).toBe("10.0.0.1");
  });

  it("changed there and back at once: nobody gets between the Service and its address", async () => {
    const world = oneAddress("a", "b");
    await world.lead();
    world.change("a", ({ spec }) => void (spec.type = "ClusterIP"));
    world.change("a", ({ spec }) => void (spec.type = "LoadBalancer"));
    await world.settle();
    expect([world.ip("a"), world.condition("b"), world.events("a").length]).toEqual(["10.0.0.1", "False NoFreeAddress", 1]);
  });

  it("changed while no controller ran", async () => {
    const world = oneAddress("a", "b");
    const first = await world.lead();
    await first.stop();
    world.change("a", ({ spec }) => void (spec.type = "ClusterIP"));
    await world.lead();
    expectNothingOfOurs(world, "a");
    expect(world.ip("b")).toBe("10.0.0.1");
  });
});

describe("the loadBalancerClass", () => {
  it("that is given to a Service, or changed to another's, takes its address away; the class that is served gets one", async () => {
    const world = oneAddress("a", "b");
    await world.lead({ lbClass: CLASS });
    expect([world.ip("a"), world.ip("b"), world.patches()]).toEqual([undefined, undefined, 0]);
    await turn(world, "a", ({ spec }) => void (spec.loadBalancerClass = CLASS));
    expect(world.ip("a")).toBe("10.0.0.1");
    await turn(world, "b", ({ spec }) => void (spec.loadBalancerClass = CLASS));
    expect(world.condition("b")).toBe("False NoFreeAddress");
    await turn(world, "a", ({ spec }) => void (spec.loadBalancerClass = "example.com/other"));
    expectNothingOfOurs(world, "a");
    expect(world.ip("b")).toBe("10.0.0.1");
    await turn(world, "b", ({ spec }) => void delete spec.loadBalancerClass);
    expectNothingOfOurs(world, "b");
  });

  it("of a Service whose new owner has written already: that is left alone", async () => {
    const world = oneAddress("a");
    await world.lead();
    await turn(world, "a", (service) => {
      service.spec.loadBalancerClass = "example.com/other";
      service.status = { ...service.status, loadBalancer: { ingress: [{ ip: "192.0.2.9" }] } };
    });
    expect(world.ip("a")).toBe("192.0.2.9");
    world.service("b");
    await world.settle();
    expect(world.ip("b")).toBe("10.0.0.1");
  });
});

describe("a Service on its way out", () => {
  it("keeps its address as long as a finalizer keeps it, and then it is free", async () => {
    const world = oneAddress("a", "b");
    await world.lead();
    await turn(world, "a", ({ metadata }) => void (metadata.deletionTimestamp = "2026-01-01T00:00:00Z"));
    expect([world.ip("a"), world.ip("b")]).toEqual(["10.0.0.1", undefined]);
    world.drop("a");
    await world.settle();
    expect(world.ip("b")).toBe("10.0.0.1");
  });

  it("deleted while no controller ran", async () => {
    const world = oneAddress("a", "b");
    const first = await world.lead();
    await first.stop();
    world.drop("a");
    await world.lead();
    expect(world.ip("b")).toBe("10.0.0.1");
  });
});

describe("a status that somebody else wrote", () => {
  const written: [string, LoadBalancerIngress[], Partial<Service["spec"]>, string][] = [
    ["a host name alone", [{ hostname: "lb.example.com" }], {}, "10.0.0.1"],
    ["an address with a host name", [{ ip: "10.0.0.5", hostname: "lb.example.com" }], {}, "10.0.0.5"],
    ["a host name, then an address", [{ hostname: "lb.example.com" }, { ip: "10.0.0.5" }], {}, "10.0.0.5"],
    ["an address of no pool", [{ ip: "192.0.2.1" }], {}, "10.0.0.1"],
    ["an address of no pool, then one of a pool", [{ ip: "192.0.2.1" }, { ip: "10.0.0.5" }], {}, "10.0.0.5"],
    ["two addresses of one family", [{ ip: "10.0.0.6" }, { ip: "10.0.0.5" }], {}, "10.0.0.6"],
    ["two addresses of one family, for a Service with two", [{ ip: "10.0.0.6" }, { ip: "10.0.0.5" }], DUAL, "10.0.0.6,fd00::1"],
    ["one address of each family, for a Service with one", [{ ip: "fd00::5" }, { ip: "10.0.0.5" }], {}, "10.0.0.5"],
    ["an address of the wrong family", [{ ip: "fd00::5" }], {}, "10.0.0.1"],
    ["two addresses of two pools", [{ ip: "10.0.0.5" }, { ip: "fd01::5" }], DUAL, "10.0.0.5,fd00::1"],
    ["three addresses", [{ ip: "10.0.0.5" }, { ip: "fd00::5" }, { ip: "10.1.0.5" }], DUAL, "10.0.0.5,fd00::5"],
    ["no canonical text", [{ ip: "FD00:0:0::5" }, { ip: "::ffff:10.0.0.5" }], DUAL, "fd00::5,10.0.0.5"],
    ["what is no address", [{ ip: "10.0.0" }], {}, "10.0.0.1"],
  ];
  it.each(written)("%s", async (_title, ingress, spec, expected) => {
    const world = new World();
    world.pool("p", ["10.0.0.1-10.0.0.9", "fd00::1-fd00::9"]);
    world.pool("q", ["10.1.0.1-10.1.0.9", "fd01::1-fd01::9"]);
    world.service("s", { spec });
    world.change("s", (service) => void (service.status = { loadBalancer: { ingress } }));
    await world.lead();
    expect(world.ip("s")).toBe(expected);
    expect(world.get("s").status?.loadBalancer?.ingress?.map(({ hostname, ipMode }) => [hostname, ipMode])).toEqual(expected.split(",").map(() => [undefined, "VIP"]));
    expect(world.poolStatus("p").assignedIPv4).toBe(1);
    expect(world.poolStatus("q").assignedIPv4).toBe(0);
    // The same while it runs, with the same end.
    const before = world.ip("s");
    await turn(world, "s", (service) => void (service.status = { ...service.status, loadBalancer: { ingress: [...ingress] } }));
    expect(world.ip("s")).toBe(before);
  });

  it("fields of an entry that are not ours stay, and cost no write", async () => {
    const world = oneAddress("a");
    await world.lead();
    const ports = [{ port: 80, protocol: "TCP", error: "example.com/Broken" }];
    await turn(world, "a", ({ status }) => status?.loadBalancer?.ingress?.forEach((entry) => Object.assign(entry, { ports })));
    expect(world.get("a").status?.loadBalancer?.ingress).toEqual([{ ip: "10.0.0.1", ipMode: "VIP", ports }]);
    expect(world.patches()).toBe(1);
  });
});

describe("a pool's switches", () => {
  it("autoAssign turned off leaves who is there and serves who asks by name", async () => {
    const world = new World();
    world.pool("p", ["10.0.0.1-10.0.0.9"]);
    world.service("a");
    await world.lead();
    world.pool("p", ["10.0.0.1-10.0.0.9"], { autoAssign: false });
    world.service("b");
    world.service("c", { annotations: { "metallb.io/address-pool": "p" } });
    world.service("d", { spec: { loadBalancerIP: "10.0.0.9" } });
    await world.settle();
    expect([world.ip("a"), world.condition("b"), world.ip("c"), world.ip("d")]).toEqual(["10.0.0.1", "False NoPools", "10.0.0.2", "10.0.0.9"]);
    world.pool("p", ["10.0.0.1-10.0.0.9"]);
    await world.settle();
    expect(world.ip("b")).toBe("10.0.0.3");
  });

  it("avoidBuggyIPs turned on moves who is on .0 or .255, and nobody else", async () => {
    const world = new World();
    world.pool("p", ["10.0.0.254-10.0.1.2"]);
    for (const name of ["a", "b", "c", "d"]) world.service(name);
    await world.lead();
    const ips = (): (string | undefined)[] => ["a", "b", "c", "d"].map((name) => world.ip(name));
    expect(ips()).toEqual(["10.0.0.254", "10.0.0.255", "10.0.1.0", "10.0.1.1"]);
    world.pool("p", ["10.0.0.254-10.0.1.2"], { avoidBuggyIPs: true });
    await world.settle();
    expect(ips()).toEqual(["10.0.0.254", "10.0.1.2", undefined, "10.0.1.1"]);
    expect(world.condition("c")).toBe("False NoFreeAddress");
    await turn(world, "c", ({ spec }) => void (spec.loadBalancerIP = "10.0.1.0"));
    expect(world.condition("c")).toBe("False AddressNotInPool");
  });
});

it("Services of every shape are left as they are by a second controller that finds them so", async () => {
  const world = new World();
  world.pool("p", ["10.0.0.1-10.0.0.3", "fd00::1-fd00::9"]);
  world.service("four");
  world.service("dual", { spec: DUAL });
  world.service("refused", { annotations: { "metallb.io/loadBalancerIPs": "10.0.0.3" } });
  world.service("waiting", { spec: { loadBalancerIP: "10.0.0.3" } });
  world.service("garbage", { spec: { loadBalancerIP: "x" } });
  world.service("cluster", { spec: { type: "ClusterIP" } });
  world.service("foreign", { spec: { loadBalancerClass: "example.com/other" }, ingress: ["10.0.0.9"] });
  const first = await world.lead();
  world.change("refused", ({ metadata }) => void (metadata.annotations = { ...metadata.annotations, "metallb.io/loadBalancerIPs": "192.0.2.1" }));
  await world.settle();
  await first.stop();
  const before = world.client.peekAll(services);
  const patches = world.patches();
  await world.lead();
  expect(world.client.peekAll(services)).toEqual(before);
  expect(world.patches()).toBe(patches);
});
