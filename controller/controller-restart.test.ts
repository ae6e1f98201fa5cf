import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Service, services } from "../kube/objects.ts";
import { World } from "./fake-world.ts";

/** What the Services of a cluster may look like when a controller starts, whoever wrote them. */
const shapes = fc.record({
  shown: fc.uniqueArray(fc.constantFrom("10.0.0.1", "10.0.0.1", "10.0.0.2", "10.0.1.1", "fd00::1", "fd00::2", "fd00:1::1", "192.0.2.1"), { maxLength: 2 }),
  stack: fc.constantFrom("v4", "v4", "v6", "prefer", "require"),
  key: fc.constantFrom("", "k", "k", "k", "j"),
  ports: fc.subarray([80, 443, 22], { minLength: 1 }),
  local: fc.boolean(),
  app: fc.constantFrom("a", "a", "b"),
  pool: fc.constantFrom(undefined, undefined, undefined, "p", "q"),
  asksForShown: fc.boolean(),
  created: fc.integer({ min: 0, max: 5 }),
});
type Shape = typeof shapes extends fc.Arbitrary<infer S> ? S : never;

const POOLS: Readonly<Record<string, readonly string[]>> = { p: ["10.0.0.1-10.0.0.3", "fd00::1-fd00::2"], q: ["10.0.1.1-10.0.1.2", "fd00:1::1/128"] };
const OWNERS: readonly (readonly [start: string, pool: string])[] = [["10.0.0.", "p"], ["fd00::", "p"], ["10.0.1.", "q"], ["fd00:1::", "q"]];

function poolOf(address: string): string | undefined {
  return OWNERS.find(([start]) => address.startsWith(start))?.[1];
}

function put(world: World, name: string, shape: Shape): void {
  const dual: Partial<Service["spec"]> = { clusterIPs: ["10.96.0.9", "fd01::9"], ipFamilies: ["IPv4", "IPv6"] };
  const stacks: Readonly<Record<string, Partial<Service["spec"]>>> = {
    v4: {},
    v6: { clusterIPs: ["fd01::9"], ipFamilies: ["IPv6"] },
    prefer: { ...dual, ipFamilyPolicy: "PreferDualStack" },
    require: { ...dual, ipFamilyPolicy: "RequireDualStack" },
  };
  world.service(name, {
    created: shape.created,
    ingress: [...shape.shown],
    annotations: {
      ...(shape.key === "" ? {} : { "metallb.io/allow-shared-ip": shape.key }),
      ...(shape.pool === undefined ? {} : { "metallb.io/address-pool": shape.pool }),
      ...(shape.asksForShown && shape.shown.length > 0 ? { "metallb.io/loadBalancerIPs": shape.shown.join(",") } : {}),
    },
    spec: {
      ...stacks[shape.stack],
      ports: shape.ports.map((port) => ({ protocol: "TCP" as const, port })),
      selector: { app: shape.app },
      externalTrafficPolicy: shape.local ? "Local" : "Cluster",
    },
  });
}

function mayShare(a: Shape, b: Shape): boolean {
  const backend = (shape: Shape): string => (shape.local ? shape.app : "");
  return a.key !== "" && a.key === b.key && backend(a) === backend(b) && !a.ports.some((port) => b.ports.includes(port));
}

/** Whether the Service may go on with what it shows, as far as that is a matter between it and the pools. */
function conforms({ shown, stack, pool }: Shape): boolean {
  const families = shown.map((address) => (address.includes(":") ? "v6" : "v4"));
  if (shown.length === 0 || new Set(families).size < shown.length) return false;
  const owner = poolOf(shown[0] ?? "");
  if (owner === undefined || shown.some((address) => poolOf(address) !== owner) || (pool ?? owner) !== owner) return false;
  if (stack === "require") return shown.length === 2;
  return stack === "prefer" || (shown.length === 1 && families[0] === stack);
}

function addressesOf(world: World, name: string): string[] {
  return (world.ip(name) ?? "").split(",").filter((text) => text !== "");
}

describe("a controller that starts on whatever it finds", () => {
  it("moves nobody that may stay, leaves no address to two that may not share it, and is done after one pass", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(shapes, { minLength: 1, maxLength: 7 }), async (all) => {
        const world = new World();
        for (const [name, addresses] of Object.entries(POOLS)) world.pool(name, [...addresses]);
        const named = all.map((shape, index) => ({ name: `s${index}`, shape, age: [shape.created, index] as const }));
        for (const { name, shape } of named) put(world, name, shape);
        const first = await world.lead();
        await world.settle();
        for (const one of named) {
          const shown = addressesOf(world, one.name);
          for (const other of named) {
            const both = addressesOf(world, other.name).filter((address) => shown.includes(address));
            expect(one === other || both.length === 0 || mayShare(one.shape, other.shape)).toBe(true);
          }
          const rivals = named.filter((other) => other !== one && other.shape.shown.some((address) => one.shape.shown.includes(address)) && !mayShare(one.shape, other.shape));
          const isEldest = rivals.every(({ age }) => one.age[0] < age[0] || (one.age[0] === age[0] && one.age[1] < age[1]));
          // It may get its missing second address, behind the one that it has.
          if (conforms(one.shape) && isEldest) expect(shown.slice(0, one.shape.shown.length)).toEqual(one.shape.shown);
          expect(shown.every((address) => poolOf(address) !== undefined)).toBe(true);
          expect(new Set(shown.map(poolOf)).size).toBeLessThan(2);
          const condition = world.condition(one.name);
          expect(condition?.startsWith(shown.length > 0 ? "True" : "False")).toBe(true);
        }
        // The next one moves nobody, writes to nobody that has what it wants, and finds new words at most for those that wait.
        const before = world.client.peekAll(services);
        await first.stop();
        const second = await world.lead();
        for (const { metadata } of before) {
          const now = world.get(metadata.name);
          expect(now.status?.loadBalancer).toEqual(before.find((service) => service.metadata.name === metadata.name)?.status?.loadBalancer);
          if (world.condition(metadata.name) === "True Assigned") expect(now.metadata.resourceVersion).toBe(metadata.resourceVersion);
        }
        const patches = world.patches();
        await second.stop();
        await world.lead();
        expect(world.patches()).toBe(patches);
      }),
      { numRuns: Number(globalThis.process.env["RESTART_RUNS"] ?? 80) },
    );
  }, 300_000);
});
