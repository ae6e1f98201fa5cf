import assert from "node:assert/strict";
import fc from "fast-check";
import { test } from "vitest";
import { judge } from "./end-state-judge.ts";
import { Scene } from "../test/controller/sequence-scene.ts";
import { step } from "../test/controller/sequence-steps.ts";

test("whatever has happened, in the end every address is allowed where it shows, nobody goes without what he could have, every reason is true, and nothing is left to write", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 50 }), async (steps) => {
      const scene = await Scene.begin();
      const { world } = scene;
      for (const each of steps) await scene.perform(each);
      scene.calm();
      scene.mendPools();
      await world.settle(120_000);
      assert.deepEqual(judge(world), []);
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
