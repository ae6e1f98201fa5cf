import fc from "fast-check";
import { describe, expect, test } from "vitest";

import { Deadlines } from "./deadlines.ts";

describe("Deadlines", () => {
  test("a moved deadline is due at its new time only, a cancelled one never", () => {
    const deadlines = new Deadlines();
    deadlines.set("a", 10);
    deadlines.set("b", 20);
    deadlines.set("a", 30);
    expect(deadlines.next()).toBe(20);
    deadlines.clear("b");
    expect(deadlines.takeDue(29)).toBeUndefined();
    expect(deadlines.takeDue(30)).toBe("a");
    expect(deadlines.next()).toBeUndefined();
  });

  test("setEarlier keeps the earlier one", () => {
    const deadlines = new Deadlines();
    deadlines.setEarlier("a", 10);
    deadlines.setEarlier("a", 20);
    expect(deadlines.get("a")).toBe(10);
    deadlines.setEarlier("a", 5);
    expect(deadlines.next()).toBe(5);
  });

  test("comes out as a sorted map would, whatever is set, moved and cancelled", () => {
    const step = fc.record({ key: fc.integer({ min: 0, max: 30 }).map(String), at: fc.integer({ min: 0, max: 50 }), kind: fc.constantFrom("set", "set", "set", "clear", "take") });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 400 }), (steps) => {
        const deadlines = new Deadlines();
        const model = new Map<string, number>();
        for (const { key, at, kind } of steps) {
          if (kind === "set") {
            deadlines.set(key, at);
            model.set(key, at);
          } else if (kind === "clear") {
            deadlines.clear(key);
            model.delete(key);
          } else {
            const taken = deadlines.takeDue(at);
            const earliest = Math.min(...model.values());
            if (taken === undefined) expect(earliest).toBeGreaterThan(at);
            else expect(model.get(taken)).toBe(earliest);
            if (taken !== undefined) model.delete(taken);
          }
          expect(deadlines.next()).toBe(model.size === 0 ? undefined : Math.min(...model.values()));
        }
      }),
    );
  });
});
