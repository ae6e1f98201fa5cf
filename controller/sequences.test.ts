/** One thing happens after the other, and after each the controller has time: what it did then must have had its cause in that. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { test } from "vitest";
import { type CoreEvent, events, type Service, services } from "../kube/objects.ts";
import { entitled, judge, overtaken } from "./end-state-judge.ts";
import { CONDITION } from "./fake-world.ts";
import { Scene } from "../test/controller/sequence-scene.ts";
import { calmStep, type Step } from "../test/controller/sequence-steps.ts";

const PROBLEMS: readonly string[] = ["AllocationFailed", "LoadBalancerFailed", "not enough clusterips"];

interface View {
  readonly uid: string;
  readonly shown: readonly string[];
  readonly reason: string;
  readonly isProblem: boolean;
}

function viewOf({ metadata, status }: Service): View {
  const condition = status?.conditions?.find(({ type }) => type === CONDITION);
  const shown = (status?.loadBalancer?.ingress ?? []).map(({ ip, hostname }) => ip ?? hostname ?? "");
  return { uid: metadata.uid ?? "", shown, reason: `${condition?.reason}: ${condition?.message}`, isProblem: condition !== undefined && condition.reason !== "Assigned" };
}

/** Notes what the controller's patches change, to be compared with the events that it writes. */
class Chronicle {
  readonly #scene: Scene;
  #views = new Map<string, View>();
  readonly expected = { assigned: 0, problems: 0 };
  readonly patched = new Map<string, number>();
  /** Who got an address beside whom. */
  readonly doubled: string[] = [];

  constructor(scene: Scene) {
    this.#scene = scene;
    scene.onPatched = () => this.#compare();
  }

  /** Takes the Services as they are: what changed so far was the doing of others. */
  refresh(): ReadonlyMap<string, View> {
    this.#views = new Map(this.#scene.world.client.peekAll<Service>(services).map((service) => [service.metadata.name, viewOf(service)]));
    return this.#views;
  }

  #compare(): void {
    const before = this.#views;
    for (const [name, view] of this.refresh()) {
      const old = before.get(name);
      if (old === undefined || JSON.stringify(old) === JSON.stringify(view)) continue;
      this.patched.set(name, (this.patched.get(name) ?? 0) + 1);
      if (view.isProblem && view.reason !== old.reason) this.expected.problems += 1;
      const gained = view.shown.filter((address) => !old.shown.includes(address));
      if (gained.length > 0) this.expected.assigned += 1;
      for (const [other, { shown }] of this.#views) if (other !== name && shown.some((address) => gained.includes(address)) && !this.#scene.mayShare(name, other)) this.doubled.push(`${name} got ${gained.join()} beside ${other}`);
    }
  }
}

function counted(scene: Scene, reasons: readonly string[]): number {
  return scene.world.client.peekAll<CoreEvent>(events).filter(({ reason }) => reason !== undefined && reasons.includes(reason)).reduce((sum, { count }) => sum + (count ?? 1), 0);
}

/** Complaints about what became of those who had no reason to move. */
function movedWithoutCause(scene: Scene, before: ReadonlyMap<string, readonly string[]>, { stay, stayOrGetMore }: ReturnType<typeof entitled>): string[] {
  return stayOrGetMore.flatMap((name) => {
    const now = viewOf(scene.world.get(name));
    const shown = before.get(name) ?? [];
    if (shown.every((address, index) => now.shown[index] === address)) return [];
    return stay.includes(name) || now.isProblem ? [`${name} had ${shown.join()} and has ${now.shown.join()}, ${now.reason}`] : [];
  });
}

async function follow(steps: readonly Step[]): Promise<void> {
  const scene = await Scene.begin();
  const chronicle = new Chronicle(scene);
  for (const [index, each] of steps.entries()) {
    const before = new Map([...chronicle.refresh()].map(([name, { shown }]) => [name, shown]));
    const uids = new Map([...chronicle.refresh()].map(([name, { uid }]) => [name, uid]));
    chronicle.patched.clear();
    const done = scene.perform(each);
    scene.mendPools();
    for (const [name, { uid }] of chronicle.refresh()) if (uids.get(name) !== uid) before.delete(name);
    const kept = entitled(scene.world, before, "name" in each ? each.name : undefined);
    await done;
    await scene.world.settle(20_000);
    const at = `after step ${index}, ${JSON.stringify(each)}: ${scene.state().join("; ")}`;
    assert.deepEqual(judge(scene.world), [], at);
    assert.deepEqual(chronicle.doubled, [], at);
    assert.deepEqual(movedWithoutCause(scene, before, kept), [], at);
    assert.deepEqual(overtaken(scene.world, before, "name" in each ? each.name : undefined), [], at);
    assert.deepEqual({ assigned: counted(scene, ["IPAllocated"]), problems: counted(scene, PROBLEMS) }, chronicle.expected, `events, ${at}`);
    const busy = [...chronicle.patched].filter(([, patches]) => patches > 3);
    assert.deepEqual(busy, [], `patches, ${at}`);
  }
}

test("after each step all is as it should be, nobody was moved without cause, and each change of a reason made one event", async () => {
  await fc.assert(fc.asyncProperty(fc.array(calmStep, { minLength: 10, maxLength: 40 }), follow), { numRuns: Number(globalThis.process.env["CHAOS_RUNS"] ?? 40) });
}, 300_000);
