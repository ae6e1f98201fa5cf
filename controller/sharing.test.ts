import { describe, expect, it } from "vitest";
import type { Service } from "../kube/objects.ts";
import { World } from "./fake-world.ts";

const KEY = "metallb.io/allow-shared-ip";

/** A Service's part in the sharing game. */
interface Sharer {
  readonly key?: string;
  readonly port?: number;
  readonly protocol?: "TCP" | "UDP" | "SCTP";
  readonly local?: boolean;
  readonly app?: string;
  readonly ip?: string;
}

function sharer({ key = "web", port = 80, protocol = "TCP", local = false, app = "a", ip }: Sharer): { annotations: Record<string, string>; spec: Partial<Service["spec"]> } {
  return {
    annotations: key === "" ? {} : { [KEY]: key },
    spec: {
      ports: [{ protocol, port }],
      selector: { app },
      externalTrafficPolicy: local ? "Local" : "Cluster",
      ...(ip === undefined ? {} : { loadBalancerIP: ip }),
    },
  };
}

function addSharer(world: World, name: string, part: Sharer): void {
  world.service(name, sharer(part));
}

function turn(world: World, name: string, part: Sharer): void {
  const { annotations, spec } = sharer(part);
  world.change(name, (service) => {
    service.metadata.annotations = { ...service.metadata.annotations, ...annotations };
    if (part.key === "") delete service.metadata.annotations[KEY];
    Object.assign(service.spec, spec);
    if (part.ip === undefined) delete service.spec.loadBalancerIP;
  });
}

function worldWith(parts: Readonly<Record<string, Sharer>>, addresses = ["10.0.0.1-10.0.0.9"]): World {
  const world = new World();
  world.pool("p", addresses);
  for (const [name, part] of Object.entries(parts)) addSharer(world, name, part);
  return world;
}

describe("who may share an address", () => {
  const WANTED = "10.0.0.7";
  const matrix: readonly { title: string; a: Sharer; b: Sharer; says?: RegExp; reason?: string }[] = [
    { title: "equal keys, different ports", a: {}, b: { port: 443 } },
    { title: "equal keys, one port, different protocols", a: { port: 53 }, b: { port: 53, protocol: "UDP" } },
    { title: "equal keys, selectors differ, traffic policy Cluster", a: {}, b: { port: 443, app: "b" } },
    { title: "equal keys, traffic policy Local, equal selectors", a: { local: true }, b: { port: 443, local: true } },
    { title: "one port for both", a: {}, b: {}, says: /port TCP\/80 is already in use on "10\.0\.0\.7" by default\/a/ },
    { title: "different keys", a: {}, b: { key: "other", port: 443 }, says: /can't change sharing key for "default\/b", address 10\.0\.0\.7 is also in use by default\/a: the sharing keys differ/ },
    { title: "Local beside Cluster", a: {}, b: { port: 443, local: true }, says: /by default\/a: .*externalTrafficPolicy Local/ },
    { title: "Local, but other pods", a: { local: true }, b: { port: 443, local: true, app: "b" }, says: /by default\/a: .*the same selector/ },
    { title: "the first has no key", a: { key: "" }, b: { port: 443 }, says: /can't share address 10\.0\.0\.7: it is already in use by default\/a, without sharing/ },
    { title: "the second has no key", a: {}, b: { key: "", port: 443 }, says: /address 10\.0\.0\.7 is already in use by default\/a/, reason: "AddressInUse" },
  ];
  for (const { title, a, b, says, reason = "SharingConflict" } of matrix) {
    it(`${title}: ${says === undefined ? "both have it" : reason}`, async () => {
      const world = worldWith({ a: { ...a, ip: WANTED }, b: { ...b, ip: WANTED } });
      await world.lead();
      expect([world.ip("a"), world.ip("b")]).toEqual([WANTED, says === undefined ? WANTED : undefined]);
      expect(world.condition("b")).toBe(says === undefined ? "True Assigned" : `False ${reason}`);
      if (says !== undefined) expect(world.events("b").join("\n")).toMatch(says);
    });
  }

  it("takes the former spelling of the annotation too", async () => {
    const world = worldWith({ a: { ip: WANTED } });
    world.service("b", { ...sharer({ port: 443, ip: WANTED }), annotations: { "metallb.universe.tf/allow-shared-ip": "web" } });
    await world.lead();
    expect(world.ip("b")).toBe(WANTED);
  });

  it("takes an empty key for none", async () => {
    const world = worldWith({ a: { ip: WANTED } });
    world.service("b", { ...sharer({ port: 443, ip: WANTED }), annotations: { [KEY]: "" } });
    await world.lead();
    expect(world.condition("b")).toBe("False AddressInUse");
  });
});

describe("sharing without asking for an address", () => {
  it("takes the lowest address that is free or fits, and counts a shared one once", async () => {
    const world = worldWith({ lone: { key: "" }, a: {}, "same-port": {}, b: { port: 443 }, c: { port: 443, key: "other" }, d: { port: 443 }, e: { port: 22 } });
    await world.lead();
    expect(["lone", "a", "same-port", "b", "c", "d", "e"].map((name) => world.ip(name))).toEqual(["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.2", "10.0.0.4", "10.0.0.3", "10.0.0.2"]);
    expect(world.poolStatus("p")).toMatchObject({ assignedIPv4: 4, availableIPv4: 5 });
    const metrics = await world.metrics.registry.metrics();
    expect(metrics).toContain('metallb_allocator_addresses_in_use_total{pool="p"} 4');
    expect(metrics).toContain('metallb_allocator_services_allocated_total{pool="p"} 7');
    world.drop("lone");
    await world.settle();
    addSharer(world, "next", { port: 8080 });
    await world.settle();
    expect(world.ip("next")).toBe("10.0.0.1");
  });

  it("tells with whom it could not share when the pool is full, and joins as soon as it can", async () => {
    const world = worldWith({ a: {}, b: {} }, ["10.0.0.1/32"]);
    await world.lead();
    expect(world.condition("b")).toBe("False SharingConflict");
    expect(world.events("b")).toEqual(['AllocationFailed: Failed to allocate IP for "default/b": no available IPs: port TCP/80 is already in use on "10.0.0.1" by default/a']);
    turn(world, "a", { port: 81 });
    await world.settle();
    expect([world.ip("a"), world.ip("b")]).toEqual(["10.0.0.1", "10.0.0.1"]);
  });

  it("both addresses of dual-stack Services are shared", async () => {
    const world = new World();
    world.pool("p", ["10.0.0.0/24", "fd00::/120"]);
    const dual: Partial<Service["spec"]> = { clusterIPs: ["10.96.0.9", "fd01::9"], ipFamilies: ["IPv4", "IPv6"], ipFamilyPolicy: "RequireDualStack" };
    for (const [name, port] of [["a", 80], ["b", 443]] as const) {
      const { annotations, spec } = sharer({ port });
      world.service(name, { annotations, spec: { ...spec, ...dual } });
    }
    world.service("c", { ...sharer({ port: 8080 }) });
    await world.lead();
    expect(["a", "b", "c"].map((name) => world.ip(name))).toEqual(["10.0.0.0,fd00::", "10.0.0.0,fd00::", "10.0.0.0"]);
  });
});

describe("when terms change", () => {
  it("the only one on an address may change them in place, and nothing moves", async () => {
    const world = worldWith({ a: {} });
    await world.lead();
    for (const part of [{ key: "other" }, { key: "other", port: 443 }, { key: "other", local: true }, { key: "" }, {}]) {
      turn(world, "a", part);
      await world.settle();
      expect([world.ip("a"), world.condition("a")]).toEqual(["10.0.0.1", "True Assigned"]);
    }
    addSharer(world, "b", { port: 443 });
    await world.settle();
    expect(world.ip("b")).toBe("10.0.0.1");
  });

  it("one of two that becomes Local leaves, the other stays; when both are, both have it again; another selector evicts, and aligning restores", async () => {
    const ip = "10.0.0.7";
    const world = worldWith({ a: { ip }, b: { ip, port: 443 } });
    await world.lead();
    const step = async (name: string, part: Sharer, expected: (string | undefined)[]): Promise<void> => {
      turn(world, name, { ip, ...part });
      await world.settle();
      expect([world.ip("a"), world.ip("b")]).toEqual(expected);
    };
    await step("a", { local: true }, [undefined, ip]);
    expect(world.condition("a")).toBe("False SharingConflict");
    expect(world.events("a").join("\n")).toMatch(/ClearAssignment: current IP for "default\/a" not allowed by config, .*also in use by default\/b/);
    await step("b", { local: true, port: 443 }, [ip, ip]);
    await step("b", { local: true, port: 443, app: "b" }, [ip, undefined]);
    await step("a", { local: true, app: "b" }, [ip, ip]);
  });

  it("who leaves takes another address at once when any will do", async () => {
    const world = worldWith({ a: {}, b: { port: 443 } });
    await world.lead();
    turn(world, "b", {});
    await world.settle();
    expect([world.ip("a"), world.ip("b")]).toEqual(["10.0.0.1", "10.0.0.2"]);
  });

  it("who drops its key while others share with it leaves", async () => {
    const world = worldWith({ a: {}, b: { port: 443 } });
    await world.lead();
    turn(world, "a", { key: "" });
    await world.settle();
    expect([world.ip("a"), world.ip("b")]).toEqual(["10.0.0.2", "10.0.0.1"]);
  });

  it("an unreadable request keeps the address, but not against those who share it", async () => {
    const world = worldWith({ a: {}, b: { port: 443 } });
    await world.lead();
    turn(world, "b", { port: 443, ip: "nonsense" });
    await world.settle();
    expect([world.ip("b"), world.condition("b")]).toEqual(["10.0.0.1", "True RequestRefused"]);
    turn(world, "b", { ip: "nonsense" });
    await world.settle();
    expect([world.ip("a"), world.ip("b"), world.condition("b")]).toEqual(["10.0.0.1", undefined, "False InvalidRequest"]);
  });
});

describe("several holders of one address after a restart", () => {
  it("all stay that may, and nothing is written", async () => {
    const world = worldWith({ a: {}, b: { port: 443 }, c: { port: 22 } });
    const first = await world.lead();
    await first.stop();
    const before = world.patches();
    await world.lead();
    expect(world.patches()).toBe(before);
    expect(["a", "b", "c"].map((name) => world.ip(name))).toEqual(["10.0.0.1", "10.0.0.1", "10.0.0.1"]);
    addSharer(world, "d", {});
    await world.settle();
    expect(world.ip("d")).toBe("10.0.0.2");
  });

  it("of those that may not share the oldest stays", async () => {
    const world = new World();
    world.pool("p", ["10.0.0.1-10.0.0.9"]);
    world.service("younger", { ...sharer({ key: "other", port: 443 }), ingress: ["10.0.0.1"], created: 20 });
    world.service("older", { ...sharer({}), ingress: ["10.0.0.1"], created: 10 });
    world.service("fits", { ...sharer({ port: 22 }), ingress: ["10.0.0.1"], created: 30 });
    await world.lead();
    expect(["older", "younger", "fits"].map((name) => world.ip(name))).toEqual(["10.0.0.1", "10.0.0.2", "10.0.0.1"]);
  });

  it("they move together to another name of their pool", async () => {
    const world = worldWith({ a: {}, b: { port: 443 } });
    await world.lead();
    world.dropPool("p");
    world.pool("q", ["10.0.0.1-10.0.0.9"]);
    await world.settle();
    expect([world.ip("a"), world.ip("b")]).toEqual(["10.0.0.1", "10.0.0.1"]);
    expect(world.poolStatus("q").assignedIPv4).toBe(1);
  });
});
