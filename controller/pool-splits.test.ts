/** Pools that are split or renamed come one after the other, in any order: whoever is in one of them keeps its address. */
import { describe, expect, it } from "vitest";
import { World } from "./fake-world.ts";

async function twoHolders(): Promise<World> {
  const world = new World();
  world.pool("p", ["10.0.0.1-10.0.0.2"]);
  world.pool("spare", ["10.0.1.1-10.0.1.9"]);
  for (const name of ["a", "b"]) world.service(name);
  await world.lead();
  return world;
}

function shown(world: World): (string | undefined)[] {
  return ["a", "b"].map((name) => world.ip(name));
}

describe("a split", () => {
  it.each([0, 1, 100, 450])("whose second half comes %s ms after the first keeps both", async (gap) => {
    const world = await twoHolders();
    world.pool("p", ["10.0.0.1/32"]);
    if (gap > 0) await world.clock.advance(gap);
    world.pool("s", ["10.0.0.2/32"]);
    await world.settle();
    expect([...shown(world), world.poolStatus("s").assignedIPv4, world.patches()]).toEqual(["10.0.0.1", "10.0.0.2", 1, 3]);
  });

  it("into three, with something else between", async () => {
    const world = await twoHolders();
    world.pool("p", ["10.0.0.3/32"]);
    for (const [name, entry] of [["s", "10.0.0.1/32"], ["else", "10.9.0.0/24"], ["t", "10.0.0.2/32"]] as const) {
      await world.clock.advance(100);
      world.pool(name, [entry]);
    }
    await world.settle();
    expect(shown(world)).toEqual(["10.0.0.1", "10.0.0.2"]);
  });
});

it("a pool that is deleted and made again under another name keeps its Services", async () => {
  const world = await twoHolders();
  world.dropPool("p");
  await world.clock.advance(200);
  world.pool("r", ["10.0.0.1-10.0.0.2"]);
  await world.settle();
  expect([...shown(world), world.get("a").metadata.annotations?.["metallb.io/ip-allocated-from-pool"]]).toEqual(["10.0.0.1", "10.0.0.2", "r"]);
});

it("an address that is really taken away goes half a second later, however often pools change meanwhile", async () => {
  const world = await twoHolders();
  world.pool("p", ["10.0.0.1/32"]);
  for (let round = 0; round < 4; round += 1) {
    await world.clock.advance(100);
    expect(shown(world)).toEqual(["10.0.0.1", "10.0.0.2"]);
    world.pool("spare", [`10.0.1.1-10.0.1.${8 - round}`]);
  }
  await world.clock.advance(150);
  expect(shown(world)).toEqual(["10.0.0.1", "10.0.1.1"]);
});

it("a pool that takes nothing away is in effect at once", async () => {
  const world = new World();
  world.pool("p", ["10.0.0.1/32"]);
  for (const name of ["a", "b", "c"]) world.service(name);
  await world.lead();
  world.pool("p", ["10.0.0.1-10.0.0.2"]);
  await world.clock.advance(50);
  expect(world.ip("b")).toBe("10.0.0.2");
  world.pool("q", ["10.0.1.1/32"]);
  await world.clock.advance(50);
  expect(world.ip("c")).toBe("10.0.1.1");
});
