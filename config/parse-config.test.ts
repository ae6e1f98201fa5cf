import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { CustomResource } from "../kube/objects.ts";
import { formatIpAddress, parseIpRange, rangesOverlap } from "../wire/ip-address.ts";
import type { Config, FieldError } from "./config.ts";
import { MAX_ENTRIES } from "./field-errors.ts";
import { parseConfig } from "./parse-config.ts";

function pool(name: string, spec: unknown, labels: Record<string, string> = {}): CustomResource {
  return { metadata: { name, labels }, spec };
}

function advertisement(spec: unknown, name = "ad"): CustomResource {
  return { metadata: { name }, spec };
}

function valid(pools: CustomResource[], l2Advertisements: CustomResource[] = []): Config {
  const result = parseConfig({ pools, l2Advertisements });
  if (result.kind === "invalid") expect.fail(JSON.stringify(result.errors));
  return result.config;
}

function errorsOf(pools: CustomResource[], l2Advertisements: CustomResource[] = []): readonly FieldError[] {
  const result = parseConfig({ pools, l2Advertisements });
  return result.kind === "invalid" ? result.errors : [];
}

function rangesOf(entry: string): string[] | undefined {
  return valid([pool("p", { addresses: [entry] })]).pools.get("p")?.ranges.map(({ family, first, last }) =>
    `${formatIpAddress({ family, value: first })}-${formatIpAddress({ family, value: last })}`);
}

describe("a pool", () => {
  it("has defaults, and ranges in the order of the spec", () => {
    const config = valid([pool("p", { addresses: ["192.168.9.1-192.168.9.5", "10.0.0.0/30"], laterField: {} })]);
    expect(config.pools.get("p")).toEqual({
      name: "p", autoAssign: true, avoidBuggyIps: false,
      ranges: [parseIpRange("192.168.9.1-192.168.9.5"), parseIpRange("10.0.0.0/30")],
    });
  });

  it("has a bounded list of addresses, so that no object keeps a program from its work for seconds", () => {
    const addresses = (count: number): string[] => Array.from({ length: count }, (_, index) => `10.${index >> 16}.${(index >> 8) & 255}.${index & 255}/32`);
    expect(valid([pool("p", { addresses: addresses(MAX_ENTRIES) })]).pools.get("p")?.ranges.length).toBe(MAX_ENTRIES);
    expect(errorsOf([pool("p", { addresses: addresses(MAX_ENTRIES + 1) })])).toEqual([
      { kind: "IPAddressPool", name: "p", path: "spec.addresses", message: "has 10001 entries; 10000 are the most" },
    ]);
  });

  it("keeps what its author says", () => {
    const serviceAllocation = { priority: 5, namespaces: ["a"], namespaceSelectors: [{ matchLabels: { team: "x" } }] };
    expect(valid([pool("p", { addresses: ["10.0.0.0/30"], autoAssign: false, avoidBuggyIPs: true, serviceAllocation })]).pools.get("p")).toMatchObject({
      autoAssign: false, avoidBuggyIps: true,
      serviceAllocation: { priority: 5, namespaces: ["a"], namespaceSelectors: [{ matchLabels: { team: "x" }, matchExpressions: [] }], serviceSelectors: [] },
    });
    expect(valid([pool("p", { addresses: ["10.0.0.0/30"], serviceAllocation: {} })]).pools.get("p")?.serviceAllocation).toEqual({ priority: 0, namespaces: [], namespaceSelectors: [], serviceSelectors: [] });
  });

  it.each([
    ["192.168.1.7/24", "192.168.1.0-192.168.1.255"],
    ["10.0.0.1  -  10.0.0.3", "10.0.0.1-10.0.0.3"],
    ["10.0.0.1-10.0.0.1", "10.0.0.1-10.0.0.1"],
    ["10.0.0.1/32", "10.0.0.1-10.0.0.1"],
    ["10.0.0.0/024", "10.0.0.0-10.0.0.255"],
    ["::ffff:10.0.0.1-::ffff:10.0.0.2", "10.0.0.1-10.0.0.2"],
    ["::ffff:10.0.0.0/126", "10.0.0.0-10.0.0.3"],
    ["fc00:F853:CCD:E799::/124", "fc00:f853:ccd:e799::-fc00:f853:ccd:e799::f"],
    ["0.0.0.0/0", "0.0.0.0-255.255.255.255"],
  ])("takes %s as %s", (entry, range) => {
    expect(rangesOf(entry)).toEqual([range]);
  });

  it.each([
    ["10.0.0.1", "invalid CIDR"], ["10.0.0.0/33", "invalid CIDR"], ["::/129", "invalid CIDR"], ["::ffff:10.0.0.0/90", "invalid CIDR"], ["10.0.0/24", "invalid CIDR"], ["", "invalid CIDR"],
    ["10.0.0.5-10.0.0.1", "invalid IP range"], ["10.0.0.5-", "invalid IP range"], ["10.0.0.1-10.0.0.2-10.0.0.3", "invalid IP range"], ["10.0.0.1-::1", "invalid IP range"],
  ])("refuses the entry %j: %s", (entry, message) => {
    expect(errorsOf([pool("p", { addresses: ["10.9.0.0/24", entry] })])).toEqual([
      { kind: "IPAddressPool", name: "p", path: "spec.addresses[1]", message: expect.stringContaining(message) },
    ]);
  });

  it.each([
    [{}, "spec.addresses", "pool has no prefixes defined"],
    [undefined, "spec.addresses", "pool has no prefixes defined"],
    [{ addresses: [] }, "spec.addresses", "pool has no prefixes defined"],
    [{ addresses: "10.0.0.0/24" }, "spec.addresses", "must be a list, not a string"],
    [{ addresses: ["10.0.0.0/24", 7] }, "spec.addresses[1]", "must be a string, not a number"],
    [{ addresses: ["10.0.0.0/24"], autoAssign: "yes" }, "spec.autoAssign", "must be true or false, not a string"],
    [{ addresses: ["10.0.0.0/24"], serviceAllocation: [] }, "spec.serviceAllocation", "must be an object, not a list"],
    [{ addresses: ["10.0.0.0/24"], serviceAllocation: { priority: 1.5 } }, "spec.serviceAllocation.priority", "must be a whole number, not 1.5"],
    [{ addresses: ["10.0.0.0/24"], serviceAllocation: { namespaces: ["a", "b", "a"] } }, "spec.serviceAllocation.namespaces[2]", 'duplicate definition of namespaces "a"'],
    [{ addresses: ["10.0.0.0/24"], serviceAllocation: { serviceSelectors: [{ matchLabels: { a: "1" } }, { matchLabels: { a: "1" } }] } }, "spec.serviceAllocation.serviceSelectors[1]", 'duplicate definition of serviceSelectors "a=1"'],
  ])("with spec %j has an error at %s", (spec, path, message) => {
    expect(errorsOf([pool("p", spec)])).toEqual([{ kind: "IPAddressPool", name: "p", path, message }]);
  });

  it("of a name that exists already is refused", () => {
    expect(errorsOf([pool("p", { addresses: ["10.0.0.0/24"] }), pool("p", { addresses: ["10.0.1.0/24"] })])).toEqual([expect.objectContaining({ path: "metadata.name" })]);
  });
});

describe("overlap", () => {
  it("is refused inside a pool and between pools, by the entries as written", () => {
    expect(errorsOf([
      pool("b", { addresses: ["10.0.0.128/25"] }),
      pool("a", { addresses: ["10.0.0.7/24", "10.0.0.1 - 10.0.0.2"] }),
    ])).toEqual([
      { kind: "IPAddressPool", name: "a", path: "spec.addresses[1]", message: 'CIDR "10.0.0.1 - 10.0.0.2" in pool "a" overlaps with already defined CIDR "10.0.0.7/24" of pool "a"' },
      { kind: "IPAddressPool", name: "b", path: "spec.addresses[0]", message: 'CIDR "10.0.0.128/25" in pool "b" overlaps with already defined CIDR "10.0.0.7/24" of pool "a"' },
    ]);
  });

  it("is seen through the mapped form, and not between families", () => {
    expect(errorsOf([pool("p", { addresses: ["10.0.0.0/24", "::ffff:10.0.0.9/128"] })])).toHaveLength(1);
    expect(errorsOf([pool("p", { addresses: ["0.0.0.0/0", "::/0"] })])).toEqual([]);
  });

  it("is found exactly as by comparing every pair", () => {
    const entry = fc.tuple(fc.constantFrom("10.0.0.", "fd00::"), fc.nat(40), fc.nat(12)).map(([prefix, start, length]) => `${prefix}${start}-${prefix}${start + length}`);
    fc.assert(fc.property(fc.array(entry, { minLength: 1, maxLength: 12 }), fc.nat(12), (entries, split) => {
      const pools = [entries.slice(0, split), entries.slice(split)].flatMap((addresses, index) => (addresses.length === 0 ? [] : [pool(`p${index}`, { addresses })]));
      const accepted: string[] = [];
      const refused: string[] = [];
      for (const text of entries) {
        const overlaps = accepted.some((other) => rangesOverlap(parseIpRange(text), parseIpRange(other)));
        (overlaps ? refused : accepted).push(text);
      }
      expect(errorsOf(pools).map((error) => /^CIDR "(.*)" in pool/.exec(error.message)?.[1])).toEqual(refused);
    }));
  });
});

describe("an advertisement", () => {
  const pools = [
    pool("red", { addresses: ["10.0.0.0/24"] }, { color: "red" }), pool("blue", { addresses: ["10.0.1.0/24"] }, { color: "blue" }), pool("plain", { addresses: ["10.0.2.0/24"] }),
  ];
  it.each([
    [undefined, ["blue", "plain", "red"]],
    [{}, ["blue", "plain", "red"]],
    [{ ipAddressPools: [], ipAddressPoolSelectors: null }, ["blue", "plain", "red"]],
    [{ ipAddressPools: ["plain", "unknown"] }, ["plain"]],
    [{ ipAddressPools: ["unknown"] }, []],
    [{ ipAddressPoolSelectors: [{ matchLabels: { color: "green" } }] }, []],
    [{ ipAddressPools: ["plain"], ipAddressPoolSelectors: [{ matchLabels: { color: "red" } }] }, ["plain", "red"]],
    [{ ipAddressPools: ["red"], ipAddressPoolSelectors: [{ matchExpressions: [{ key: "color", operator: "Exists" }] }] }, ["blue", "red"]],
  ])("with spec %j reaches the pools %j", (spec, names) => {
    expect(valid(pools, [advertisement(spec)]).l2Advertisements[0]?.pools).toEqual(names);
  });

  it("keeps selectors, interfaces and preferences", () => {
    const selector = { matchLabels: { a: "b" }, matchExpressions: [{ key: "c", operator: "In", values: ["d"] }] };
    expect(valid(pools, [advertisement({
      nodeSelectors: [selector], serviceSelectors: [{}], interfaces: ["eth1", "eth0", "eth1"], preferredNodeSelectors: [{ weight: 100, preference: selector }],
    })]).l2Advertisements[0]).toMatchObject({
      name: "ad", nodeSelectors: [selector], serviceSelectors: [{ matchLabels: {}, matchExpressions: [] }], interfaces: ["eth1", "eth0"], preferredNodes: [{ weight: 100, preference: selector }],
    });
  });

  it.each([
    [{ ipAddressPools: ["red", "red"] }, "spec.ipAddressPools[1]", 'duplicate definition of ipAddressPools "red"'],
    [{ nodeSelectors: [{ matchLabels: { a: "b" } }, {}, { matchLabels: { a: "b" } }] }, "spec.nodeSelectors[2]", 'duplicate definition of nodeSelectors "a=b"'],
    [{ ipAddressPoolSelectors: [{}, {}] }, "spec.ipAddressPoolSelectors[1]", "duplicate definition of ipAddressPoolSelectors"],
    [{ preferredNodeSelectors: [{ weight: 0, preference: {} }] }, "spec.preferredNodeSelectors[0].weight", "weight must be from 1 to 100, not 0"],
    [{ preferredNodeSelectors: [{ weight: 101, preference: {} }] }, "spec.preferredNodeSelectors[0].weight", "weight must be from 1 to 100, not 101"],
    [{ preferredNodeSelectors: [{ preference: {} }] }, "spec.preferredNodeSelectors[0].weight", "weight must be from 1 to 100"],
    [{ preferredNodeSelectors: [{ weight: 3 }] }, "spec.preferredNodeSelectors[0].preference", "must be an object, not null"],
    [{ interfaces: [3] }, "spec.interfaces[0]", "must be a string, not a number"],
    ["x", "spec", "must be an object, not a string"],
  ])("with spec %j has an error at %s", (spec, path, message) => {
    expect(errorsOf(pools, [advertisement(spec)])).toEqual([{ kind: "L2Advertisement", name: "ad", path, message: expect.stringContaining(message) }]);
  });
});

describe("the whole", () => {
  it("collects the errors of all objects, whatever their order", () => {
    const pools = [pool("z", { addresses: ["x", "y"] }), pool("a", { addresses: [] }), pool("m", { addresses: ["10.0.0.0/8"] })];
    const ads = [advertisement({ interfaces: {} }, "b"), advertisement({ nodeSelectors: 1 }, "a")];
    const errors = errorsOf(pools, ads);
    expect(errors.map(({ name, path }) => `${name} ${path}`)).toEqual(["a spec.addresses", "z spec.addresses[0]", "z spec.addresses[1]", "a spec.nodeSelectors", "b spec.interfaces"]);
    expect(errorsOf(pools.toReversed(), ads.toReversed())).toEqual(errors);
  });

  it("gives pools in the order of their names", () => {
    expect([...valid([pool("b", { addresses: ["10.0.0.0/30"] }), pool("a", { addresses: ["10.0.1.0/30"] })]).pools.keys()]).toEqual(["a", "b"]);
  });

  it("cuts a message that quotes megabytes", () => {
    expect(errorsOf([pool("p", { addresses: ["x".repeat(1_000_000)] })])[0]?.message.length).toBeLessThan(600);
  });

  it("answers any JSON with a config or with errors, never with an exception", () => {
    const fields = ["addresses", "autoAssign", "serviceAllocation", "namespaces", "serviceSelectors", "ipAddressPools", "ipAddressPoolSelectors", "nodeSelectors", "preferredNodeSelectors",
      "weight", "preference", "interfaces", "matchLabels", "matchExpressions", "key", "operator", "values", "__proto__", "constructor"];
    const { json } = fc.letrec<{ json: unknown }>((tie) => ({
      json: fc.oneof({ maxDepth: 5 },
        fc.constantFrom<unknown>(null, true, 1, -0.5, "", "10.0.0.0/24", "10.0.0.0-10.0.0.9", "In", "Exists", "a", "é", "x".repeat(70)),
        fc.array(tie("json"), { maxLength: 4 }),
        fc.array(fc.tuple(fc.constantFrom(...fields), tie("json")), { maxLength: 6 }).map((entries) => Object.fromEntries(entries))),
    }));
    let invalid = 0;
    let total = 0;
    fc.assert(fc.property(json, json, (poolSpec, adSpec) => {
      const result = parseConfig({ pools: [pool("p", poolSpec)], l2Advertisements: [advertisement(adSpec)] });
      total++;
      if (result.kind === "invalid") {
        invalid++;
        expect(result.errors.length).toBeGreaterThan(0);
        for (const error of result.errors) expect(error.path).toMatch(/^spec/);
      }
    }), { numRuns: 2_000 });
    expect(invalid).toBeGreaterThan(total / 2);
  });
});
