import assert from "node:assert/strict";

import fc from "fast-check";
import { describe, expect, test } from "vitest";

import { entryHash, factsHash, MAX_DELTA_BYTES, MAX_DELTA_ENTRIES, OwnList, xor48 } from "./claim-list.ts";
import type { ClaimEntry, ClaimsUpdate, NodeFacts } from "./claims-protocol.ts";

const FACTS: NodeFacts = { ready: false, fresh: false, settled: false, template: "7" };
const list = (): OwnList => new OwnList({ owner: "a", boot: 5, facts: FACTS });
const claim = (address: string, term = 10): ClaimEntry => ({ address, state: "claim", term, witnessed: true, successor: "" });

/** What a peer has after these updates, by the rules of the protocol: base must match. */
function replay(updates: readonly ClaimsUpdate[]): { entries: Map<string, ClaimEntry>; version: number; hash: number; facts: NodeFacts } {
  let entries = new Map<string, ClaimEntry>();
  let version = 0;
  let hash = 0;
  let facts = FACTS;
  for (const update of updates) {
    if (update.base === undefined) entries = new Map();
    else expect(update.base).toBe(version);
    for (const entry of update.entries) entries.set(entry.address, entry);
    for (const address of update.removed) entries.delete(address);
    ({ version, hash, facts } = update);
  }
  return { entries, version, hash, facts };
}

describe("xor48", () => {
  test("is what BigInt says", () => {
    const number48 = fc.integer({ min: 0, max: 2 ** 48 - 1 });
    fc.assert(
      fc.property(number48, number48, (a, b) => {
        expect(xor48(a, b)).toBe(Number(BigInt(a) ^ BigInt(b)));
      }),
    );
  });
});

describe("OwnList", () => {
  test("says nothing until something changed, and its first word is the whole list", () => {
    const own = list();
    const [first, ...others] = own.takeDeltas();
    assert.ok(first);
    expect(others).toEqual([]);
    expect(first).toMatchObject({ owner: "a", boot: 5, base: undefined, version: 1, entries: [], facts: FACTS, hash: factsHash(FACTS) });
    expect(own.takeDeltas()).toEqual([]);
  });

  test("each step is a version on top of the one before, and an equal entry is no step", () => {
    const own = list();
    own.takeDeltas();
    own.set(claim("192.0.2.1"));
    expect(own.takeDeltas()).toMatchObject([{ base: 1, version: 2, entries: [claim("192.0.2.1")] }]);
    own.set(claim("192.0.2.1"));
    expect(own.takeDeltas()).toEqual([]);
    own.remove("192.0.2.1");
    expect(own.takeDeltas()).toMatchObject([{ base: 2, version: 3, entries: [], removed: ["192.0.2.1"], hash: factsHash(FACTS) }]);
  });

  test("a change of the facts alone is a step", () => {
    const own = list();
    own.takeDeltas();
    own.setFacts({ ready: true });
    expect(own.takeDeltas()).toMatchObject([{ base: 1, version: 2, entries: [], facts: { ready: true }, hash: factsHash({ ...FACTS, ready: true }) }]);
    own.setFacts({ ready: true });
    expect(own.takeDeltas()).toEqual([]);
  });

  test("steps are cut so that each fits a datagram", () => {
    const own = list();
    own.takeDeltas();
    for (let index = 0; index < 1000; index++) own.set(claim(`10.0.${index >> 8}.${index & 255}`));
    const steps = own.takeDeltas();
    expect(Math.max(...steps.map((step) => step.entries.length))).toBe(MAX_DELTA_ENTRIES);
    expect(steps.flatMap((step) => step.entries)).toHaveLength(1000);
    for (let index = 0; index < 1000; index++) own.set({ ...claim(`2001:db8::${index + 1}`), state: "releasing", successor: "worker-2.example.net" });
    for (const step of own.takeDeltas()) expect(60 + step.entries.length * (2 + 16 + 6 + 2 + 21)).toBeLessThanOrEqual(MAX_DELTA_BYTES);
  });

  test("a repeated entry is a step from the current version to itself", () => {
    const own = list();
    own.set(claim("192.0.2.1"));
    own.takeDeltas();
    expect(own.repeat(["192.0.2.1", "192.0.2.9"])).toMatchObject({ base: 1, version: 1, entries: [claim("192.0.2.1")], hash: own.digest().hash });
  });

  test("whoever applies all steps has the list, its version and its hash", () => {
    const change = fc.record({
      address: fc.integer({ min: 1, max: 9 }).map((last) => `192.0.2.${last}`),
      term: fc.integer({ min: 1, max: 5 }),
      kind: fc.constantFrom("set", "remove", "facts", "take"),
    });
    fc.assert(
      fc.property(fc.array(change, { maxLength: 60 }), (changes) => {
        const own = list();
        const updates: ClaimsUpdate[] = [];
        for (const { address, term, kind } of changes) {
          if (kind === "set") own.set(claim(address, term));
          if (kind === "remove") own.remove(address);
          if (kind === "facts") own.setFacts({ fresh: term > 2 });
          if (kind === "take") updates.push(...own.takeDeltas());
        }
        updates.push(...own.takeDeltas());
        const copy = replay(updates);
        const whole = own.whole();
        expect([...copy.entries.values()].sort((a, b) => (a.address < b.address ? -1 : 1))).toEqual([...whole.entries].sort((a, b) => (a.address < b.address ? -1 : 1)));
        expect({ version: copy.version, hash: copy.hash, facts: copy.facts }).toEqual({ version: whole.version, hash: whole.hash, facts: own.facts });
        expect(whole.hash).toBe(whole.entries.reduce((sum, entry) => xor48(sum, entryHash(entry)), factsHash(own.facts)));
      }),
    );
  });
});
