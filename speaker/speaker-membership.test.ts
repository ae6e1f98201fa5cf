import { afterEach, describe, expect, it } from "vitest";
import { nodes, pods, serviceL2Statuses } from "../kube/objects.ts";
import { addService, Cluster, namespace } from "./fake-cluster.ts";

let cluster = new Cluster();
async function started(options: { readonly membership: boolean }): Promise<Cluster> {
  cluster = new Cluster();
  cluster.membership = options.membership;
  addService(cluster.api, "svc1", "172.20.255.200");
  await cluster.start("node1", "node2", "node3");
  return cluster;
}

afterEach(async () => {
  const stops = [...cluster.speakers.values()].map((speaker) => speaker.stop());
  await cluster.clock.advance(2_000);
  await Promise.all(stops);
});

async function metricLines(node: string, name: string): Promise<string[]> {
  const text = await cluster.metrics.get(node)?.registry.metrics();
  return (text ?? "").split("\n").filter((line) => line.startsWith(name));
}

describe("Speaker with membership", () => {
  it("tells the packet thread who the others are, and that what it knows is true now", async () => {
    const { threads } = await started({ membership: true });
    expect(threads.get("node1")?.told).toContainEqual({ kind: "peers", peers: [{ node: "node2", address: "172.20.0.12" }, { node: "node3", address: "172.20.0.13" }] });
    expect(threads.get("node1")?.told).toContainEqual({ kind: "fresh", fresh: true });
    expect(threads.get("node1")?.told).toHaveLength(2);
    expect(await metricLines("node1", "herald_api_fresh")).toEqual(["herald_api_fresh 1"]);
  });

  it("is ready only when the packet thread knows the others: in a rolling update the next one stops then", async () => {
    const { speakers, threads } = await started({ membership: true });
    expect(speakers.get("node1")?.readiness()).toMatch(/other speakers/);
    threads.get("node1")?.tell({ kind: "settled" });
    expect(speakers.get("node1")?.readiness()).toBeUndefined();
  });

  it("tells of a speaker that comes, and of watches that hang and are followed anew", async () => {
    const { api, clock, threads } = await started({ membership: true });
    const told = threads.get("node1")?.told;
    api.put(pods, { metadata: { name: "speaker-4", namespace, labels: { app: "metallb", component: "speaker" } }, spec: { nodeName: "node4" }, status: { podIP: "172.20.0.14" } });
    await clock.advance(100);
    expect(told?.at(-1)).toMatchObject({ kind: "peers", peers: [{ node: "node2" }, { node: "node3" }, { node: "node4" }] });
    api.hang(true);
    await clock.advance(3_000);
    expect(told?.at(-1)).toEqual({ kind: "fresh", fresh: false });
    // What happens meanwhile is known as soon as the server answers again.
    const owner = cluster.theOwner("172.20.255.200");
    api.put(nodes, { metadata: { name: owner }, status: { conditions: [{ type: "NetworkUnavailable", status: "True" }] } });
    await clock.advance(600_000);
    expect(cluster.owners("172.20.255.200")).toEqual([owner]);
    api.hang(false);
    await clock.advance(1_000);
    expect(told?.at(-1)).toEqual({ kind: "fresh", fresh: true });
    expect(cluster.theOwner("172.20.255.200")).not.toBe(owner);
  });

  it("without membership it looks for nobody and probes nothing", async () => {
    const { api, clock, threads } = await started({ membership: false });
    await clock.advance(60_000);
    expect(threads.get("node1")?.told).toEqual([]);
    expect(api.calls.filter(({ verb, plural }) => verb === "list" && plural === "pods")).toEqual([]);
  });

  it("logs and counts members, verdicts and why addresses move", async () => {
    const { threads } = await started({ membership: true });
    const thread = threads.get("node1");
    thread?.tell({ kind: "member", node: "node2", state: "alive", before: undefined, isHerald: true });
    thread?.tell({ kind: "member", node: "node3", state: "alive", before: undefined, isHerald: false });
    thread?.tell({ kind: "member", node: "node2", state: "suspect", before: "alive", isHerald: true });
    thread?.tell({ kind: "verdict", node: "node2", class: "powerOff", silentForMs: 203.4 });
    thread?.tell({ kind: "member", node: "node2", state: "dead", before: "suspect", isHerald: true });
    const interfaces = [{ name: "eth0", index: 2, mac: "02:00:00:00:00:01", usable: true }];
    thread?.tell({ kind: "owned", address: "172.20.255.209", sinceUnixMs: 0, reason: "OwnerDead", interfaces });
    thread?.tell({ kind: "owned", address: "172.20.255.209", sinceUnixMs: 0, reason: "InterfacesChanged", interfaces });
    thread?.tell({ kind: "handingOver", address: "172.20.255.209", to: "node3" });
    thread?.tell({ kind: "lost", address: "172.20.255.209", reason: "HandedOver" });
    const lines = cluster.logged.filter(({ event }) => event.startsWith("member") || ["speakerGivenUp", "addressHandingOver"].includes(event));
    expect(lines).toEqual([
      { event: "memberAlive", fields: { node: "node2", before: "unknown", isHerald: true } },
      { event: "memberAlive", fields: { node: "node3", before: "unknown", isHerald: false } },
      { event: "speakerGivenUp", fields: { node: "node2", class: "powerOff", silentForMs: 203 } },
      { event: "memberDead", fields: { node: "node2", before: "suspect", isHerald: true } },
      { event: "addressHandingOver", fields: { address: "172.20.255.209", to: "node3" } },
    ]);
    expect(await metricLines("node1", "herald_members{")).toEqual(['herald_members{state="alive"} 1', 'herald_members{state="suspect"} 0', 'herald_members{state="dead"} 1', 'herald_members{state="left"} 0']);
    expect(await metricLines("node1", "herald_member_changes_total{")).toContain('herald_member_changes_total{state="alive"} 2');
    expect(await metricLines("node1", "herald_speaker_verdicts_total{")).toEqual(['herald_speaker_verdicts_total{class="powerOff"} 1']);
    expect(await metricLines("node1", "herald_addresses_taken_total{")).toContain('herald_addresses_taken_total{reason="OwnerDead"} 1');
    expect(await metricLines("node1", "herald_addresses_lost_total{")).toEqual(['herald_addresses_lost_total{reason="HandedOver"} 1']);
  });

  it("a clean stop leaves status objects to the next leader", async () => {
    const { api, clock, threads, speakers } = await started({ membership: true });
    const owner = cluster.theOwner("172.20.255.200");
    const before = api.peekAll(serviceL2Statuses);
    const stopping = speakers.get(owner)?.stop();
    threads.get(owner)?.tell({ kind: "handingOver", address: "172.20.255.200", to: "node9" });
    threads.get(owner)?.tell({ kind: "lost", address: "172.20.255.200", reason: "HandedOver" });
    await clock.advance(3_000);
    await stopping;
    expect(threads.get(owner)?.stopped).toBe(true);
    expect(api.peekAll(serviceL2Statuses)).toEqual(before);
  });
});
