/**
 * A full lab whose nodes have Herald's image: how long from `helm install`, into a cluster that has nothing of Herald's, until
 * all its pods are Ready; and then from `kubectl apply` of a pool, an advertisement and a Service whose pods are ready until the
 * first answer by ARP that a client gets, who asks every 10 ms.
 */
import { loadavg } from "node:os";
import { join } from "node:path";
import { FullLab, whyNoFullLab } from "../../test/lab/full/full-lab.ts";
import { backends } from "../../test/lab/full/workloads.ts";
import { HERALD_NAMESPACE } from "../../test/lab/pods.ts";
import { poll } from "../../test/lab/poll.ts";
import { CHECKOUT } from "../../test/lab/programs.ts";
import { advertisement, pool } from "../../test/lab/resources.ts";
import { service } from "../../test/lab/walkthrough/manifests.ts";
import { startArpWatch } from "../failover/arp-watch.ts";
import { Samples, wantedRuns } from "../samples.ts";
import { PodWatch } from "./pod-watch.ts";

const RUNS = 5;
const WORKERS = 3;
const CONTROLLERS = 2;
/** A speaker on every node, and the controllers. */
const PODS = WORKERS + 1 + CONTROLLERS;
const ADDRESS = "172.20.255.200";
const BUDGET_MS = 120_000;

const runs = wantedRuns(RUNS);
const samples = new Samples("full-install", `${WORKERS} workers and a control-plane node`);
if (samples.count < runs) await measure();
for (const [name, what, goals] of [
  ["ready", "helm install until all pods are Ready", { max: "< 8000 ms" }],
  ["helm", "of it: helm install itself", {}],
  ["created", "of it: until the last pod is there", {}],
  ["running", "of it: until the last container runs", {}],
  ["answer", "kubectl apply until the first answer by ARP", { max: "< 1500 ms" }],
  ["apply", "of it: kubectl apply itself", {}],
] as const) samples.printQuantiles(name, { what, unit: "ms", goals });
samples.print({ case: "load of the machine when a run begins", metric: "max", value: Math.max(...samples.of("load")), unit: "" }, undefined);

async function measure(): Promise<void> {
  const reason = whyNoFullLab();
  if (reason !== undefined) throw new Error(reason);
  const lab = await FullLab.up({ name: "bench-full", nodes: WORKERS });
  let failed = true;
  try {
    await lab.apply(JSON.stringify(backends("bench", { replicas: 2 })));
    await lab.kubectl(["rollout", "status", "deployment/bench", "--timeout=90s"]);
    // Puts the image on every node, and warms the machine's caches.
    await lab.startHerald();
    while (samples.count < runs) {
      await forget(lab);
      const [load = 0] = loadavg();
      samples.add({ ...await install(lab), ...await announce(lab), load });
    }
    failed = false;
  } finally {
    await lab.down({ failed });
  }
}

/** Takes away all that installing made, and what was applied since. */
async function forget(lab: FullLab): Promise<void> {
  await lab.kubectl(["delete", "service", "bench", "--ignore-not-found"]);
  await lab.stopHerald();
  await lab.kubectl(["delete", "namespace", HERALD_NAMESPACE, "--ignore-not-found"]);
  const definitions = (await lab.kubectl(["get", "customresourcedefinitions", "-o", "name"])).split("\n").filter((name) => name.endsWith(".metallb.io"));
  if (definitions.length > 0) await lab.kubectl(["delete", ...definitions]);
}

async function install(lab: FullLab): Promise<{ ready: number; helm: number; created: number; running: number }> {
  const watch = new PodWatch(lab);
  try {
    const begin = Date.now();
    await lab.helm(["install", "herald", join(CHECKOUT, "charts/herald"), "--namespace", HERALD_NAMESPACE, "--create-namespace"]);
    const helm = Date.now() - begin;
    const pods = await watch.untilReady(PODS, BUDGET_MS);
    const last = (time: "createdAt" | "runningAt" | "readyAt"): number => Math.max(...pods.map((pod) => pod[time])) - begin;
    return { ready: last("readyAt"), helm, created: last("createdAt"), running: last("runningAt") };
  } finally {
    watch.stop();
  }
}

async function announce(lab: FullLab): Promise<{ answer: number; apply: number }> {
  const asker = await startArpWatch(lab, ADDRESS, 10);
  try {
    const begin = Date.now();
    await lab.apply(`${pool("bench", [`${ADDRESS}-${ADDRESS}`])}${advertisement("bench")}---\n${service({ name: "bench" })}`);
    const apply = Date.now() - begin;
    const [first] = await poll(() => asker.lines.find(([, mac]) => mac !== undefined), { timeoutMs: BUDGET_MS, intervalMs: 5, what: `an answer for ${ADDRESS}` });
    if (first < begin) throw new Error(`somebody answered for ${ADDRESS} before it was anybody's`);
    return { answer: first - begin, apply };
  } finally {
    await asker.stop();
  }
}
