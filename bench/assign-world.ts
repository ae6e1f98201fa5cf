/**
 * A bare API server (etcd and kube-apiserver, nobody else: no kube-proxy, no controller manager, no speaker) with pending
 * Services on it, for benches of the controller. Nothing takes time there but what is measured, so that it is the hardest
 * comparison for a controller: the API server is as fast as it can be.
 */
import { readdirSync } from "node:fs";
import { join, resolve } from "node:path";
import type { KubeClient } from "../kube/client.ts";
import { createKubeClient } from "../kube/http-client.ts";
import { ipAddressPools, namespaces, type Service, services } from "../kube/objects.ts";
import { KubeConfig } from "@kubernetes/client-node/dist/config.js";
import { systemClock } from "../sys/clock.ts";
import { type ApiServer, startApiServer } from "../test/apiserver/api-server.ts";
import { forAll } from "./cluster-load.ts";

const CRDS = resolve(import.meta.dirname, "../crds");
/** Where Herald's own resources are. */
const SYSTEM = "metallb-system";

/** What the Services ask for: all the same of one pool, or eight pools with selectors and a part that shares. */
export type Layout = "one pool" | "8 pools";

/** Groups of Services in the layout of eight pools: a namespace and a label each. */
const GROUPS = 8;
/** Of ten Services, so many share their address with another, in pairs. */
const SHARING_OF_TEN = 3;

export interface AssignWorld {
  readonly server: ApiServer;
  readonly client: KubeClient & { close(): void };
  stop(): Promise<void>;
}

/** Starts the API server and installs Herald's resources and the layout's pools. */
export async function startAssignWorld(layout: Layout): Promise<AssignWorld> {
  const server = await startApiServer();
  process.env["KUBECONFIG"] = server.kubeconfig;
  const kubeConfig = new KubeConfig();
  kubeConfig.loadFromFile(server.kubeconfig);
  const client = createKubeClient({ kubeConfig, userAgent: "herald-bench", clock: systemClock, maxInFlight: 32, requestTimeoutMs: 60_000 });
  for (const file of readdirSync(CRDS)) await done(server, ["apply", "--server-side", "-f", join(CRDS, file)]);
  await done(server, ["wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"]);
  await client.create(namespaces, { metadata: { name: SYSTEM } });
  await createPools(client, layout);
  const stop = async (): Promise<void> => {
    client.close();
    await server.stop();
  };
  return { server, client, stop };
}

async function done(server: ApiServer, args: readonly string[]): Promise<void> {
  const { code, stderr } = await server.kubectl(args);
  if (code !== 0) throw new Error(`kubectl ${args.join(" ")}: ${stderr}`);
}

async function createPools(client: KubeClient, layout: Layout): Promise<void> {
  const base = { apiVersion: "metallb.io/v1beta1", kind: "IPAddressPool" };
  if (layout === "one pool") {
    await client.create(ipAddressPools, { ...base, metadata: { name: "bench", namespace: SYSTEM }, spec: { addresses: ["172.16.0.0/16"] } });
    return;
  }
  for (let group = 0; group < GROUPS; group++) {
    await client.create(namespaces, { metadata: { name: namespaceOf(layout, group), labels: { team: `t${group}` } } });
    const selectors = { namespaceSelectors: [{ matchLabels: { team: `t${group}` } }], serviceSelectors: [{ matchExpressions: [{ key: "tier", operator: "In", values: [`tier${group}`, "any"] }] }] };
    await client.create(ipAddressPools, { ...base, metadata: { name: `bench-${group}`, namespace: SYSTEM }, spec: { addresses: [`172.${16 + group}.0.0/16`], serviceAllocation: { priority: 10 + group, ...selectors } } });
  }
}

function namespaceOf(layout: Layout, index: number): string {
  return layout === "one pool" ? "default" : `bench-${index % GROUPS}`;
}

/** A pending Service; the `index`-th of many. */
export function benchService(layout: Layout, index: number): Service {
  const name = `bench-${String(index).padStart(5, "0")}`;
  const namespace = namespaceOf(layout, index);
  if (layout === "one pool") return { metadata: { name, namespace }, spec: specWith(80) };
  const round = Math.floor(index / GROUPS);
  const shares = round % 10 < SHARING_OF_TEN;
  // Two Services of one group that follow each other share one address, on two ports.
  const key = `${namespace}-${Math.floor(round / 2)}`;
  return {
    metadata: { name, namespace, labels: { tier: `tier${index % GROUPS}`, app: "none" }, ...(shares ? { annotations: { "metallb.io/allow-shared-ip": key } } : {}) },
    spec: specWith(shares ? 80 + (round % 2) : 80),
  };
}

/** Without node ports, of which a cluster has fewer than 3,000. */
function specWith(port: number): Service["spec"] {
  const spec = { type: "LoadBalancer", allocateLoadBalancerNodePorts: false, selector: { app: "none" }, ports: [{ protocol: "TCP", port }] } as const;
  return { ...spec, ports: [...spec.ports] };
}

/** Creates so many pending Services. */
export async function createPending(client: KubeClient, layout: Layout, count: number): Promise<void> {
  await forAll(Array.from({ length: count }, (_, index) => benchService(layout, index)), (service) => client.create(services, service));
}

/** Takes every Service's address, annotation and conditions away again, as if no controller had ever been. */
export async function clearAll(client: KubeClient): Promise<void> {
  const { items } = await client.list(services);
  const bench = items.filter(({ metadata }) => metadata.name.startsWith("bench-"));
  const nothing = { metadata: { annotations: { "metallb.io/ip-allocated-from-pool": null } }, status: { loadBalancer: { ingress: null }, conditions: null } };
  await forAll(bench, ({ metadata: { name, namespace = "" } }) => client.patch(services, { namespace, name }, nothing, { subresource: "status" }));
}

/** Writes (creates, replaces, patches and deletes) that the API server has taken so far, by "VERB resource/subresource". */
export async function writesTaken(server: ApiServer): Promise<Map<string, number>> {
  const { code, stdout, stderr } = await server.kubectl(["get", "--raw", "/metrics"]);
  if (code !== 0) throw new Error(stderr);
  const counts = new Map<string, number>();
  for (const line of stdout.split("\n")) {
    if (!line.startsWith("apiserver_request_total{")) continue;
    const label = (name: string): string => new RegExp(`[{,]${name}="([^"]*)"`).exec(line)?.[1] ?? "";
    if (!/^(POST|PUT|PATCH|APPLY|DELETE)$/.test(label("verb"))) continue;
    const what = `${label("verb")} ${label("resource")}${label("subresource") === "" ? "" : `/${label("subresource")}`}`;
    counts.set(what, (counts.get(what) ?? 0) + Number(line.slice(line.lastIndexOf(" ") + 1)));
  }
  return counts;
}

/** What was written between two counts. */
export function writesBetween(before: ReadonlyMap<string, number>, after: ReadonlyMap<string, number>): Map<string, number> {
  return new Map([...after].map(([what, count]) => [what, count - (before.get(what) ?? 0)] as const).filter(([, count]) => count > 0));
}
