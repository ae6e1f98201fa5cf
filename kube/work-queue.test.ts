import { describe, expect, test } from "vitest";
import { FakeClock } from "../sys/fake-clock.ts";
import { silentLogger } from "../sys/log.ts";
import { seededRandom } from "../sys/random.ts";
import { KubeError } from "./client.ts";
import { WorkQueue, type Verdict, type WorkQueueOptions } from "./work-queue.ts";

function setUp(options: Partial<WorkQueueOptions> = {}): { clock: FakeClock; queue: WorkQueue } {
  const clock = new FakeClock();
  return { clock, queue: new WorkQueue({ name: "test", clock, random: seededRandom(7), log: silentLogger, ...options }) };
}

/** A worker whose pieces of work end when the test says so. */
function manualWorker(): { worker: (key: string) => Promise<Verdict>; started: string[]; finish: (verdict: Verdict) => void } {
  const started: string[] = [];
  const open: ((verdict: Verdict) => void)[] = [];
  return {
    started,
    worker: (key) =>
      new Promise((resolve) => {
        started.push(key);
        open.push(resolve);
      }),
    finish: (verdict) => open.shift()?.(verdict),
  };
}

describe("WorkQueue", () => {
  test("a key added twice is worked on once, in the order of arrival", async () => {
    const { queue } = setUp();
    const seen: string[] = [];
    for (const key of ["a", "b", "a"]) queue.add(key);
    queue.run(async (key) => {
      seen.push(key);
      return "done";
    });
    await queue.idle();
    expect(seen).toEqual(["a", "b"]);
  });

  test("a key is never worked on twice at once; added meanwhile, it runs once more", async () => {
    const { clock, queue } = setUp();
    const { worker, started, finish } = manualWorker();
    queue.run(worker, { concurrency: 4 });
    queue.add("a");
    await clock.advance(0);
    queue.add("a");
    queue.add("a");
    await clock.advance(0);
    expect(started).toEqual(["a"]);
    finish("done");
    await clock.advance(0);
    expect(started).toEqual(["a", "a"]);
    finish("done");
    await queue.idle();
    expect(started).toHaveLength(2);
  });

  test("stopped before it ran, it keeps nobody waiting", async () => {
    const { queue } = setUp();
    queue.add("a");
    const idle = queue.idle();
    await queue.stop();
    await expect(Promise.race([idle, new Promise((resolve) => setImmediate(() => resolve("still waiting")))])).resolves.toBeUndefined();
  });

  test("concurrency is bounded", async () => {
    const { clock, queue } = setUp();
    const { worker, started, finish } = manualWorker();
    queue.run(worker, { concurrency: 2 });
    for (const key of ["a", "b", "c"]) queue.add(key);
    await clock.advance(0);
    expect(started).toEqual(["a", "b"]);
    finish("done");
    await clock.advance(0);
    expect(started).toEqual(["a", "b", "c"]);
    expect(queue.depth).toBe(0);
  });

  test("retries wait longer and longer, up to 30 s, and start anew after success", async () => {
    const { clock, queue } = setUp();
    const times: number[] = [];
    queue.run(async () => {
      times.push(clock.now());
      return times.length === 20 ? "done" : "retry";
    });
    queue.add("a");
    await clock.advance(400_000);
    expect(times).toHaveLength(20);
    const waits = times.slice(1).map((time, index) => time - (times[index] ?? 0));
    for (const [index, wait] of waits.entries()) {
      const full = Math.min(30_000, 5 * 2 ** index);
      expect(wait).toBeGreaterThanOrEqual(full / 2);
      expect(wait).toBeLessThanOrEqual(full);
    }
    queue.add("a");
    await clock.advance(10);
    expect(times.length).toBeGreaterThan(21);
  });

  test("a worker that throws is retried, and told", async () => {
    const errors: unknown[] = [];
    const { clock, queue } = setUp({ onVerdict: (_key, verdict, error) => errors.push([verdict, error]) });
    const problem = new Error("boom");
    let runs = 0;
    queue.run(async () => {
      runs += 1;
      if (runs === 1) throw problem;
      return "done";
    });
    queue.add("a");
    await clock.advance(5);
    expect(errors).toEqual([
      ["retry", problem],
      ["done", undefined],
    ]);
  });

  test("what the API server asks to wait is waited", async () => {
    const { clock, queue } = setUp();
    let runs = 0;
    queue.run(async () => {
      runs += 1;
      throw new KubeError({ code: 429, reason: "TooManyRequests", message: "busy", retryAfterSeconds: 3 });
    });
    queue.add("a");
    await clock.advance(2_999);
    expect(runs).toBe(1);
    await clock.advance(1);
    expect(runs).toBe(2);
  });

  test("addAfter: the earliest time counts, and add overrides it", async () => {
    const { clock, queue } = setUp();
    const times: number[] = [];
    queue.run(async () => {
      times.push(clock.now());
      return "done";
    });
    queue.addAfter("a", 500);
    queue.addAfter("a", 100);
    queue.addAfter("a", 900);
    await clock.advance(1_000);
    queue.addAfter("a", 500);
    queue.add("a");
    await clock.advance(1_000);
    expect(times).toEqual([100, 1_000]);
    expect(clock.timers).toBe(0);
  });

  test("giveUp ends it, retryAfter comes back, reprocessAll is told", async () => {
    let reprocessed = 0;
    const { clock, queue } = setUp({ onReprocessAll: () => (reprocessed += 1) });
    const verdicts: Verdict[] = ["giveUp", { kind: "retryAfter", ms: 50 }, "reprocessAll"];
    const times: number[] = [];
    queue.run(async () => {
      times.push(clock.now());
      return verdicts.shift() ?? "done";
    });
    queue.add("a");
    await clock.advance(60_000);
    expect(times).toEqual([0]);
    queue.add("a");
    await clock.advance(100);
    expect(times).toEqual([0, 60_000, 60_050]);
    expect(reprocessed).toBe(1);
  });

  test("stop waits for the work in hand and takes nothing more", async () => {
    const { clock, queue } = setUp();
    const { worker, started, finish } = manualWorker();
    queue.run(worker);
    queue.add("a");
    queue.add("b");
    queue.addAfter("c", 10);
    await clock.advance(0);
    let stopped = false;
    const stopping = queue.stop().then(() => (stopped = true));
    await clock.advance(100);
    expect(stopped).toBe(false);
    finish("retry");
    await stopping;
    queue.add("d");
    await clock.advance(100_000);
    expect(started).toEqual(["a"]);
  });
});
