import { expect, test } from "vitest";
import type { Change } from "../../kube/informer.ts";
import type { CustomResource } from "../../kube/objects.ts";
import { DelayedStates, GATHER_MS, LINGER_MS } from "./pool-neighbours-delay.ts";

function change(name: string, kind: "added" | "deleted", version = "1"): Change<CustomResource> {
  const object = { metadata: { name, resourceVersion: version } };
  return kind === "added" ? { kind, object } : { kind, object, previous: object };
}

const START = 10 * GATHER_MS;

test("news of many objects are due at the same times, each once", () => {
  const delayed = new DelayedStates();
  const times = Array.from({ length: GATHER_MS }, (_, ms) => delayed.hold(change(`speaker-${ms}`, "added"), START + ms));
  expect(new Set(times)).toEqual(new Set([START + GATHER_MS]));
  expect([delayed.due(START + GATHER_MS - 1), delayed.nextDue]).toEqual([[], START + GATHER_MS]);
  expect(delayed.due(START + GATHER_MS).length).toBe(GATHER_MS);
  expect([delayed.due(START + GATHER_MS), delayed.nextDue]).toEqual([[], Infinity]);
});

test("of one object the last change counts, and changing it all the time puts nothing off", () => {
  const delayed = new DelayedStates();
  for (let ms = 0; ms < GATHER_MS; ms += 10) delayed.hold(change("speaker-a", "added", String(ms)), START + ms);
  expect(delayed.due(START + GATHER_MS)).toEqual([change("speaker-a", "added", String(GATHER_MS - 10))]);
});

test("an object that is gone counts a while longer, and not at all when it comes back", () => {
  const delayed = new DelayedStates();
  const at = delayed.hold(change("speaker-a", "deleted"), START);
  expect(at).toBeGreaterThanOrEqual(START + LINGER_MS);
  expect(delayed.due(at - 1)).toEqual([]);
  delayed.hold(change("speaker-a", "added", "2"), START + 1);
  expect(delayed.due(START + GATHER_MS)).toEqual([change("speaker-a", "added", "2")]);
  expect(delayed.due(at)).toEqual([]);
});
