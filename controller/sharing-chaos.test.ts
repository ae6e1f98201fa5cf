import fc from "fast-check";
import { expect, test } from "vitest";
import { KubeError, type ObjectName, type PatchOptions } from "../kube/client.ts";
import { type KubeObject, type ResourceType, type Service, services } from "../kube/objects.ts";
import { World } from "./fake-world.ts";
import { LateClient } from "./late-client.ts";

const SHARE = "metallb.io/allow-shared-ip";
const LAYOUTS: Readonly<Record<string, readonly string[]>> = { whole: ["10.0.0.1-10.0.0.3"], shrunk: ["10.0.0.1-10.0.0.2"], moved: ["10.0.0.2-10.0.0.4"], bad: ["10.0.0.9-10.0.0.1"] };

const names = fc.constantFrom("a", "b", "c", "d", "e", "f");
const terms = fc.record({ key: fc.constantFrom("", "k", "k", "k", "j"), ports: fc.subarray([80, 443, 22], { minLength: 1, maxLength: 2 }), local: fc.boolean(), app: fc.constantFrom("x", "x", "y") });
type Terms = typeof terms extends fc.Arbitrary<infer T> ? T : never;
const step = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant("create" as const), name: names, terms }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("delete" as const), name: names }) },
  { weight: 6, arbitrary: fc.record({ kind: fc.constant("change" as const), name: names, terms }) },
  { weight: 6, arbitrary: fc.record({ kind: fc.constant("request" as const), name: names, last: fc.integer({ min: 0, max: 4 }) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("type" as const), name: names, to: fc.constantFrom("ClusterIP" as const, "LoadBalancer" as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("pool" as const), layout: fc.constantFrom(...Object.keys(LAYOUTS)) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("takeover" as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("fail" as const), code: fc.constantFrom(0, 404, 409, 500) }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("refuse" as const), name: names }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("hold" as const), verb: fc.constantFrom("watch" as const, "patch" as const) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("release" as const) }) },
  { weight: 16, arbitrary: fc.record({ kind: fc.constant("wait" as const), ms: fc.integer({ min: 1, max: 40 }) }) },
);
type Step = typeof step extends fc.Arbitrary<infer S> ? S : never;

function specOf({ ports, local, app }: Terms): Partial<Service["spec"]> {
  return { ports: ports.map((port) => ({ protocol: "TCP" as const, port })), selector: { app }, externalTrafficPolicy: local ? "Local" : "Cluster" };
}

function addressOf({ status }: Service): string | undefined {
  return status?.loadBalancer?.ingress?.[0]?.ip;
}

/** By the Services as they are stored, without what the controller is made of. */
function mayShare(a: Service, b: Service): boolean {
  const key = ({ metadata }: Service): string => metadata.annotations?.[SHARE] ?? "";
  const backend = ({ spec }: Service): string => (spec.externalTrafficPolicy === "Local" ? (spec.selector?.["app"] ?? "") : "");
  const ports = ({ spec }: Service): number[] => (spec.ports ?? []).map(({ port }) => port);
  return [a, b].every(({ spec }) => spec.type === "LoadBalancer") && key(a) !== "" && key(a) === key(b) && backend(a) === backend(b) && !ports(a).some((port) => ports(b).includes(port));
}

/** Notes each address that the controller gives to a Service while another one shows it that may not share it. */
class SharingClient extends LateClient {
  readonly wrong: string[] = [];
  /** Services that were changed since the controller has certainly seen them. */
  readonly unseen = new Set<string>();
  /** Services that nothing can be written to: who is to leave an address shows it on. */
  readonly refused = new Set<string>();
  /** Services whose patch failed: what it said may have been decided before the others became what they are. */
  readonly #late = new Set<string>();
  readonly #shown = new Map<string, string | undefined>();

  constructor(world: World) {
    super(world.client);
    this.onPatched = () => {
      const all = world.client.peekAll(services);
      for (const one of all) {
        const address = addressOf(one);
        const gained = address !== this.#shown.get(one.metadata.uid ?? "");
        this.#shown.set(one.metadata.uid ?? "", address);
        // A patch that was carried out was made for the Service as it is.
        if (!gained || address === undefined || this.#late.delete(one.metadata.name)) continue;
        const rivals = all.filter((other) => other !== one && addressOf(other) === address && !this.unseen.has(other.metadata.name) && !mayShare(one, other));
        for (const rival of rivals) this.wrong.push(`${one.metadata.name} got ${address} beside ${rival.metadata.name}`);
      }
    };
  }

  override async patch<T extends KubeObject>(type: ResourceType<T>, name: ObjectName, patch: object, options?: PatchOptions): Promise<T> {
    try {
      if (type.plural === "services" && this.refused.has(name.name)) throw new KubeError({ code: 500, reason: "Injected", message: "injected" });
      return await super.patch(type, name, patch, options);
    } catch (error) {
      if (type.plural === "services") this.#late.add(name.name);
      throw error;
    }
  }
}

/** Does one thing to a cluster, and remembers whom the controller has yet to see. */
function perform(world: World, client: SharingClient, each: Step): void {
  const exists = "name" in each && world.client.peek(services, { namespace: "default", name: each.name }) !== undefined;
  if ("name" in each && each.kind !== "refuse") client.unseen.add(each.name);
  switch (each.kind) {
    case "create":
      if (!exists) world.service(each.name, { annotations: each.terms.key === "" ? {} : { [SHARE]: each.terms.key }, spec: specOf(each.terms) });
      return;
    case "delete":
      if (exists) world.drop(each.name);
      return;
    case "change":
      if (!exists) return;
      return world.change(each.name, (service) => {
        Object.assign(service.spec, specOf(each.terms));
        const { [SHARE]: _, ...rest } = service.metadata.annotations ?? {};
        service.metadata.annotations = each.terms.key === "" ? rest : { ...rest, [SHARE]: each.terms.key };
      });
    case "request":
      if (exists) world.change(each.name, ({ spec }) => void (each.last === 0 ? delete spec.loadBalancerIP : (spec.loadBalancerIP = `10.0.0.${each.last}`)));
      return;
    case "type":
      if (exists) world.change(each.name, ({ spec }) => void (spec.type = each.to));
      return;
    case "pool":
      return world.pool("p", [...(LAYOUTS[each.layout] ?? [])]);
    case "fail":
      return world.client.failNext({ verb: "patch", plural: "services", error: new KubeError({ code: each.code, reason: "Injected", message: "injected" }) });
    case "hold":
      return client.hold(each.verb);
    case "refuse":
      client.refused.add(each.name);
      return;
    case "release":
      client.refused.clear();
      return client.release();
    case "wait":
    case "takeover":
      return;
  }
}

test("a Service that is no load balancer any more and still shows a shared address keeps it from others, though a partner held it when the controller started", async () => {
  const world = new World();
  world.pool("p", ["10.0.0.1-10.0.0.2"]);
  const shared = (port: number, type: "LoadBalancer" | "ClusterIP"): object => ({ annotations: { [SHARE]: "k" }, ingress: ["10.0.0.1"], spec: { type, ports: [{ port }] } });
  world.service("partner", shared(22, "LoadBalancer"));
  world.service("former", shared(443, "ClusterIP"));
  const client = new SharingClient(world);
  client.refused.add("former");
  await world.lead({ client });
  world.change("partner", ({ spec }) => void (spec.loadBalancerIP = "10.0.0.2"));
  await world.settle();
  world.service("new");
  await world.settle();
  expect([world.ip("partner"), world.ip("former"), world.ip("new")]).toEqual(["10.0.0.2", "10.0.0.1", undefined]);
  client.refused.clear();
  await world.settle(40_000);
  expect([world.ip("former"), world.ip("new")]).toEqual([undefined, "10.0.0.1"]);
});

test("whatever happens, nobody gets an address beside one that may not share it, and in the end nothing leaks and nobody starves", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 40, maxLength: 80 }), async (steps) => {
      const world = new World();
      const client = new SharingClient(world);
      world.pool("p", [...(LAYOUTS["whole"] ?? [])]);
      let controller = await world.lead({ client });
      let standby = world.start({ client });
      let isHeld = false;
      for (const each of steps) {
        perform(world, client, each);
        if (each.kind === "hold") isHeld = true;
        if (each.kind === "release") isHeld = false;
        if (each.kind === "wait") {
          await world.clock.advance(each.ms);
          if (!isHeld) client.unseen.clear();
        }
        if (each.kind === "takeover") {
          const stopping = controller.stop();
          client.release();
          isHeld = false;
          await world.settle();
          await stopping;
          controller = standby;
          void controller.lead();
          standby = world.start({ client });
        }
      }
      client.refused.clear();
      client.release();
      world.pool("p", [...(LAYOUTS["whole"] ?? [])]);
      // What was to fail and has not yet comes first, each after the longest backoff.
      await world.settle(400_000);
      const patches = world.patches();
      await world.settle(40_000);
      expect(world.patches()).toBe(patches);
      expect(client.wrong).toEqual([]);
      const all = world.client.peekAll(services);
      const shown = all.filter((service) => addressOf(service) !== undefined);
      const on = (address: string): Service[] => shown.filter((service) => addressOf(service) === address);
      for (const one of shown) for (const other of on(addressOf(one) ?? "")) expect(one === other || mayShare(one, other)).toBe(true);
      expect(shown.filter(({ spec }) => spec.type !== "LoadBalancer")).toEqual([]);
      expect(controller.snapshot().holders).toBe(shown.length);
      expect(world.poolStatus("p").assignedIPv4).toBe(new Set(shown.map(addressOf)).size);
      const addresses = ["10.0.0.1", "10.0.0.2", "10.0.0.3"];
      for (const hungry of all.filter((service) => service.spec.type === "LoadBalancer" && addressOf(service) === undefined)) {
        const wanted = hungry.spec.loadBalancerIP;
        const useful = addresses.filter((address) => (wanted === undefined || wanted === address) && on(address).every((other) => mayShare(hungry, other)));
        expect(useful, `${hungry.metadata.name} waits though it could have one`).toEqual([]);
      }
    }),
    { numRuns: Number(globalThis.process.env["CHAOS_RUNS"] ?? 200) },
  );
}, 300_000);
