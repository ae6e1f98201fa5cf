import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { KubeError } from "../kube/client.ts";
import { ipAddressPools, services } from "../kube/objects.ts";
import { ANNOTATION, NAMESPACE, World } from "./fake-world.ts";
import { WatchfulClient } from "./late-client.ts";

const LAYOUTS: Readonly<Record<string, readonly string[]>> = {
  whole: ["10.0.0.1-10.0.0.3"],
  shrunk: ["10.0.0.1-10.0.0.2"],
  moved: ["10.0.0.2-10.0.0.4"],
  bad: ["10.0.0.9-10.0.0.1"],
};

const names = fc.constantFrom("a", "b", "c", "d", "e");
const step = fc.oneof(
  { weight: 5, arbitrary: fc.record({ kind: fc.constant("create" as const), name: names }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("delete" as const), name: names }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("replace" as const), name: names }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("request" as const), name: names, last: fc.integer({ min: 0, max: 5 }) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("type" as const), name: names, to: fc.constantFrom("ClusterIP", "LoadBalancer", "foreign") }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("edit" as const), name: names, what: fc.constantFrom("ingress", "annotation", "condition", "outside") }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("pool" as const), layout: fc.constantFrom(...Object.keys(LAYOUTS), "none", "second") }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("takeover" as const) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("fail" as const), code: fc.constantFrom(0, 404, 409, 429, 500), times: fc.integer({ min: 1, max: 3 }) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("hold" as const), verb: fc.constantFrom("watch" as const, "patch" as const, "list" as const) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("release" as const) }) },
  { weight: 6, arbitrary: fc.record({ kind: fc.constant("wait" as const), ms: fc.integer({ min: 0, max: 40 }) }) },
);
type Step = typeof step extends fc.Arbitrary<infer S> ? S : never;

/** Does one thing to a cluster, as users, administrators and misfortune do. */
function perform(world: World, client: WatchfulClient, each: Step): void {
  const exists = "name" in each && world.client.peek(services, { namespace: "default", name: each.name }) !== undefined;
  switch (each.kind) {
    case "create":
      if (!exists) world.service(each.name);
      return;
    case "delete":
      if (exists) world.drop(each.name);
      return;
    case "replace":
      if (exists) world.drop(each.name);
      return world.service(each.name);
    case "request":
      if (exists) world.change(each.name, ({ spec }) => void (each.last === 0 ? delete spec.loadBalancerIP : (spec.loadBalancerIP = `10.0.0.${each.last}`)));
      return;
    case "type":
      if (!exists) return;
      return world.change(each.name, ({ spec, status }) => {
        spec.type = each.to === "ClusterIP" ? "ClusterIP" : "LoadBalancer";
        delete spec.loadBalancerClass;
        if (each.to !== "foreign") return;
        // The way to another class leads through another type, which costs the status.
        spec.loadBalancerClass = "example.com/other";
        if (status !== undefined) status.loadBalancer = {};
      });
    case "edit":
      if (!exists) return;
      return world.change(each.name, (service) => {
        if (each.what === "ingress") service.status = { ...service.status, loadBalancer: {} };
        if (each.what === "outside") service.status = { ...service.status, loadBalancer: { ingress: [{ ip: `192.0.2.${each.name.charCodeAt(0)}`, ipMode: "VIP" }] } };
        if (each.what === "condition") delete service.status?.conditions;
        if (each.what === "annotation") delete service.metadata.annotations;
      });
    case "pool":
      if (each.layout === "second") world.pool("q", ["10.0.0.5/32"]);
      else if (each.layout === "none") world.dropPool("p");
      else world.pool("p", [...(LAYOUTS[each.layout] ?? [])]);
      return;
    case "fail":
      return world.client.failNext({ verb: "patch", plural: "services", times: each.times, error: new KubeError({ code: each.code, reason: "Injected", message: "injected" }) });
    case "hold":
      return client.hold(each.verb);
    case "release":
      return client.release();
    case "wait":
    case "takeover":
      return;
  }
}

describe("chaos", () => {
  it("doubles no address, and when all is calm everybody shows what he holds and nothing is left over", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 60 }), async (steps) => {
        const world = new World();
        const client = new WatchfulClient(world);
        world.pool("p", ["10.0.0.1-10.0.0.3"]);
        let controller = await world.lead({ client });
        let standby = world.start({ client });
        for (const each of steps) {
          perform(world, client, each);
          if (each.kind === "wait") await world.clock.advance(each.ms);
          if (each.kind === "takeover") {
            const stopping = controller.stop();
            client.release();
            await world.settle();
            await stopping;
            controller = standby;
            void controller.lead();
            standby = world.start({ client });
          }
        }
        expect(client.doubled).toEqual([]);
        client.release();
        for (const name of ["p", "q"]) if (world.client.peek(ipAddressPools, { namespace: NAMESPACE, name }) !== undefined || name === "p") world.pool(name, name === "p" ? ["10.0.0.1-10.0.0.3"] : ["10.0.0.5/32"]);
        await world.settle(40_000);
        const before = world.patches();
        await world.settle(40_000);
        expect(client.doubled).toEqual([]);
        expect(world.patches()).toBe(before);
        const all = world.client.peekAll(services);
        const ours = all.filter(({ spec }) => spec.type === "LoadBalancer" && spec.loadBalancerClass === undefined);
        const shown = ours.filter(({ metadata }) => world.ip(metadata.name) !== undefined);
        expect(controller.snapshot().holders).toBe(shown.length);
        for (const { metadata } of shown) expect([world.ip(metadata.name), metadata.annotations?.[ANNOTATION]]).toEqual([expect.stringMatching(/^10\.0\.0\.[1235]$/), world.ip(metadata.name) === "10.0.0.5" ? "q" : "p"]);
        const capacity = 3 + (world.client.peek(ipAddressPools, { namespace: NAMESPACE, name: "q" }) === undefined ? 0 : 1);
        const hungry = ours.filter(({ metadata, spec }) => spec.loadBalancerIP === undefined && world.ip(metadata.name) === undefined);
        expect(shown.length === capacity || hungry.length === 0).toBe(true);
        expect(world.poolStatus("p").assignedIPv4).toBe(shown.filter(({ metadata }) => world.ip(metadata.name) !== "10.0.0.5").length);
        for (const { metadata, spec } of all) if (spec.type === "ClusterIP") expect([world.ip(metadata.name) ?? "", world.condition(metadata.name)]).toEqual([expect.not.stringMatching(/^10/), undefined]);
      }),
      { numRuns: Number(globalThis.process.env["CHAOS_RUNS"] ?? 60) },
    );
  }, 300_000);
});
