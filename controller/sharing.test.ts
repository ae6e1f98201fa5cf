import { expect, it } from "vitest";
import { World } from "./fake-world.ts";

it("gives an address to one Service only, and tells the other that sharing is not supported yet", async () => {
  const world = new World();
  world.pool("p", ["10.0.0.0/24"]);
  const annotations = { "metallb.io/allow-shared-ip": "web" };
  world.service("first", { annotations, spec: { loadBalancerIP: "10.0.0.7" } });
  world.service("second", { annotations, spec: { loadBalancerIP: "10.0.0.7" } });
  await world.lead();
  expect([world.ip("first"), world.ip("second")]).toEqual(["10.0.0.7", undefined]);
  expect(world.condition("second")).toBe("False AddressInUse");
  expect(world.events("second").join("\n")).toContain("sharing an address is not supported yet");
});
