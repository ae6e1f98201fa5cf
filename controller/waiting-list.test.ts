import fc from "fast-check";
import { expect, it } from "vitest";
import type { Service } from "../kube/objects.ts";
import { compareByAge, WaitingList } from "./waiting-list.ts";

function service(name: string, second: number): Service {
  return { metadata: { namespace: "n", name, creationTimestamp: `2026-01-01T00:00:0${second}Z` }, spec: {} };
}

it("keeps Services in order of age, then of name, whatever is added and taken out", () => {
  const change = fc.record({ add: fc.boolean(), name: fc.constantFrom("a", "b", "c", "d"), second: fc.integer({ min: 0, max: 3 }) });
  fc.assert(
    fc.property(fc.array(change), (changes) => {
      const list = new WaitingList();
      const model = new Map<string, Service>();
      for (const { add, name, second } of changes) {
        if (add) {
          list.add(service(name, second));
          model.set(name, service(name, second));
        } else {
          list.delete(`n/${name}`);
          model.delete(name);
        }
      }
      expect(list.inOrder().map(({ key }) => key)).toEqual([...model.values()].sort(compareByAge).map(({ metadata }) => `n/${metadata.name}`));
      expect(list.size).toBe(model.size);
    }),
  );
});
