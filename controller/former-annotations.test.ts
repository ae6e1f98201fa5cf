/** Annotations under MetalLB's former prefix: what they ask for, what wins when both are there, and what MetalLB itself left. */
import { describe, expect, it } from "vitest";
import { ANNOTATION, World } from "./fake-world.ts";

const NOW = "metallb.io/";
const FORMER = "metallb.universe.tf/";
const FORMER_POOL = `${FORMER}ip-allocated-from-pool`;
const KEY = { [`${NOW}allow-shared-ip`]: "k" };

describe("both prefixes", () => {
  it.each<[string, Record<string, string>, string]>([
    ["the former alone", { [`${FORMER}loadBalancerIPs`]: "10.0.0.5" }, "10.0.0.5"],
    ["today's wins", { [`${NOW}loadBalancerIPs`]: "10.0.0.6", [`${FORMER}loadBalancerIPs`]: "10.0.0.5" }, "10.0.0.6"],
    ["today's wins though it is empty", { [`${NOW}loadBalancerIPs`]: "", [`${FORMER}loadBalancerIPs`]: "10.0.0.5" }, "10.0.0.2"],
    ["today's wins though it can't be read", { [`${NOW}loadBalancerIPs`]: "x", [`${FORMER}loadBalancerIPs`]: "10.0.0.5" }, "False InvalidRequest"],
    ["the former pool alone", { [`${FORMER}address-pool`]: "q" }, "10.1.0.1"],
    ["today's pool wins", { [`${NOW}address-pool`]: "p", [`${FORMER}address-pool`]: "q" }, "10.0.0.2"],
    ["today's pool wins though it is empty", { [`${NOW}address-pool`]: "", [`${FORMER}address-pool`]: "q" }, "10.0.0.2"],
    ["today's pool wins though there is none of the name", { [`${NOW}address-pool`]: "r", [`${FORMER}address-pool`]: "q" }, "False UnknownPool"],
    ["a pool and an address of different prefixes go together", { [`${NOW}address-pool`]: "q", [`${FORMER}loadBalancerIPs`]: "10.1.0.7" }, "10.1.0.7"],
    ["a pool and an address of different prefixes that contradict each other", { [`${NOW}address-pool`]: "p", [`${FORMER}loadBalancerIPs`]: "10.1.0.7" }, "False AddressNotInRequestedPool"],
    ["the former key alone", { [`${FORMER}allow-shared-ip`]: "k" }, "10.0.0.1"],
    ["today's key wins", { [`${NOW}allow-shared-ip`]: "other", [`${FORMER}allow-shared-ip`]: "k" }, "10.0.0.2"],
    ["today's key wins though it is empty", { [`${NOW}allow-shared-ip`]: "", [`${FORMER}allow-shared-ip`]: "k" }, "10.0.0.2"],
  ])("%s", async (_title, annotations, expected) => {
    const world = new World();
    world.pool("p", ["10.0.0.1-10.0.0.9"]);
    world.pool("q", ["10.1.0.1-10.1.0.9"], { autoAssign: false });
    world.service("sharer", { annotations: KEY, spec: { ports: [{ protocol: "TCP", port: 80 }] } });
    world.service("s", { annotations, spec: { ports: [{ protocol: "TCP", port: 443 }] } });
    await world.lead();
    expect(world.ip("s") ?? world.condition("s")).toBe(expected);
    const former = Object.keys(annotations).filter((key) => key.startsWith(FORMER));
    expect(world.events("s").filter((event) => event.startsWith("deprecatedAnnotation"))).toEqual(former.map((key) => `deprecatedAnnotation: Service uses deprecated annotation ${key}`));
  });
});

describe("the pool that a former MetalLB wrote on a Service", () => {
  it("gives way to today's annotation in the same write, and nobody is warned of what the user did not write", async () => {
    const world = new World();
    world.pool("p", ["10.0.0.1-10.0.0.9"]);
    world.service("holder", { annotations: { [FORMER_POOL]: "long-gone", mine: "stays" }, ingress: ["10.0.0.4"] });
    world.service("pending", { annotations: { [FORMER_POOL]: "long-gone" }, spec: { loadBalancerIP: "192.0.2.1" } });
    await world.lead();
    expect(world.get("holder").metadata.annotations).toEqual({ [ANNOTATION]: "p", mine: "stays" });
    expect(world.get("pending").metadata.annotations ?? {}).toEqual({});
    expect([world.ip("holder"), world.patches()]).toEqual(["10.0.0.4", 2]);
    expect([world.events("holder"), world.events("pending").map((event) => event.split(":")[0])]).toEqual([[], ["AllocationFailed"]]);
  });

  it("goes with the address when the Service is no load balancer any more, even if the controller was away then", async () => {
    const world = new World();
    world.pool("p", ["10.0.0.1-10.0.0.9"]);
    world.service("s", { annotations: { [FORMER_POOL]: "p" }, spec: { type: "ClusterIP" } });
    world.service("foreign", { annotations: { [FORMER_POOL]: "p" }, spec: { loadBalancerClass: "example.com/other" } });
    await world.lead();
    expect(world.get("s").metadata.annotations ?? {}).toEqual({});
    expect(world.get("foreign").metadata.annotations).toEqual({ [FORMER_POOL]: "p" });
  });
});
