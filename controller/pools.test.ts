import { describe, expect, it } from "vitest";
import { ipAddressPools, namespaces, services } from "../kube/objects.ts";
import { NAMESPACE, World } from "./fake-world.ts";

function pinned(world: World, name: string, address: string, serviceAllocation: object): void {
  world.pool(name, [`${address}/32`], { serviceAllocation });
}

async function label(world: World, name: string, labels: Record<string, string>): Promise<void> {
  world.client.put(namespaces, { metadata: { name, labels } });
  await world.settle();
}

describe("serviceAllocation", () => {
  it("fills pools by priority, those without one last, plain ones after all of them, equals by name", async () => {
    const world = new World();
    world.pool("a-plain", ["10.0.0.1/32"]);
    world.pool("b-plain", ["10.0.0.2/32"]);
    pinned(world, "c-none", "10.0.0.3", { namespaces: ["default"] });
    pinned(world, "d-zero", "10.0.0.4", { priority: 0 });
    pinned(world, "e-twenty", "10.0.0.5", { priority: 20, namespaces: ["default"] });
    pinned(world, "f-ten", "10.0.0.6", { priority: 10 });
    pinned(world, "g-ten", "10.0.0.7", { priority: 10 });
    pinned(world, "h-manual", "10.0.0.8", { priority: 1 });
    world.pool("h-manual", ["10.0.0.8/32"], { autoAssign: false, serviceAllocation: { priority: 1 } });
    const names = ["1", "2", "3", "4", "5", "6", "7", "8"];
    for (const name of names) world.service(name);
    await world.lead();
    expect(names.map((name) => world.ip(name)?.slice(-1))).toEqual(["6", "7", "5", "3", "4", "1", "2", undefined]);
    expect(world.condition("8")).toBe("False NoFreeAddress");
  });

  it("namespaces by name or by label, and labels of the Service too", async () => {
    const world = new World();
    pinned(world, "named", "10.0.0.1", { namespaces: ["default"], namespaceSelectors: [{ matchLabels: { team: "red" } }], serviceSelectors: [{ matchLabels: { tier: "front" } }, { matchLabels: { tier: "edge" } }] });
    world.service("unlabelled");
    world.service("front");
    world.change("front", ({ metadata }) => void (metadata.labels = { tier: "edge" }));
    await world.lead();
    expect([world.ip("unlabelled"), world.ip("front")]).toEqual([undefined, "10.0.0.1"]);
    expect(world.condition("unlabelled")).toBe("False NoPools");
    // Without the label it may not keep the address, which goes to whom the pool is for.
    world.change("unlabelled", ({ metadata }) => void (metadata.labels = { tier: "front" }));
    world.change("front", ({ metadata }) => void (metadata.labels = {}));
    await world.settle();
    expect([world.ip("unlabelled"), world.ip("front")]).toEqual(["10.0.0.1", undefined]);
    expect(world.events("front").join("\n")).toMatch(/ClearAssignment: .*pool named not compatible for ip assignment/);
  });

  it("a selector that matches no namespace admits nobody, not even who asks for the pool or its address", async () => {
    const world = new World();
    pinned(world, "p", "10.0.0.1", { namespaceSelectors: [{ matchLabels: { team: "red" } }], serviceSelectors: [{}] });
    world.service("auto");
    world.service("by-pool", { annotations: { "metallb.io/address-pool": "p" } });
    world.service("by-address", { spec: { loadBalancerIP: "10.0.0.1" } });
    await world.lead();
    expect(["auto", "by-pool", "by-address"].map((name) => world.condition(name))).toEqual(["False NoPools", "False PoolNotAllowed", "False PoolNotAllowed"]);
  });

  it("follows the labels of a namespace as they come and go", async () => {
    const world = new World();
    pinned(world, "p", "10.0.0.1", { namespaceSelectors: [{ matchLabels: { team: "red" } }] });
    world.service("a");
    await world.lead();
    await label(world, "default", { team: "red" });
    expect(world.ip("a")).toBe("10.0.0.1");
    await label(world, "default", { team: "blue" });
    expect([world.ip("a"), world.condition("a")]).toEqual([undefined, "False NoPools"]);
    await label(world, "default", { team: "red" });
    expect(world.ip("a")).toBe("10.0.0.1");
  });
});

describe("pools that change", () => {
  it("a pool split in two keeps every address, a grown one serves who waits", async () => {
    const world = new World();
    world.pool("p", ["10.0.0.1-10.0.0.2"]);
    for (const name of ["a", "b", "c"]) world.service(name);
    await world.lead();
    world.pool("p", ["10.0.0.1/32"]);
    world.pool("q", ["10.0.0.2-10.0.0.3"]);
    const shown = new Set<string>();
    for (let round = 0; round < 200; round++) {
      await world.clock.advance(5);
      shown.add([world.ip("a"), world.ip("b")].join());
    }
    expect([...shown]).toEqual(["10.0.0.1,10.0.0.2"]);
    expect([world.ip("c"), world.get("b").metadata.annotations?.["metallb.io/ip-allocated-from-pool"]]).toEqual(["10.0.0.3", "q"]);
  });

  it("without any pool nobody has an address", async () => {
    const world = new World();
    world.pool("p", ["10.0.0.1-10.0.0.2"]);
    for (const name of ["a", "b"]) world.service(name);
    await world.lead();
    world.dropPool("p");
    await world.settle();
    expect(world.client.peekAll(services).map(({ status }) => status?.loadBalancer?.ingress)).toEqual([undefined, undefined]);
    expect(world.condition("a")).toBe("False NoPools");
  });

  it("an overlap is refused, and both pools and entries are named", async () => {
    const world = new World();
    world.pool("a", ["10.0.0.0/24", "10.0.1.0-10.0.1.9"]);
    world.service("s");
    await world.lead();
    world.pool("b", ["10.0.1.5/32"]);
    await world.settle();
    expect(world.poolStatus("b").conditions?.[0]?.message).toContain('CIDR "10.0.1.5/32" in pool "b" overlaps with already defined CIDR "10.0.1.0-10.0.1.9" of pool "a"');
    world.dropPool("b");
    world.pool("a", ["10.0.0.0/24", "10.0.0.7/32"]);
    await world.settle();
    expect(world.poolStatus("a").conditions?.[0]?.message).toContain('CIDR "10.0.0.7/32" in pool "a" overlaps with already defined CIDR "10.0.0.0/24" of pool "a"');
    expect(world.ip("s")).toBe("10.0.0.0");
  });

  it("a status edited by hand is put right", async () => {
    const world = new World();
    world.pool("p", ["10.0.0.1-10.0.0.4"]);
    world.service("a");
    await world.lead();
    const object = world.client.peek(ipAddressPools, { namespace: NAMESPACE, name: "p" });
    if (object === undefined) throw new Error("no pool");
    world.client.put(ipAddressPools, { ...object, status: { assignedIPv4: 77, assignedIPv6: 0, availableIPv4: 0, availableIPv6: 5 } });
    await world.settle();
    expect(world.poolStatus("p")).toMatchObject({ assignedIPv4: 1, availableIPv4: 3, availableIPv6: 0, conditions: [{ type: "Valid", status: "True" }] });
  });
});
