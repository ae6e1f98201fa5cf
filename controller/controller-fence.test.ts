/** Writes of a leader that hang in the API server while another one takes over. */
import { describe, expect, it } from "vitest";
import { FencedClient, LAST_WRITE_TIMEOUT_MS } from "../kube/client-fence.ts";
import { services } from "../kube/objects.ts";
import { oneAddress, type World } from "./fake-world.ts";
import { LateClient, WatchfulClient } from "./late-client.ts";

/** When the Lease may be another's, counted from the last write of the leader before. */
const NEXT_LEADER_MS = 6_000;

/**
 * "a" waits with its condition for the only address, which "first" has. The leader's patch that gives it to "a" hangs when
 * that leader dies; "b" asks for the address by its name, which the next leader gives it.
 */
async function takeover(world: World, { timeoutMs }: { timeoutMs: number }): Promise<{ old: LateClient; next: WatchfulClient }> {
  const old = new LateClient(world.client);
  old.timeout = { clock: world.clock, ms: timeoutMs };
  const dying = await world.lead({ client: old });
  expect([world.ip("first"), world.condition("a")]).toEqual(["10.0.0.1", "False NoFreeAddress"]);
  old.hold("change");
  world.drop("first");
  await world.settle(100);
  void dying.stop();
  // Older than "a" and so before it: the next leader has nothing to write to "a", whose version stays what it was.
  world.service("b", { created: -1, spec: { loadBalancerIP: "10.0.0.1" } });
  await world.settle(NEXT_LEADER_MS);
  const next = new WatchfulClient(world);
  await world.lead({ client: next });
  expect(world.ip("b")).toBe("10.0.0.1");
  old.onPatched = next.onPatched;
  old.release();
  await world.settle();
  return { old, next };
}

describe("a leader that dies with a patch in the API server", () => {
  it("gives nothing to anybody any more once another leads", async () => {
    const world = oneAddress("first", "a");
    const { next } = await takeover(world, { timeoutMs: LAST_WRITE_TIMEOUT_MS });
    expect(next.doubled).toEqual([]);
    expect([world.ip("a"), world.ip("b")]).toEqual([undefined, "10.0.0.1"]);
  });

  it("without a timeout of its writes would give an address twice, which the next leader puts right", async () => {
    const world = oneAddress("first", "a");
    const { next } = await takeover(world, { timeoutMs: 60_000 });
    expect(next.doubled).toEqual(["10.0.0.1,10.0.0.1"]);
    expect([world.ip("a"), world.ip("b")]).toEqual([undefined, "10.0.0.1"]);
  });
});

describe("what a leader writes to Services", () => {
  it("depends on the version that it was made from", async () => {
    const world = oneAddress("a", "b");
    await world.lead();
    world.change("a", ({ spec }) => void (spec.type = "ClusterIP"));
    await world.settle();
    expect(world.ip("b")).toBe("10.0.0.1");
    const patches = world.client.calls.filter(({ verb, plural }) => verb === "patch" && plural === "services");
    expect(patches.length).toBeGreaterThan(3);
    for (const { body } of patches) expect(body).toMatchObject({ metadata: { resourceVersion: expect.stringMatching(/^[0-9]+$/) } });
  });
});

describe("a leader that may not write any more", () => {
  it("writes nothing, neither to Services nor to pools, and goes on where it was when it may again", async () => {
    const world = oneAddress("a");
    let mayWrite = true;
    const client = new FencedClient({ client: world.client, clock: world.clock, leadsFor: () => mayWrite });
    await world.lead({ client });
    expect([world.ip("a"), world.poolStatus("p").assignedIPv4]).toEqual(["10.0.0.1", 1]);
    mayWrite = false;
    world.drop("a");
    world.service("b");
    const versions = (): unknown => [world.poolStatus("p"), world.client.peekAll(services)];
    const before = versions();
    await world.settle(5_000);
    expect(versions()).toEqual(before);
    mayWrite = true;
    await world.settle(10_000);
    expect([world.ip("b"), world.poolStatus("p").assignedIPv4]).toEqual(["10.0.0.1", 1]);
  });
});
