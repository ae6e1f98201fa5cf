import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Pool } from "../../config/config.ts";
import { formatIpAddress, type IpAddress, parseIpAddress, parseIpRange } from "../../wire/ip-address.ts";
import { Allocator } from "./allocator.ts";
import { type SharingTerms, sharingTerms } from "./sharing.ts";

/** A part in the game as the model keeps it: one Service on one address. */
interface Part {
  readonly service: string;
  readonly address: string;
  readonly terms: SharingTerms | undefined;
  readonly leaving: boolean;
}

type ModelPools = readonly { readonly name: string; readonly addresses: readonly string[] }[];

/** The same rules, with no data structure but one list. */
class Model {
  parts: Part[] = [];
  pools: ModelPools = [];

  poolOf(address: string): string | undefined {
    return this.pools.find(({ addresses }) => addresses.includes(address))?.name;
  }

  held(service: string): Part | undefined {
    return this.parts.find((part) => part.service === service && !part.leaving);
  }

  fits(address: string, service: string, terms: SharingTerms | undefined, isThere: boolean): boolean {
    const others = this.parts.filter((part) => part.address === address && part.service !== service && !(isThere && part.leaving));
    return others.every((other) => !other.leaving && mayShare(other.terms, terms));
  }

  allocate(service: string, terms: SharingTerms | undefined, asked: { address?: string; pool?: string }): string | undefined {
    const mine = this.held(service);
    let found: string | undefined;
    if (asked.address !== undefined) {
      const pool = this.poolOf(asked.address);
      const isMet = pool !== undefined && (asked.pool ?? pool) === pool && this.fits(asked.address, service, terms, mine?.address === asked.address);
      found = isMet ? asked.address : undefined;
    } else {
      const current = mine === undefined ? undefined : this.poolOf(mine.address);
      const pools = this.pools.filter(({ name }) => (asked.pool ?? name) === name).toSorted((a, b) => Number(b.name === current) - Number(a.name === current));
      for (const { name, addresses } of pools) {
        if (name === current && mine !== undefined && this.fits(mine.address, service, terms, true)) found ??= mine.address;
        found ??= addresses.find((address) => this.fits(address, service, terms, false) && !this.parts.some((part) => part.service === service && part.address === address));
      }
    }
    if (found !== undefined) this.hold(service, found, terms);
    return found;
  }

  hold(service: string, address: string, terms: SharingTerms | undefined): void {
    this.leave(service);
    this.parts = [...this.parts.filter((part) => part.service !== service || part.address !== address), { service, address, terms, leaving: false }];
  }

  leave(service: string): void {
    this.parts = this.parts.map((part) => (part.service === service ? { ...part, leaving: true } : part));
  }

  settle(service: string): void {
    this.parts = this.parts.filter((part) => part.service !== service || !part.leaving);
  }

  setPools(pools: ModelPools): void {
    this.pools = pools;
    this.parts = this.parts.map((part) => (this.poolOf(part.address) === undefined ? { ...part, leaving: true } : part));
  }
}

function mayShare(a: SharingTerms | undefined, b: SharingTerms | undefined): boolean {
  return a !== undefined && b !== undefined && a.key === b.key && a.backend === b.backend && !a.ports.some((port) => b.ports.includes(port));
}

const LAYOUTS: readonly Readonly<Record<string, readonly string[]>>[] = [
  { p: ["10.0.0.1-10.0.0.3"], q: ["10.0.1.1-10.0.1.2"] },
  { p: ["10.0.0.3/32", "10.0.0.1-10.0.0.2"], q: ["10.0.1.2/32"] },
  { renamed: ["10.0.0.1-10.0.0.3"], q: ["10.0.1.1-10.0.1.2"] },
  { p: ["10.0.0.2-10.0.0.3"] },
  {},
];

function poolsOf(layout: Readonly<Record<string, readonly string[]>>): { real: Map<string, Pool>; model: ModelPools } {
  const names = Object.keys(layout).sort();
  const ranges = (name: string): Pool["ranges"] => (layout[name] ?? []).map(parseIpRange);
  return {
    real: new Map(names.map((name) => [name, { name, ranges: ranges(name), autoAssign: true, avoidBuggyIps: false }])),
    model: names.map((name) => ({
      name,
      addresses: ranges(name).flatMap(({ family, first, last }) => Array.from({ length: Number(last - first) + 1 }, (_, index) => formatIpAddress({ family, value: first + BigInt(index) }))),
    })),
  };
}

const services = fc.constantFrom("a", "b", "c", "d", "e", "f", "g");
const addresses = fc.constantFrom("10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.1.1", "10.0.1.2", "192.0.2.1");
const terms = fc.oneof(
  { weight: 1, arbitrary: fc.constant(undefined) },
  { weight: 5, arbitrary: fc.record({ key: fc.constantFrom("k", "k", "k", "k", "j"), backend: fc.constantFrom("", "", "", "", "app=a"), ports: fc.constantFrom(["TCP/80"], ["TCP/80"], ["TCP/443"], ["TCP/443", "TCP/80"]) }).map(({ key, backend, ports }) => sharingTerms(key, backend, ports)) },
);
const operations = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant("allocate" as const), service: services, terms }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("allocate" as const), service: services, terms, address: addresses }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("allocate" as const), service: services, terms, pool: fc.constantFrom("p", "q", "none") }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("renew" as const), service: services, terms }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("adopt" as const), service: services, terms, address: addresses }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("guard" as const), service: services, address: addresses }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("leave" as const), service: services }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("settle" as const), service: services }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("release" as const), service: services }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("pools" as const), layout: fc.constantFrom(...LAYOUTS) }) },
);
type Operation = typeof operations extends fc.Arbitrary<infer O> ? O : never;

/** Does the same to both and compares what they answer. */
function perform(step: Operation, allocator: Allocator, model: Model): void {
  switch (step.kind) {
    case "allocate": {
      const { service, terms: sharing } = step;
      const asked = { ...("address" in step ? { address: step.address } : {}), ...("pool" in step ? { pool: step.pool } : {}) };
      const result = allocator.allocate({
        service, families: ["IPv4"], oneIsEnough: false, admits: () => true,
        addresses: asked.address === undefined ? [] : [parseIpAddress(asked.address)],
        ...(asked.pool === undefined ? {} : { pool: asked.pool }),
        ...(sharing === undefined ? {} : { sharing }),
      });
      expect(result.kind === "assigned" ? texts(result.addresses) : []).toEqual([model.allocate(service, sharing, asked)].filter((found) => found !== undefined));
      return;
    }
    case "renew": {
      const mine = model.held(step.service);
      const may = mine === undefined || model.fits(mine.address, step.service, step.terms, true);
      expect(allocator.mayStay(step.service, step.terms)).toBe(may);
      if (may) allocator.renew(step.service, step.terms);
      if (may && mine !== undefined) model.hold(step.service, mine.address, step.terms);
      return;
    }
    case "adopt":
      if (model.held(step.service) !== undefined) return;
      allocator.adopt(step.service, [parseIpAddress(step.address)], step.terms);
      if (model.poolOf(step.address) !== undefined && model.fits(step.address, step.service, step.terms, true)) model.hold(step.service, step.address, step.terms);
      return;
    case "guard":
      allocator.guard(step.service, [parseIpAddress(step.address)]);
      if (!model.parts.some(({ service, address }) => service === step.service && address === step.address)) model.parts.push({ service: step.service, address: step.address, terms: undefined, leaving: true });
      return;
    case "leave":
      allocator.leave(step.service);
      return model.leave(step.service);
    case "settle":
      allocator.settle(step.service);
      return model.settle(step.service);
    case "release":
      allocator.release(step.service);
      model.leave(step.service);
      return model.settle(step.service);
    case "pools": {
      const next = poolsOf(step.layout);
      allocator.setPools(next.real);
      return model.setPools(next.model);
    }
  }
}

function texts(list: readonly IpAddress[]): string[] {
  return list.map(formatIpAddress);
}

describe("sharing, against a model of one list", () => {
  it("the same operations give the same answers, holders, members and counts, and no two on one address that may not share it", () => {
    fc.assert(
      fc.property(fc.array(operations, { maxLength: 80, size: "max" }), (steps) => {
        const start = poolsOf(LAYOUTS[0] ?? {});
        const allocator = new Allocator();
        allocator.setPools(start.real);
        const model = new Model();
        model.setPools(start.model);
        for (const step of steps) {
          perform(step, allocator, model);
          const held = [...allocator.holdings().values()].map(({ service, addresses: held, pool }) => `${service} ${texts(held).join()} ${pool}`);
          expect(held.toSorted()).toEqual(model.parts.filter(({ leaving }) => !leaving).map(({ service, address }) => `${service} ${address} ${model.poolOf(address)}`).toSorted());
          for (const { name, addresses: all } of model.pools) {
            for (const address of all) expect(allocator.holdersOf(parseIpAddress(address))).toEqual(model.parts.filter((part) => part.address === address).map(({ service }) => service).toSorted());
            expect(allocator.count(name, "IPv4")?.inUse).toBe(BigInt(all.filter((address) => model.parts.some((part) => part.address === address)).length));
          }
          const holders = model.parts.filter(({ leaving }) => !leaving);
          for (const one of holders) for (const other of holders) expect(one === other || one.address !== other.address || mayShare(one.terms, other.terms)).toBe(true);
        }
      }),
      { numRuns: Number(globalThis.process.env["SHARING_RUNS"] ?? 100) },
    );
  }, 300_000);
});

describe("many Services with one key", () => {
  it("each finds its address without trying all of them", () => {
    const allocator = new Allocator();
    allocator.setPools(new Map([["p", { name: "p", ranges: [parseIpRange("10.0.0.0/16")], autoAssign: true, avoidBuggyIps: false }]]));
    let reads = 0;
    const ports = new Proxy(["TCP/80"], { get: (target, property, receiver) => ((reads += property === Symbol.iterator ? 1 : 0), Reflect.get(target, property, receiver)) });
    const sharing: SharingTerms = { ...sharingTerms("k", "", []), ports };
    const count = 2000;
    for (let index = 0; index < count; index++) {
      const result = allocator.allocate({ service: `s${index}`, families: ["IPv4"], oneIsEnough: false, admits: () => true, addresses: [], sharing });
      expect(result.kind === "assigned" && result.addresses[0]?.value === 0x0a000000n + BigInt(index)).toBe(true);
    }
    // Each has the same port, so that none joins another: some reads of its ports each, not one for each address before it.
    expect(reads).toBeLessThan(8 * count);
  });
});
