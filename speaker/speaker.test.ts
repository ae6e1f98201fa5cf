import { afterEach, describe, expect, it } from "vitest";
import { DEFAULT_GATEWAYS } from "../config/default-gateways.ts";
import { configurationStates, endpointSlices, events, l2Advertisements, nodes, serviceL2Statuses, services } from "../kube/objects.ts";
import { EXCLUDE_LABEL } from "./election/eligibility.ts";
import { addService, Cluster, namespace, setPool } from "./fake-cluster.ts";
import { stuckThreadMs } from "./speaker.ts";

let cluster = new Cluster();
async function started(): Promise<Cluster> {
  cluster = new Cluster();
  addService(cluster.api, "svc1", "172.20.255.200");
  await cluster.start("node1", "node2", "node3");
  return cluster;
}

afterEach(async () => {
  const stops = [...cluster.speakers.values()].map((speaker) => speaker.stop());
  await cluster.clock.advance(2_000);
  await Promise.all(stops);
});

describe("Speaker", () => {
  it("has one node announce, says so in status and event, once", async () => {
    const { api, clock } = await started();
    const owner = cluster.theOwner("172.20.255.200");
    expect(cluster.statusNodes()).toEqual([owner]);
    const said = [{ name: "svc1", message: `announcing from node "${owner}" with protocol "layer2"` }];
    expect(cluster.eventsOf("nodeAssigned")).toEqual(said);
    api.put(nodes, { metadata: { name: "node2", labels: { unrelated: "label" } } });
    await clock.advance(3_000);
    expect(cluster.eventsOf("nodeAssigned")).toEqual(said);
    expect(api.peekAll(events).every((event) => event.count === 1)).toBe(true);
    expect(api.peekAll(serviceL2Statuses)[0]?.metadata.ownerReferences).toMatchObject([{ kind: "Pod", name: `speaker-${owner}` }]);
  });

  it.each([
    ["its node's NetworkUnavailable", (name: string) => ({ metadata: { name }, status: { conditions: [{ type: "NetworkUnavailable", status: "True" }] } })],
    ["the exclude label", (name: string) => ({ metadata: { name, labels: { [EXCLUDE_LABEL]: "" } } })],
  ])("changes the leader on %s and changes back when it is cleared", async (_title, object) => {
    const { api, clock } = await started();
    const first = cluster.theOwner("172.20.255.200");
    api.put(nodes, object(first));
    await clock.advance(3_000);
    const second = cluster.theOwner("172.20.255.200");
    expect(second).not.toBe(first);
    expect(cluster.statusNodes()).toEqual([second]);
    expect(cluster.eventsOf("nodeAssigned")).toHaveLength(2);
    api.put(nodes, { metadata: { name: first } });
    await clock.advance(3_000);
    expect(cluster.theOwner("172.20.255.200")).toBe(first);
    expect(cluster.statusNodes()).toEqual([first]);
  });

  it("hands over what changed and nothing else", async () => {
    const { api, clock } = await started();
    const thread = cluster.threads.get("node1");
    addService(api, "svc2", "172.20.255.201");
    await clock.advance(100);
    expect(thread?.tables.at(-1)).toMatchObject({ full: false, upsert: [{ address: "172.20.255.201" }], remove: [] });
    const tables = thread?.tables.length;
    for (const name of ["node1", "node2", "node3"]) api.put(nodes, { metadata: { name, annotations: { heartbeat: name } } });
    await clock.advance(100);
    expect(thread?.tables).toHaveLength(tables ?? -1);
  });

  it("withdraws a deleted Service and its status", async () => {
    const { api, clock } = await started();
    api.remove(services, { namespace: "default", name: "svc1" });
    await clock.advance(3_000);
    expect(cluster.owners("172.20.255.200")).toEqual([]);
    expect(cluster.statusNodes()).toEqual([]);
  });

  it("withdraws a Service without endpoints, and follows them under local traffic", async () => {
    const { api, clock } = await started();
    addService(api, "svc1", "172.20.255.200", { externalTrafficPolicy: "Local" });
    await clock.advance(3_000);
    expect(cluster.owners("172.20.255.200")).toEqual(["node2"]);
    api.remove(endpointSlices, { namespace: "default", name: "svc1-1" });
    await clock.advance(3_000);
    expect(cluster.owners("172.20.255.200")).toEqual([]);
  });

  it("says nothing of a Service that it had for a moment only, in a burst of others", async () => {
    const { api, clock } = await started();
    addService(api, "svc2", "172.20.255.201");
    addService(api, "svc3", "172.20.255.202");
    addService(api, "svc4", "172.20.255.203");
    await clock.advance(100);
    for (const name of ["svc2", "svc3", "svc4"]) api.remove(endpointSlices, { namespace: "default", name: `${name}-1` });
    await clock.advance(100);
    const soFar = cluster.eventsOf("nodeAssigned").length;
    await clock.advance(3_000);
    expect(cluster.owners("172.20.255.202")).toEqual([]);
    expect(cluster.eventsOf("nodeAssigned"), "nobody announces them any more").toHaveLength(soFar);
  });

  it("counts the endpoints of all slices, whatever their address type, and follows a slice from Service to Service", async () => {
    const { api, clock } = await started();
    const endpoints = [{ addresses: ["fd00::9"], nodeName: "node3", conditions: { ready: false, serving: true, terminating: true } }];
    const labels = { "kubernetes.io/service-name": "svc1" };
    api.put(endpointSlices, { metadata: { name: "svc1-6", namespace: "default", labels }, addressType: "IPv6", endpoints });
    addService(api, "svc2", "172.20.255.201", { externalTrafficPolicy: "Local" });
    await clock.advance(100);
    api.remove(endpointSlices, { namespace: "default", name: "svc1-1" });
    await clock.advance(100);
    expect(cluster.owners("172.20.255.200")).toHaveLength(1);
    api.put(endpointSlices, { metadata: { name: "svc1-6", namespace: "default", labels: { "kubernetes.io/service-name": "svc2" } }, addressType: "IPv6", endpoints });
    api.remove(endpointSlices, { namespace: "default", name: "svc2-1" });
    await clock.advance(100);
    expect(cluster.owners("172.20.255.200")).toEqual([]);
    expect(cluster.owners("172.20.255.201")).toEqual(["node3"]);
  });

  it("goes back to all nodes when traffic is no longer local", async () => {
    const { api, clock } = await started();
    const before = cluster.theOwner("172.20.255.200");
    addService(api, "svc1", "172.20.255.200", { externalTrafficPolicy: "Local" });
    await clock.advance(3_000);
    expect(cluster.owners("172.20.255.200")).toEqual(["node2"]);
    addService(api, "svc1", "172.20.255.200");
    await clock.advance(3_000);
    expect(cluster.owners("172.20.255.200")).toEqual([before]);
    expect(cluster.statusNodes()).toEqual([before]);
  });

  it("withdraws a Service whose address became a hostname, or another address, and says so in its status", async () => {
    const { api, clock } = await started();
    const service = api.peek(services, { namespace: "default", name: "svc1" });
    if (service === undefined) throw new Error("no Service");
    api.put(services, { ...service, status: { loadBalancer: { ingress: [{ ip: "172.20.255.209" }] } } });
    await clock.advance(3_000);
    expect(cluster.owners("172.20.255.200")).toEqual([]);
    expect(cluster.statusNodes()).toEqual([cluster.theOwner("172.20.255.209")]);
    api.put(services, { ...service, status: { loadBalancer: { ingress: [{ hostname: "lb.example" }] } } });
    await clock.advance(3_000);
    expect(cluster.owners("172.20.255.209")).toEqual([]);
    expect(cluster.statusNodes()).toEqual([]);
    expect(cluster.logged).toContainEqual({ event: "serviceWithdrawn", fields: { key: "default/svc1", reason: "invalidIP" } });
  });

  it("says in its log why a Service that has an address is not announced, once for each reason", async () => {
    const { api, clock } = await started();
    const lines = (): unknown[] => cluster.logged.filter(({ event }) => event === "serviceNotAnnounced").map(({ fields }) => fields);
    api.remove(l2Advertisements, { namespace, name: "my-l2-advertise" });
    await clock.advance(1_000);
    addService(api, "svc2", "172.20.255.201");
    await clock.advance(1_000);
    addService(api, "svc2", "172.20.255.201", { externalTrafficPolicy: "Local" });
    await clock.advance(1_000);
    const said = [1, 2, 3].map(() => ({ key: "default/svc2", reason: "noMatchingAdvertisement" }));
    expect(lines()).toEqual(said);
    api.put(services, { metadata: { name: "svc3", namespace: "default" }, spec: { type: "LoadBalancer" } });
    await clock.advance(1_000);
    expect(lines(), "one that waits for its address is the controller's business").toEqual(said);
  });

  it("waits for every cache before it announces anything", async () => {
    cluster = new Cluster();
    addService(cluster.api, "svc1", "172.20.255.200");
    cluster.api.outage(true);
    await cluster.start("node1");
    expect(cluster.threads.get("node1")?.tables).toEqual([]);
    expect(cluster.speakers.get("node1")?.readiness()).toMatch(/table/);
    cluster.api.outage(false);
    await cluster.clock.advance(15_000);
    expect(cluster.threads.get("node1")?.tables[0]).toMatchObject({ version: 1, full: true, upsert: [{ address: "172.20.255.200" }] });
    expect(cluster.speakers.get("node1")?.readiness()).toBeUndefined();
  });

  it("keeps announcing while the API server is gone", async () => {
    const { api, clock } = await started();
    const owner = cluster.theOwner("172.20.255.200");
    api.outage(true);
    await clock.advance(120_000);
    expect(cluster.owners("172.20.255.200")).toEqual([owner]);
    api.outage(false);
    await clock.advance(15_000);
    expect(cluster.owners("172.20.255.200")).toEqual([owner]);
    expect(cluster.statusNodes()).toEqual([owner]);
  });

  it("keeps the last good configuration and says why", async () => {
    const { api, clock } = await started();
    setPool(api, ["172.20.255.200-banana"]);
    await clock.advance(3_000);
    expect(cluster.owners("172.20.255.200")).toHaveLength(1);
    expect(api.peek(configurationStates, { namespace, name: "speaker-node1" })?.status).toMatchObject({
      result: "Invalid",
      errorSummary: expect.stringMatching(/^configuration error: IPAddressPool my-ippool: /),
      conditions: [{ type: "configReconcilerValid", status: "False", reason: "ConfigurationError" }],
    });
    expect(await cluster.metrics.get("node1")?.registry.metrics()).toMatch(/config_stale_bool 1\n/);
    setPool(api, ["172.20.255.200-172.20.255.250"]);
    await clock.advance(3_000);
    expect(api.peek(configurationStates, { namespace, name: "speaker-node1" })?.status).toMatchObject({ result: "Valid", errorSummary: "" });
    const text = await cluster.metrics.get("node1")?.registry.metrics();
    expect(text).toMatch(/config_stale_bool 0\n/);
    expect(text).toMatch(/config_loaded_bool 1\n/);
  });

  it("refuses pools that leave an announced address out until the Service has moved", async () => {
    const { api, clock } = await started();
    setPool(api, ["172.20.255.210-172.20.255.250"]);
    await clock.advance(3_000);
    expect(cluster.owners("172.20.255.200")).toHaveLength(1);
    expect(api.peek(configurationStates, { namespace, name: "speaker-node1" })?.status).toMatchObject({ result: "Invalid", errorSummary: expect.stringContaining("default/svc1") });
    addService(api, "svc1", "172.20.255.210");
    await clock.advance(3_000);
    expect(cluster.owners("172.20.255.200")).toEqual([]);
    expect(cluster.owners("172.20.255.210")).toHaveLength(1);
    expect(api.peek(configurationStates, { namespace, name: "speaker-node1" })?.status).toMatchObject({ result: "Valid" });
  });

  it("says announceFailed when the elected node lacks the interfaces, and writes no status", async () => {
    const { api, clock } = await started();
    api.put(l2Advertisements, { metadata: { name: "my-l2-advertise", namespace }, spec: { interfaces: ["eth9"] } });
    await clock.advance(3_000);
    expect(cluster.eventsOf("announceFailed")).toEqual([{ name: "svc1", message: expect.stringContaining('["eth9"]') }]);
    expect(cluster.statusNodes()).toEqual([]);
  });

  it("shows its metrics, on the announcing node only", async () => {
    await started();
    const owner = cluster.theOwner("172.20.255.200");
    for (const [node, { registry }] of cluster.metrics) {
      const text = await registry.metrics();
      const line = `metallb_speaker_announced{service="default/svc1",protocol="layer2",node="${node}",ip="172.20.255.200"} 1`;
      expect(text.includes(line)).toBe(node === owner);
      expect(text.includes('metallb_layer2_gratuitous_sent{ip="172.20.255.200"} 5')).toBe(node === owner);
      expect(text).toContain('herald_packets_dropped_total{reason="notOwner"} 7');
    }
  });

  it("logs the interfaces when those that announce change, not for each that comes with a pod", async () => {
    await started();
    const eth0 = { name: "eth0", index: 2, mac: "02:00:00:00:00:01", usable: true };
    const pod = { name: "veth9", index: 9, mac: "02:00:00:00:00:09", usable: false, reason: "enslaved" } as const;
    const thread = cluster.threads.get("node1");
    thread?.tell({ kind: "started", interfaces: [eth0] });
    thread?.tell({ kind: "interfaces", interfaces: [eth0, pod] });
    thread?.tell({ kind: "interfaces", interfaces: [eth0] });
    thread?.tell({ kind: "interfaces", interfaces: [{ ...eth0, usable: false, reason: "noCarrier" }] });
    const lines = cluster.logged.filter(({ event }) => event === "interfaces").map(({ fields }) => fields?.["interfaces"]);
    expect(lines).toEqual([["eth0"], ["eth0 (noCarrier)"]]);
  });

  it("says once per Service that it cannot announce, however many addresses it has", async () => {
    cluster = new Cluster();
    const { api } = cluster;
    setPool(api, ["172.20.255.200-172.20.255.250", "fd00::1-fd00::9"]);
    addService(api, "svc1", "172.20.255.200");
    const service = api.peek(services, { namespace: "default", name: "svc1" });
    if (service === undefined) throw new Error("no Service");
    api.put(services, { ...service, status: { loadBalancer: { ingress: [{ ip: "172.20.255.200" }, { ip: "fd00::1" }] } } });
    api.put(l2Advertisements, { metadata: { name: "my-l2-advertise", namespace }, spec: { interfaces: ["eth9"] } });
    await cluster.start("node1", "node2", "node3");
    expect(api.peekAll(events).filter(({ reason }) => reason === "announceFailed").map(({ count }) => count)).toEqual([1]);
  });

  it("writes its ConfigurationState again when somebody deletes or edits it", async () => {
    const { api, clock } = await started();
    const name = { namespace, name: "speaker-node1" };
    api.remove(configurationStates, name);
    await clock.advance(5_000);
    expect(api.peek(configurationStates, name)?.status).toMatchObject({ result: "Valid", errorSummary: "" });
    setPool(api, ["172.20.255.200-banana"]);
    await clock.advance(3_000);
    const before = api.peek(configurationStates, name)?.status;
    api.remove(configurationStates, name);
    await clock.advance(5_000);
    expect(api.peek(configurationStates, name)?.status).toEqual(before);
    await api.patch(configurationStates, name, { status: { result: "Valid", errorSummary: "" } }, { subresource: "status" });
    await clock.advance(5_000);
    expect(api.peek(configurationStates, name)?.status).toEqual(before);
    const calls = api.calls.length;
    await clock.advance(60_000);
    expect(api.calls.slice(calls).filter(({ verb, plural }) => verb === "patch" && plural === "configurationstates")).toEqual([]);
  });

  it("tells its node's default gateways on its ConfigurationState: nothing twice, and again when somebody edits it", async () => {
    cluster = new Cluster();
    const { api, clock } = cluster;
    const gateways = ["10.0.0.1", "fe80::1"];
    cluster.defaultGateways = (node) => (node === "node1" ? gateways : []).map((address) => ({ address, interfaceName: "eth0", metric: 0 }));
    await cluster.start("node1", "node2");
    const name = { namespace, name: "speaker-node1" };
    const told = (object = name): string | undefined => api.peek(configurationStates, object)?.metadata.annotations?.[DEFAULT_GATEWAYS];
    const patches = (): number => api.calls.filter(({ verb, plural }) => verb === "patch" && plural === "configurationstates").length;
    expect([told(), told({ namespace, name: "speaker-node2" })]).toEqual(["10.0.0.1", ""]);
    const atStart = patches();
    await clock.advance(600_000);
    expect(patches() - atStart).toBe(0);
    gateways.push("10.0.0.2");
    await clock.advance(10_000);
    expect([told(), patches() - atStart]).toEqual(["10.0.0.1,10.0.0.2", 2]);
    for (const edit of ["10.0.0.9", null]) {
      await api.patch(configurationStates, name, { metadata: { annotations: { [DEFAULT_GATEWAYS]: edit } } });
      await clock.advance(5_000);
      expect(told()).toBe("10.0.0.1,10.0.0.2");
    }
    expect(api.peek(configurationStates, name)?.status).toMatchObject({ result: "Valid" });
  });

  it("a change of interfaces shows in the status, and leaves why and since when the node announces", async () => {
    const { api, clock } = await started();
    const thread = cluster.threads.get(cluster.theOwner("172.20.255.200"));
    const interfaces = [{ name: "eth0", index: 2, mac: "02:00:00:00:00:77", usable: true }];
    const fact = { kind: "owned", address: "172.20.255.200", reason: "InterfacesChanged", interfaces } as const;
    thread?.tell({ ...fact, sinceUnixMs: Date.UTC(2026, 0, 1) });
    await clock.advance(3_000);
    expect(api.peekAll(serviceL2Statuses)[0]?.status).toMatchObject({ reason: "FirstInRank", since: "2026-01-01T00:00:00Z", mac: "02:00:00:00:00:77" });
    thread?.tell({ kind: "lost", address: fact.address, reason: "NoUsableInterface" });
    thread?.tell({ ...fact, sinceUnixMs: Date.UTC(2026, 0, 2) });
    await clock.advance(3_000);
    expect(api.peekAll(serviceL2Statuses)[0]?.status).toMatchObject({ reason: "InterfacesChanged", since: "2026-01-02T00:00:00Z" });
  });

  it("labels its ConfigurationState with what a label may hold, however long the Node's name is", async () => {
    cluster = new Cluster();
    const node = `${"n".repeat(80)}.example`;
    await cluster.start(node);
    const { labels } = cluster.api.peek(configurationStates, { namespace, name: `speaker-${node}` })?.metadata ?? {};
    expect(labels?.["metallb.io/node-name"]).toMatch(/^n{54}-[0-9a-f]{8}$/);
  });

  it("is alive while the packet thread turns", async () => {
    await started();
    const thread = cluster.threads.get("node1");
    expect(cluster.speakers.get("node1")?.liveness()).toBeUndefined();
    if (thread !== undefined) thread.silentMs = stuckThreadMs + 1;
    expect(cluster.speakers.get("node1")?.liveness()).toMatch(/packet thread/);
  });

  it("leaves its status when it stops, and adopts it when it starts again", async () => {
    const { api, clock } = await started();
    const owner = cluster.theOwner("172.20.255.200");
    const [before] = api.peekAll(serviceL2Statuses);
    const stopping = cluster.speakers.get(owner)?.stop();
    await clock.advance(2_000);
    await stopping;
    expect(cluster.threads.get(owner)?.stopped).toBe(true);
    await cluster.start(owner);
    expect(api.peekAll(serviceL2Statuses).map((object) => object.metadata.name)).toEqual([before?.metadata.name]);
  });
});
