import { expect, test } from "vitest";
import { settle } from "../sys/fake-clock.ts";
import { BUSY_ABOVE, MAX_BACKGROUND, NORMAL_PER_BACKGROUND, RequestLimiter } from "./request-limiter.ts";

test("the background lane waits behind the other, and a failure gives its place back", async () => {
  const limiter = new RequestLimiter(1);
  const order: string[] = [];
  let release = (): void => {};
  const first = limiter.run("normal", async () => {
    await new Promise<void>((resolve) => {
      release = resolve;
    });
    throw new Error("no");
  });
  const failed = expect(first).rejects.toThrow("no");
  const rest = [
    limiter.run("background", async () => void order.push("event")),
    limiter.run("normal", async () => void order.push("patch 1")),
    limiter.run("normal", async () => void order.push("patch 2")),
  ];
  await settle();
  expect(order).toEqual([]);
  release();
  await failed;
  await Promise.all(rest);
  expect(order).toEqual(["patch 1", "patch 2", "event"]);
  await limiter.run("background", async () => void order.push("idle"));
  expect(order).toHaveLength(4);
});

test("while the normal lane is busy an event runs now and then, one at a time; when it is quiet, several", async () => {
  const limiter = new RequestLimiter(32);
  const running = { normal: 0, background: 0 };
  const ends: Record<"normal" | "background", (() => void)[]> = { normal: [], background: [] };
  const start = (lane: "normal" | "background"): Promise<void> =>
    limiter.run(lane, async () => {
      running[lane] += 1;
      await new Promise<void>((resolve) => ends[lane].push(resolve));
      running[lane] -= 1;
    });
  const all = Array.from({ length: 20 }, () => start("normal"));
  for (let index = 0; index < 20; index++) all.push(start("background"));
  await settle();
  expect(running).toEqual({ normal: 20, background: 0 });
  for (let started = 20; started < NORMAL_PER_BACKGROUND; started++) {
    all.push(start("normal"));
    ends.normal.shift()?.();
    await settle();
  }
  expect(running).toEqual({ normal: 20, background: 1 });
  for (let more = 0; more < 2 * NORMAL_PER_BACKGROUND; more++) {
    all.push(start("normal"));
    ends.normal.shift()?.();
    await settle();
  }
  expect(running, "the one that runs has not ended").toEqual({ normal: 20, background: 1 });
  for (const end of ends.normal.splice(0, 20 - BUSY_ABOVE)) end();
  await settle();
  expect(running).toEqual({ normal: BUSY_ABOVE, background: MAX_BACKGROUND });
  while (ends.normal.length + ends.background.length > 0) {
    for (const end of [...ends.normal.splice(0), ...ends.background.splice(0)]) end();
    await settle();
  }
  await Promise.all(all);
  expect(running).toEqual({ normal: 0, background: 0 });
});
