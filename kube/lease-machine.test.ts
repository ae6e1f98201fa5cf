import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { seededRandom, type Random } from "../sys/random.ts";
import { LAST_WRITE_TIMEOUT_MS, leadNeededMs, WRITE_TIMEOUT_MS } from "./client-fence.ts";
import { LEASE_TIMINGS as timings, LeaseMachine, type LeaseInput, type LeaseOutput, type LeaseTimings, type ObservedLease } from "./lease-machine.ts";

interface Weather {
  /** Probability that a request or its answer is lost. */
  readonly loss: number;
  readonly maxLatencyMs: number;
  /** Clock rates differ from true time by at most this fraction. */
  readonly drift: number;
}

interface Candidate {
  readonly machine: LeaseMachine;
  readonly rate: number;
  readonly offset: number;
  alive: boolean;
}

interface Happening {
  readonly at: number;
  readonly order: number;
  readonly run: () => void;
}

/** A cluster of candidates around one Lease, in true time; every candidate has its own clock. */
class Simulation {
  now = 0;
  lease: ObservedLease | undefined;
  /** When the last write that each leader may have sent takes effect at the latest. */
  readonly #writesEnd = new Map<Candidate, number>();
  /** Most leaders at any one moment. */
  worst = 0;
  /** True time without any leader, summed. */
  leaderless = 0;
  /** Writes of a leader that could still take effect when the next one began. */
  trespasses = 0;
  weather: Weather;
  readonly candidates: Candidate[] = [];
  readonly #random: Random;
  #happenings: Happening[] = [];
  #order = 0;

  constructor(options: { seed: number; count: number; weather: Weather; timings?: LeaseTimings }) {
    this.#random = seededRandom(options.seed);
    this.weather = options.weather;
    for (let index = 0; index < options.count; index += 1) {
      const candidate: Candidate = {
        machine: new LeaseMachine({ identity: `c${index}`, timings: options.timings ?? timings, random: this.#random }),
        rate: 1 + (this.#random.next() * 2 - 1) * options.weather.drift,
        offset: this.#random.next() * 1e6,
        alive: true,
      };
      this.candidates.push(candidate);
      this.#at(this.#random.next() * 3_000, () => this.input(candidate, { kind: "start" }));
    }
  }

  input(candidate: Candidate, input: LeaseInput): void {
    if (!candidate.alive) return;
    for (const output of candidate.machine.handle(input, this.#local(candidate))) this.#perform(candidate, output);
    this.worst = Math.max(this.worst, this.leaders.length);
  }

  /** Every leader writes ten times a second as long as it may; each write takes effect `ms` of true time later. */
  letWrite({ lastWriteMs, ms }: { lastWriteMs: number; ms: number }): void {
    for (const candidate of this.candidates) if (candidate.alive && candidate.machine.leadsFor(lastWriteMs, this.#local(candidate))) this.#writesEnd.set(candidate, this.now + ms);
    this.#at(100, () => this.letWrite({ lastWriteMs, ms }));
  }

  get leaders(): Candidate[] {
    return this.candidates.filter(({ alive, machine }) => alive && machine.isLeader);
  }

  runFor(ms: number): void {
    const end = this.now + ms;
    for (;;) {
      const happening = this.#happenings.toSorted((a, b) => a.at - b.at || a.order - b.order)[0];
      const timeouts = this.candidates
        .filter(({ alive }) => alive)
        .map((candidate) => ({ candidate, at: this.#trueTime(candidate, candidate.machine.nextTimeout()) }))
        .toSorted((a, b) => a.at - b.at)[0];
      const at = Math.min(happening?.at ?? Infinity, timeouts?.at ?? Infinity);
      if (at > end) break;
      this.#moveTo(at);
      if (happening !== undefined && happening.at <= at) {
        this.#happenings = this.#happenings.filter((other) => other !== happening);
        happening.run();
      } else if (timeouts !== undefined) this.input(timeouts.candidate, { kind: "timeout" });
    }
    this.#moveTo(end);
  }

  #moveTo(at: number): void {
    const to = Math.max(at, this.now);
    if (this.leaders.length === 0) this.leaderless += to - this.now;
    this.now = to;
  }

  #local({ rate, offset }: Candidate): number {
    // A hair is added so that a timeout computed backwards is never early by rounding.
    return offset + this.now * rate + 1e-6;
  }

  #trueTime({ rate, offset }: Candidate, local: number | undefined): number {
    return local === undefined ? Infinity : (local - offset) / rate;
  }

  #at(delay: number, run: () => void): void {
    this.#order += 1;
    this.#happenings.push({ at: this.now + delay, order: this.#order, run });
  }

  #perform(candidate: Candidate, output: LeaseOutput): void {
    if (output.kind === "startedLeading") for (const [other, until] of this.#writesEnd) if (other !== candidate && until > this.now) this.trespasses += 1;
    if (output.kind !== "read" && output.kind !== "write") return;
    const { loss, maxLatencyMs } = this.weather;
    const { request } = output;
    if (this.#random.next() < loss) return;
    this.#at(this.#random.next() * maxLatencyMs, () => {
      const answer: LeaseInput = output.kind === "write" ? this.#serve(output) : { kind: "answered", request, lease: this.lease };
      if (this.#random.next() >= loss) this.#at(this.#random.next() * maxLatencyMs, () => this.input(candidate, answer));
    });
  }

  #serve(output: LeaseOutput & { kind: "write" }): LeaseInput {
    const { request, write, resourceVersion } = output;
    if (resourceVersion !== this.lease?.resourceVersion) return { kind: "failed", request, conflict: true };
    const version = String(Number(resourceVersion ?? 0) + 1);
    this.lease = { holder: write.holder, durationMs: write.durationMs, transitions: write.transitions, resourceVersion: version, fingerprint: version };
    return { kind: "answered", request, lease: this.lease };
  }
}

describe("LeaseMachine", () => {
  test("never two leaders, whatever is lost, late or drifts by 10 %", () => {
    fc.assert(
      fc.property(fc.integer(), fc.integer({ min: 2, max: 4 }), fc.double({ min: 0, max: 0.9, noNaN: true }), fc.integer({ min: 1, max: 20_000 }), (seed, count, loss, maxLatencyMs) => {
        const simulation = new Simulation({ seed, count, weather: { loss, maxLatencyMs, drift: 0.1 } });
        simulation.runFor(120_000);
        expect(simulation.worst).toBeLessThanOrEqual(1);
        // Liveness: once the weather is good, somebody leads within one duration and a look.
        simulation.weather = { loss: 0, maxLatencyMs: 10, drift: 0.1 };
        simulation.runFor(50_000);
        expect(simulation.leaders).toHaveLength(1);
        expect(simulation.worst).toBe(1);
      }),
      { numRuns: 150 },
    );
  });

  test("the checker can fail: a leader that clings to a Lease for longer than it lasts", () => {
    const worst = Array.from({ length: 40 }, (_, seed) => {
      const clinging = { ...timings, renewDeadlineMs: 60_000 };
      const simulation = new Simulation({ seed, count: 3, timings: clinging, weather: { loss: 0.3, maxLatencyMs: 1_000, drift: 0.1 } });
      simulation.runFor(300_000);
      return simulation.worst;
    });
    expect(Math.max(...worst)).toBeGreaterThan(1);
  });

  for (const { title, timeoutMs, slowMs } of [
    { title: "no write of a leader that died or lost its Lease takes effect when the next one leads", timeoutMs: WRITE_TIMEOUT_MS, slowMs: 500 },
    { title: "nor does one of its last writes", timeoutMs: LAST_WRITE_TIMEOUT_MS, slowMs: 500 },
    { title: "the checker can fail: writes without a timeout", timeoutMs: LAST_WRITE_TIMEOUT_MS, slowMs: 15_000 },
  ]) {
    test(title, () => {
      let changes = 0;
      const trespasses = Array.from({ length: 60 }, (_, seed) => {
        const simulation = new Simulation({ seed, count: 3, weather: { loss: 0, maxLatencyMs: 100, drift: 0.1 } });
        simulation.letWrite({ lastWriteMs: leadNeededMs(timeoutMs), ms: timeoutMs + slowMs });
        simulation.runFor(20_000);
        const [leader] = simulation.leaders;
        if (leader === undefined) throw new Error("nobody leads");
        // Half of them die, half go on without a renewal.
        if (seed % 2 === 0) leader.alive = false;
        else simulation.weather = { loss: 1, maxLatencyMs: 100, drift: 0.1 };
        simulation.runFor(14_000);
        simulation.weather = { loss: 0, maxLatencyMs: 100, drift: 0.1 };
        simulation.runFor(10_000);
        if (!simulation.leaders.includes(leader)) changes += 1;
        return simulation.trespasses;
      });
      expect(changes).toBeGreaterThan(30);
      if (slowMs < timeoutMs) expect(trespasses.filter((count) => count > 0)).toEqual([]);
      else expect(Math.max(...trespasses)).toBeGreaterThan(0);
    });
  }

  test("in good weather leadership stays where it is", () => {
    const simulation = new Simulation({ seed: 1, count: 3, weather: { loss: 0, maxLatencyMs: 20, drift: 0.01 } });
    simulation.runFor(10_000);
    const first = simulation.leaders[0];
    simulation.runFor(3_600_000);
    expect(simulation.leaders).toEqual([first]);
    expect(simulation.lease?.transitions).toBe(0);
  });

  test("a killed leader is followed within 20 s, a cleanly stopped one within 2 s", () => {
    for (let seed = 0; seed < 50; seed += 1) {
      const simulation = new Simulation({ seed, count: 3, weather: { loss: 0, maxLatencyMs: 50, drift: 0.01 } });
      simulation.runFor(20_000);
      const first = simulation.leaders[0];
      if (first === undefined) throw new Error("nobody leads");
      first.alive = false;
      simulation.leaderless = 0;
      simulation.runFor(30_000);
      expect(simulation.leaders).toHaveLength(1);
      expect(simulation.leaderless).toBeLessThan(20_000);
      const second = simulation.leaders[0];
      if (second === undefined) throw new Error("nobody leads");
      simulation.leaderless = 0;
      simulation.input(second, { kind: "stop" });
      expect(second.machine.isLeader).toBe(false);
      simulation.runFor(5_000);
      expect(simulation.leaders).toHaveLength(1);
      expect(simulation.leaderless).toBeLessThan(2_000);
      expect(simulation.worst).toBe(1);
    }
  });

  test("a leader that can't renew steps down 10 s after it sent its last renewal", () => {
    const machine = new LeaseMachine({ identity: "me", timings, random: seededRandom(1) });
    const lease: ObservedLease = { holder: "me", durationMs: 15_000, transitions: 0, resourceVersion: "1", fingerprint: "1" };
    expect(machine.handle({ kind: "start" }, 0)).toEqual([{ kind: "read", request: 1 }]);
    expect(machine.handle({ kind: "answered", request: 1, lease: undefined }, 0)).toMatchObject([{ kind: "write", request: 2, resourceVersion: undefined }]);
    expect(machine.handle({ kind: "answered", request: 2, lease }, 900)).toEqual([{ kind: "newLeader", identity: "me" }, { kind: "startedLeading" }]);
    // Sent at 0 though answered at 900: the deadline is 10,000.
    for (let now = machine.nextTimeout(); now !== undefined && now < 10_000; now = machine.nextTimeout()) {
      for (const output of machine.handle({ kind: "timeout" }, now)) expect(output.kind).not.toBe("stoppedLeading");
    }
    expect(machine.nextTimeout()).toBe(10_000);
    expect(machine.handle({ kind: "timeout" }, 10_000)).toContainEqual({ kind: "stoppedLeading", reason: "lost" });
  });

  test("whether a leader leads for so long goes by the time, though no timer has fired since", () => {
    const machine = new LeaseMachine({ identity: "me", timings, random: seededRandom(1) });
    const lease: ObservedLease = { holder: "me", durationMs: 15_000, transitions: 0, resourceVersion: "1", fingerprint: "1" };
    machine.handle({ kind: "start" }, 0);
    machine.handle({ kind: "answered", request: 1, lease: undefined }, 0);
    expect(machine.leadsFor(0, 0)).toBe(false);
    machine.handle({ kind: "answered", request: 2, lease }, 900);
    expect([machine.leadsFor(1_000, 8_999), machine.leadsFor(1_000, 9_000), machine.leadsFor(0, 9_999), machine.leadsFor(0, 10_000)]).toEqual([true, false, true, false]);
    machine.handle({ kind: "stop" }, 1_000);
    expect(machine.leadsFor(0, 1_000)).toBe(false);
  });

  test("an answer to a forgotten request changes nothing", () => {
    const machine = new LeaseMachine({ identity: "me", timings, random: seededRandom(1) });
    machine.handle({ kind: "start" }, 0);
    expect(machine.handle({ kind: "answered", request: 99, lease: undefined }, 1)).toEqual([]);
  });
});
