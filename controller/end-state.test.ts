import assert from "node:assert/strict";
import fc from "fast-check";
import { test } from "vitest";
import { KubeError } from "../kube/client.ts";
import { ipAddressPools, namespaces, type Service, services } from "../kube/objects.ts";
import { judge } from "./end-state-judge.ts";
import { NAMESPACE, World } from "./fake-world.ts";

const PREFIX = "metallb.io/";
/** No layout of one pool overlaps one of another, but for those of `r`, which are p's. */
const LAYOUTS: Readonly<Record<string, readonly (readonly string[])[]>> = {
  p: [["10.0.0.1-10.0.0.2", "fd00::1/128"], ["10.0.0.1/32"], ["10.0.0.2/32", "fd00::2/128"], ["fd00::1-fd00::2"], ["10.0.0.254-10.0.0.255", "10.0.0.2/32"]],
  q: [["10.0.1.1/32", "fd01::1/128"], ["10.0.1.0-10.0.1.1"], ["fd01::1/128"]],
  r: [["10.0.0.1-10.0.0.2", "fd00::1-fd00::3"], ["10.0.0.2/32"]],
};
const DUAL: Partial<Service["spec"]> = { clusterIPs: ["10.96.0.9", "fd01::9"], ipFamilies: ["IPv4", "IPv6"] };
const STACKS: Readonly<Record<string, Partial<Service["spec"]>>> = {
  v4: { clusterIPs: ["10.96.0.9"], ipFamilies: ["IPv4"], ipFamilyPolicy: "SingleStack" },
  v6: { clusterIPs: ["fd01::9"], ipFamilies: ["IPv6"], ipFamilyPolicy: "SingleStack" },
  prefer: { ...DUAL, ipFamilyPolicy: "PreferDualStack" },
  sixFirst: { clusterIPs: ["fd01::9", "10.96.0.9"], ipFamilies: ["IPv6", "IPv4"], ipFamilyPolicy: "PreferDualStack" },
  preferOne: { clusterIPs: ["fd01::9"], ipFamilies: ["IPv6"], ipFamilyPolicy: "PreferDualStack" },
  require: { ...DUAL, ipFamilyPolicy: "RequireDualStack" },
  requireOne: { clusterIPs: ["10.96.0.9"], ipFamilies: ["IPv4"], ipFamilyPolicy: "RequireDualStack" },
};

const names = fc.constantFrom("a", "b", "c", "d", "e", "f");
const shape = fc.record({
  stack: fc.constantFrom("v4", "v4", ...Object.keys(STACKS)),
  key: fc.constantFrom("", "k", "k", "k", "j"),
  ports: fc.subarray([80, 443], { minLength: 1 }),
  protocol: fc.constantFrom("TCP" as const, "UDP" as const),
  local: fc.constantFrom(false, false, true),
  app: fc.constantFrom("x", "x", "y"),
  front: fc.boolean(),
  pool: fc.constantFrom("", "", "", "p", "q", "r"),
  ips: fc.constantFrom("", "", "", "10.0.0.1", "10.0.0.2", "10.0.0.255", "10.0.1.0", "fd00::1", "10.0.0.2,fd00::2", "fd01::1,10.0.1.1", "10.0.0.1,fd01::1", "192.0.2.1", "garbage", "10.0.0.1,10.0.0.2"),
  specIp: fc.constantFrom(undefined, undefined, undefined, undefined, "10.0.0.1", "10.0.1.1"),
});
type Shape = typeof shape extends fc.Arbitrary<infer S> ? S : never;

const poolShape = fc.record({
  layout: fc.nat(4),
  autoAssign: fc.constantFrom(true, true, false),
  avoidBuggyIPs: fc.boolean(),
  serviceAllocation: fc.constantFrom<object | undefined>(
    undefined, undefined, {}, { priority: 1 }, { priority: 2, namespaces: ["default"] }, { namespaces: ["elsewhere"] }, { namespaceSelectors: [{ matchLabels: { team: "red" } }] },
    { namespaces: ["elsewhere"], namespaceSelectors: [{ matchLabels: { team: "red" } }] }, { serviceSelectors: [{ matchLabels: { tier: "front" } }], priority: 3 },
    { namespaceSelectors: [{ matchLabels: { team: "blue" } }], serviceSelectors: [{ matchLabels: { tier: "front" } }] },
  ),
});

const step = fc.oneof(
  { weight: 10, arbitrary: fc.record({ kind: fc.constant("create" as const), name: names, shape }) },
  { weight: 6, arbitrary: fc.record({ kind: fc.constant("change" as const), name: names, shape, field: fc.constantFrom("stack" as const, "key" as const, "ports" as const, "protocol" as const, "local" as const, "app" as const, "front" as const, "pool" as const, "ips" as const, "specIp" as const) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("delete" as const), name: names }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("type" as const), name: names, to: fc.constantFrom("ClusterIP" as const, "LoadBalancer" as const, "foreign" as const) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("edit" as const), name: names, ingress: fc.subarray(["10.0.0.1", "10.0.1.1", "fd00::2", "192.0.2.9"], { maxLength: 2 }) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("pool" as const), pool: fc.constantFrom("p", "q"), spec: poolShape }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("rename" as const), spec: poolShape }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("dropPool" as const), pool: fc.constantFrom("p", "q", "r") }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("relabel" as const), team: fc.constantFrom("red", "blue", "none") }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("restart" as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("fail" as const), code: fc.constantFrom(0, 409, 429, 500), times: fc.integer({ min: 1, max: 4 }) }) },
  { weight: 6, arbitrary: fc.record({ kind: fc.constant("wait" as const), ms: fc.constantFrom(0, 5, 300) }) },
);
type Step = typeof step extends fc.Arbitrary<infer S> ? S : never;

function apply(service: Service, given: Shape): void {
  const { stack, key, ports, protocol, local, app, front, pool, ips, specIp } = given;
  Object.assign(service.spec, STACKS[stack], { selector: { app }, externalTrafficPolicy: local ? "Local" : "Cluster", ports: ports.map((port) => ({ protocol, port })) });
  if (specIp === undefined) delete service.spec.loadBalancerIP;
  else service.spec.loadBalancerIP = specIp;
  service.metadata.labels = front ? { tier: "front" } : {};
  const asked = { "allow-shared-ip": key, "address-pool": pool, loadBalancerIPs: ips };
  service.metadata.annotations = { ...service.metadata.annotations };
  for (const [suffix, value] of Object.entries(asked)) {
    if (value === "") delete service.metadata.annotations[PREFIX + suffix];
    else service.metadata.annotations[PREFIX + suffix] = value;
  }
}

function isLoadBalancer({ spec }: Service): boolean {
  return spec.type === "LoadBalancer" && spec.loadBalancerClass === undefined;
}

/** A cluster and the shape that each of its Services was given. */
class Scene {
  readonly world = new World();
  readonly #shapes = new Map<string, Shape>();

  perform(each: Step): void {
    const { world } = this;
    const exists = "name" in each && world.client.peek(services, { namespace: "default", name: each.name }) !== undefined;
    switch (each.kind) {
      case "create":
        if (exists) return;
        world.service(each.name);
        return this.#reshape(each.name, each.shape);
      case "change": {
        const before = this.#shapes.get(each.name);
        if (exists && before !== undefined) this.#reshape(each.name, { ...before, [each.field]: each.shape[each.field] });
        return;
      }
      case "delete":
        if (exists) world.drop(each.name);
        return;
      case "type":
        if (exists) this.#changeType(each.name, each.to);
        return;
      case "edit":
        // The API server takes an ingress of no other type; and what others of a class of their own write is theirs.
        if (exists && isLoadBalancer(world.get(each.name))) world.change(each.name, (service) => void (service.status = { ...service.status, loadBalancer: { ingress: each.ingress.map((ip) => ({ ip, ipMode: "VIP" as const })) } }));
        return;
      case "pool":
        return this.#pool(each.pool, each.spec);
      case "rename":
        if (!this.#hasPool("p")) return;
        this.#pool("r", each.spec);
        return world.dropPool("p");
      case "dropPool":
        if (this.#hasPool(each.pool)) world.dropPool(each.pool);
        return;
      case "relabel":
        return void world.client.put(namespaces, { metadata: { name: "default", labels: { team: each.team } } });
      case "fail":
        return world.client.failNext({ verb: "patch", plural: "services", times: each.times, error: new KubeError({ code: each.code, reason: "Injected", message: "injected" }) });
      case "wait":
      case "restart":
        return;
    }
  }

  /** Of two pools that overlap one goes, so that what is configured is what runs. */
  mendPools(): void {
    if (this.#hasPool("p") && this.#hasPool("r")) this.world.dropPool("r");
  }

  /** Who shows which addresses of which pool, and who goes without. */
  state(): string[] {
    const { world } = this;
    return world.client.peekAll<Service>(services).map(({ metadata: { name, annotations } }) => `${name}: ${world.ip(name)} of ${annotations?.[`${PREFIX}ip-allocated-from-pool`]}, ${world.condition(name)?.split(" ")[0]}`);
  }

  #reshape(name: string, given: Shape): void {
    this.#shapes.set(name, given);
    this.world.change(name, (service) => apply(service, given));
  }

  #changeType(name: string, to: "ClusterIP" | "LoadBalancer" | "foreign"): void {
    this.world.change(name, (service) => {
      service.spec.type = to === "ClusterIP" ? "ClusterIP" : "LoadBalancer";
      delete service.spec.loadBalancerClass;
      if (to !== "foreign") return;
      // The way to another class leads through another type, and who made it has cleaned up.
      service.spec.loadBalancerClass = "example.com/other";
      service.status = {};
      delete service.metadata.annotations?.[`${PREFIX}ip-allocated-from-pool`];
    });
  }

  #pool(name: string, { layout, serviceAllocation, ...switches }: typeof poolShape extends fc.Arbitrary<infer S> ? S : never): void {
    const layouts = LAYOUTS[name] ?? [];
    this.world.pool(name, [...(layouts[layout % layouts.length] ?? [])], { ...switches, ...(serviceAllocation === undefined ? {} : { serviceAllocation }) });
  }

  #hasPool(name: string): boolean {
    return this.world.client.peek(ipAddressPools, { namespace: NAMESPACE, name }) !== undefined;
  }
}

test("whatever has happened, in the end every address is allowed where it shows, nobody goes without what he could have, and nothing is left to write", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 50 }), async (steps) => {
      const scene = new Scene();
      const { world } = scene;
      world.pool("p", [...(LAYOUTS["p"]?.[0] ?? [])]);
      let controller = await world.lead();
      for (const each of steps) {
        scene.perform(each);
        if (each.kind === "wait") await world.clock.advance(each.ms);
        if (each.kind !== "restart") continue;
        await controller.stop();
        controller = await world.lead();
      }
      scene.mendPools();
      await world.settle(60_000);
      assert.deepEqual(judge(world), []);
      const before = scene.state();
      await controller.stop();
      controller = await world.lead();
      await world.settle(60_000);
      assert.deepEqual(judge(world), [], "after a restart");
      assert.deepEqual(scene.state(), before, "a restart moves nothing");
      // The first one may have put the reasons of those who wait in newer words; there is nothing for the next one to do.
      const patches = world.patches();
      await controller.stop();
      await world.lead();
      await world.settle(60_000);
      assert.deepEqual([scene.state(), world.patches()], [before, patches], "another restart writes nothing");
    }),
    { numRuns: Number(globalThis.process.env["CHAOS_RUNS"] ?? 150) },
  );
}, 300_000);
