import { describe, expect, test } from "vitest";

import type { DeathClass } from "./peer-watch.ts";
import { BEATS_BEFORE_PAUSE, PeerWatch, SLOW_AFTER_MS, SLOW_FACTOR } from "./peer-watch.ts";
import { PROFILES } from "./profiles.ts";

const PROFILE = PROFILES.default;

/** Looks whenever it wants to be looked at until `end`, and gives [time, class] at each change and the times of asking. */
function run(watch: PeerWatch, end: number, answers: (at: number) => "answered" | "refused" | undefined): { classes: [number, DeathClass | undefined][]; asked: number[] } {
  const classes: [number, DeathClass | undefined][] = [];
  const asked: number[] = [];
  let before: DeathClass | undefined;
  for (let now = watch.nextLook(-Infinity), looks = 0; now <= end; now = watch.nextLook(now), looks++) {
    if (looks > 10_000) throw new Error("it wants to be looked at for ever");
    watch.suspect(now);
    if (watch.takeAsk(now)) {
      asked.push(now);
      const answer = answers(now);
      if (answer !== undefined) watch.answered(answer === "refused" ? "tcp" : "icmp", answer, now);
    }
    const seen = watch.class(now);
    if (seen !== before) classes.push([now, seen]);
    before = seen;
  }
  return { classes, asked };
}

/** Heard often enough, the last time at 0. */
function beating(): PeerWatch {
  const watch = new PeerWatch(PROFILE, -1000);
  for (let beat = 1 - BEATS_BEFORE_PAUSE; beat <= 0; beat++) watch.heard(beat * PROFILE.beatIntervalMs);
  return watch;
}

describe("PeerWatch", () => {
  test.each(Object.values(PROFILES))("$name: with a silent kernel it is silent right at the profile's time", (profile) => {
    const { classes } = run(new PeerWatch(profile, 0), 4_000, () => undefined);
    expect(classes).toEqual([[profile.powerOffAfterMs, "silent"]]);
  });

  test.each<[string, (at: number) => "answered" | "refused" | undefined, [number, DeathClass | undefined][]]>([
    ["answers", () => "answered", [[1000, "paused"]]],
    ["refuses", () => "refused", [[130, "refused"]]],
    ["refuses from the second question on", (at) => (at > 150 ? "refused" : "answered"), [[160, "refused"]]],
    // Asked at 400 for the last time with success.
    ["stops answering after 400 ms", (at) => (at <= 400 ? "answered" : undefined), [[590, "silent"]]],
    ["answers again after 700 ms", (at) => (at >= 700 ? "answered" : undefined), [[290, "silent"], [700, undefined], [1000, "paused"]]],
    ["is silent, then paused, then silent", (at) => (at >= 700 && at < 1200 ? "answered" : undefined), [[290, "silent"], [700, undefined], [1000, "paused"], [1370, "silent"]]],
  ])("a kernel that %s", (_, answers, classes) => {
    expect(run(beating(), 2_000, answers).classes).toEqual(classes);
  });

  test("a connection that is accepted takes the refusal back, an ICMP answer does not", () => {
    const watch = beating();
    watch.suspect(130);
    watch.answered("tcp", "refused", 131);
    watch.answered("icmp", "answered", 132);
    expect(watch.class(133)).toBe("refused");
    watch.answered("tcp", "answered", 140);
    expect(watch.class(141)).toBeUndefined();
  });

  test("asks at the first missed beat, then every interval, and rarely when the silence is long", () => {
    const { asked } = run(beating(), 20_000, () => "answered");
    expect(asked.slice(0, 3)).toEqual([130, 160, 190]);
    const late = asked.filter((at) => at > SLOW_AFTER_MS + 1_000);
    expect(late.slice(1).map((at, index) => at - (late[index] ?? 0))).toEqual(late.slice(1).map(() => PROFILE.askIntervalMs * SLOW_FACTOR));
  });

  test("asked rarely, a kernel that answers each time, or misses one question, is not silent", () => {
    const { classes } = run(beating(), 60_000, (at) => (Math.floor(at / (PROFILE.askIntervalMs * SLOW_FACTOR)) % 3 === 0 && at > SLOW_AFTER_MS + 1_000 ? undefined : "answered"));
    expect(classes).toEqual([[1000, "paused"]]);
  });

  test("who was never heard often is not called paused, but silent and refused", () => {
    expect(run(new PeerWatch(PROFILE, 0), 5_000, () => "answered").classes).toEqual([]);
    expect(run(new PeerWatch(PROFILE, 0), 5_000, () => "refused").classes).toEqual([[130, "refused"]]);
  });

  test("what is heard ends the suspicion, and answers to old questions count for nothing", () => {
    const watch = beating();
    watch.suspect(150);
    watch.heard(160);
    watch.answered("tcp", "refused", 170);
    expect(watch.suspectedSince).toBeUndefined();
    expect(watch.suspect(160 + PROFILE.askAfterMs)).toBe(true);
    expect(watch.class(160 + PROFILE.askAfterMs)).toBeUndefined();
  });
});
