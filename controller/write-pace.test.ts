import { describe, expect, it } from "vitest";
import type { ObjectName } from "../kube/client.ts";
import { oneAddress, World } from "./fake-world.ts";
import { LateClient } from "./late-client.ts";
import { WritePace } from "./write-pace.ts";

describe("the pace of writes", () => {
  it("is ten at once, and one more each 2 s; each Service has its own, and rest gives all of it back", () => {
    const pace = new WritePace();
    for (let write = 0; write < 10; write += 1) {
      expect(pace.waitMs("a", 1000)).toBe(0);
      pace.note("a", 1000);
    }
    expect([pace.waitMs("a", 1000), pace.waitMs("a", 2500), pace.waitMs("b", 1000)]).toEqual([2000, 500, 0]);
    pace.note("a", 3000);
    expect([pace.waitMs("a", 3000), pace.waitMs("a", 30_000)]).toEqual([2000, 0]);
  });

  it("a Service that was not written for a while is not remembered, nor one that is gone", () => {
    const pace = new WritePace();
    for (let index = 0; index < 1000; index += 1) pace.note(`s${index}`, index * 100);
    expect(pace.size).toBe(20);
    pace.forget("s999");
    expect(pace.size).toBe(19);
  });

  it("is news once, until the Service was calm", () => {
    const pace = new WritePace();
    pace.note("a", 0);
    expect([pace.isNews("a"), pace.isNews("a")]).toEqual([true, false]);
    pace.note("b", 5000);
    expect(pace.isNews("a")).toBe(true);
  });
});

/** Another load balancer that thinks that the Service "a" is its own, and answers each write. */
function rival(world: World, isAtWork: () => boolean): LateClient {
  const client = new LateClient(world.client);
  client.onPatched = ({ name }: ObjectName, plural: string) => {
    const answer = (): void => world.change(name, (service) => void (service.status = { ...service.status, loadBalancer: { ingress: [{ ip: "192.168.0.7" }] } }));
    if (plural === "services" && name === "a" && isAtWork()) world.clock.after(20, answer);
  };
  return client;
}

it("somebody who answers each write of a Service's status by one of his own is answered ten times, then every 2 s; it is told once, and ends when he does", async () => {
  const world = new World();
  world.pool("p", ["10.0.0.1-10.0.0.9"]);
  world.service("a");
  let isAtWork = true;
  await world.lead({ client: rival(world, () => isAtWork) });
  await world.settle(60_000);
  expect(world.patches()).toBeLessThanOrEqual(10 + 31);
  expect(world.events("a").filter((event) => event.startsWith("StatusContested"))).toHaveLength(1);
  isAtWork = false;
  await world.settle(5_000);
  expect(world.ip("a")).toBe("10.0.0.1");
  const patches = world.patches();
  await world.settle(60_000);
  expect(world.patches()).toBe(patches);
});

it("meanwhile others are served at once, but not with the address that is contested", async () => {
  const world = oneAddress("a");
  await world.lead({ client: rival(world, () => true) });
  await world.settle(30_000);
  world.service("b");
  await world.settle(1_000);
  expect([world.ip("a"), world.condition("b")]).toEqual([expect.stringMatching(/^(192\.168\.0\.7|10\.0\.0\.1)$/), "False NoFreeAddress"]);
  world.pool("p", ["10.0.0.1-10.0.0.2"]);
  await world.settle(100);
  expect(world.ip("b")).toBe("10.0.0.2");
});
