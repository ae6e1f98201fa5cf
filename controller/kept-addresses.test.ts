/** A request that can't be met or read costs a Service nothing that it may keep, and keeps nothing that it may not. */
import { describe, expect, it } from "vitest";
import { namespaces, type Service } from "../kube/objects.ts";
import { World } from "./fake-world.ts";

const IPS = "metallb.io/loadBalancerIPs";
const DUAL: Partial<Service["spec"]> = { clusterIPs: ["10.96.0.9", "fd01::9"], ipFamilies: ["IPv4", "IPv6"], ipFamilyPolicy: "RequireDualStack" };
const V4: Partial<Service["spec"]> = { clusterIPs: ["10.96.0.9"], ipFamilies: ["IPv4"], ipFamilyPolicy: "SingleStack" };
const V6: Partial<Service["spec"]> = { clusterIPs: ["fd01::9"], ipFamilies: ["IPv6"], ipFamilyPolicy: "SingleStack" };

function dualWorld(annotations: Record<string, string> = {}): World {
  const world = new World();
  world.pool("p", ["10.0.0.1-10.0.0.9", "fd00::1-fd00::9"]);
  world.pool("full", ["10.1.0.1/32"], { autoAssign: false });
  world.service("other", { annotations: { "metallb.io/address-pool": "full" } });
  world.service("s", { spec: DUAL, annotations });
  return world;
}

async function turn(world: World, change: { spec?: Partial<Service["spec"]>; annotations?: Record<string, string> }): Promise<void> {
  world.change("s", ({ spec, metadata }) => {
    Object.assign(spec, change.spec);
    metadata.annotations = { ...metadata.annotations, ...change.annotations };
  });
  await world.settle();
}

function shown(world: World): (string | undefined)[] {
  return [world.ip("s"), world.condition("s")];
}

async function relabel(world: World, labels: Record<string, string>): Promise<void> {
  world.client.put(namespaces, { metadata: { name: "default", labels } });
  await world.settle();
}

describe("a request that can't be met", () => {
  it.each([["IPv4", V4, "10.0.0.7"], ["IPv6", V6, "fd00::7"]] as const)("a Service that asks for two addresses and becomes one of %s alone keeps that address", async (_family, spec, kept) => {
    const world = dualWorld({ [IPS]: "10.0.0.7,fd00::7" });
    await world.lead();
    expect(shown(world)).toEqual(["10.0.0.7,fd00::7", "True Assigned"]);
    await turn(world, { spec });
    expect(shown(world)).toEqual([kept, "True RequestRefused"]);
    await turn(world, { annotations: { [IPS]: kept } });
    expect(shown(world)).toEqual([kept, "True Assigned"]);
  });

  it("nor does one lose it that asks for a full pool at the same time", async () => {
    const world = dualWorld();
    await world.lead();
    await turn(world, { spec: V4, annotations: { "metallb.io/address-pool": "full" } });
    expect(shown(world)).toEqual(["10.0.0.1", "True RequestRefused"]);
    world.drop("other");
    await world.settle();
    expect(shown(world)).toEqual(["10.1.0.1", "True Assigned"]);
  });
});

describe("a request that can't be read", () => {
  it("keeps no address of a pool that admits the Service no more", async () => {
    const world = new World();
    world.pool("p", ["10.0.0.1/32"], { serviceAllocation: { namespaceSelectors: [{ matchLabels: { team: "red" } }] } });
    world.service("s");
    await world.lead();
    await relabel(world, { team: "red" });
    await turn(world, { annotations: { [IPS]: "nonsense" } });
    expect(shown(world)).toEqual(["10.0.0.1", "True RequestRefused"]);
    await relabel(world, { team: "blue" });
    expect(shown(world)).toEqual([undefined, "False InvalidRequest"]);
    expect(world.events("s").join("\n")).toMatch(/ClearAssignment: .*pool p not compatible for ip assignment/);
  });

  it("keeps no address of a family that the Service has no more, and the other one", async () => {
    const world = dualWorld();
    await world.lead();
    await turn(world, { annotations: { [IPS]: "nonsense" } });
    expect(shown(world)).toEqual(["10.0.0.1,fd00::1", "True RequestRefused"]);
    await turn(world, { spec: V6 });
    expect(shown(world)).toEqual(["fd00::1", "True RequestRefused"]);
    await turn(world, { spec: V4 });
    expect(shown(world)).toEqual([undefined, "False InvalidRequest"]);
  });

  it("keeps no single address where both are required", async () => {
    const world = dualWorld();
    await world.lead();
    await turn(world, { spec: V4 });
    await turn(world, { spec: DUAL, annotations: { [IPS]: "nonsense" } });
    expect(shown(world)).toEqual([undefined, "False InvalidRequest"]);
  });
});
