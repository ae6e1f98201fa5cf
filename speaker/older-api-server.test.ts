import { afterEach, expect, test } from "vitest";
import { serviceL2Statuses, services } from "../kube/objects.ts";
import { addService, Cluster } from "./fake-cluster.ts";

const cluster = new Cluster();
afterEach(async () => {
  const stops = [...cluster.speakers.values()].map((speaker) => speaker.stop());
  await cluster.clock.advance(2_000);
  await Promise.all(stops);
});

test("a Service whose address has no ipMode, as an API server before Kubernetes 1.29 keeps it, is announced, and told once", async () => {
  const { api, clock } = cluster;
  addService(api, "svc1", "172.20.255.200");
  const service = api.peek(services, { namespace: "default", name: "svc1" });
  if (service === undefined) throw new Error("no service");
  service.status = { loadBalancer: { ingress: [{ ip: "172.20.255.200" }] } };
  api.put(services, service);
  await cluster.start("node1", "node2", "node3");
  const owner = cluster.theOwner("172.20.255.200");
  expect(cluster.statusNodes()).toEqual([owner]);
  const version = api.peekAll(serviceL2Statuses)[0]?.metadata.resourceVersion;
  const calls = api.calls.length;
  api.put(services, { ...service, metadata: { ...service.metadata, labels: { touched: "yes" } } });
  await clock.advance(60_000);
  expect(cluster.theOwner("172.20.255.200")).toBe(owner);
  expect(api.peekAll(serviceL2Statuses)[0]?.metadata.resourceVersion).toBe(version);
  const written = api.calls.slice(calls).filter(({ verb }) => verb === "create" || verb === "patch" || verb === "replace" || verb === "delete");
  expect(written).toEqual([]);
});
