import assert from "node:assert/strict";
import fc from "fast-check";
import { describe, it } from "vitest";
import { parseIpRange } from "../../wire/ip-address.ts";
import { HeldAddresses } from "./held-addresses.ts";
import { hashOf, HoldingTable } from "./holding-table.ts";
import { addressAt, type AddressPlace, PoolTable, type Spot } from "./pool-table.ts";
import { sharingTerms } from "./sharing.ts";

const CIDRS = ["10.0.0.0/8", "192.0.2.0/24", "fd00::/64", "fd01::/80", "fd02::/48"];
const { places } = new PoolTable(new Map([["p", { name: "p", ranges: CIDRS.map(parseIpRange), autoAssign: true, avoidBuggyIps: false }]]));
const TERMS = sharingTerms("k", "", ["TCP/80"]);

/** Anywhere in a range: at its ends, around the edges of words and of exact numbers, or in between. */
function offsetsIn({ range }: AddressPlace): fc.Arbitrary<bigint> {
  const size = range.last - range.first + 1n;
  const edges = [0n, 2n ** 31n, 2n ** 32n, 2n ** 53n, 2n ** 63n, 2n ** 64n, size].map((edge) => fc.bigInt({ min: edge - 2n, max: edge + 2n }));
  return fc.oneof(...edges, fc.bigInt({ min: 0n, max: size - 1n })).filter((offset) => offset >= 0n && offset < size);
}

const spots: fc.Arbitrary<Spot> = fc.constantFrom(...places).chain((place) => {
  return offsetsIn(place).map((offset) => ({ place, offset: place.range.offsetOf({ family: place.range.family, value: place.range.first + offset }) }));
});

/** Some that are alike, and one that is as long as a name can be. */
const services = fc.oneof(fc.nat({ max: 60 }).map((index) => `default/service-${index}`), fc.constantFrom("", "a/b", "b/a", "\u{1f600}/x", `${"n".repeat(63)}/${"s".repeat(253)}`));
const steps = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("set" as const), service: services, spot: spots, second: fc.option(spots, { nil: undefined, freq: 8 }), sharing: fc.option(fc.constant(TERMS), { nil: undefined, freq: 8 }) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("take" as const), service: services }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("get" as const), service: services }) },
  { weight: 1, arbitrary: fc.constant({ kind: "takeAll" as const, service: "" }) },
);

/** What was put in, in words. */
function describeHeld(held: HeldAddresses | undefined): string | undefined {
  if (held === undefined) return undefined;
  return [held.service, ...held.spots.map((spot) => `${spot.place.number} ${typeof spot.offset} ${spot.offset} ${addressAt(spot).value}`), held.sharing?.identity].join();
}

/** The same text from another string object, as callers have it, who make keys of a namespace and a name. */
function copyOf(service: string): string {
  return [...service].join("");
}

describe("a table of what is held, against a Map", () => {
  it("the same answers for every name after every step, and all values", () => {
    fc.assert(
      fc.property(fc.array(steps, { maxLength: 200, size: "max" }), (operations) => {
        const table = new HoldingTable(places);
        const model = new Map<string, string | undefined>();
        for (const step of operations) {
          if (step.kind === "set") {
            const held = new HeldAddresses(step.service, step.spot, step.second, step.sharing);
            table.set(held);
            model.set(step.service, describeHeld(held));
          } else {
            const taken = step.kind === "get" ? [] : step.kind === "take" ? [step.service] : [...model.keys()];
            for (const service of taken) {
              assert.equal(describeHeld(table.take(copyOf(service))), model.get(service));
              model.delete(service);
              assert.equal(table.has(service), false);
            }
          }
          assert.equal(describeHeld(table.get(copyOf(step.service))), model.get(step.service));
          assert.equal(table.has(step.service), model.has(step.service));
          assert.equal(table.size, model.size);
        }
        for (const [service, text] of model) assert.equal(describeHeld(table.get(service)), text);
        assert.deepEqual([...table.values()].map(describeHeld).toSorted(), [...model.values()].toSorted());
      }),
      { numRuns: 150 },
    );
  }, 60_000);

  it("is as large as its entries need, also after most of them are gone", () => {
    const [place] = places;
    assert.ok(place !== undefined);
    const table = new HoldingTable(places);
    for (let index = 0; index < 10_000; index++) table.set(new HeldAddresses(`default/service-${index}`, { place, offset: index }, undefined, undefined));
    assert.equal(table.capacity, 2 ** 14);
    for (let index = 0; index < 9990; index++) assert.equal(table.take(`default/service-${index}`)?.offset, index);
    for (let index = 9990; index < 10_000; index++) assert.equal(table.get(`default/service-${index}`)?.offset, index);
    assert.ok(table.capacity <= 128, `capacity ${table.capacity} for ${table.size} entries`);
  });

  it("keeps names apart that have the same hash, whichever goes first", () => {
    const twins = ["n561/service-766057", "n374/service-456129"];
    assert.equal(new Set(twins.map(hashOf)).size, 1, "other names are needed for another hash");
    const [place] = places;
    assert.ok(place !== undefined);
    for (const order of [twins, twins.toReversed()]) {
      const table = new HoldingTable(places);
      for (const [offset, service] of twins.entries()) table.set(new HeldAddresses(service, { place, offset }, undefined, undefined));
      for (const service of order) {
        assert.equal(table.get(service)?.offset, twins.indexOf(service));
        assert.equal(table.take(service)?.service, service);
      }
      assert.equal(table.size, 0);
    }
  });
});
