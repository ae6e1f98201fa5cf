import assert from "node:assert/strict";
import { describe, it } from "vitest";
import { FakeClock } from "../sys/fake-clock.ts";
import { BurstGate, LULL_MS, MAX_HOLD_MS } from "./burst-gate.ts";

function gate(): { clock: FakeClock; passed: string[]; gate: BurstGate } {
  const clock = new FakeClock();
  const passed: string[] = [];
  return { clock, passed, gate: new BurstGate(clock, (key) => passed.push(key)) };
}

describe("BurstGate", () => {
  it("lets keys that come one by one through at once", async () => {
    const { clock, passed, gate: each } = gate();
    each.add("a");
    assert.deepEqual(passed, ["a"]);
    await clock.advance(LULL_MS + 1);
    each.add("b");
    assert.deepEqual(passed, ["a", "b"]);
  });

  it("holds a burst's back until nothing has come for a while, each once and in order", async () => {
    const { clock, passed, gate: burst } = gate();
    for (const key of ["a", "b", "c", "b"]) {
      burst.add(key);
      await clock.advance(LULL_MS - 1);
    }
    assert.deepEqual(passed, ["a"]);
    await clock.advance(1);
    assert.deepEqual(passed, ["a", "b", "c"]);
    await clock.advance(LULL_MS);
    burst.add("d");
    assert.deepEqual(passed, ["a", "b", "c", "d"]);
  });

  it("holds none for longer than its limit, however long the burst", async () => {
    const { clock, passed, gate: burst } = gate();
    const addedAt = new Map<string, number>();
    let seen = 0;
    for (let index = 0; index < 200; index += 1) {
      burst.add(`key${index}`);
      addedAt.set(`key${index}`, clock.now());
      await clock.advance(100);
      for (; seen < passed.length; seen += 1) {
        const waited = clock.now() - (addedAt.get(passed[seen] ?? "") ?? Number.NaN);
        assert.ok(waited <= MAX_HOLD_MS + 100, `${passed[seen]} waited for ${waited} ms`);
      }
    }
    await clock.advance(LULL_MS);
    assert.equal(passed.length, 200);
  });

  it("lets nothing through once stopped", async () => {
    const { clock, passed, gate: burst } = gate();
    burst.add("a");
    burst.add("b");
    burst.stop();
    await clock.advance(2 * MAX_HOLD_MS);
    assert.deepEqual(passed, ["a"]);
  });
});
