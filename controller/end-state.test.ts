import assert from "node:assert/strict";
import fc from "fast-check";
import { test } from "vitest";
import { type Service, services } from "../kube/objects.ts";
import { judge } from "./end-state-judge.ts";
import { Scene } from "../test/controller/sequence-scene.ts";
import { step } from "../test/controller/sequence-steps.ts";

test("whatever has happened, in the end every address is allowed where it shows, nobody goes without what he could have, every reason is true, and nothing is left to write", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 50 }), async (steps) => {
      const scene = await Scene.begin();
      const { world } = scene;
      const doubled = noteDoubled(scene);
      for (const each of steps) await scene.perform(each);
      scene.calm();
      scene.mendPools();
      await world.settle(120_000);
      assert.deepEqual(judge(world), []);
      assert.deepEqual(doubled, []);
      const before = scene.state();
      const calls = writes(scene);
      await world.settle(600_000);
      assert.deepEqual(writes(scene), calls, "nothing is written without need");
      await scene.restart();
      await world.settle(60_000);
      assert.deepEqual(judge(world), [], "after a restart");
      assert.deepEqual(scene.state(), before, "a restart moves nothing, and finds every reason true");
      assert.deepEqual(writes(scene), calls, "a restart writes nothing");
    }),
    { numRuns: Number(globalThis.process.env["CHAOS_RUNS"] ?? 150) },
  );
}, 300_000);

/** All that was written so far, by verb and kind. */
function writes({ world }: Scene): string[] {
  return world.client.calls.filter(({ verb }) => verb === "create" || verb === "patch" || verb === "replace" || verb === "delete").map(({ verb, plural, name, body }) => `${verb} ${plural} ${name?.name} ${JSON.stringify(body)}`);
}

/** Notes who is given an address that another one, who never shared anything, was given and still shows. What others write is nobody's gift. */
function noteDoubled(scene: Scene): string[] {
  const doubled: string[] = [];
  const given = new Map<string, Set<string>>();
  const keyed = new Set<string>();
  const mayHaveShared = ({ metadata }: Service): boolean => Object.keys(metadata.annotations ?? {}).some((annotation) => annotation.endsWith("/allow-shared-ip"));
  scene.onPatched = (patched) => {
    const all = scene.world.client.peekAll<Service>(services);
    for (const service of all) if (mayHaveShared(service)) keyed.add(service.metadata.uid ?? "");
    for (const { metadata: { uid = "", name }, status } of all) {
      const shown = new Set((status?.loadBalancer?.ingress ?? []).map(({ ip = "" }) => ip));
      const old = given.get(uid) ?? new Set();
      given.set(uid, name === patched ? shown : new Set([...old].filter((address) => shown.has(address))));
      const gained = name === patched ? [...shown].filter((address) => !old.has(address)) : [];
      for (const other of all) {
        const common = gained.filter((address) => other.metadata.uid !== uid && !keyed.has(other.metadata.uid ?? "") && given.get(other.metadata.uid ?? "")?.has(address) === true && other.status?.loadBalancer?.ingress?.some(({ ip }) => ip === address) === true);
        if (common.length > 0) doubled.push(`${name} got ${common.join()} beside ${other.metadata.name}`);
      }
    }
  };
  return doubled;
}
