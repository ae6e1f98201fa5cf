import assert from "node:assert/strict";
import { afterEach, describe, it } from "vitest";
import { LULL_MS } from "./burst-gate.ts";
import { addService, Cluster } from "./fake-cluster.ts";
import { GATHER_MS } from "./reconciler.ts";

let cluster = new Cluster();
async function started(): Promise<Cluster> {
  cluster = new Cluster();
  addService(cluster.api, "svc1", "172.20.255.200");
  await cluster.start("node1", "node2", "node3");
  await cluster.clock.advance(5_000);
  return cluster;
}

afterEach(async () => {
  const stops = [...cluster.speakers.values()].map((speaker) => speaker.stop());
  await cluster.clock.advance(2_000);
  await Promise.all(stops);
});

/** Addresses that node1's packet thread was told of, one list per delta. */
function deltas(): string[][] {
  return (cluster.threads.get("node1")?.tables ?? []).map(({ upsert }) => upsert.map(({ address }) => address));
}

/** Names of the Services of which an event tells. */
function written(): string[] {
  return cluster.eventsOf("nodeAssigned").map(({ name }) => name).sort();
}

describe("Speaker, when many Services change", () => {
  it("hands a change over at once, and those that follow it together", async () => {
    const { api, clock } = await started();
    const before = deltas().length;
    addService(api, "svc2", "172.20.255.201");
    await clock.advance(1);
    assert.deepEqual(deltas().slice(before), [["172.20.255.201"]]);
    addService(api, "svc3", "172.20.255.202");
    await clock.advance(GATHER_MS / 2);
    addService(api, "svc4", "172.20.255.203");
    assert.equal(deltas().length, before + 1, JSON.stringify(deltas()));
    await clock.advance(GATHER_MS / 2);
    assert.deepEqual(deltas().slice(before + 1), [["172.20.255.202", "172.20.255.203"]]);
  });

  it("writes about a Service that comes alone at once, and about those of a burst when it is over", async () => {
    const { api, clock } = await started();
    addService(api, "svc2", "172.20.255.201");
    await clock.advance(1);
    assert.deepEqual(written(), ["svc1", "svc2"]);
    assert.equal(cluster.statusNodes().length, 2);
    const names = Array.from({ length: 30 }, (_, index) => `many${index}`);
    await clock.advance(LULL_MS);
    for (const [index, name] of names.entries()) {
      addService(api, name, `172.20.255.${205 + index}`);
      await clock.advance(20);
    }
    // Each of the three speakers may have written about one, the first that it got.
    assert.ok(written().length <= 2 + 3, `written about ${written().join(", ")}`);
    await clock.advance(LULL_MS + GATHER_MS);
    assert.deepEqual(written(), [...names, "svc1", "svc2"].sort());
    assert.equal(cluster.statusNodes().length, 2 + names.length);
  });

  it("writes nothing about Services any more once it has stopped", async () => {
    const { api, clock } = await started();
    for (let index = 0; index < 10; index++) addService(api, `many${index}`, `172.20.255.${205 + index}`);
    await clock.advance(GATHER_MS);
    const stops = [...cluster.speakers.values()].map((speaker) => speaker.stop());
    const before = written();
    await clock.advance(2_000);
    await Promise.all(stops);
    assert.deepEqual(written(), before);
  });
});
