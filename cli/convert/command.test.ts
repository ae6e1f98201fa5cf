import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { load } from "js-yaml";
import { describe, expect, it } from "vitest";
import { convertCommand } from "./command.ts";
import { convertConfigMap } from "./config-map.ts";

const GOLDEN = join(import.meta.dirname, "golden");
const EXTENSION = ".config.yaml";

function refusals(data: string): readonly string[] {
  const result = convertConfigMap(data, { onlyData: true });
  return result.kind === "refused" ? result.errors : [];
}

describe("kubectl herald convert", () => {
  const cases = readdirSync(GOLDEN).filter((file) => file.endsWith(EXTENSION));
  it("has golden cases", () => assert.ok(cases.length > 0));

  it.each(cases)("turns %s into what lies beside it", (file) => {
    const result = convertCommand(["--source", file], (path) => readFileSync(join(GOLDEN, path), "utf8"));
    expect(result.code, result.complaints).toBe(0);
    expect(result.output).toBe(readFileSync(join(GOLDEN, file.replace(EXTENSION, ".resources.yaml")), "utf8"));
  });

  it("takes MetalLB's spelling of flags, standard input, and a namespace", () => {
    const read: string[] = [];
    const result = convertCommand(["-source=-", "-only-data", "--namespace", "lb"], (path) => {
      read.push(path);
      return "address-pools: [{name: a, protocol: layer2, addresses: [10.0.0.0/24]}]";
    });
    assert.deepEqual(read, ["-"]);
    expect(result).toMatchObject({ code: 0, complaints: "" });
    expect(result.output).toContain("namespace: lb");
  });

  it.each([
    [["--source=none"], "error: none is not there"],
    [["--sauce=x"], "did you mean --source?"],
    [[], "the source is no ConfigMap"],
  ])("%j ends with 1, says why and prints nothing", (argv, message) => {
    const result = convertCommand(argv, (path) => {
      if (path === "none") throw new Error("none is not there");
      return "kind: Secret";
    });
    expect(result).toMatchObject({ code: 1, output: "", complaints: expect.stringContaining(message) });
  });

  it("warns of what is renamed, and of pools that nothing announces", () => {
    const data = "address-pools: [{name: 1_Pool, protocol: l2, addresses: [10.0.0.0/24]}]";
    expect(convertConfigMap(data, { onlyData: true })).toMatchObject({
      kind: "converted",
      resources: [{ kind: "IPAddressPool", metadata: { name: "pool", namespace: "metallb-system" } }],
      warnings: ['the name "1_Pool" becomes "pool"', 'pool "1_Pool": protocol "l2" is neither layer2 nor bgp: nothing announces the pool'],
    });
  });

  it("gives a pool of bgp without advertisements an empty one, and a peer without hold time the former default", () => {
    const result = convertConfigMap("peers: [{my-asn: 1, peer-asn: 2, peer-address: 10.0.0.1}]\naddress-pools: [{name: a, protocol: bgp, addresses: [10.0.0.0/24]}]", { onlyData: true });
    expect(result).toMatchObject({ resources: [{ spec: { holdTime: "90s" } }, {}, { kind: "BGPAdvertisement", metadata: { name: "bgpadvertisement1" }, spec: { ipAddressPools: ["a"] } }] });
  });

  it.each([
    ["hold-time: 2m0.9s, keepalive-time: 30.9s", { holdTime: "120s", keepaliveTime: "30s" }],
    ["hold-time: 3.9s", { holdTime: "3s" }],
    ["hold-time: 0s", { holdTime: "0s" }],
    ['hold-time: "", keepalive-time: ""', { holdTime: "90s" }],
  ])("cuts timers to whole seconds, as MetalLB did when it read them: %s", (timers, spec) => {
    const result = convertConfigMap(`peers: [{my-asn: 1, peer-asn: 2, peer-address: 10.0.0.1, ${timers}}]`, { onlyData: true });
    expect(result.kind === "converted" ? result.resources.map((resource) => resource.spec) : result).toEqual([{ myASN: 1, peerASN: 2, peerAddress: "10.0.0.1", ...spec }]);
  });

  it("takes MetalLB's -stdout, which changes nothing", () => {
    const read = (): string => "address-pools: [{name: a, protocol: layer2, addresses: [10.0.0.0/24]}]";
    assert.deepEqual(convertCommand(["-only-data", "-stdout"], read), convertCommand(["-only-data"], read));
    expect(convertCommand(["-only-data", "-stdout"], read)).toMatchObject({ code: 0, complaints: "" });
  });

  it("warns of a port that a BGPPeer does not take", () => {
    const ports = [16_384, 16_385].map((port) => convertConfigMap(`peers: [{my-asn: 1, peer-asn: 2, peer-address: 10.0.0.1, peer-port: ${port}}]`, { onlyData: true }));
    expect(ports).toMatchObject([{ kind: "converted", warnings: [] }, { kind: "converted", warnings: ["peers[0].peer-port: the API server takes no BGPPeer with a port over 16384, and this is 16385"] }]);
  });

  it.each([
    ["", "the input is empty"],
    ["~", "there is no configuration in it"],
    ["peers: [{my-asn: 1, peer-asn: 2, peer-address: 10.0.0.1, hold-time: 2.9s}]", 'BGPPeer "peer1": spec.holdTime: invalid hold time of 2 s'],
    ["peers: [{my-asn: 1, peer-asn: 2, peer-address: 10.0.0.1, hold-time: 1s}]", 'BGPPeer "peer1": spec.holdTime: invalid hold time of 1 s'],
    ["peers: [{my-asn: 1, peer-asn: 2, peer-address: x}]", "invalid BGPPeer address"],
    ["peers: [{my-asn: 1, peer-asn: 2, peer-address: 10.0.0.1, bfd-profile: none}]", 'unknown BFDProfile "none"'],
    ["peers: [{my-asn: one}]", "peers[0].my-asn: must be a whole number"],
    ["peers: {}", "peers: must be a list"],
    ["colour: red", "colour: unknown key"],
    ["address-pools: [{name: a, color: red}]", "address-pools[0].color: unknown key"],
    ["address-pools: [{name: a, addresses: [10.0.0.0/24]}, {name: A, addresses: [10.1.0.0/24]}]", "two IPAddressPools get this name"],
    ["address-pools: [{name: a, addresses: [10.0.0.0/24]}, {name: b, addresses: [10.0.0.0/25]}]", "overlaps with already defined CIDR"],
    ["address-pools: [{name: a, protocol: bgp, addresses: [10.0.0.0/24], bgp-advertisements: [{communities: [none]}]}]", 'unknown community "none"'],
    ["address-pools: [{name: '123', addresses: [10.0.0.0/24]}]", "no name that Kubernetes takes"],
    ["bgp-communities: {a: 7}", "bgp-communities.a: must be a string"],
    ["{", "expected"],
  ])("%s is refused: %s", (data, message) => {
    expect(refusals(data).join("\n")).toContain(message);
  });

  it("never throws, and what it prints can be read back", () => {
    const key = fc.constantFrom("peers", "address-pools", "bgp-communities", "bfd-profiles", "name", "addresses", "protocol", "my-asn", "communities");
    fc.assert(fc.property(fc.dictionary(key, fc.oneof(fc.jsonValue(), fc.array(fc.dictionary(key, fc.jsonValue())))), (value) => {
      const result = convertConfigMap(JSON.stringify(value), { onlyData: true });
      if (result.kind === "refused") assert.ok(result.errors.length > 0);
    }));
    const { output } = convertCommand([], () => readFileSync(join(GOLDEN, `everything${EXTENSION}`), "utf8"));
    for (const text of output.split("---\n").slice(0, -1)) expect(load(text)).toMatchObject({ metadata: { namespace: "lb" } });
  });
});
