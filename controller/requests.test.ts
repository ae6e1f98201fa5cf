/** What Services ask for by name: what is understood, what an impossible wish costs one that has an address, and what is told of it. */
import { describe, expect, it } from "vitest";
import type { Service } from "../kube/objects.ts";
import { World } from "./fake-world.ts";

const IPS = "metallb.io/loadBalancerIPs";
const POOL = "metallb.io/address-pool";
const DUAL: Partial<Service["spec"]> = { clusterIPs: ["10.96.0.9", "fd01::9"], ipFamilies: ["IPv4", "IPv6"], ipFamilyPolicy: "RequireDualStack" };

/** Pools of every kind, and a Service that has the address 10.2.0.1. */
function busyWorld(): World {
  const world = new World();
  world.pool("p", ["10.0.0.1-10.0.0.9", "fd00::1-fd00::9"]);
  world.pool("q", ["10.1.0.1-10.1.0.9", "fd01::1-fd01::9"], { autoAssign: false });
  world.pool("full", ["10.2.0.1/32"], { autoAssign: false });
  world.pool("reserved", ["10.3.0.0/24"], { serviceAllocation: { namespaces: ["elsewhere"] } });
  world.pool("buggy", ["10.4.0.0/24"], { autoAssign: false, avoidBuggyIPs: true });
  world.pool("six", ["fd06::/120"], { autoAssign: false });
  world.service("neighbour", { annotations: { [POOL]: "full" } });
  return world;
}

interface Wish {
  readonly annotations?: Record<string, string>;
  readonly ip?: string;
  readonly reason: string;
  readonly says: RegExp;
}

const impossible: Readonly<Record<string, Wish>> = {
  "an address of no pool": { ip: "192.0.2.1", reason: "AddressNotInPool", says: /\["192\.0\.2\.1"\] is not allowed in config/ },
  "an address that its pool avoids": { ip: "10.4.0.255", reason: "AddressNotInPool", says: /\["10\.4\.0\.255"\] is not allowed in config/ },
  "a neighbour's address": { ip: "10.2.0.1", reason: "AddressInUse", says: /10\.2\.0\.1 is already in use by default\/neighbour/ },
  "an address of a reserved pool": { ip: "10.3.0.7", reason: "PoolNotAllowed", says: /pool reserved not compatible for ip assignment/ },
  "an address of the other family": { ip: "fd00::5", reason: "FamilyMismatch", says: /\["fd00::5"\] does not match the ipFamily of the service/ },
  "one address more than it has families": { annotations: { [IPS]: "10.0.0.5,fd00::5" }, reason: "FamilyMismatch", says: /\["10\.0\.0\.5" "fd00::5"\] does not match/ },
  "an address and another pool": { annotations: { [POOL]: "q" }, ip: "10.0.0.5", reason: "AddressNotInRequestedPool", says: /\["10\.0\.0\.5"\] is not compatible with requested address pool q/ },
  "an address and a pool that is not there": { annotations: { [POOL]: "nowhere" }, ip: "10.0.0.5", reason: "AddressNotInRequestedPool", says: /requested address pool nowhere/ },
  "a pool that is not there": { annotations: { [POOL]: "nowhere" }, reason: "UnknownPool", says: /unknown pool "nowhere"/ },
  "a reserved pool": { annotations: { [POOL]: "reserved" }, reason: "PoolNotAllowed", says: /pool reserved not compatible/ },
  "a full pool": { annotations: { [POOL]: "full" }, reason: "NoFreeAddress", says: /no available IPs in pool full/ },
  "a pool of the other family": { annotations: { [POOL]: "six" }, reason: "PoolHasNoSuchFamily", says: /no available IPs in pool six: it has no IPv4 addresses/ },
  "spec and annotation at once, though they agree": { annotations: { [IPS]: "10.0.0.5" }, ip: "10.0.0.5", reason: "InvalidRequest", says: /can not have both/ },
};

describe("a wish that can't be granted", () => {
  it.each(Object.entries(impossible))("%s: a Service without an address has a reason and one event", async (_title, { annotations = {}, ip, reason, says }) => {
    const world = busyWorld();
    world.service("s", { annotations, spec: ip === undefined ? {} : { loadBalancerIP: ip } });
    await world.lead();
    expect([world.ip("s"), world.condition("s")]).toEqual([undefined, `False ${reason}`]);
    expect(world.events("s")).toEqual([expect.stringMatching(says)]);
  });

  it.each(Object.entries(impossible))("%s: a Service with an address keeps it, and is told once", async (_title, { annotations = {}, ip, says }) => {
    const world = busyWorld();
    world.service("s");
    await world.lead();
    world.change("s", ({ metadata, spec }) => {
      metadata.annotations = { ...metadata.annotations, ...annotations };
      if (ip !== undefined) spec.loadBalancerIP = ip;
    });
    await world.settle();
    expect([world.ip("s"), world.condition("s")]).toEqual(["10.0.0.1", "True RequestRefused"]);
    const [, ...told] = world.events("s");
    expect(told).toEqual([expect.stringMatching(says)]);
    // What else happens is no reason to say it again.
    const patches = world.patches();
    world.change("s", ({ metadata }) => void (metadata.labels = { touched: "yes" }));
    world.pool("another", ["10.9.0.0/24"], { autoAssign: false });
    await world.settle(120_000);
    expect([world.events("s").length, world.patches()]).toEqual([2, patches]);
    // Without the wish all is well, where it was.
    world.change("s", ({ metadata, spec }) => {
      for (const key of Object.keys(annotations)) delete metadata.annotations?.[key];
      delete spec.loadBalancerIP;
    });
    await world.settle();
    expect([world.ip("s"), world.condition("s"), world.events("s").length]).toEqual(["10.0.0.1", "True Assigned", 2]);
  });

  it("is told anew when the cause changes, and granted as soon as it can be", async () => {
    const world = busyWorld();
    world.service("s");
    await world.lead();
    for (const ip of ["192.0.2.1", "10.2.0.1"]) {
      world.change("s", ({ spec }) => void (spec.loadBalancerIP = ip));
      await world.settle();
      expect([world.ip("s"), world.condition("s")]).toEqual(["10.0.0.1", "True RequestRefused"]);
    }
    expect(world.events("s").map((event) => event.split(":")[0])).toEqual(["IPAllocated", "AllocationFailed", "AllocationFailed"]);
    world.drop("neighbour");
    await world.settle();
    expect([world.ip("s"), world.condition("s"), world.poolStatus("p").assignedIPv4, world.poolStatus("full").assignedIPv4]).toEqual(["10.2.0.1", "True Assigned", 0, 1]);
  });

  it("an address of a pool that is yet to come", async () => {
    const world = busyWorld();
    world.service("by-address", { spec: { loadBalancerIP: "10.7.0.7" } });
    world.service("by-pool", { annotations: { [POOL]: "later" } });
    await world.lead();
    world.pool("later", ["10.7.0.0/24"], { autoAssign: false });
    await world.settle();
    expect([world.ip("by-address"), world.ip("by-pool")]).toEqual(["10.7.0.7", "10.7.0.0"]);
  });
});

describe("the text of a wish", () => {
  it.each([
    ["10.0.0.5", "10.0.0.5"],
    ["  10.0.0.5\t", "10.0.0.5"],
    ["::ffff:10.0.0.5", "10.0.0.5"],
    ["", "10.0.0.1"],
  ])("%j is understood", async (text, expected) => {
    const world = busyWorld();
    world.service("s", { annotations: { [IPS]: text } });
    await world.lead();
    expect(world.ip("s")).toBe(expected);
  });

  it.each([
    ["10.0.0.5 , fd00::5", "10.0.0.5,fd00::5"],
    ["FD00:0:0::5,10.0.0.5", "fd00::5,10.0.0.5"],
    ["fd00::10.0.0.5,10.0.0.5", "False AddressNotInPool"],
  ])("%j is understood as two", async (text, expected) => {
    const world = busyWorld();
    world.service("s", { annotations: { [IPS]: text }, spec: DUAL });
    await world.lead();
    expect(world.ip("s") ?? world.condition("s")).toBe(expected);
  });

  it.each([
    " ", ",", "10.0.0.5,", ",10.0.0.5", "10.0.0.5;fd00::5", "10.0.0.5 fd00::5", "010.0.0.5", "10.0.0.05", "10.0.0", "10.0.0.256", "10.0.0.5/32", "10.0.0.1-10.0.0.5", "0x0a000005", "167772165", "fd00::5%eth0", "[fd00::5]", "fd00:::5",
    "10.0.0.5,10.0.0.5", "10.0.0.5,10.0.0.6", "fd00::5,fd00::6", "10.0.0.5,fd00::5,10.0.0.6", "lb.example.com", "null", "\u0661\u0660.0.0.5",
    "1".repeat(100_000), `${"10.0.0.5,".repeat(20_000)}10.0.0.5`,
  ].map((text) => [text.slice(0, 50), text] as const))("%j is not", async (_start, text) => {
    const world = busyWorld();
    world.service("s", { annotations: { [IPS]: text }, spec: DUAL });
    await world.lead();
    expect([world.ip("s"), world.condition("s")]).toEqual([undefined, "False InvalidRequest"]);
    const [event = ""] = world.events("s");
    expect(event).toMatch(/^LoadBalancerFailed: invalid requested loadbalancer IPs: /);
    expect(event.length, "an event has room for 1024 characters").toBeLessThanOrEqual("LoadBalancerFailed: ".length + 1024);
  });

  it.each(["10.0.0.5 ", "10.0.0.5,fd00::5", "x", "10.0.0.5/32"])("in spec.loadBalancerIP, which takes one address and nothing else, %j is not", async (text) => {
    const world = busyWorld();
    world.service("s", { spec: { loadBalancerIP: text } });
    await world.lead();
    expect([world.ip("s"), world.condition("s")]).toEqual([undefined, "False InvalidRequest"]);
  });

  it("a pool of the empty name is any pool", async () => {
    const world = busyWorld();
    world.service("s", { annotations: { [POOL]: "" } });
    await world.lead();
    expect(world.ip("s")).toBe("10.0.0.1");
  });
});

describe("pools from one address to all", () => {
  it.each<[string, string[]]>([
    ["10.5.0.4/32", ["10.5.0.4"]],
    ["10.5.0.5/31", ["10.5.0.4", "10.5.0.5"]],
    ["10.5.0.4-10.5.0.4", ["10.5.0.4"]],
    ["10.5.0.255-10.5.1.0", ["10.5.0.255", "10.5.1.0"]],
    ["fd05::4/128", ["fd05::4"]],
    ["fd05::5/127", ["fd05::4", "fd05::5"]],
    ["fd05::ffff-fd05::1:0", ["fd05::ffff", "fd05::1:0"]],
    ["::ffff:10.5.0.4/127", ["10.5.0.4", "10.5.0.5"]],
    ["255.255.255.254/31", ["255.255.255.254", "255.255.255.255"]],
    ["ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe/127", ["ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"]],
  ])("%s is given out from end to end, and then it is full", async (range, addresses) => {
    const world = new World();
    const family: Partial<Service["spec"]> = addresses[0]?.includes(":") === true ? { clusterIPs: ["fd01::9"], ipFamilies: ["IPv6"] } : {};
    world.pool("p", [range]);
    const names = [...addresses.map((_address, index) => `s${index}`), "late"];
    for (const name of names) world.service(name, { spec: family });
    await world.lead();
    expect(names.map((name) => world.ip(name))).toEqual([...addresses, undefined]);
    expect(world.condition("late")).toBe("False NoFreeAddress");
    world.drop("s0");
    await world.settle();
    expect(world.ip("late")).toBe(addresses[0]);
  });

  it.each([["0.0.0.0/0", "203.0.113.77", {}], ["::/0", "2001:db8::77", { clusterIPs: ["fd01::9"], ipFamilies: ["IPv6" as const] }]])("of %s any address may be asked for", async (range, ip, spec) => {
    const world = new World();
    world.pool("all", [range], { autoAssign: false });
    world.service("s", { spec: { ...spec, loadBalancerIP: ip } });
    await world.lead();
    expect(world.ip("s")).toBe(ip);
  });
});
