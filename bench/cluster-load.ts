/**
 * What the benches that need a cluster have in common: many Services, a controller started by hand, and waiting until
 * each has its address. Runs inside the lab's control host, where the API server is.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import type { KubeClient } from "../kube/client.ts";
import { createKubeClient, loadKubeConfig } from "../kube/http-client.ts";
import { type Service, ipAddressPools, l2Advertisements, services } from "../kube/objects.ts";
import { systemClock } from "../sys/clock.ts";

const dist = process.env["HERALD_DIST"] ?? resolve(import.meta.dirname, "../dist");

/** Namespace of the Services; all of them go to one Deployment's pods. */
export const NAMESPACE = "default";
const IN_FLIGHT = 32;
/** A busy machine takes long to answer. */
const REQUEST_TIMEOUT_MS = 60_000;

/** A client with as many requests in flight as the controller has. KUBECONFIG says where the server is. */
export function connect(): KubeClient & { close(): void } {
  return createKubeClient({ kubeConfig: loadKubeConfig(), userAgent: "herald-bench", clock: systemClock, maxInFlight: IN_FLIGHT, requestTimeoutMs: REQUEST_TIMEOUT_MS });
}

/** Runs `work` over all items, IN_FLIGHT at a time. */
export async function forAll<T>(items: readonly T[], work: (item: T, index: number) => Promise<unknown>): Promise<void> {
  let next = 0;
  await Promise.all(
    Array.from({ length: IN_FLIGHT }, async () => {
      for (let index = next++; index < items.length; index = next++) {
        const item = items[index];
        if (item !== undefined) await work(item, index);
      }
    }),
  );
}

/** A pool of 4,096 addresses and its advertisement. */
export async function createPool(client: KubeClient): Promise<void> {
  const metadata = { name: "bench", namespace: "metallb-system" };
  await client.create(ipAddressPools, { apiVersion: "metallb.io/v1beta1", kind: "IPAddressPool", metadata, spec: { addresses: ["172.20.16.0/20"] } });
  await client.create(l2Advertisements, { apiVersion: "metallb.io/v1beta1", kind: "L2Advertisement", metadata, spec: {} });
}

/** Names of so many Services. */
export function serviceNames(count: number): string[] {
  return Array.from({ length: count }, (_, index) => `bench-${String(index).padStart(5, "0")}`);
}

/** Creates pending Services before the pods of `app`. */
export async function createServices(client: KubeClient, names: readonly string[], app: string): Promise<void> {
  await forAll(names, (name) =>
    client.create(services, {
      apiVersion: "v1",
      kind: "Service",
      metadata: { name, namespace: NAMESPACE },
      spec: { type: "LoadBalancer", selector: { app }, ports: [{ protocol: "TCP", port: 80 }] },
    }),
  );
}

/** Resolves when so many Services have an address. Says when the first and the last got it, in ms of `performance.now()`. */
export async function untilAssigned(client: KubeClient, count: number, timeoutMs: number): Promise<{ first: number; last: number }> {
  const assigned = new Set<string>();
  let first = Number.NaN;
  const see = (service: Service): boolean => {
    if (hasAddress(service)) assigned.add(`${service.metadata.namespace}/${service.metadata.name}`);
    if (assigned.size > 0 && Number.isNaN(first)) first = performance.now();
    return assigned.size >= count;
  };
  const abort = new AbortController();
  const limit = setTimeout(() => abort.abort(), timeoutMs);
  try {
    // The API server closes a watch that it finds slow, which happens on two busy cores: list and watch again then.
    while (!abort.signal.aborted) {
      const { items, resourceVersion } = await client.list(services);
      if (items.filter(see).length > 0 && assigned.size >= count) return { first, last: performance.now() };
      for await (const event of client.watch(services, { resourceVersion, signal: abort.signal })) {
        if (event.type !== "BOOKMARK" && see(event.object)) return { first, last: performance.now() };
      }
    }
  } finally {
    clearTimeout(limit);
    abort.abort();
  }
  throw new Error(`${assigned.size} of ${count} Services have an address after ${timeoutMs / 1000} s`);
}

function hasAddress({ status }: Service): boolean {
  return (status?.loadBalancer?.ingress?.length ?? 0) > 0;
}

/** Takes every Service's address, annotation and conditions away again, as if no controller had ever been. */
export async function clearStatuses(client: KubeClient, names: readonly string[]): Promise<void> {
  await forAll(names, (name) =>
    client.patch(services, { namespace: NAMESPACE, name }, { metadata: { annotations: { "metallb.io/ip-allocated-from-pool": null } }, status: { loadBalancer: { ingress: null }, conditions: null } }, { subresource: "status" }),
  );
}

/** setpriv (util-linux) has the kernel end the program when the bench dies, whatever kills it. Used where it exists. */
const SETPRIV = "/usr/bin/setpriv";

/** Starts a program of dist/ with ports of its own. */
export function startProgram(program: "controller.mjs" | "speaker.mjs", args: readonly string[], env: Readonly<Record<string, string>> = {}): ChildProcess {
  const argv = [process.execPath, join(dist, program), ...args];
  const [file = "", ...rest] = existsSync(SETPRIV) ? [SETPRIV, "--pdeathsig", "TERM", ...argv] : argv;
  return spawn(file, rest, { env: { ...process.env, METALLB_NAMESPACE: "metallb-system", ...env }, stdio: ["ignore", "ignore", "inherit"] });
}

/** Ends a program and waits for it. */
export async function stopProgram(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((done) => child.once("exit", done));
  child.kill("SIGTERM");
  const limit = setTimeout(() => child.kill("SIGKILL"), 5000);
  await ended;
  clearTimeout(limit);
}

/** Memory of a process from /proc/PID/smaps_rollup and status, in MB (10^6 bytes). */
export function memoryOf(pid: number): { rss: number; anonymous: number; file: number } {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  const megabytes = (key: string): number => (Number(new RegExp(`^${key}:\\s+(\\d+) kB`, "m").exec(status)?.[1] ?? Number.NaN) * 1024) / 1e6;
  return { rss: megabytes("VmRSS"), anonymous: megabytes("RssAnon"), file: megabytes("RssFile") };
}

/** The middle value; the mean of the two middle ones of an even number. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}
