import assert from "node:assert/strict";

import { describe, expect, test } from "vitest";

import type { ClaimsOutput } from "./claims-protocol.ts";
import type { Random } from "../machine.ts";
import { ETH0, FakeMembers, rowsOf } from "./fake-members.ts";
import type { Carry } from "./fake-members.ts";

const SEEDS = 25;
/** Between two looks at everything. */
const STEP_MS = 100;
/** Two that hear each other, with a tenth of all datagrams lost: so long at most. */
const DOUBLE_MS = 500;
/** Faults of one run, and the time between them. */
const FAULTS = 12;
const FAULT_EVERY_MS = 700;
/** After the last fault, everything must be well again within this time. */
const LIVENESS_MS = 2000;

/** mulberry32: a seed gives the same run every time. */
function seeded(seed: number): Random {
  let state = seed >>> 0;
  return {
    next(): number {
      state = (state + 0x6d2b79f5) >>> 0;
      let mixed = Math.imul(state ^ (state >>> 15), state | 1);
      mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
      return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
    },
  };
}

/** Loss, duplicates and reordering for datagrams; a stream only takes its time. */
function lossy(random: Random, loss: number): Carry {
  return (_from, _to, reliable) => {
    const delay = (): number => 0.2 + random.next() * 5;
    if (reliable) return [5 + random.next() * 10];
    if (random.next() < loss) return [];
    return random.next() < 0.05 ? [delay(), delay() * 3] : [delay()];
  };
}

class Chaos {
  readonly members: FakeMembers;
  readonly #random: Random;
  readonly #names: readonly string[];
  readonly #highest = new Map<string, number>();
  /** Since when two nodes announce an address, by address. */
  readonly #doubleSince = new Map<string, number>();
  /** The longest that two nodes, neither cut off from the other nor handing over, announced the same address. */
  longestDoubleMs = 0;
  #isCut = false;
  readonly #announcers = new Map<string, Set<string>>();

  constructor(seed: number, count: number, groups: number, failback: "sticky" | "rank") {
    this.#random = seeded(seed);
    this.#names = Array.from({ length: count }, (_, index) => `n${index}`);
    this.members = new FakeMembers({ nodes: this.#names, failback, carry: lossy(this.#random, 0.1) });
    this.members.onOutput = (node, output) => this.#heard(node, output);
    this.members.start(rowsOf(groups, this.#names));
  }

  /** Lets time pass, and checks what must hold at any moment. */
  run(ms: number): void {
    for (let passed = 0; passed < ms; passed += STEP_MS) {
      this.members.run(STEP_MS);
      for (const { name, isUp, claims } of this.members.nodes) {
        if (!isUp) continue;
        for (const { address, term, owner, mine } of claims.snapshot()) {
          if (!mine || owner !== name) continue;
          const key = `${address} ${name}`;
          assert.ok(term >= (this.#highest.get(key) ?? 0), `term of ${address} on ${name} went back`);
          this.#highest.set(key, term);
        }
      }
    }
  }

  fault(): void {
    const { members } = this;
    const up = members.nodes.filter(({ isUp }) => isUp).map(({ name }) => name);
    const down = members.nodes.filter(({ isUp }) => !isUp).map(({ name }) => name);
    const one = this.#pick(up);
    const kind = this.#pick(["kill", "restart", "revive", "split", "flap", "release", "stale", "falseDeath", "remove"]);
    if (kind === "kill" && up.length > 2) {
      members.kill(one, 100 + this.#random.next() * 200);
      this.#gone(one);
    }
    if (kind === "restart") this.#restart(one);
    if (kind === "revive" && down.length > 0) this.#restart(this.#pick(down));
    if (kind === "split") this.#split();
    if (kind === "flap") this.#flap(one);
    if (kind === "release" && up.length > 2) {
      members.give(one, { kind: "release" });
      this.run(1500);
      expect(members.said(one, "released").length, `${one} ends`).toBeGreaterThan(0);
      this.#restart(one);
    }
    if (kind === "stale") {
      members.give(one, { kind: "fresh", fresh: false });
      this.run(500);
      members.give(one, { kind: "fresh", fresh: true });
    }
    if (kind === "falseDeath") {
      const other = this.#pick(up);
      if (other === one) return;
      this.#setCut(true);
      members.setState(one, other, "dead");
      this.run(400);
      this.#setCut(false);
      members.setState(one, other, "alive");
    }
    if (kind === "remove") this.#removeRow();
  }

  #restart(node: string): void {
    this.#gone(node);
    this.members.restart(node);
  }

  /** Ends all faults. */
  heal(): void {
    const { members } = this;
    members.carry = (_from, _to, reliable) => [reliable ? 3 : 0.5];
    for (const { name, isUp } of members.nodes) if (!isUp) this.#restart(name);
  }

  /** The owner of each address, in the view of all. */
  check(): void {
    for (const { address } of this.members.rows) {
      const owners = this.members.owners(address);
      assert.equal(owners.length, 1, `${address} has owners [${owners.join(" ")}]`);
      for (const { name } of this.members.nodes) assert.equal(this.members.view(name, address)?.owner, owners[0], `${name}'s view of ${address}`);
    }
  }

  /** An output of a node: who announces what. One that hands over is not counted: both may answer then. */
  #heard(node: string, output: ClaimsOutput): void {
    if (output.kind !== "owned" && output.kind !== "lost" && output.kind !== "handingOver") return;
    const { address } = output;
    const announcers = this.#announcers.get(address) ?? new Set();
    this.#announcers.set(address, announcers);
    if (output.kind === "owned") announcers.add(node);
    else announcers.delete(node);
    this.#judge(address);
  }

  /** Starts and ends the time for which two announce the address. */
  #judge(address: string): void {
    const { now } = this.members;
    const since = this.#doubleSince.get(address);
    const up = [...(this.#announcers.get(address) ?? [])].filter((node) => this.members.node(node).isUp);
    if (up.length >= 2 && !this.#isCut) {
      if (since === undefined) this.#doubleSince.set(address, now);
      return;
    }
    this.#doubleSince.delete(address);
    if (since !== undefined) this.longestDoubleMs = Math.max(this.longestDoubleMs, now - since);
  }

  #setCut(isCut: boolean): void {
    this.#isCut = isCut;
    for (const { address } of this.members.rows) this.#judge(address);
  }

  /** A node's process is gone: it announces nothing. */
  #gone(node: string): void {
    for (const [address, announcers] of this.#announcers) if (announcers.delete(node)) this.#judge(address);
  }

  #split(): void {
    const { members } = this;
    const at = 1 + Math.floor(this.#random.next() * (this.#names.length - 1));
    const [these, those] = [this.#names.slice(0, at), this.#names.slice(at)];
    this.#setCut(true);
    members.split(these, those, 200);
    this.run(300 + this.#random.next() * 2000);
    this.#setCut(false);
    members.heal(these, those);
    for (const { name, isUp } of members.nodes) if (!isUp) for (const other of this.#names) if (other !== name) members.setState(other, name, "dead");
  }

  #flap(name: string): void {
    this.members.give(name, { kind: "interfaces", interfaces: [{ ...ETH0, usable: false, reason: "noCarrier" }] });
    this.run(50 + this.#random.next() * 500);
    this.members.give(name, { kind: "interfaces", interfaces: [ETH0] });
  }

  #removeRow(): void {
    const row = this.#pick(this.members.rows);
    this.members.giveAll({ kind: "removeRow", address: row.address });
    this.run(300);
    this.members.giveAll({ kind: "row", row });
  }

  #pick<T>(list: readonly T[]): T {
    const picked = list[Math.floor(this.#random.next() * list.length)];
    assert.ok(picked !== undefined);
    return picked;
  }
}

describe("claims under faults", () => {
  test.each([
    ["sticky", 3, 10],
    ["sticky", 7, 20],
    ["rank", 4, 10],
  ] as const)("%s, %i nodes, %i groups: when the faults stop, every address has one owner and all agree", (failback, count, groups) => {
    let longest = 0;
    for (let seed = 1; seed <= SEEDS; seed++) {
      const chaos = new Chaos(seed, count, groups, failback);
      try {
        chaos.run(4000);
        chaos.check();
        for (let fault = 0; fault < FAULTS; fault++) {
          chaos.fault();
          chaos.run(FAULT_EVERY_MS);
        }
        chaos.heal();
        chaos.run(LIVENESS_MS);
        chaos.check();
        longest = Math.max(longest, chaos.longestDoubleMs);
      } catch (error) {
        throw new Error(`seed ${seed}`, { cause: error });
      }
    }
    expect(longest).toBeLessThanOrEqual(DOUBLE_MS);
    expect(longest, "no two nodes ever announced one address: the faults are too mild").toBeGreaterThan(0);
  }, 60_000);
});
