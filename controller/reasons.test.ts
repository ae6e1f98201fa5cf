/** The reason of a Service that waits stays true when those whom it names change. */
import { expect, it } from "vitest";
import { CONDITION, oneAddress, World } from "./fake-world.ts";

const WRITES = ["create", "patch", "replace", "delete"];

function message(world: World, name: string): string | undefined {
  return world.get(name).status?.conditions?.find(({ type }) => type === CONDITION)?.message;
}

function writes(world: World): number {
  return world.client.calls.filter(({ verb }) => WRITES.includes(verb)).length;
}

it("names who has the address now, not who had it when the Service was looked at last", async () => {
  const world = oneAddress();
  world.service("first");
  world.service("second");
  world.service("asking", { spec: { loadBalancerIP: "10.0.0.1" } });
  await world.lead();
  expect(message(world, "asking")).toBe("address 10.0.0.1 is already in use by default/first");
  world.drop("first");
  await world.settle(5_000);
  expect([world.ip("second"), message(world, "asking")]).toEqual(["10.0.0.1", "address 10.0.0.1 is already in use by default/second"]);
  expect(world.events("asking")).toHaveLength(2);
});

it("a sharer whose partner gave up its key is told so, and one that keeps its address though it asks for another too", async () => {
  const world = new World();
  world.pool("p", ["10.0.0.1-10.0.0.2"]);
  const shared = (key: string): object => ({ annotations: { "metallb.io/allow-shared-ip": key }, spec: { loadBalancerIP: "10.0.0.1" } });
  world.service("holder", shared("k"));
  world.service("other", shared("j"));
  world.service("keeper");
  await world.lead();
  world.change("keeper", ({ metadata, spec }) => {
    metadata.annotations = { ...metadata.annotations, "metallb.io/allow-shared-ip": "j" };
    spec.loadBalancerIP = "10.0.0.1";
  });
  await world.settle();
  expect([message(world, "other"), message(world, "keeper")]).toEqual([expect.stringContaining("the sharing keys differ"), expect.stringContaining("the sharing keys differ")]);
  world.change("holder", ({ metadata }) => void delete metadata.annotations?.["metallb.io/allow-shared-ip"]);
  await world.settle(5_000);
  expect([message(world, "other"), message(world, "keeper")]).toEqual([expect.stringContaining("without sharing"), expect.stringContaining("without sharing")]);
});

it("reasons are put right some at a time, the longest wrong one first, and then nothing is written any more", async () => {
  const world = oneAddress("first", "second");
  for (let index = 0; index < 45; index += 1) world.service(`asking-${index}`, { spec: { loadBalancerIP: "10.0.0.1" } });
  await world.lead();
  const wrong = (): number => Array.from({ length: 45 }, (_, index) => message(world, `asking-${index}`)).filter((text) => !text?.endsWith("default/second")).length;
  world.drop("first");
  const counts: number[] = [];
  for (let second = 0; second < 7; second += 1) {
    await world.settle(1_000);
    counts.push(wrong());
  }
  expect(counts).toEqual([35, 25, 15, 5, 0, 0, 0]);
  const before = writes(world);
  await world.settle(600_000);
  expect([writes(world), world.clock.timers]).toEqual([before, 0]);
});

it("a look that finds every reason true writes nothing, whoever comes and goes", async () => {
  const world = new World();
  world.pool("p", ["10.0.0.1/32"]);
  world.pool("other", ["10.1.0.1-10.1.0.9"], { autoAssign: false });
  for (const name of ["holder", "waiting", "waiting-too"]) world.service(name);
  await world.lead();
  const before = ["waiting", "waiting-too"].map((name) => world.get(name).metadata.resourceVersion);
  for (const name of ["x", "y", "z"]) world.service(name, { annotations: { "metallb.io/address-pool": "other" } });
  await world.settle(10_000);
  world.drop("y");
  await world.settle(10_000);
  expect([world.ip("z"), ...["waiting", "waiting-too"].map((name) => world.get(name).metadata.resourceVersion)]).toEqual(["10.1.0.3", ...before]);
});
