import fc from "fast-check";
import { expect, test } from "vitest";

import { Deadlines } from "./deadlines.ts";

test("behaves like a table that is searched for its minimum", () => {
  const key = fc.constantFrom("a", "b", "c", "d", "e", "f");
  const step = fc.oneof(
    fc.record({ kind: fc.constant("set" as const), key, at: fc.nat({ max: 50 }) }),
    fc.record({ kind: fc.constant("delete" as const), key }),
    fc.record({ kind: fc.constant("take" as const), now: fc.nat({ max: 50 }) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const real = new Deadlines();
      const model = new Map<string, number>();
      for (const next of steps) {
        if (next.kind === "set") {
          real.set(next.key, next.at);
          model.set(next.key, next.at);
        } else if (next.kind === "delete") {
          real.delete(next.key);
          model.delete(next.key);
        } else {
          const taken = real.takeDue(next.now);
          const earliest = Math.min(...model.values());
          if (earliest > next.now) expect(taken).toBeUndefined();
          else expect(model.get(taken ?? "")).toBe(earliest);
          model.delete(taken ?? "");
        }
        expect(real.next()).toBe(model.size === 0 ? undefined : Math.min(...model.values()));
      }
    }),
  );
});
