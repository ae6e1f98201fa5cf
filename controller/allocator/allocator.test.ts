import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Pool } from "../../config/config.ts";
import { formatIpAddress, type IpFamily, parseIpAddress, parseIpRange } from "../../wire/ip-address.ts";
import type { AllocationRequest } from "./allocation.ts";
import { Allocator } from "./allocator.ts";
import { MAX_COUNT } from "./pool-table.ts";

function pool(name: string, addresses: string[], rest: Partial<Pool> = {}): Pool {
  return { name, ranges: addresses.map(parseIpRange), autoAssign: true, avoidBuggyIps: false, ...rest };
}

function withPools(...pools: Pool[]): Allocator {
  const allocator = new Allocator();
  allocator.setPools(poolMap(pools));
  return allocator;
}

function poolMap(pools: Pool[]): Map<string, Pool> {
  return new Map(pools.sort((a, b) => (a.name < b.name ? -1 : 1)).map((each) => [each.name, each]));
}

function request(service: string, rest: Partial<Omit<AllocationRequest, "addresses">> & { addresses?: string[] } = {}): AllocationRequest {
  const { addresses = [], ...others } = rest;
  return { service, families: ["IPv4"], oneIsEnough: false, admits: () => true, ...others, addresses: addresses.map(parseIpAddress) };
}

function outcome(allocator: Allocator, asked: AllocationRequest): string {
  const result = allocator.allocate(asked);
  allocator.settle(asked.service);
  return result.kind === "assigned" ? result.addresses.map(formatIpAddress).join(",") : result.reason;
}

describe("automatic assignment", () => {
  it("gives the lowest free address, ranges in the order of the spec", () => {
    const allocator = withPools(pool("p", ["10.0.1.1-10.0.1.2", "10.0.0.7/32"]));
    expect(["a", "b", "c", "d"].map((name) => outcome(allocator, request(name)))).toEqual(["10.0.1.1", "10.0.1.2", "10.0.0.7", "NoFreeAddress"]);
    allocator.release("a");
    expect(outcome(allocator, request("d"))).toBe("10.0.1.1");
  });

  it("skips .0 and .255 where the pool says so, and counts without them", () => {
    const allocator = withPools(pool("p", ["10.0.0.255-10.0.2.0", "10.9.0.0/32", "10.9.0.255/32"], { avoidBuggyIps: true }));
    expect(outcome(allocator, request("a"))).toBe("10.0.1.1");
    expect(allocator.count("p", "IPv4")).toEqual({ total: 254n, inUse: 1n, available: 253n });
    expect(outcome(allocator, request("b", { addresses: ["10.0.2.0"] }))).toBe("AddressNotInPool");
  });

  it("handles a /8 and a /64 without walking them", () => {
    const allocator = withPools(pool("p", ["10.0.0.0/8", "fd00::/64"]));
    for (let index = 0; index < 3000; index++) allocator.allocate(request(`s${index}`, { families: ["IPv6"] }));
    expect(outcome(allocator, request("last", { addresses: ["10.255.255.255"] }))).toBe("10.255.255.255");
    expect(outcome(allocator, request("far", { families: ["IPv6"], addresses: ["fd00::ffff:ffff:ffff:ffff"] }))).toBe("fd00::ffff:ffff:ffff:ffff");
    expect(allocator.count("p", "IPv6")).toEqual({ total: MAX_COUNT, inUse: 3001n, available: MAX_COUNT - 3001n });
    expect(allocator.count("p", "IPv4")?.available).toBe(2n ** 24n - 1n);
  });

  it("tries pools by name, leaves autoAssign=false alone, and prefers pools made for the Service by priority", () => {
    const pinned = { namespaces: [], namespaceSelectors: [], serviceSelectors: [] };
    const allocator = withPools(
      pool("a-manual", ["10.1.0.1/32"], { autoAssign: false }),
      pool("b-plain", ["10.2.0.1/32"]),
      pool("c-unordered", ["10.3.0.1/32"], { serviceAllocation: { ...pinned, priority: 0 } }),
      pool("d-second", ["10.4.0.1/32"], { serviceAllocation: { ...pinned, priority: 20 } }),
      pool("e-first", ["10.5.0.1/32"], { serviceAllocation: { ...pinned, priority: 10 } }),
      pool("f-foreign", ["10.6.0.1/32"], { serviceAllocation: { ...pinned, priority: 1, namespaces: ["other"] } }),
    );
    const admits = (each: Pool): boolean => each.name !== "f-foreign";
    const order = ["1", "2", "3", "4", "5"].map((name) => outcome(allocator, request(name, { admits })));
    expect(order).toEqual(["10.5.0.1", "10.4.0.1", "10.3.0.1", "10.2.0.1", "NoFreeAddress"]);
    expect(outcome(allocator, request("6", { pool: "a-manual" }))).toBe("10.1.0.1");
    expect(outcome(allocator, request("7", { pool: "f-foreign", admits }))).toBe("PoolNotAllowed");
  });

  it("takes both addresses of a dual-stack Service from one pool, and one where that is enough", () => {
    const allocator = withPools(pool("a", ["10.0.0.1/32"]), pool("b", ["10.0.0.2/32", "fd00::2/128"]), pool("c", ["fd00::3/128"]));
    const both: IpFamily[] = ["IPv6", "IPv4"];
    expect(outcome(allocator, request("x", { families: both }))).toBe("10.0.0.2,fd00::2");
    expect(outcome(allocator, request("y", { families: both }))).toBe("NoFreeAddress");
    expect(outcome(allocator, request("y", { families: both, oneIsEnough: true }))).toBe("fd00::3");
  });
});

describe("requests", () => {
  const pools = [pool("p", ["10.0.0.1-10.0.0.9"]), pool("q", ["10.1.0.1-10.1.0.9"])];

  it("refuses with the reason", () => {
    const allocator = withPools(...pools);
    allocator.allocate(request("holder", { addresses: ["10.0.0.5"] }));
    const ask = (rest: Parameters<typeof request>[1]): string => outcome(allocator, request("asker", rest));
    expect(ask({ addresses: ["10.0.0.5"] })).toBe("AddressInUse");
    expect(ask({ addresses: ["192.0.2.1"] })).toBe("AddressNotInPool");
    expect(ask({ addresses: ["fd00::1"] })).toBe("FamilyMismatch");
    expect(ask({ addresses: ["10.0.0.6"], pool: "q" })).toBe("AddressNotInRequestedPool");
    expect(ask({ pool: "nowhere" })).toBe("UnknownPool");
    expect(ask({ pool: "p", families: ["IPv6"] })).toBe("PoolHasNoSuchFamily");
    expect(outcome(new Allocator(), request("asker"))).toBe("NoPools");
    expect(allocator.holding("asker")).toBeUndefined();
  });

  it("keeps what the Service holds while the new request is refused, and replaces it at once when granted", () => {
    const allocator = withPools(...pools);
    allocator.allocate(request("a"));
    allocator.allocate(request("b"));
    expect(outcome(allocator, request("a", { addresses: ["10.0.0.2"] }))).toBe("AddressInUse");
    expect(allocator.holding("a")?.addresses.map(formatIpAddress)).toEqual(["10.0.0.1"]);
    expect(outcome(allocator, request("a", { pool: "q" }))).toBe("10.1.0.1");
    expect(allocator.holdersOf(parseIpAddress("10.0.0.1"))).toEqual([]);
  });

  it("gives a replaced address to nobody else before it is settled, but back to its holder", () => {
    const allocator = withPools(...pools);
    allocator.allocate(request("a"));
    allocator.allocate(request("a", { addresses: ["10.0.0.5"] }));
    expect(outcome(allocator, request("b", { addresses: ["10.0.0.1"] }))).toBe("AddressInUse");
    allocator.allocate(request("a", { addresses: ["10.0.0.1"] }));
    expect(outcome(allocator, request("b", { addresses: ["10.0.0.5"] }))).toBe("AddressInUse");
    expect(allocator.settle("a", [parseIpAddress("10.0.0.5")])).toEqual([]);
    expect(outcome(allocator, request("b", { addresses: ["10.0.0.5"] }))).toBe("AddressInUse");
    expect(allocator.settle("a").map(formatIpAddress)).toEqual(["10.0.0.5"]);
    expect(outcome(allocator, request("b", { addresses: ["10.0.0.5"] }))).toBe("10.0.0.5");
    expect(allocator.settle("a")).toEqual([]);
  });
});

describe("new pools", () => {
  it("keeps holders whose address has a pool, under its new name, and names those who lost theirs", () => {
    const allocator = withPools(pool("old", ["10.0.0.1-10.0.0.4"]));
    for (const name of ["a", "b", "c"]) allocator.allocate(request(name));
    expect(allocator.setPools(poolMap([pool("new", ["10.0.0.1-10.0.0.2"])]))).toEqual(["c"]);
    expect(allocator.holding("b")?.pool).toBe("new");
    expect(allocator.count("new", "IPv4")?.inUse).toBe(2n);
    expect(allocator.setPools(new Map())).toEqual(["a", "b"]);
    expect(allocator.holdings().size).toBe(0);
  });
});

describe("wide ranges", () => {
  const ranges = ["fd00::/64", "fd00::/16", "fd00::ffff:ffff:ffff:fff0-fd01::f", "::/0"].map(parseIpRange);

  /** Distances from the first address at which one more word, or a bigint, is needed to tell it, and some on both sides. */
  function distancesBelow(size: bigint): bigint[] {
    const edges = [0, 31, 32, 53, 63, 64, 96, 127].map((bits) => 2n ** BigInt(bits));
    const all = [...edges, 3n * 2n ** 32n, 3n * 2n ** 64n, size].flatMap((edge) => [edge - 2n, edge - 1n, edge, edge + 1n]);
    return [...new Set(all)].filter((distance) => distance >= 0n && distance < size);
  }

  for (const range of ranges) {
    const name = `${formatIpAddress({ family: "IPv6", value: range.first })}-${formatIpAddress({ family: "IPv6", value: range.last })}`;
    const values = distancesBelow(range.last - range.first + 1n).map((distance) => range.first + distance);

    it(`each address of ${name} is told from all others, and is free again when it was released`, () => {
      const allocator = withPools({ ...pool("p", []), ranges: [range] });
      const asked = (value: bigint, service: string): AllocationRequest => ({ ...request(service, { families: ["IPv6"] }), addresses: [{ family: "IPv6", value }] });
      for (const value of values) {
        const text = formatIpAddress({ family: "IPv6", value });
        expect(outcome(allocator, asked(value, text))).toBe(text);
        expect(outcome(allocator, asked(value, "late"))).toBe("AddressInUse");
      }
      expect(allocator.count("p", "IPv6")?.inUse).toBe(BigInt(values.length));
      for (const value of values) {
        const address = { family: "IPv6" as const, value };
        expect(allocator.holding(formatIpAddress(address))?.addresses).toEqual([address]);
        expect(allocator.holdersOf(address)).toEqual([formatIpAddress(address)]);
        expect(allocator.release(formatIpAddress(address))).toEqual([address]);
        expect(allocator.holdersOf(address)).toEqual([]);
      }
      expect(allocator.count("p", "IPv6")?.inUse).toBe(0n);
    });

    it(`automatic assignment in ${name} passes over what others asked for`, () => {
      const allocator = withPools({ ...pool("p", []), ranges: [range] });
      for (const value of values) allocator.allocate({ ...request(`far ${value}`, { families: ["IPv6"] }), addresses: [{ family: "IPv6", value }] });
      const free = Array.from({ length: 1000 }, (_, index) => range.first + BigInt(index)).filter((value) => !values.includes(value));
      for (const value of free) expect(outcome(allocator, request(`${value}`, { families: ["IPv6"] }))).toBe(formatIpAddress({ family: "IPv6", value }));
      for (const value of free) allocator.release(`${value}`);
      for (const value of values) expect(allocator.holdersOf({ family: "IPv6", value })).toEqual([`far ${value}`]);
      expect(outcome(allocator, request("again", { families: ["IPv6"] }))).toBe(formatIpAddress({ family: "IPv6", value: free[0] ?? 0n }));
    });
  }
});

/** The same rules without a single data structure: walk every address. */
class Model {
  held = new Map<string, string>();
  pools: { name: string; addresses: string[] }[];

  constructor(pools: { name: string; addresses: string[] }[]) {
    this.pools = pools;
  }

  allocate(service: string, asked: { address?: string; pool?: string }): string {
    const taken = new Map([...this.held].map(([holder, address]) => [address, holder]));
    let found: string | undefined;
    if (asked.address !== undefined) {
      const owner = this.pools.find((each) => each.addresses.includes(asked.address ?? ""));
      if (owner === undefined) return "AddressNotInPool";
      if (asked.pool !== undefined && asked.pool !== owner.name) return "AddressNotInRequestedPool";
      if ((taken.get(asked.address) ?? service) !== service) return "AddressInUse";
      found = asked.address;
    } else {
      const candidates = this.pools.filter((each) => asked.pool === undefined || each.name === asked.pool);
      if (candidates.length === 0) return asked.pool === undefined ? "NoPools" : "UnknownPool";
      const mine = this.held.get(service);
      found = candidates.flatMap((each) => each.addresses).find((address) => address === mine);
      for (const each of candidates) found ??= each.addresses.find((address) => !taken.has(address));
      if (found === undefined) return "NoFreeAddress";
    }
    this.held.set(service, found);
    return found;
  }

  adopt(service: string, address: string): void {
    if (this.held.has(service) || [...this.held.values()].includes(address)) return;
    if (this.pools.some((each) => each.addresses.includes(address))) this.held.set(service, address);
  }

  setPools(pools: { name: string; addresses: string[] }[]): void {
    this.pools = pools;
    for (const [service, address] of this.held) {
      if (!pools.some((each) => each.addresses.includes(address))) this.held.delete(service);
    }
  }
}

type Layout = { from: number; to: number }[][];

function buggy(octet: number): boolean {
  return octet === 0 || octet === 255;
}

/** The same layout for both: a pool is a list of spans in 10.0.0.0/16 from .250 on, so that spans cross .255 and .0. */
function poolsOf(layout: Layout, avoidBuggyIps: boolean): { real: Map<string, Pool>; model: { name: string; addresses: string[] }[] } {
  const text = (value: number): string => formatIpAddress({ family: "IPv4", value: 0x0a0000fan + BigInt(value) });
  const named = layout.map((spans, index) => ({ name: `p${index}`, spans }));
  return {
    real: poolMap(named.map(({ name, spans }) => pool(name, spans.map(({ from, to }) => `${text(from)}-${text(to)}`), { avoidBuggyIps }))),
    model: named.map(({ name, spans }) => ({
      name,
      addresses: spans.flatMap(({ from, to }) => {
        const all = Array.from({ length: to - from + 1 }, (_, index) => from + index);
        return all.filter((value) => !avoidBuggyIps || !buggy((0xfa + value) % 256)).map(text);
      }),
    })),
  };
}

const layouts: fc.Arbitrary<Layout> = fc
  .uniqueArray(fc.integer({ min: 0, max: 15 }), { minLength: 0, maxLength: 12 })
  .chain((bounds) => {
    const sorted = bounds.toSorted((a, b) => a - b);
    const spans: { from: number; to: number }[] = [];
    for (let index = 0; index + 1 < sorted.length; index += 2) spans.push({ from: sorted[index] ?? 0, to: sorted[index + 1] ?? 0 });
    return fc.tuple(fc.shuffledSubarray(spans, { minLength: spans.length }), fc.integer({ min: 1, max: 3 })).map(([shuffled, size]) => {
      const layout: Layout = [];
      for (let index = 0; index < shuffled.length; index += size) layout.push(shuffled.slice(index, index + size));
      return layout;
    });
  });

const services = fc.constantFrom("a", "b", "c", "d", "e", "f", "g", "h");
const addresses = fc.integer({ min: 0, max: 16 }).map((value) => formatIpAddress({ family: "IPv4", value: 0x0a0000fan + BigInt(value) }));
const operations = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant("allocate" as const), service: services }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("release" as const), service: services }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("request" as const), service: services, address: addresses, pool: fc.option(fc.constantFrom("p0", "p1"), { nil: undefined }) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("fromPool" as const), service: services, pool: fc.constantFrom("p0", "p1", "p2") }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("adopt" as const), service: services, address: addresses }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("setPools" as const), layout: layouts, avoidBuggyIps: fc.boolean() }) },
);

describe("against a model that walks every address", () => {
  it("the same operations give the same answers, holders and counts", () => {
    fc.assert(
      fc.property(layouts, fc.boolean(), fc.array(operations, { maxLength: 60 }), (layout, avoidBuggyIps, steps) => {
        const start = poolsOf(layout, avoidBuggyIps);
        const allocator = new Allocator();
        allocator.setPools(start.real);
        const model = new Model(start.model);
        for (const step of steps) {
          switch (step.kind) {
            case "allocate":
              expect(outcome(allocator, request(step.service))).toBe(model.allocate(step.service, {}));
              break;
            case "request": {
              const rest = step.pool === undefined ? {} : { pool: step.pool };
              expect(outcome(allocator, request(step.service, { addresses: [step.address], ...rest }))).toBe(model.allocate(step.service, { address: step.address, ...rest }));
              break;
            }
            case "fromPool": {
              expect(outcome(allocator, request(step.service, { pool: step.pool }))).toBe(model.allocate(step.service, { pool: step.pool }));
              break;
            }
            case "release":
              allocator.release(step.service);
              model.held.delete(step.service);
              break;
            case "adopt":
              if (allocator.holding(step.service) === undefined) allocator.adopt(step.service, [parseIpAddress(step.address)]);
              model.adopt(step.service, step.address);
              break;
            case "setPools": {
              const next = poolsOf(step.layout, step.avoidBuggyIps);
              for (const lost of allocator.setPools(next.real)) allocator.settle(lost);
              model.setPools(next.model);
              break;
            }
          }
          const held = [...allocator.holdings().values()].map(({ service, addresses: [first] }) => [service, formatIpAddress(first ?? parseIpAddress("::"))]);
          expect(held.toSorted()).toEqual([...model.held].toSorted());
          for (const each of model.pools) {
            const inUse = each.addresses.filter((address) => [...model.held.values()].includes(address)).length;
            expect(allocator.count(each.name, "IPv4")).toEqual({ total: BigInt(each.addresses.length), inUse: BigInt(inUse), available: BigInt(each.addresses.length - inUse) });
          }
        }
      }),
      { numRuns: 300 },
    );
  });
});
