import { describe, expect, it } from "vitest";
import { FakeKubeClient } from "../kube/fake-client.ts";
import { pods } from "../kube/objects.ts";
import type { Pod } from "../kube/objects.ts";
import { FakeClock } from "../sys/fake-clock.ts";
import { silentLogger } from "../sys/log.ts";
import { seededRandom } from "../sys/random.ts";
import { KNOWN_SELECTORS, SpeakerPeers, peersOf, selectorsFor } from "./speaker-peers.ts";

const namespace = "metallb-system";
const chart = { "app.kubernetes.io/name": "metallb", "app.kubernetes.io/component": "speaker" };

function pod(name: string, nodeName: string, podIP: string | undefined, rest: { labels?: Record<string, string>; deletionTimestamp?: string; phase?: string } = {}): Pod {
  const { labels = chart, deletionTimestamp, phase = "Running" } = rest;
  return {
    metadata: { name, namespace, labels, ...(deletionTimestamp === undefined ? {} : { deletionTimestamp }) },
    spec: { nodeName, hostNetwork: true },
    status: { phase, ...(podIP === undefined ? {} : { podIP }) },
  };
}

interface Setup {
  readonly client: FakeKubeClient;
  readonly clock: FakeClock;
  readonly peers: SpeakerPeers;
  /** Each list told, as "node address" lines. */
  readonly told: string[][];
}

function setUp(labels: string): Setup {
  const client = new FakeKubeClient();
  const clock = new FakeClock();
  const told: string[][] = [];
  const peers = new SpeakerPeers({
    client, clock, random: seededRandom(1), log: silentLogger, node: "node1", namespace, labels, family: "IPv4",
    onPeers: (list) => void told.push(list.map(({ node, address }) => `${node} ${address}`)),
  });
  return { client, clock, peers, told };
}

describe("SpeakerPeers", () => {
  it("tells the whole list at once, then each change of it and nothing else", async () => {
    const { client, clock, peers, told } = setUp("app.kubernetes.io/name=metallb,app.kubernetes.io/component=speaker");
    for (const n of [1, 2, 3]) client.put(pods, pod(`speaker-${n}`, `node${n}`, `172.20.0.1${n}`));
    client.put(pods, pod("controller", "node4", "10.0.0.4", { labels: { ...chart, "app.kubernetes.io/component": "controller" } }));
    peers.start();
    await clock.advance(10_000);
    expect(told).toEqual([["node2 172.20.0.12", "node3 172.20.0.13"]]);
    client.put(pods, { ...pod("speaker-2", "node2", "172.20.0.12"), metadata: { name: "speaker-2", namespace, labels: { ...chart, more: "labels" } } });
    await clock.advance(0);
    expect(told).toHaveLength(1);
    client.remove(pods, { namespace, name: "speaker-3" });
    client.put(pods, pod("speaker-5", "node5", "172.20.0.15"));
    await clock.advance(0);
    expect(told.at(-1)).toEqual(["node2 172.20.0.12", "node5 172.20.0.15"]);
    await peers.stop();
  });

  it("tells of an empty list, and of none while the API server is away", async () => {
    const { client, clock, peers, told } = setUp("app=metallb,component=speaker");
    client.outage(true);
    peers.start();
    await clock.advance(60_000);
    expect(told).toEqual([]);
    client.outage(false);
    await clock.advance(15_000);
    expect(told).toEqual([[]]);
    await peers.stop();
  });

  it("keeps the list through an outage", async () => {
    const { client, clock, peers, told } = setUp("app=metallb,component=speaker");
    client.put(pods, pod("speaker-2", "node2", "172.20.0.12"));
    peers.start();
    await clock.advance(1_000);
    client.outage(true);
    await clock.advance(600_000);
    client.outage(false);
    await clock.advance(15_000);
    expect(told).toEqual([["node2 172.20.0.12"]]);
    await peers.stop();
  });

  it("finds MetalLB's speakers and Herald's, whichever labels are given", async () => {
    const { client, clock, peers, told } = setUp("my=speakers");
    client.put(pods, pod("a", "node2", "172.20.0.12", { labels: chart }));
    client.put(pods, pod("b", "node3", "172.20.0.13", { labels: { ...chart, "app.kubernetes.io/name": "herald" } }));
    client.put(pods, pod("c", "node4", "172.20.0.14", { labels: { app: "metallb", component: "speaker" } }));
    client.put(pods, pod("d", "node5", "172.20.0.15", { labels: { my: "speakers" } }));
    client.put(pods, pod("e", "node6", "172.20.0.16", { labels: { my: "others" } }));
    peers.start();
    await clock.advance(1_000);
    expect(told).toEqual([["node2 172.20.0.12", "node3 172.20.0.13", "node4 172.20.0.14", "node5 172.20.0.15"]]);
    await peers.stop();
  });
});

describe("selectorsFor", () => {
  it.each([
    "app.kubernetes.io/name=metallb,app.kubernetes.io/component=speaker",
    "app.kubernetes.io/component==speaker, app.kubernetes.io/name=herald",
    "component=speaker,app=metallb",
  ])("%s is known already", (labels) => expect(selectorsFor(labels)).toEqual(KNOWN_SELECTORS));
  it.each(["app=metallb", "app in (metallb,other),component=speaker"])("%s is looked for besides", (labels) => expect(selectorsFor(labels)).toEqual([...KNOWN_SELECTORS, labels]));
});

describe("peersOf", () => {
  const own = { node: "node1", family: "IPv4" } as const;

  it("one per node: the pod that stays, else the newer one", () => {
    const old = { ...pod("old", "node2", "172.20.0.12"), metadata: { name: "old", creationTimestamp: "2026-01-01T00:00:00Z" } };
    const young = { ...pod("young", "node2", "172.20.0.99"), metadata: { name: "young", creationTimestamp: "2026-01-02T00:00:00Z" } };
    expect(peersOf([old, young], own)).toEqual([{ node: "node2", address: "172.20.0.99" }]);
    expect(peersOf([young, old], own)).toEqual([{ node: "node2", address: "172.20.0.99" }]);
    const going = { ...young, metadata: { ...young.metadata, deletionTimestamp: "2026-01-03T00:00:00Z" } };
    expect(peersOf([old, going], own)).toEqual([{ node: "node2", address: "172.20.0.12" }]);
  });

  it("leaves out this node, pods without a place or an address, and pods that have ended", () => {
    expect(peersOf([
      pod("own", "node1", "172.20.0.11"),
      pod("pending", "", "172.20.0.12"),
      pod("starting", "node3", undefined),
      pod("evicted", "node4", "172.20.0.14", { phase: "Failed" }),
      pod("nonsense", "node5", "not an address"),
    ], own)).toEqual([]);
  });

  it("takes the address of the sockets' family, and the node's for a pod on its network that has none yet", () => {
    const dual: Pod = { ...pod("dual", "node2", "172.20.0.12"), status: { podIP: "172.20.0.12", podIPs: [{ ip: "172.20.0.12" }, { ip: "FD00:20::0012" }] } };
    const early: Pod = { ...pod("early", "node3", undefined), status: { hostIP: "172.20.0.13", hostIPs: [{ ip: "172.20.0.13" }, { ip: "fd00:20::13" }] } };
    expect(peersOf([dual, early], own)).toEqual([{ node: "node2", address: "172.20.0.12" }, { node: "node3", address: "172.20.0.13" }]);
    expect(peersOf([dual, early], { ...own, family: "IPv6" })).toEqual([{ node: "node2", address: "fd00:20::12" }, { node: "node3", address: "fd00:20::13" }]);
    expect(peersOf([{ ...early, spec: { nodeName: "node3" } }], own)).toEqual([]);
  });
});
