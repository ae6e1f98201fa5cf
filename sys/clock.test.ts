import { expect, test } from "vitest";
import { rfc3339, rfc3339Micros, rfc3339Seconds, sleep, systemClock } from "./clock.ts";
import { FakeClock } from "./fake-clock.ts";

test("timestamps", () => {
  const wallMs = Date.UTC(2026, 0, 2, 3, 4, 5, 67);
  expect(rfc3339(wallMs)).toBe("2026-01-02T03:04:05.067Z");
  expect(rfc3339Seconds(wallMs)).toBe("2026-01-02T03:04:05Z");
  expect(rfc3339Micros(wallMs)).toBe("2026-01-02T03:04:05.067000Z");
});

test("the fake clock fires timers in order, those set meanwhile too", async () => {
  const clock = new FakeClock();
  const seen: string[] = [];
  clock.after(20, () => seen.push(`b at ${clock.now()}`));
  clock.after(10, () => {
    seen.push(`a at ${clock.now()}`);
    clock.after(5, () => seen.push(`c at ${clock.now()}`));
  });
  const cancelled = clock.after(12, () => seen.push("never"));
  cancelled.cancel();
  await clock.advance(19);
  expect(seen).toEqual(["a at 10", "c at 15"]);
  await clock.advance(1);
  expect(seen).toHaveLength(3);
  expect(clock.timers).toBe(0);
});

test("sleep ends early when aborted, and leaves no timer", async () => {
  const clock = new FakeClock();
  const abort = new AbortController();
  const sleeping = sleep(clock, 1_000, abort.signal);
  abort.abort();
  await sleeping;
  expect(clock.timers).toBe(0);
  await sleep(clock, 1_000, abort.signal);
  await sleep(systemClock, 0);
});
