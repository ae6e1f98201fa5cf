import fc from "fast-check";
import { describe, expect, test } from "vitest";

import { Detection, LINGER_MS, REPORT_TTL_MS } from "./detection.ts";
import type { DetectionInput, DetectionOutput } from "./detection-protocol.ts";
import { FakeSegment } from "./fake-segment.ts";
import { MAX_ALL_PAIRS, observedBy, observerRing, observersOf } from "./observers.ts";
import { PROFILES } from "./profiles.ts";

const PROFILE = PROFILES.default;
const THREE = ["a", "b", "c"];
const OFFSETS = [0, 37, 71];
/** By then all have beaten to each other often. */
const SETTLED = 1_000;

function names(count: number): string[] {
  return Array.from({ length: count }, (_, index) => `node${index + 1}`);
}

function segment(nodes: readonly string[] = THREE, profile = PROFILE): FakeSegment {
  return new FakeSegment(nodes, profile, nodes.map((_, index) => OFFSETS[index] ?? (index * 17) % profile.beatIntervalMs));
}

function of(verdicts: FakeSegment["verdicts"]): (readonly [string, string, string])[] {
  return verdicts.map((verdict) => [verdict.by, verdict.about, verdict.class] as const).sort((a, b) => a[0].localeCompare(b[0]));
}

describe("deaths, on three nodes", () => {
  test.each(Object.values(PROFILES))("$name: power off is known to both others within the profile's time", (profile) => {
    const net = segment(THREE, profile);
    net.at(SETTLED + 33, () => net.set("a", "off"));
    net.runUntil(10_000);
    expect(of(net.verdicts)).toEqual([["b", "a", "powerOff"], ["c", "a", "powerOff"]]);
    for (const { at } of net.verdicts) {
      expect(at - SETTLED - 33).toBeGreaterThanOrEqual(profile.powerOffAfterMs - profile.beatIntervalMs);
      expect(at - SETTLED - 33).toBeLessThanOrEqual(profile.powerOffAfterMs + 5);
    }
  });

  test.each(Object.values(PROFILES))("$name: a process that is gone is known as soon as a beat is missed", (profile) => {
    const net = segment(THREE, profile);
    net.at(SETTLED + 33, () => net.set("a", "gone"));
    net.runUntil(10_000);
    expect(of(net.verdicts)).toEqual([["b", "a", "processGone"], ["c", "a", "processGone"]]);
    for (const { at } of net.verdicts) expect(at - SETTLED - 33).toBeLessThanOrEqual(profile.askAfterMs + 10);
  });

  test.each(Object.values(PROFILES))("$name: a process that sleeps for long is called paused", (profile) => {
    const net = segment(THREE, profile);
    net.at(SETTLED + 33, () => net.set("a", "paused"));
    net.runUntil(10_000);
    expect(of(net.verdicts)).toEqual([["b", "a", "paused"], ["c", "a", "paused"]]);
    for (const { at } of net.verdicts) expect(at - SETTLED - 33).toBeGreaterThanOrEqual(profile.pausedAfterMs - profile.beatIntervalMs);
  });

  test.each([
    ["fast", "frozen", 100],
    ["fast", "paused", 400],
    ["default", "frozen", 150],
    ["default", "paused", 500],
    ["default", "paused", 880],
    ["calm", "frozen", 450],
    ["calm", "paused", 2_700],
  ] as const)("%s: %s for %i ms is no death, at whatever moment it begins", (name, state, pause) => {
    const profile = PROFILES[name];
    for (let phase = 0; phase < profile.beatIntervalMs; phase += 3) {
      const net = segment(THREE, profile);
      net.at(3_000 + phase, () => net.set("a", state));
      net.at(3_000 + phase + pause, () => net.set("a", "on"));
      net.runUntil(8_000);
      expect(net.verdicts).toEqual([]);
    }
  });

  test("a frozen machine that lost the beat before is not dead either", () => {
    for (let phase = 0; phase < 100; phase++) {
      const net = segment();
      net.at(SETTLED + 50, () => (net.loses = (from) => from === "a"));
      net.at(SETTLED + 110, () => (net.loses = () => false));
      net.at(SETTLED + 110 + phase, () => net.set("a", "frozen"));
      net.at(SETTLED + 110 + phase + 150, () => net.set("a", "on"));
      net.runUntil(3_000);
      expect(net.verdicts).toEqual([]);
    }
  });
});

describe("suspicion", () => {
  test("a missed beat asks the kernel and says since when; the next beat clears", () => {
    const net = segment();
    net.at(SETTLED, () => net.set("a", "paused"));
    net.at(SETTLED + 200, () => net.set("a", "on"));
    net.runUntil(3_000);
    const seen = net.log.filter(({ by }) => by === "b").map(({ output }) => output);
    expect(seen).toEqual([{ kind: "suspected", node: "a", since: 901 }, { kind: "cleared", node: "a" }]);
    expect(net.asked).toBeGreaterThan(0);
  });

  test("in quiet times nobody is suspected or asked, and everybody beats to everybody", () => {
    const net = segment();
    net.runUntil(60_000);
    expect(net.log).toEqual([]);
    expect(net.asked).toBe(0);
    expect(net.beats).toBeGreaterThan(3 * 2 * 595);
    expect(net.beats).toBeLessThan(3 * 2 * 605);
  });

  test("whoever comes back after its death is told well again, and can die again", () => {
    const net = segment();
    const others = ["a", "c"].map((node) => ({ node, address: node }));
    net.at(SETTLED, () => net.set("a", "off"));
    net.runUntil(2_000);
    net.input("b", { kind: "peers", peers: others.slice(1) });
    net.log.length = 0;
    net.input("b", { kind: "peers", peers: others });
    expect(net.log.map(({ output }) => output)).toEqual([{ kind: "cleared", node: "a" }]);
    net.runUntil(4_000);
    expect(net.verdicts.filter(({ by }) => by === "b")).toHaveLength(2);
  });

  test("a silent kernel that answers again takes the report back", () => {
    const net = segment();
    // Only b is deaf to a, kernel and process; so there is no verdict.
    net.at(SETTLED, () => (net.loses = (from, to) => from === "a" && to === "b"));
    net.at(2_000, () => (net.loses = () => false));
    net.runUntil(4_000);
    expect(net.verdicts).toEqual([]);
    const reports = net.log.flatMap(({ output }) => (output.kind === "report" ? [output.class] : []));
    expect(reports.length).toBeGreaterThan(3);
    expect(reports.at(-1)).toBe("heard");
    expect(new Set(reports.slice(0, -1))).toEqual(new Set(["silent"]));
  });
});

describe("how many must agree", () => {
  test("of two members one decides alone", () => {
    const net = segment(["a", "b"]);
    net.at(SETTLED, () => net.set("a", "off"));
    net.runUntil(2_000);
    expect(of(net.verdicts)).toEqual([["b", "a", "powerOff"]]);
  });

  test("a cut between two of three nodes kills neither", () => {
    const net = segment();
    net.at(SETTLED, () => (net.loses = (from, to) => from !== "c" && to !== "c"));
    net.runUntil(10_000);
    expect(net.verdicts).toEqual([]);
    expect(net.detection("a").snapshot().suspects).toEqual(["b"]);
  });

  test("two of four that die at once are known to the other two", () => {
    const net = segment(["a", "b", "c", "d"]);
    net.at(SETTLED, () => {
      net.set("c", "off");
      net.set("d", "off");
    });
    net.runUntil(1_600);
    expect(of(net.verdicts).map(([by, about]) => by + about).sort()).toEqual(["ac", "ad", "bc", "bd"]);
  });

  test("a report about an earlier boot, from a stranger, from the peer itself or long ago counts for nothing", () => {
    const detection = new Detection({ node: "b", profile: PROFILE });
    const peers = ["a", "c", "d"].map((node) => ({ node, address: node }));
    const verdicts = (inputs: readonly DetectionInput[], at: number): DetectionOutput[] => inputs.flatMap((input) => detection.handle(input, at)).filter(({ kind }) => kind === "verdict");
    detection.handle({ kind: "peers", peers }, 0);
    detection.handle({ kind: "heard", node: "a", boot: 7 }, 0);
    const report = { kind: "report", from: "c", about: "a", boot: 7, class: "silent" } as const;
    for (let at = 100; at <= 5_000; at += 10) {
      // The others live, a is silent.
      const living: DetectionInput[] = ["c", "d"].map((node) => ({ kind: "heard", node, boot: 1 }));
      const reports: DetectionInput[] = at < 130 ? [report] : at < REPORT_TTL_MS + 200 ? [] : [{ ...report, boot: 6 }, { ...report, from: "stranger" }, { ...report, from: "a" }];
      // The only report in time is forgotten, as a is heard once more.
      if (at === 130) living.push({ kind: "heard", node: "a", boot: 7 });
      expect(verdicts([...living, ...reports, { kind: "timeout" }], at)).toEqual([]);
    }
    expect(verdicts([report], 5_010)).toEqual([{ kind: "verdict", node: "a", boot: 7, class: "powerOff", silentForMs: 4_880 }]);
  });

  test("an older boot is not heard, and a new one starts anew", () => {
    const detection = new Detection({ node: "b", profile: PROFILE });
    detection.handle({ kind: "peers", peers: [{ node: "a", address: "a" }] }, 0);
    detection.handle({ kind: "heard", node: "a", boot: 7 }, 10);
    detection.handle({ kind: "heard", node: "a", boot: 6 }, 100);
    const suspected = detection.handle({ kind: "timeout" }, 140).filter(({ kind }) => kind === "suspected");
    expect(suspected).toEqual([{ kind: "suspected", node: "a", since: 10 }]);
    expect(detection.handle({ kind: "heard", node: "a", boot: 8 }, 150)).toEqual([{ kind: "cleared", node: "a" }]);
  });
});

describe("doubting oneself", () => {
  test("who goes deaf reports nobody, and decides nothing before the time of a pause", () => {
    const net = segment(["a", "b", "c", "d"]);
    net.at(SETTLED, () => (net.loses = (_, to) => to === "a"));
    net.runUntil(SETTLED + 930);
    expect(net.verdicts).toEqual([]);
    expect(net.log.filter(({ output }) => output.kind === "report")).toEqual([]);
    expect(net.detection("a").snapshot().suspects).toEqual(["b", "c", "d"]);
  });

  test("who is really left alone decides in the end", () => {
    const net = segment();
    net.at(SETTLED, () => {
      net.set("b", "off");
      net.set("c", "off");
    });
    net.runUntil(SETTLED + 1_100);
    expect(of(net.verdicts)).toEqual([["a", "b", "powerOff"], ["a", "c", "powerOff"]]);
    for (const { at } of net.verdicts) expect(at).toBeGreaterThanOrEqual(SETTLED - PROFILE.beatIntervalMs + PROFILE.pausedAfterMs);
  });
});

describe("waking up", () => {
  test("an observer that slept blames nobody for its sleep", () => {
    for (const state of ["paused", "frozen"] as const) {
      const net = segment();
      net.at(SETTLED, () => net.set("b", state));
      // What came in meanwhile is lost, as a full socket buffer loses it.
      net.loses = (_, to) => to === "b" && net.now > SETTLED && net.now < 5_000;
      net.at(5_000, () => net.set("b", "on"));
      net.runUntil(8_000);
      expect(net.verdicts.filter(({ by }) => by === "b")).toEqual([]);
    }
  });

  test("suspicions in flight start anew, and old answers are forgotten", () => {
    const detection = new Detection({ node: "b", profile: PROFILE });
    detection.handle({ kind: "peers", peers: [{ node: "a", address: "a" }] }, 0);
    detection.handle({ kind: "timeout" }, 140);
    detection.handle({ kind: "woke", lagMs: 150 }, 290);
    detection.handle({ kind: "answer", node: "a", question: "tcp", result: "refused" }, 291);
    expect(detection.handle({ kind: "timeout" }, 291).filter(({ kind }) => kind !== "heartbeat")).toEqual([]);
    expect(detection.handle({ kind: "timeout" }, 420)).toContainEqual({ kind: "suspected", node: "a", since: 290 });
    expect(detection.handle({ kind: "heard", node: "a", boot: 1 }, 430)).toEqual([{ kind: "cleared", node: "a" }]);
  });

  test("a short lag changes nothing", () => {
    const detection = new Detection({ node: "b", profile: PROFILE });
    detection.handle({ kind: "peers", peers: [{ node: "a", address: "a" }] }, 0);
    detection.handle({ kind: "woke", lagMs: 100 }, 140);
    expect(detection.handle({ kind: "timeout" }, 140)).toContainEqual({ kind: "suspected", node: "a", since: 0 });
  });
});

describe("more members than can all observe all", () => {
  const many = names(40);
  const ring = observerRing(many);

  test("each beats to 8, and a death is known to all 39 others", () => {
    const net = segment(many);
    const victim = many[7] ?? "";
    net.at(SETTLED, () => net.set(victim, "off"));
    net.runUntil(2_000);
    expect(net.beats).toBeLessThan(40 * 8 * 21);
    expect(new Set(net.verdicts.map(({ by }) => by))).toEqual(new Set(many.filter((node) => node !== victim)));
    expect(net.verdicts).toHaveLength(39);
    for (const { at, class: verdict } of net.verdicts) {
      expect(verdict).toBe("powerOff");
      expect(at - SETTLED).toBeLessThanOrEqual(PROFILE.powerOffAfterMs + 40);
    }
  });

  test("who does not observe wants two reports, and forgets them when they are not repeated", () => {
    const victim = ring[0] ?? "";
    const [first = "", second = ""] = observersOf(victim, ring);
    const bystander = ring[20] ?? "";
    const net = segment(many);
    net.runUntil(SETTLED);
    const report = { kind: "report", about: victim, boot: 1, class: "silent" } as const;
    net.input(bystander, { ...report, from: first });
    net.runUntil(SETTLED + REPORT_TTL_MS - 1);
    expect(net.log.map(({ output }) => output.kind)).toEqual(["suspected"]);
    net.runUntil(SETTLED + REPORT_TTL_MS + 1);
    expect(net.log.map(({ output }) => output.kind)).toEqual(["suspected", "cleared"]);
    net.input(bystander, { ...report, from: second });
    expect(net.verdicts).toEqual([]);
    net.input(bystander, { ...report, from: first });
    expect(of(net.verdicts)).toEqual([[bystander, victim, "powerOff"]]);
  });

  test("former observers are beaten to until they know better", () => {
    const node = ring[0] ?? "";
    const detection = new Detection({ node, profile: PROFILE });
    const list = (members: readonly string[]): DetectionInput => ({ kind: "peers", peers: members.filter((member) => member !== node).map((member) => ({ node: member, address: member })) });
    const beats = (at: number): string[] => detection.handle({ kind: "timeout" }, at).flatMap((output) => (output.kind === "heartbeat" ? [output.to] : [])).sort();
    const small = many.slice(0, MAX_ALL_PAIRS).concat(node);
    detection.handle(list(small), 0);
    const before = beats(0);
    detection.handle(list(many), 100);
    const now = observersOf(node, ring);
    expect(beats(100)).toEqual([...new Set([...before, ...now])].sort());
    expect(beats(100 + LINGER_MS)).toEqual([...now].sort());
  });

  test("a node observes those that beat to it", () => {
    const net = segment(many);
    net.runUntil(SETTLED);
    for (const node of many) expect([...net.detection(node).snapshot().observed].sort()).toEqual([...observedBy(node, ring)].sort());
  });
});

describe("properties", () => {
  const FAST_RUNS = { numRuns: 60 };

  test("while kernels and processes live, loss of one message in five never gives a verdict", () => {
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 6 }), fc.array(fc.nat(99), { minLength: 6, maxLength: 6 }), fc.infiniteStream(fc.nat(99)), (count, offsets, dice) => {
        const net = new FakeSegment(names(count), PROFILE, offsets);
        // Never two in a row between the same two nodes: single beats.
        const lost = new Set<string>();
        net.loses = (from, to) => {
          const link = `${from} ${to}`;
          if (lost.delete(link) || Number(dice.next().value) >= 20) return false;
          lost.add(link);
          return true;
        };
        net.runUntil(10_000);
        expect(net.verdicts).toEqual([]);
      }),
      FAST_RUNS,
    );
  });

  test("no verdict without its silence, whatever happens to the nodes", () => {
    const event = fc.record({ at: fc.integer({ min: 500, max: 6_000 }), node: fc.nat(3), state: fc.constantFrom("on", "off", "gone", "paused", "frozen") });
    fc.assert(
      fc.property(fc.array(fc.nat(99), { minLength: 4, maxLength: 4 }), fc.array(event, { maxLength: 12 }), (offsets, events) => {
        const net = new FakeSegment(names(4), PROFILE, offsets);
        for (const { at, node, state } of events) net.at(at, () => net.set(`node${node + 1}`, state));
        net.runUntil(8_000);
        for (const { output } of net.log) {
          if (output.kind !== "verdict") continue;
          const least = { powerOff: PROFILE.powerOffAfterMs, processGone: PROFILE.askAfterMs, paused: PROFILE.powerOffAfterMs }[output.class];
          expect(output.silentForMs).toBeGreaterThanOrEqual(least);
        }
        for (const { node, at, by } of suspicions(net)) expect(events.some((event) => event.at <= at && event.state !== "on" && [node, by].includes(`node${event.node + 1}`))).toBe(true);
      }),
      FAST_RUNS,
    );
  });

  test("after its last event the segment is quiet: the living agree on the dead", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(99), { minLength: 5, maxLength: 5 }), fc.nat(4), fc.constantFrom("off", "gone", "paused"), fc.integer({ min: 500, max: 700 }), (offsets, victim, state, at) => {
        const net = new FakeSegment(names(5), PROFILE, offsets);
        net.at(at, () => net.set(`node${victim + 1}`, state));
        net.runUntil(at + 1_300);
        expect(net.verdicts.map(({ about }) => about)).toEqual(Array.from({ length: 4 }, () => `node${victim + 1}`));
      }),
      FAST_RUNS,
    );
  });

  test("any inputs from peers give outputs, no throw, and deadlines that move on", () => {
    const node = fc.constantFrom("a", "b", "c", "d");
    const boot = fc.nat(3);
    const input = fc.oneof(
      fc.record({ kind: fc.constant("peers" as const), peers: fc.array(fc.record({ node, address: fc.string() })) }),
      fc.record({ kind: fc.constant("heard" as const), node, boot }),
      fc.record({ kind: fc.constant("answer" as const), node, question: fc.constantFrom("arp", "icmp", "tcp"), result: fc.constantFrom("answered", "refused") }),
      fc.record({ kind: fc.constant("report" as const), from: node, about: node, boot, class: fc.constantFrom("silent", "refused", "paused", "heard") }),
      fc.record({ kind: fc.constant("woke" as const), lagMs: fc.nat(300) }),
      fc.record({ kind: fc.constant("timeout" as const) }),
    );
    fc.assert(
      fc.property(fc.array(fc.tuple(input, fc.nat(200))), (inputs) => {
        const detection = new Detection({ node: "a", profile: PROFILE });
        let now = 0;
        for (const [input, wait] of inputs) {
          now += wait;
          detection.handle(input, now);
          detection.handle({ kind: "timeout" }, now);
          expect(detection.nextTimeout() ?? Infinity).toBeGreaterThan(now);
        }
      }),
    );
  });
});

function suspicions(net: FakeSegment): { by: string; node: string; at: number }[] {
  return net.log.flatMap(({ by, at, output }) => (output.kind === "suspected" ? [{ by, at, node: output.node }] : []));
}
