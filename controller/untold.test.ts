import { expect, it } from "vitest";
import { World } from "./fake-world.ts";
import { LateClient } from "./late-client.ts";

it("tells no event of a patch that was refused by its timeout and is not wanted any more", async () => {
  const world = new World();
  world.pool("p", ["10.0.0.1-10.0.0.9"]);
  world.service("s", { spec: { loadBalancerIP: "10.0.0.1" } });
  const client = new LateClient(world.client);
  client.timeout = { clock: world.clock, ms: 3_000 };
  await world.lead({ client });
  const before = world.events("s");
  client.hold("change");
  world.change("s", ({ spec }) => void (spec.loadBalancerIP = "10.0.0.5"));
  await world.settle(3_500);
  world.change("s", ({ spec }) => void (spec.loadBalancerIP = "10.0.0.1"));
  await world.settle(3_500);
  await world.settle(15_000);
  client.release();
  await world.settle(20_000);
  expect([world.ip("s"), world.events("s")]).toEqual(["10.0.0.1", before]);
});
