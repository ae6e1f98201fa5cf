import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Config, L2Advertisement, LabelSelector, Pool } from "../../config/config.ts";
import { parseIpRange } from "../../wire/ip-address.ts";
import { Coverage, EXCLUDE_LABEL, judgeService, servingOf } from "./eligibility.ts";
import type { EligibilityOptions, EndpointFacts, NodeFacts, ServiceFacts, Verdict } from "./eligibility.ts";

const here: EligibilityOptions = { node: "node1", ignoreExcludeLb: false, loadBalancerClass: undefined };

function label(key: string, value: string): LabelSelector {
  return { matchLabels: { [key]: value }, matchExpressions: [] };
}

function advertisement(overrides: Partial<L2Advertisement> = {}): L2Advertisement {
  return { name: "l2", pools: ["pool"], nodeSelectors: [], serviceSelectors: [], interfaces: [], preferredNodes: [], ...overrides };
}

function config(...l2Advertisements: L2Advertisement[]): Config {
  const pool = (name: string, ...ranges: string[]): Pool => ({ name, ranges: ranges.map(parseIpRange), autoAssign: true, avoidBuggyIps: false });
  const pools = [pool("other", "10.0.0.0/24"), pool("pool", "172.20.255.200-172.20.255.250", "fd00:20::/120")];
  return { pools: new Map(pools.map((each) => [each.name, each])), l2Advertisements };
}

function service(overrides: Partial<ServiceFacts> = {}): ServiceFacts {
  return {
    key: "default/svc1",
    type: "LoadBalancer",
    loadBalancerClass: undefined,
    labels: {},
    localTraffic: false,
    sharesAddress: false,
    ingress: ["172.20.255.200"],
    ...overrides,
  };
}

function node(name: string, overrides: Partial<NodeFacts> = {}): NodeFacts {
  return { name, labels: {}, networkUnavailable: false, ...overrides };
}

const threeNodes = [node("node1"), node("node2"), node("node3")];
const ready: EndpointFacts[] = [{ nodeName: "node2", ready: true }];

function judge(parts: {
  service?: ServiceFacts;
  endpoints?: EndpointFacts[];
  config?: Config;
  nodes?: NodeFacts[];
  options?: Partial<EligibilityOptions>;
}): Verdict {
  const coverage = new Coverage(parts.config ?? config(advertisement()), parts.nodes ?? threeNodes, { ...here, ...parts.options });
  return judgeService(parts.service ?? service(), servingOf(parts.endpoints ?? ready), coverage);
}

function names(verdict: Verdict): string[] | string {
  return verdict.kind === "announce" ? verdict.candidates.map((candidate) => candidate.node) : verdict.reason;
}

describe("why a Service is not announced", () => {
  const cases: [title: string, parts: Parameters<typeof judge>[0], reason: string][] = [
    ["another class", { service: service({ loadBalancerClass: "example.com/lb" }) }, "otherLoadBalancerClass"],
    ["no class while one is asked for", { options: { loadBalancerClass: "mine" } }, "otherLoadBalancerClass"],
    ["another type", { service: service({ type: "ClusterIP" }) }, "notLoadBalancer"],
    ["no address yet", { service: service({ ingress: [] }) }, "noIPAllocated"],
    ["a hostname among the entries", { service: service({ ingress: ["172.20.255.200", undefined] }) }, "invalidIP"],
    ["text that is no address", { service: service({ ingress: ["172.20.255.300"] }) }, "invalidIP"],
    ["an address outside every pool", { service: service({ ingress: ["172.20.255.251"] }) }, "ipNotAllowed"],
    ["addresses of two pools", { service: service({ ingress: ["172.20.255.200", "10.0.0.1"] }) }, "ipNotAllowed"],
    ["no endpoints", { endpoints: [] }, "noEndpoints"],
    ["endpoints that cannot serve", { endpoints: [{ nodeName: "node1", ready: false }, { nodeName: "node1", ready: false, serving: false }] }, "noEndpoints"],
    ["no advertisement", { config: config() }, "noMatchingAdvertisement"],
    ["an advertisement of another pool only", { config: config(advertisement({ pools: ["other"] })) }, "noMatchingAdvertisement"],
    ["an advertisement of other Services only", { config: config(advertisement({ serviceSelectors: [label("app", "web")] })) }, "noMatchingAdvertisement"],
    [
      "a shared address under an advertisement that picks Services",
      { service: service({ labels: { app: "web" }, sharesAddress: true }), config: config(advertisement({ serviceSelectors: [label("app", "web")] })) },
      "sharedIPWithServiceSelector",
    ],
    ["no node selected", { config: config(advertisement({ nodeSelectors: [label("rack", "a")] })) }, "noEligibleNode"],
    ["every node without network", { nodes: [node("node1", { networkUnavailable: true })] }, "noEligibleNode"],
    ["every node excluded", { nodes: [node("node1", { labels: { [EXCLUDE_LABEL]: "" } })] }, "noEligibleNode"],
    ["local traffic and no node known for the endpoint", { service: service({ localTraffic: true }), endpoints: [{ ready: true }] }, "noEligibleNode"],
    [
      "local traffic and endpoints on nodes that no advertisement covers",
      { service: service({ localTraffic: true }), config: config(advertisement({ nodeSelectors: [label("rack", "a")] })), nodes: [node("node1", { labels: { rack: "a" } }), node("node2")] },
      "noEligibleNode",
    ],
  ];
  it.each(cases)("%s", (_title, parts, reason) => {
    expect(judge(parts)).toEqual({ kind: "withdraw", reason });
  });
});

describe("who may announce", () => {
  it("is every node, sorted by name, when nothing restricts it", () => {
    expect(judge({ nodes: [node("node3"), node("node1"), node("node2")] })).toEqual({
      kind: "announce",
      addresses: ["172.20.255.200"],
      candidates: [{ node: "node1", score: 0 }, { node: "node2", score: 0 }, { node: "node3", score: 0 }],
      interfaces: "all",
    });
  });

  const cases: [title: string, parts: Parameters<typeof judge>[0], candidates: string[]][] = [
    ["an endpoint without conditions counts as ready", { endpoints: [{ nodeName: "node1" }] }, ["node1", "node2", "node3"]],
    ["an endpoint that is not ready but serves while it ends", { endpoints: [{ nodeName: "node1", ready: false, serving: true }] }, ["node1", "node2", "node3"]],
    ["local traffic keeps the nodes with an endpoint", { service: service({ localTraffic: true }) }, ["node2"]],
    ["NetworkUnavailable takes a node out", { nodes: [node("node1"), node("node2", { networkUnavailable: true })] }, ["node1"]],
    ["the exclude label takes a node out, even when it says false", { nodes: [node("node1"), node("node2", { labels: { [EXCLUDE_LABEL]: "false" } })] }, ["node1"]],
    ["the exclude label is ignored on request", { nodes: [node("node2", { labels: { [EXCLUDE_LABEL]: "" } })], options: { ignoreExcludeLb: true } }, ["node2"]],
    [
      "node selectors are ORed",
      {
        config: config(advertisement({ nodeSelectors: [label("rack", "a"), label("rack", "b")] })),
        nodes: [node("node1", { labels: { rack: "b" } }), node("node2", { labels: { rack: "a" } }), node("node3", { labels: { rack: "c" } })],
      },
      ["node1", "node2"],
    ],
    [
      "advertisements add up",
      {
        config: config(advertisement({ name: "a", nodeSelectors: [label("rack", "a")] }), advertisement({ name: "b", nodeSelectors: [label("rack", "b")] })),
        nodes: [node("node1", { labels: { rack: "b" } }), node("node2", { labels: { rack: "a" } }), node("node3")],
      },
      ["node1", "node2"],
    ],
    [
      "only the advertisements that match the Service bring nodes",
      {
        config: config(advertisement({ name: "a", nodeSelectors: [label("rack", "a")] }), advertisement({ name: "b", serviceSelectors: [label("app", "web")] })),
        nodes: [node("node1", { labels: { rack: "a" } }), node("node2")],
      },
      ["node1"],
    ],
    ["a class asked for and carried", { service: service({ loadBalancerClass: "mine" }), options: { loadBalancerClass: "mine" } }, ["node1", "node2", "node3"]],
    ["a shared address is no obstacle without service selectors", { service: service({ sharesAddress: true }) }, ["node1", "node2", "node3"]],
  ];
  it.each(cases)("%s", (_title, parts, candidates) => {
    expect(names(judge(parts))).toEqual(candidates);
  });

  it("adds up the weights of all advertisements that cover a node", () => {
    const ssd = { weight: 40, preference: label("disk", "ssd") };
    const rackA = { weight: 2, preference: label("rack", "a") };
    const verdict = judge({
      config: config(
        advertisement({ name: "a", preferredNodes: [ssd, rackA] }),
        advertisement({ name: "b", preferredNodes: [ssd], nodeSelectors: [label("rack", "a")] }),
      ),
      nodes: [node("node1", { labels: { disk: "ssd", rack: "a" } }), node("node2", { labels: { disk: "ssd" } }), node("node3")],
    });
    expect(verdict).toMatchObject({ candidates: [{ node: "node1", score: 82 }, { node: "node2", score: 40 }, { node: "node3", score: 0 }] });
  });

  it("puts the IPv4 address first, whatever the order of the status, and drops doubles", () => {
    const verdict = judge({ service: service({ ingress: ["fd00:20::0:1", "172.20.255.201", "fd00:20::1"] }) });
    expect(verdict).toMatchObject({ addresses: ["172.20.255.201", "fd00:20::1"] });
  });
});

describe("interfaces", () => {
  const rackA = [label("rack", "a")];
  const nodes = [node("node1", { labels: { rack: "a" } }), node("node2")];
  const cases: [title: string, ads: L2Advertisement[], interfaces: readonly string[] | "all"][] = [
    ["those of the advertisement", [advertisement({ interfaces: ["eth1", "eth0"] })], ["eth0", "eth1"]],
    ["the union of several", [advertisement({ name: "a", interfaces: ["eth1"] }), advertisement({ name: "b", interfaces: ["eth0", "eth1"] })], ["eth0", "eth1"]],
    ["all as soon as one names none", [advertisement({ name: "a", interfaces: ["eth1"] }), advertisement({ name: "b" })], "all"],
    ["an advertisement for other nodes only does not count", [advertisement({ name: "a", interfaces: ["eth1"] }), advertisement({ name: "b", nodeSelectors: [label("rack", "b")] })], ["eth1"]],
    ["an advertisement for this node counts", [advertisement({ name: "a", interfaces: ["eth1"] }), advertisement({ name: "b", nodeSelectors: rackA, interfaces: ["eth2"] })], ["eth1", "eth2"]],
  ];
  it.each(cases)("%s", (_title, ads, interfaces) => {
    expect(judge({ config: config(...ads), nodes })).toMatchObject({ kind: "announce", interfaces });
  });

  it("are none on a node that no advertisement covers, which still knows the candidates", () => {
    const verdict = judge({ config: config(advertisement({ nodeSelectors: rackA })), nodes, options: { node: "node2" } });
    expect(verdict).toMatchObject({ kind: "announce", candidates: [{ node: "node1", score: 0 }], interfaces: [] });
  });
});

const arbitraryLabels = fc.dictionary(fc.constantFrom("rack", "disk", EXCLUDE_LABEL), fc.constantFrom("a", "b"), { maxKeys: 2 });
const arbitraryNodes = fc.uniqueArray(
  fc.record({ name: fc.constantFrom("node1", "node2", "node3", "Node", "ünode"), labels: arbitraryLabels, networkUnavailable: fc.boolean() }),
  { selector: (each) => each.name, maxLength: 5 },
);
const arbitrarySelectors = fc.array(fc.record({ key: fc.constantFrom("rack", "disk"), value: fc.constantFrom("a", "b") }).map(({ key, value }) => label(key, value)), { maxLength: 2 });
const arbitraryAds = fc
  .array(
    fc.record({
      nodeSelectors: arbitrarySelectors,
      serviceSelectors: arbitrarySelectors,
      interfaces: fc.subarray(["eth0", "eth1"]),
      preferredNodes: fc.array(fc.record({ weight: fc.integer({ min: 1, max: 100 }), preference: fc.constant(label("rack", "a")) }), { maxLength: 2 }),
    }),
    { minLength: 1, maxLength: 3 },
  )
  .map((ads) => ads.map((each, index) => advertisement({ ...each, name: `ad${index}` })));
const arbitraryEndpoints = fc.array(
  fc.record({ nodeName: fc.constantFrom("node1", "node2", undefined), ready: fc.constantFrom(true, false, undefined), serving: fc.constantFrom(true, false, undefined) }),
  { maxLength: 4 },
);
const arbitraryService = fc
  .record({ labels: arbitraryLabels, localTraffic: fc.boolean(), ingress: fc.shuffledSubarray(["172.20.255.200", "fd00:20::1"]) })
  .map((overrides) => service(overrides));

describe("determinism", () => {
  it("gives the same verdict for any order of nodes, advertisements, endpoints and addresses", () => {
    fc.assert(
      fc.property(arbitraryNodes, arbitraryAds, arbitraryEndpoints, arbitraryService, (nodes, ads, endpoints, subject) => {
        const forward = judge({ nodes, config: config(...ads), endpoints, service: subject });
        const backward = judge({
          nodes: nodes.toReversed(),
          config: config(...ads.toReversed()),
          endpoints: endpoints.toReversed(),
          service: { ...subject, ingress: subject.ingress.toReversed() },
        });
        expect(backward).toEqual(forward);
      }),
    );
  });

  it("gives every node the same candidates and addresses", () => {
    fc.assert(
      fc.property(arbitraryNodes, arbitraryAds, arbitraryEndpoints, arbitraryService, (nodes, ads, endpoints, subject) => {
        const views = ["node1", "node2", "elsewhere"].map((name) => {
          const verdict = judge({ nodes, config: config(...ads), endpoints, service: subject, options: { node: name } });
          return verdict.kind === "announce" ? { addresses: verdict.addresses, candidates: verdict.candidates } : verdict;
        });
        expect(views[1]).toEqual(views[0]);
        expect(views[2]).toEqual(views[0]);
      }),
    );
  });
});
