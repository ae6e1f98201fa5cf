import { describe, expect, it } from "vitest";
import type { Service } from "../kube/objects.ts";
import { World } from "./fake-world.ts";

type Policy = NonNullable<Service["spec"]["ipFamilyPolicy"]>;

const DUAL: Partial<Service["spec"]> = { clusterIPs: ["10.96.0.9", "fd01::9"], ipFamilies: ["IPv4", "IPv6"] };
const V6_FIRST: Partial<Service["spec"]> = { clusterIPs: ["fd01::9", "10.96.0.9"], ipFamilies: ["IPv6", "IPv4"] };
const V4: Partial<Service["spec"]> = { clusterIPs: ["10.96.0.9"], ipFamilies: ["IPv4"] };
const V6: Partial<Service["spec"]> = { clusterIPs: ["fd01::9"], ipFamilies: ["IPv6"] };

function dual(world: World, name: string, ipFamilyPolicy: Policy, rest: { spec?: Partial<Service["spec"]>; annotations?: Record<string, string>; ingress?: string[] } = {}): void {
  world.service(name, { ...rest, spec: { ...DUAL, ipFamilyPolicy, ...rest.spec } });
}

async function turn(world: World, name: string, spec: Partial<Service["spec"]>): Promise<void> {
  world.change(name, (service) => void Object.assign(service.spec, spec));
  await world.settle();
}

describe("which pool a dual-stack Service gets its addresses from", () => {
  it("one that has both, though another comes first by name", async () => {
    const world = new World();
    world.pool("a4", ["10.1.0.1/32"]);
    world.pool("b6", ["fd01:b::1/128"]);
    world.pool("c", ["10.2.0.1-10.2.0.9", "fd02::1-fd02::9"]);
    for (const policy of ["RequireDualStack", "PreferDualStack"] as const) dual(world, policy.toLowerCase(), policy);
    await world.lead();
    expect([world.ip("requiredualstack"), world.ip("preferdualstack")]).toEqual(["10.2.0.1,fd02::1", "10.2.0.2,fd02::2"]);
  });

  it("without one that has both: PreferDualStack takes the primary family, or the other; RequireDualStack waits", async () => {
    const world = new World();
    world.pool("four", ["10.1.0.1/32"]);
    world.pool("six", ["fd01::1-fd01::2"]);
    dual(world, "require", "RequireDualStack");
    dual(world, "prefer", "PreferDualStack");
    dual(world, "prefer-six", "PreferDualStack", { spec: V6_FIRST });
    dual(world, "prefer-late", "PreferDualStack");
    await world.lead();
    expect(["require", "prefer", "prefer-six", "prefer-late"].map((name) => world.ip(name))).toEqual([undefined, "10.1.0.1", "fd01::1", "fd01::2"]);
    expect(world.condition("require")).toBe("False PoolHasNoSuchFamily");
  });

  it("a pool made for the Service goes before, even if it has one family only", async () => {
    const world = new World();
    world.pool("plain", ["10.1.0.1/32", "fd01::1/128"]);
    world.pool("pinned", ["10.2.0.1/32"], { serviceAllocation: { priority: 10 } });
    dual(world, "prefer", "PreferDualStack");
    await world.lead();
    expect(world.ip("prefer")).toBe("10.2.0.1");
  });

  it("PreferDualStack with cluster addresses of one family gets one address; RequireDualStack none", async () => {
    const world = new World();
    world.pool("p", ["10.0.0.1-10.0.0.9", "fd00::1-fd00::9"]);
    dual(world, "prefer", "PreferDualStack", { spec: V6 });
    dual(world, "require", "RequireDualStack", { spec: V4 });
    world.service("headless", { spec: { clusterIPs: ["None"] } });
    await world.lead();
    expect(["prefer", "require", "headless"].map((name) => world.ip(name))).toEqual(["fd00::1", undefined, undefined]);
    expect([world.condition("require"), world.condition("headless")]).toEqual(["False NotEnoughClusterIps", "False NoClusterIp"]);
    expect(world.events("require")[0]).toMatch(/^not enough clusterips: /);
  });
});

describe("requests of dual-stack Services", () => {
  it("two addresses of one pool in the order of the request, which restarts don't change", async () => {
    const world = new World();
    world.pool("p", ["10.0.0.0/24", "fd00::/120"]);
    world.pool("q", ["10.1.0.0/24", "fd01::/120"]);
    dual(world, "four-first", "RequireDualStack", { annotations: { "metallb.io/loadBalancerIPs": "10.0.0.7, fd00::7" } });
    dual(world, "six-first", "RequireDualStack", { annotations: { "metallb.universe.tf/loadBalancerIPs": "fd00::8,10.0.0.8" } });
    dual(world, "apart", "RequireDualStack", { annotations: { "metallb.io/loadBalancerIPs": "10.0.0.9,fd01::9" } });
    dual(world, "half", "PreferDualStack", { annotations: { "metallb.io/loadBalancerIPs": "10.0.0.9" } });
    dual(world, "two-fours", "PreferDualStack", { annotations: { "metallb.io/loadBalancerIPs": "10.0.0.9,10.0.0.10" } });
    const first = await world.lead();
    expect(["four-first", "six-first", "apart", "half", "two-fours"].map((name) => world.ip(name))).toEqual(["10.0.0.7,fd00::7", "fd00::8,10.0.0.8", undefined, undefined, undefined]);
    expect(["apart", "half", "two-fours"].map((name) => world.condition(name))).toEqual(["False AddressesInDifferentPools", "False FamilyMismatch", "False InvalidRequest"]);
    const patches = world.patches();
    await first.stop();
    await world.lead();
    world.change("four-first", ({ metadata }) => void (metadata.annotations = { ...metadata.annotations, "metallb.io/loadBalancerIPs": "fd00::7,10.0.0.7" }));
    await world.settle();
    expect([world.ip("four-first"), world.patches()]).toEqual(["10.0.0.7,fd00::7", patches]);
  });
});

describe("a dual-stack Service that changes", () => {
  it("PreferDualStack holding one address gets the other from the same pool as soon as that has it, behind the first", async () => {
    const world = new World();
    world.pool("p", ["10.0.0.1-10.0.0.9"]);
    world.pool("six", ["fd09::1-fd09::9"], { autoAssign: false });
    dual(world, "four", "PreferDualStack");
    dual(world, "six", "PreferDualStack", { annotations: { "metallb.io/address-pool": "six" } });
    await world.lead();
    expect([world.ip("four"), world.ip("six")]).toEqual(["10.0.0.1", "fd09::1"]);
    world.pool("both", ["10.5.0.1-10.5.0.9", "fd05::1-fd05::9"]);
    await world.settle();
    expect([world.ip("four"), world.ip("six")]).toEqual(["10.0.0.1", "fd09::1"]);
    world.pool("p", ["10.0.0.1-10.0.0.9", "fd00::1-fd00::9"]);
    world.pool("six", ["fd09::1-fd09::9", "10.9.0.1/32"], { autoAssign: false });
    await world.settle();
    expect([world.ip("four"), world.ip("six")]).toEqual(["10.0.0.1,fd00::1", "fd09::1,10.9.0.1"]);
    expect(world.events("four")).toEqual(['IPAllocated: Assigned IP ["10.0.0.1"]', 'IPAllocated: Assigned additional IP "fd00::1"']);
  });

  it("from PreferDualStack to RequireDualStack on a pool of one family it has none, and back it has one", async () => {
    const world = new World();
    world.pool("p", ["10.0.0.1-10.0.0.9"]);
    dual(world, "a", "PreferDualStack");
    await world.lead();
    await turn(world, "a", { ipFamilyPolicy: "RequireDualStack" });
    expect([world.ip("a"), world.condition("a")]).toEqual([undefined, "False PoolHasNoSuchFamily"]);
    await turn(world, "a", { ipFamilyPolicy: "PreferDualStack" });
    expect([world.ip("a"), world.condition("a")]).toEqual(["10.0.0.1", "True Assigned"]);
  });

  it("from one family to two it keeps its address, from two to one it keeps that one, and the other family costs it", async () => {
    const world = new World();
    world.pool("p", ["10.0.0.1-10.0.0.9", "fd00::1-fd00::9"]);
    for (const name of ["before", "a"]) world.service(name);
    await world.lead();
    const steps: [Partial<Service["spec"]>, string][] = [
      [{ ...DUAL, ipFamilyPolicy: "RequireDualStack" }, "10.0.0.2,fd00::1"],
      [{ ...V4, ipFamilyPolicy: "SingleStack" }, "10.0.0.2"],
      [{ ...DUAL, ipFamilyPolicy: "PreferDualStack" }, "10.0.0.2,fd00::1"],
      [{ ...V6, ipFamilyPolicy: "SingleStack" }, "fd00::1"],
      [{ ...V4, ipFamilyPolicy: "SingleStack" }, "10.0.0.2"],
    ];
    for (const [spec, expected] of steps) {
      await turn(world, "a", spec);
      expect([world.ip("a"), world.condition("a")]).toEqual([expected, "True Assigned"]);
    }
    expect(world.poolStatus("p").assignedIPv4).toBe(2);
  });

  for (const policy of ["PreferDualStack", "RequireDualStack"] as const) {
    it(`when its pool loses a family, ${policy} takes both from another pool that has both`, async () => {
      const world = new World();
      world.pool("a", ["10.0.0.1-10.0.0.9", "fd00::1-fd00::9"]);
      dual(world, "s", policy);
      await world.lead();
      world.pool("b", ["10.1.0.1-10.1.0.9", "fd01::1-fd01::9"]);
      await world.settle();
      expect(world.ip("s")).toBe("10.0.0.1,fd00::1");
      world.pool("a", ["10.0.0.1-10.0.0.9"]);
      await world.settle();
      expect(world.ip("s")).toBe("10.1.0.1,fd01::1");
    });
  }

  it("when its pool loses a family and no other has both, PreferDualStack goes on with one", async () => {
    const world = new World();
    world.pool("a", ["10.0.0.1-10.0.0.9", "fd00::1-fd00::9"]);
    world.pool("six", ["fd06::1-fd06::9"]);
    dual(world, "s", "PreferDualStack");
    await world.lead();
    world.pool("a", ["10.0.0.1-10.0.0.9"]);
    await world.settle();
    expect([world.ip("s"), world.condition("s")]).toEqual(["10.0.0.1", "True Assigned"]);
  });
});

describe("a status that somebody has edited by hand", () => {
  const ALIENS = [
    ["another pool's", "fd06::5"],
    ["no pool's", "fd99::5"],
    ["another Service's", "fd06::1"],
    ["a pool's that may not serve it", "fd08::5"],
    ["another pool's of its own family", "10.6.0.5"],
  ] as const;

  /** "s" has 10.0.0.1 of the pool "p", which has no other family; pools that have both are there too. */
  async function start(policy: Policy | "one family"): Promise<{ world: World; first: Awaited<ReturnType<World["lead"]>> }> {
    const world = new World();
    world.pool("p", ["10.0.0.1-10.0.0.9"]);
    if (policy === "one family") world.service("s");
    else dual(world, "s", policy);
    const first = await world.lead();
    world.pool("a", ["10.6.0.1-10.6.0.9", "fd06::1-fd06::9"]);
    world.pool("closed", ["10.8.0.1-10.8.0.9", "fd08::1-fd08::9"], { serviceAllocation: { namespaces: ["other"] } });
    world.service("holder", { spec: V6, annotations: { "metallb.io/loadBalancerIPs": "fd06::1" } });
    await world.settle();
    expect([world.ip("s"), world.ip("holder")]).toEqual(["10.0.0.1", "fd06::1"]);
    return { world, first };
  }

  async function edit(world: World, ...ips: string[]): Promise<void> {
    world.change("s", (service) => void (service.status = { ...service.status, loadBalancer: { ingress: ips.map((ip) => ({ ip, ipMode: "VIP" as const })) } }));
    await world.settle();
  }

  for (const policy of ["PreferDualStack", "one family"] as const) {
    for (const [whose, alien] of ALIENS) {
      for (const order of ["behind", "before"] as const) {
        it(`${policy}: ${whose} address ${order} its own is dropped, and its own stays`, async () => {
          const { world, first } = await start(policy);
          const ips = order === "behind" ? ["10.0.0.1", alien] : [alien, "10.0.0.1"];
          await edit(world, ...ips);
          expect([world.ip("s"), world.condition("s"), world.ip("holder")]).toEqual(["10.0.0.1", "True Assigned", "fd06::1"]);
          // The same while no controller ran.
          await first.stop();
          await edit(world, ...ips);
          await world.lead();
          expect([world.ip("s"), world.condition("s"), world.ip("holder")]).toEqual(["10.0.0.1", "True Assigned", "fd06::1"]);
        });
      }
    }
  }

  for (const policy of ["PreferDualStack", "RequireDualStack"] as const) {
    it(`${policy}: in the place of one of two, it is dropped and the missing one comes back, the other one stays`, async () => {
      const world = new World();
      world.pool("p", ["10.0.0.1-10.0.0.9", "fd00::1-fd00::9"]);
      dual(world, "before", policy);
      dual(world, "s", policy);
      const first = await world.lead();
      world.pool("a", ["10.6.0.1-10.6.0.9", "fd06::1-fd06::9"]);
      await world.settle();
      for (const ips of [["10.0.0.2", "fd06::5"], ["fd06::5", "10.0.0.2"], ["10.6.0.5", "fd00::2"], ["fd99::1", "10.0.0.2"]]) {
        await edit(world, ...ips);
        expect([ips, world.ip("s"), world.condition("s")]).toEqual([ips, "10.0.0.2,fd00::2", "True Assigned"]);
      }
      await first.stop();
      await edit(world, "fd06::5", "10.0.0.2");
      await world.lead();
      expect([world.ip("s"), world.condition("s")]).toEqual(["10.0.0.2,fd00::2", "True Assigned"]);
    });
  }

  it("takes no address from the Service that was given it, though that one is younger and no controller ran meanwhile", async () => {
    const world = new World();
    world.pool("p", ["10.0.0.1-10.0.0.9", "fd00::1-fd00::9"]);
    dual(world, "s", "PreferDualStack");
    dual(world, "younger", "PreferDualStack");
    await (await world.lead()).stop();
    for (const ips of [["10.0.0.1", "fd00::2"], ["10.0.0.2", "fd00::2"], ["10.0.0.2", "fd00::1"]]) {
      await edit(world, ...ips);
      const next = await world.lead();
      // What comes back stands behind what was there.
      expect([ips, world.ip("s")?.split(",").toSorted(), world.ip("younger")]).toEqual([ips, ["10.0.0.1", "fd00::1"], "10.0.0.2,fd00::2"]);
      await next.stop();
    }
  });

  it("does not hide that its pool lost a family: PreferDualStack takes both from another pool, also when that was while no controller ran", async () => {
    for (const isRestart of [false, true]) {
      const world = new World();
      world.pool("p", ["10.0.0.1-10.0.0.9", "fd00::1-fd00::9"]);
      dual(world, "s", "PreferDualStack");
      const first = await world.lead();
      world.pool("z", ["10.6.0.1-10.6.0.9", "fd06::1-fd06::9"]);
      await world.settle();
      if (isRestart) await first.stop();
      world.pool("p", ["10.0.0.1-10.0.0.9"]);
      if (isRestart) await world.lead();
      await world.settle();
      expect([isRestart, world.ip("s"), world.condition("s")]).toEqual([isRestart, "10.6.0.1,fd06::1", "True Assigned"]);
    }
  });

  it("is nobody's title to an address: who was given nothing takes none from a younger Service, not even from a controller that starts", async () => {
    const world = new World();
    world.pool("p", ["10.0.0.1/32"]);
    world.service("holder", { created: 10 });
    const first = await world.lead();
    world.service("s", { created: 0 });
    await world.settle();
    await first.stop();
    await edit(world, "10.0.0.1");
    await world.lead();
    await world.settle();
    expect([world.ip("holder"), world.ip("s"), world.condition("s")]).toEqual(["10.0.0.1", undefined, "False NoFreeAddress"]);
  });
});
