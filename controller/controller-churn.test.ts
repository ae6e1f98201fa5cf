import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { KubeError } from "../kube/client.ts";
import { services } from "../kube/objects.ts";
import { World } from "./fake-world.ts";

describe("random churn with restarts", () => {
  const names = fc.constantFrom("a", "b", "c", "d", "e", "f", "g");
  const step = fc.oneof(
    { weight: 5, arbitrary: fc.record({ kind: fc.constant("create" as const), name: names }) },
    { weight: 3, arbitrary: fc.record({ kind: fc.constant("delete" as const), name: names }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant("request" as const), name: names, last: fc.integer({ min: 0, max: 6 }) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant("restart" as const) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant("fail" as const), code: fc.constantFrom(409, 500), times: fc.integer({ min: 1, max: 3 }) }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant("wait" as const), ms: fc.integer({ min: 0, max: 40 }) }) },
  );

  it("never shows an address on two Services, and moves none without cause", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 40 }), async (steps) => {
        const world = new World();
        world.pool("p", ["10.0.0.1-10.0.0.4"]);
        let controller = await world.lead();
        const asked = new Set<string>();
        const shown = new Map<string, string>();
        const check = (): void => {
          const seen = new Set<string>();
          for (const service of world.client.peekAll(services)) {
            const ip = service.status?.loadBalancer?.ingress?.[0]?.ip;
            const name = service.metadata.uid ?? "";
            const before = shown.get(name);
            if (before !== undefined && !asked.has(name)) expect(ip).toBe(before);
            if (ip === undefined) continue;
            shown.set(name, ip);
            expect(seen.has(ip)).toBe(false);
            seen.add(ip);
          }
        };
        for (const each of steps) {
          const exists = "name" in each && world.client.peek(services, { namespace: "default", name: each.name }) !== undefined;
          if (each.kind === "create" && !exists) world.service(each.name);
          if (each.kind === "delete" && exists) world.drop(each.name);
          if (each.kind === "request" && exists) {
            asked.add(world.get(each.name).metadata.uid ?? "");
            world.change(each.name, ({ spec }) => void (spec.loadBalancerIP = `10.0.0.${each.last}`));
          }
          if (each.kind === "fail") world.client.failNext({ verb: "patch", plural: "services", times: each.times, error: new KubeError({ code: each.code, reason: "Injected", message: "injected" }) });
          if (each.kind === "wait") await world.clock.advance(each.ms);
          if (each.kind === "restart") {
            await controller.stop();
            controller = await world.lead();
          }
          check();
        }
        await world.settle(4000);
        check();
        const all = world.client.peekAll(services);
        const free = 4 - all.filter((service) => service.status?.loadBalancer?.ingress?.[0] !== undefined).length;
        const idle = all.filter((service) => service.spec.loadBalancerIP === undefined && service.status?.loadBalancer?.ingress?.[0] === undefined);
        expect(free === 0 || idle.length === 0).toBe(true);
      }),
      { numRuns: 60 },
    );
  }, 60_000);
});
