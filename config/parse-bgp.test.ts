import assert from "node:assert/strict";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { CustomResource } from "../kube/objects.ts";
import { parseIpAddress, parseIpRange } from "../wire/ip-address.ts";
import { shortestPrefix } from "./bgp-advertisement.ts";
import { formatCommunity, parseCommunity } from "./community.ts";
import type { FieldError } from "./config.ts";
import { parseBgp, type BgpConfig, type BgpContext, type BgpResources } from "./parse-bgp.ts";

const everywhere: BgpContext = { nodes: [], references: "now" };
const zone = (name: string): object => ({ matchLabels: { zone: name } });

function object(spec: unknown, name = "x", labels?: Record<string, string>): CustomResource {
  return { metadata: { name, ...(labels === undefined ? {} : { labels }) }, spec };
}

function valid(resources: BgpResources, context = everywhere): BgpConfig {
  const result = parseBgp(resources, context);
  if (result.kind === "invalid") assert.fail(JSON.stringify(result.errors));
  return result.bgp;
}

function errorsOf(resources: BgpResources, context = everywhere): readonly FieldError[] {
  const result = parseBgp(resources, context);
  return result.kind === "invalid" ? result.errors : [];
}

const base = { myASN: 64512, peerASN: 64513, peerAddress: "10.0.0.1" };
const peer = (spec: object, name = "x"): CustomResource => object({ ...base, ...spec }, name);

describe("a BGPPeer", () => {
  it("has defaults, and leaves timers open that its author left open", () => {
    expect(valid({ peers: [peer({})] }).peers.get("x")).toEqual({
      name: "x", myAsn: 64512, peerAsn: 64513, localAsn: undefined, endpoint: { kind: "address", address: parseIpAddress("10.0.0.1") }, port: 179,
      sourceAddress: undefined, routerId: undefined, holdTimeSeconds: undefined, keepaliveTimeSeconds: undefined, connectTimeSeconds: undefined, nodeSelectors: [],
      password: undefined, bfdProfile: undefined, gracefulRestart: false, ebgpMultiHop: false, vrf: undefined, dualStackAddressFamily: false,
    });
  });

  it("keeps what its author says", () => {
    const spec = {
      localASN: 65000, sourceAddress: "10.0.0.9", peerPort: 1790, holdTime: "1m30s", keepaliveTime: "10s", connectTime: "5s", routerID: "1.1.1.1", nodeSelectors: [zone("a")],
      passwordSecret: { name: "s" }, bfdProfile: "fast", enableGracefulRestart: true, ebgpMultiHop: true, vrf: "red", disableMP: true, dualStackAddressFamily: true,
    };
    expect(valid({ peers: [peer(spec)], bfdProfiles: [object({}, "fast")] }).peers.get("x")).toMatchObject({
      localAsn: 65000, sourceAddress: parseIpAddress("10.0.0.9"), port: 1790, holdTimeSeconds: 90, keepaliveTimeSeconds: 10, connectTimeSeconds: 5, routerId: parseIpAddress("1.1.1.1"),
      nodeSelectors: [{ matchLabels: { zone: "a" } }], password: { kind: "secret", name: "s" }, bfdProfile: "fast", gracefulRestart: true, ebgpMultiHop: true, vrf: "red", dualStackAddressFamily: true,
    });
  });

  it.each([
    [{ peerASN: undefined, dynamicASN: "external" }, { peerAsn: "external" }],
    [{ peerASN: 0, dynamicASN: "internal" }, { peerAsn: "internal" }],
    [{ peerASN: 64512 }, { peerAsn: 64512 }],
    [{ peerAddress: "", interface: "eth0.100" }, { endpoint: { kind: "interface", name: "eth0.100" } }],
    [{ peerAddress: "fd00::1" }, { endpoint: { kind: "address", address: parseIpAddress("fd00::1") } }],
    [{ peerPort: 0 }, { port: 179 }],
    [{ password: "p", passwordSecret: {} }, { password: { kind: "text", text: "p" } }],
    [{ holdTime: "9s" }, { holdTimeSeconds: 9, keepaliveTimeSeconds: 3 }],
    [{ keepaliveTime: "10s" }, { holdTimeSeconds: 30, keepaliveTimeSeconds: 10 }],
    [{ holdTime: "0s" }, { holdTimeSeconds: 0, keepaliveTimeSeconds: 0 }],
    [{ holdTime: "3s", keepaliveTime: "3s" }, { holdTimeSeconds: 3, keepaliveTimeSeconds: 3 }],
    [{ holdTime: "90s", keepaliveTime: "0s" }, { holdTimeSeconds: 90, keepaliveTimeSeconds: 0 }],
  ])("with %j is read as one means it", (spec, expected) => {
    expect(valid({ peers: [peer(spec)] }).peers.get("x")).toMatchObject(expected);
  });

  it.each([
    [{ myASN: undefined }, "spec.myASN", "missing local ASN"],
    [{ myASN: 0 }, "spec.myASN", "missing local ASN"],
    [{ myASN: 4294967296 }, "spec.myASN", "must be from 1 to 4294967295, not 4294967296"],
    [{ peerASN: undefined }, "spec.peerASN", "exactly one of peerASN and dynamicASN must be set"],
    [{ dynamicASN: "external" }, "spec.dynamicASN", "exclude each other"],
    [{ peerASN: undefined, dynamicASN: "both" }, "spec.dynamicASN", 'must be internal or external, not "both"'],
    [{ localASN: -1 }, "spec.localASN", "must be from 1"],
    [{ peerASN: 64512, ebgpMultiHop: true }, "spec.ebgpMultiHop", "invalid for an iBGP peer"],
    [{ peerASN: undefined, dynamicASN: "internal", ebgpMultiHop: true }, "spec.ebgpMultiHop", "invalid for an iBGP peer"],
    [{ peerAddress: "10.0.0.300" }, "spec.peerAddress", 'invalid BGPPeer address "10.0.0.300"'],
    [{ peerAddress: "fe80::1%eth0" }, "spec.peerAddress", "invalid BGPPeer address"],
    [{ peerAddress: undefined }, "spec.peerAddress", "exactly one of peerAddress and interface must be set"],
    [{ interface: "eth0" }, "spec.interface", "exclude each other"],
    [{ peerAddress: undefined, interface: "an-interface-too-long" }, "spec.interface", "invalid interface"],
    [{ vrf: "no spaces" }, "spec.vrf", "invalid VRF"],
    [{ sourceAddress: "here" }, "spec.sourceAddress", 'invalid source IP "here"'],
    [{ routerID: "fd00::1" }, "spec.routerID", "must be an IPv4 address"],
    [{ routerID: "0.0.0.0" }, "spec.routerID", "must be an IPv4 address other than 0.0.0.0"],
    [{ routerID: "7" }, "spec.routerID", 'invalid router ID "7"'],
    [{ peerPort: 65536 }, "spec.peerPort", "must be from 1 to 65535"],
    [{ holdTime: "2s" }, "spec.holdTime", "invalid hold time of 2 s"],
    [{ holdTime: "20h" }, "spec.holdTime", "invalid hold time of 72000 s"],
    [{ holdTime: "soon" }, "spec.holdTime", '"soon" is not a duration'],
    [{ holdTime: "-9s" }, "spec.holdTime", '"-9s" is not a duration'],
    [{ holdTime: "9s", keepaliveTime: "10s" }, "spec.keepaliveTime", "must not exceed the hold time of 9 s"],
    [{ holdTime: "0s", keepaliveTime: "1s" }, "spec.keepaliveTime", "must not exceed the hold time of 0 s"],
    [{ holdTime: "9s", keepaliveTime: "300ms" }, "spec.keepaliveTime", "must be 0s or at least 1s"],
    [{ connectTime: "1500ms" }, "spec.connectTime", "invalid connect time"],
    [{ connectTime: "0s" }, "spec.connectTime", "invalid connect time"],
    [{ password: "p", passwordSecret: { name: "s" } }, "spec.passwordSecret", "exclude each other"],
    [{ password: "x".repeat(81) }, "spec.password", "80 bytes"],
    [{ nodeSelectors: [zone("a"), zone("a")] }, "spec.nodeSelectors[1]", 'duplicate definition of nodeSelectors "zone=a"'],
    [{ nodeSelectors: [{ matchExpressions: [{ key: "a", operator: "Is" }] }] }, "spec.nodeSelectors[0].matchExpressions[0].operator", "not a valid label selector operator"],
    [{ bfdProfile: "none" }, "spec.bfdProfile", 'unknown BFDProfile "none"'],
  ])("with %j is refused at %s: %s", (spec, path, message) => {
    expect(errorsOf({ peers: [peer(spec)] })).toEqual([{ kind: "BGPPeer", name: "x", path, message: expect.stringContaining(message) }]);
  });

  it("may refer to a BFD profile that comes later", () => {
    expect(errorsOf({ peers: [peer({ bfdProfile: "none" })] }, { nodes: [], references: "later" })).toEqual([]);
  });

  it("is never quoted with its password", () => {
    expect(JSON.stringify(errorsOf({ peers: [peer({ password: "hunter2".repeat(20), passwordSecret: { name: "s" } })] }))).not.toContain("hunter2");
  });

  it.each([
    [[{}, {}], [], "address 10.0.0.1"],
    [[{ peerAddress: "fd00::1" }, { peerAddress: "FD00:0::1" }], [], "address fd00::1"],
    [[{ peerAddress: "", interface: "eth0" }, { peerAddress: "", interface: "eth0" }], [], "interface eth0"],
    [[{}, { nodeSelectors: [zone("a")] }], [{ zone: "a" }], "address 10.0.0.1"],
    [[{ nodeSelectors: [zone("a"), zone("b")] }, { nodeSelectors: [{ matchLabels: { disk: "ssd" } }] }], [{ zone: "b", disk: "ssd" }], "address 10.0.0.1"],
  ])("twice at one end on one node is refused: %j on nodes %j", (specs, nodes, what) => {
    const peers = specs.map((spec, index) => peer(spec, `p${index}`));
    expect(errorsOf({ peers }, { nodes, references: "now" })).toEqual([expect.objectContaining({ name: "p1", message: `BGPPeer "p0" already exists for ${what}, and both select the same node` })]);
  });

  it("may share a node with every other while the nodes are not known", () => {
    const peers = ["a", "b"].map((name) => peer({ nodeSelectors: [zone(name)] }, name));
    expect(errorsOf({ peers }, { nodes: "any", references: "now" })).toHaveLength(1);
    expect(errorsOf({ peers: [peer({}, "a"), peer({ peerAddress: "10.0.0.2" }, "b")] }, { nodes: "any", references: "now" })).toEqual([]);
  });

  it.each([
    [[{ nodeSelectors: [zone("a")] }, { nodeSelectors: [zone("b")] }], [{ zone: "a" }, { zone: "b" }]],
    [[{}, { nodeSelectors: [zone("c")] }], [{ zone: "a" }]],
    [[{}, { vrf: "red" }], [{}]],
    [[{}, { peerPort: 1179 }], [{}]],
    [[{ sourceAddress: "10.0.0.8" }, { sourceAddress: "10.0.0.9" }], [{}]],
    [[{ routerID: "1.1.1.1" }, { routerID: "2.2.2.2", myASN: 7, peerAddress: "10.0.0.2" }], [{}]],
  ])("may be a second one elsewhere: %j on nodes %j", (specs, nodes) => {
    expect(errorsOf({ peers: specs.map((spec, index) => peer(spec, `p${index}`)) }, { nodes, references: "now" })).toEqual([]);
  });
});

describe("a Community", () => {
  it.each(["0:0", "65535:65282", "large:1:2:3", "large:4294967295:0:4294967295"])("may be %s", (text) => {
    assert.equal(formatCommunity(parseCommunity(text)), text);
  });

  it("is read back as it was written, whatever its numbers", () => {
    const half = fc.nat(0xffff);
    const whole = fc.nat(0xffff_ffff);
    fc.assert(fc.property(half, half, (high, low) => assert.deepEqual(parseCommunity(`${high}:${low}`), { kind: "standard", high, low })));
    fc.assert(fc.property(whole, whole, whole, (a, b, c) => assert.deepEqual(parseCommunity(`large:${a}:${b}:${c}`), { kind: "large", globalAdministrator: a, localData1: b, localData2: c })));
  });

  it.each([
    ["65536:1", 'invalid community value: invalid section "65536" of community "65536:1"'],
    ["1:x", 'invalid section "x"'],
    ["1:", 'invalid section ""'],
    ["1:-1", 'invalid section "-1"'],
    ["1", "expected community to be of format"],
    ["1:2:3", "expected community to be of format"],
    ["large:1:2", "expected community to be of format large:"],
    ["large:1:2:4294967296", 'invalid section "4294967296"'],
  ])("is refused as %j: %s", (value, message) => {
    expect(errorsOf({ communities: [object({ communities: [{ name: "a", value }] })] })).toEqual([
      { kind: "Community", name: "x", path: "spec.communities[0].value", message: expect.stringContaining(message) },
    ]);
  });

  it("gives each name once, in all objects together", () => {
    const one = object({ communities: [{ name: "a", value: "1:1" }] }, "one");
    const two = object({ communities: [{ name: "b", value: "1:2" }, { name: "a", value: "1:1" }] }, "two");
    expect(errorsOf({ communities: [two, one] })).toEqual([{ kind: "Community", name: "two", path: "spec.communities[1].name", message: 'duplicate definition of community "a"' }]);
    expect(errorsOf({ communities: [object({ communities: [{ name: "", value: "1:1" }, 7, { value: "1:1" }] })] }).map(({ path }) => path)).toEqual([
      "spec.communities[0].name", "spec.communities[1]", "spec.communities[2].name",
    ]);
  });
});

describe("a BGPAdvertisement", () => {
  const pools = [object({ addresses: ["10.0.0.0/24", "10.1.0.0/28"] }, "v4", { tier: "gold" }), object({ addresses: ["fd00::/64"] }, "v6")];
  const ad = (spec: unknown, name = "x"): CustomResource => object(spec, name);

  it("has defaults, and reaches every pool", () => {
    expect(valid({ advertisements: [ad(undefined)], pools }).advertisements).toEqual([
      { name: "x", pools: ["v4", "v6"], peers: [], aggregationLength: { IPv4: 32, IPv6: 128 }, localPref: 0, asPathPrepend: 0, communities: [], nodeSelectors: [], serviceSelectors: [] },
    ]);
  });

  it("keeps what its author says, with communities by value and by name", () => {
    const spec = { ipAddressPoolSelectors: [{ matchLabels: { tier: "gold" } }], aggregationLength: 28, localPref: 4294967295, asPathPrepend: 10, communities: ["noexport", "7:7", "large:1:2:3"], peers: ["b", "a"], nodeSelectors: [zone("a")] };
    const communities = [object({ communities: [{ name: "noexport", value: "65535:65281" }] })];
    expect(valid({ advertisements: [ad(spec)], pools, communities }).advertisements).toMatchObject([
      { pools: ["v4"], aggregationLength: { IPv4: 28, IPv6: 128 }, localPref: 4294967295, asPathPrepend: 10, communities: ["65535:65281", "7:7", "large:1:2:3"].map(parseCommunity), peers: ["b", "a"] },
    ]);
  });

  it.each([
    [{ aggregationLength: 33 }, "spec.aggregationLength", "invalid aggregation length 33: must be from 1 to 32"],
    [{ aggregationLengthV6: 129 }, "spec.aggregationLengthV6", "invalid aggregation length 129"],
    [{ aggregationLength: 26 }, "spec.aggregationLength", "invalid aggregation length 26: prefix 28 in this pool is more specific than the aggregation length for addresses 10.1.0.0/28"],
    [{ ipAddressPools: ["v6"], aggregationLengthV6: 63 }, "spec.aggregationLengthV6", "prefix 64 in this pool"],
    [{ serviceSelectors: [{}], aggregationLength: 28 }, "spec.aggregationLength", "mutually exclusive"],
    [{ serviceSelectors: [{}], aggregationLengthV6: 64 }, "spec.aggregationLengthV6", "mutually exclusive"],
    [{ localPref: -1 }, "spec.localPref", "invalid local preference -1"],
    [{ localPref: 4294967296 }, "spec.localPref", "invalid local preference 4294967296"],
    [{ asPathPrepend: -1 }, "spec.asPathPrepend", "invalid AS path prepend -1: must be from 0 to 10"],
    [{ asPathPrepend: 11 }, "spec.asPathPrepend", "invalid AS path prepend 11"],
    [{ communities: ["1:2", "1:2"] }, "spec.communities[1]", 'duplicate definition of community "1:2"'],
    [{ communities: ["1:x"] }, "spec.communities[0]", 'invalid section "x"'],
    [{ communities: ["nobody"] }, "spec.communities[0]", 'unknown community "nobody"'],
    [{ communities: Array.from({ length: 64 }, (_, low) => `1:${low}`) }, "spec.communities", "at most 63"],
    [{ ipAddressPools: ["v4", "v4"] }, "spec.ipAddressPools[1]", 'duplicate definition of ipAddressPools "v4"'],
    [{ peers: ["a", "a"] }, "spec.peers[1]", 'duplicate definition of peers "a"'],
    [{ nodeSelectors: [{}, {}] }, "spec.nodeSelectors[1]", "duplicate definition of nodeSelectors"],
    [{ ipAddressPoolSelectors: [{ matchLabels: { "a b": "c" } }] }, 'spec.ipAddressPoolSelectors[0].matchLabels["a b"]', "invalid label key"],
  ])("with %j is refused at %s: %s", (spec, path, message) => {
    expect(errorsOf({ advertisements: [ad(spec)], pools })).toEqual([{ kind: "BGPAdvertisement", name: "x", path, message: expect.stringContaining(message) }]);
  });

  it("may name a pool, a peer, and later a community that do not exist yet", () => {
    const advertisements = [ad({ ipAddressPools: ["none"], peers: ["none"], communities: ["nobody"] })];
    expect(valid({ advertisements }, { nodes: [], references: "later" }).advertisements).toMatchObject([{ pools: [], peers: ["none"], communities: [] }]);
  });

  it("agrees with the others on the LOCAL_PREF of a prefix", () => {
    const errors = errorsOf({ advertisements: [ad({ localPref: 100 }, "a"), ad({ localPref: 200, peers: ["r"] }, "b")], pools });
    expect(errors).toEqual([{ kind: "BGPAdvertisement", name: "b", path: "spec.localPref", message: 'invalid local preference 200: BGPAdvertisement "a" gives 100 to the same prefixes, peers and nodes' }]);
  });

  it("agrees with the others on the AS_PATH of a prefix", () => {
    const errors = errorsOf({ advertisements: [ad({}, "a"), ad({ asPathPrepend: 3 }, "b"), ad({ localPref: 1, asPathPrepend: 2 }, "c")], pools });
    expect(errors.map(({ name, path, message }) => [name, path, message])).toEqual([
      ["b", "spec.asPathPrepend", 'invalid AS path prepend 3: BGPAdvertisement "a" gives 0 to the same prefixes, peers and nodes'],
      ["c", "spec.localPref", 'invalid local preference 1: BGPAdvertisement "a" gives 0 to the same prefixes, peers and nodes'],
      ["c", "spec.asPathPrepend", 'invalid AS path prepend 2: BGPAdvertisement "a" gives 0 to the same prefixes, peers and nodes'],
    ]);
  });

  it.each([
    ["peers are others", [{ localPref: 1, peers: ["a"] }, { localPref: 2, peers: ["b"] }]],
    ["pools are others", [{ localPref: 1, ipAddressPools: ["v4"] }, { localPref: 2, ipAddressPools: ["v6"] }]],
    ["nodes are others", [{ localPref: 1, nodeSelectors: [zone("a")] }, { localPref: 2, nodeSelectors: [zone("b")] }]],
    ["lengths differ", [{ localPref: 1, ipAddressPools: ["v4"], aggregationLength: 28 }, { localPref: 2, ipAddressPools: ["v4"] }]],
    ["one is for certain Services", [{ localPref: 1, serviceSelectors: [{}] }, { localPref: 2 }]],
    ["lengths differ, as for the local preference", [{ asPathPrepend: 1, ipAddressPools: ["v4"], aggregationLength: 28 }, { asPathPrepend: 2, ipAddressPools: ["v4"] }]],
    ["both say the same", [{ localPref: 1 }, { localPref: 1, peers: ["b"] }]],
  ])("need not agree when %s", (_why, specs) => {
    const advertisements = specs.map((spec, index) => ad(spec, `a${index}`));
    expect(errorsOf({ advertisements, pools }, { nodes: [{ zone: "a" }, { zone: "b" }], references: "now" })).toEqual([]);
  });

  it.each([["10.0.0.0/24", 24], ["10.0.0.0-10.0.0.10", 29], ["10.0.0.1-10.0.0.2", 32], ["10.0.0.255-10.0.1.255", 24], ["0.0.0.0/0", 0], ["fd00::/64", 64], ["::/0", 0], ["fd00::1-fd00::1", 128]])(
    "sees in %s a shortest prefix of %i", (entry, length) => {
      assert.equal(shortestPrefix(parseIpRange(entry)), length);
    });
});

describe("a BFDProfile", () => {
  it("has defaults", () => {
    expect(valid({ bfdProfiles: [object(undefined)] }).bfdProfiles.get("x")).toEqual({
      name: "x", receiveIntervalMs: 300, transmitIntervalMs: 300, echoIntervalMs: 50, detectMultiplier: 3, echoMode: false, passiveMode: false, minimumTtl: 254,
    });
  });

  it.each([["receiveInterval", 9, 60001], ["transmitInterval", 9, 60001], ["echoInterval", 9, 60001], ["detectMultiplier", 1, 256], ["minimumTtl", 0, 255]])("bounds %s", (field, below, above) => {
    for (const value of [below, above]) {
      expect(errorsOf({ bfdProfiles: [object({ [field]: value })] })).toEqual([{ kind: "BFDProfile", name: "x", path: `spec.${field}`, message: expect.stringContaining(`not ${value}`) }]);
    }
    expect(errorsOf({ bfdProfiles: [object({ [field]: below + 1 }), object({ [field]: above - 1 }, "y")] })).toEqual([]);
  });
});

it("never throws, whatever the resources hold", () => {
  const anything = fc.array(fc.record({ metadata: fc.record({ name: fc.string() }), spec: fc.jsonValue() }), { maxLength: 3 });
  const spec = fc.dictionary(fc.constantFrom("peerAddress", "myASN", "peerASN", "holdTime", "keepaliveTime", "communities", "aggregationLength", "addresses", "nodeSelectors", "localPref"), fc.jsonValue());
  const likely = fc.array(fc.record({ metadata: fc.record({ name: fc.string() }), spec }), { maxLength: 3 });
  fc.assert(fc.property(fc.oneof(anything, likely), (objects) => {
    const result = parseBgp({ peers: objects, advertisements: objects, communities: objects, bfdProfiles: objects, pools: objects }, everywhere);
    assert.ok(result.kind === "valid" || result.errors.length > 0);
  }));
});
