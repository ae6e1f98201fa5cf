import { describe, expect, test } from "vitest";

import type { ClaimsUpdate } from "./claims-protocol.ts";
import { MAX_QUEUED_UPDATES, Outbox, PACE_MS, REPEAT_AFTER_MS, UPDATES_AT_ONCE } from "./outbox.ts";

function updates(count: number): ClaimsUpdate[] {
  const facts = { ready: true, fresh: true, settled: true, template: "" };
  return Array.from({ length: count }, (_, version) => ({ owner: "a", boot: 1, facts, base: version, version: version + 1, hash: 0, entries: [], removed: [] }));
}

const versions = (taken: readonly ClaimsUpdate[]): number[] => taken.map(({ version }) => version);

describe("Outbox", () => {
  test("sends a few at a time, in order, however often it is asked", () => {
    const outbox = new Outbox();
    outbox.push(updates(20));
    expect(versions(outbox.take(0, () => true))).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    expect(outbox.take(0, () => true)).toEqual([]);
    expect(outbox.take(PACE_MS / 2, () => true)).toEqual([]);
    expect(outbox.next()).toBe(PACE_MS);
    expect(versions(outbox.take(PACE_MS, () => true))).toHaveLength(UPDATES_AT_ONCE);
    expect(outbox.isDrained).toBe(false);
    expect(versions(outbox.take(2 * PACE_MS, () => true))).toEqual([17, 18, 19, 20]);
    expect(outbox.isDrained).toBe(true);
  });

  test("sends each of them once more later, after what is new, and then no more", () => {
    const outbox = new Outbox();
    outbox.push(updates(1));
    outbox.take(0, () => true);
    expect(outbox.next()).toBe(REPEAT_AFTER_MS);
    expect(outbox.take(REPEAT_AFTER_MS - 1, () => true)).toEqual([]);
    outbox.push(updates(3).slice(1));
    expect(versions(outbox.take(REPEAT_AFTER_MS, () => true))).toEqual([2, 3, 1]);
    expect(versions(outbox.take(2 * REPEAT_AFTER_MS, () => true))).toEqual([2, 3]);
    expect(outbox.next()).toBeUndefined();
  });

  test("what is no longer true is not said again", () => {
    const outbox = new Outbox();
    outbox.push(updates(3));
    outbox.take(0, () => true);
    expect(versions(outbox.take(REPEAT_AFTER_MS, ({ version }) => version !== 2))).toEqual([1, 3]);
  });

  test("what does not fit the queue is left out", () => {
    const outbox = new Outbox();
    outbox.push(updates(MAX_QUEUED_UPDATES + 5));
    const sent: number[] = [];
    for (let now = 0; !outbox.isDrained; now += PACE_MS) sent.push(...versions(outbox.take(now, () => true)));
    expect(Math.max(...sent)).toBe(MAX_QUEUED_UPDATES);
  });
});
