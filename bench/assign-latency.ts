/**
 * Where the time goes between a Service's creation and its address, among 10,000 that have theirs. By turns one that the
 * controller serves, and one of another class, to which its creator writes a status itself as soon as it is created: the
 * floor of this machine. `--services=N` (10,000), `--new=N` (300) new Services.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { KubeClient } from "../kube/client.ts";
import { type Service, services } from "../kube/objects.ts";
import { benchService, createPending, startAssignWorld, writesTaken } from "./assign-world.ts";
import { stopProgram, untilAssigned } from "./cluster-load.ts";
import { printFigure } from "./figure.ts";
import { monotonicMs } from "./monotonic.ts";
import { numberOption } from "./options.ts";
import { quantile } from "./samples.ts";
import type { Step } from "./timed-controller.ts";

const TIMEOUT_MS = 600_000;
/** Pause between new Services, so that each meets a controller at rest. */
const BETWEEN_MS = 50;
const QUIET_MS = 5000;

/** What happened to one Service, by `monotonicMs`. */
interface Times {
  sent: number;
  created: number;
  /** The controller's steps, and the status on the bench's own watch. */
  seen?: number;
  patching?: number;
  patched?: number;
  shown?: number;
}

const count = numberOption("services", 10_000);
const newServices = numberOption("new", 300);
const times = new Map<string, Times>();
const { server, client, stop } = await startAssignWorld("one pool");
const controller = startTimedController();
try {
  console.log(`creating ${count} Services, which takes the longer the more there are`);
  await createPending(client, "one pool", count);
  await untilAssigned(client, count, TIMEOUT_MS);
  await untilQuiet();
  console.log(`${count} have their addresses; creating ${newServices} and as many for the floor, one by one`);
  await createOneByOne(client);
  report();
} finally {
  await stopProgram(controller);
  await stop();
}

function startTimedController(): ChildProcess {
  const child = spawn(process.execPath, [join(import.meta.dirname, "timed-controller.ts")], { stdio: ["ignore", "ignore", "inherit", "ipc"] });
  child.on("message", (message: unknown) => {
    // The program sends nothing else.
    const { name, step, atMs } = message as Step;
    const entry = times.get(name);
    if (entry !== undefined) entry[step] ??= atMs;
  });
  return child;
}

/** Waits until the last events are written. */
async function untilQuiet(): Promise<void> {
  const writes = async (): Promise<number> => [...(await writesTaken(server)).values()].reduce((sum, value) => sum + value, 0);
  // The API server's own Lease and the like go on for ever.
  for (let last = await writes(); ; ) {
    await sleep(QUIET_MS);
    const now = await writes();
    if (now - last < 20) return;
    last = now;
  }
}

async function createOneByOne(api: KubeClient): Promise<void> {
  const abort = new AbortController();
  const { resourceVersion } = await api.list(services);
  const shown = new Map<string, () => void>();
  const watching = (async () => {
    for await (const event of api.watch(services, { resourceVersion, signal: abort.signal })) {
      if (event.type !== "BOOKMARK" && (event.object.status?.loadBalancer?.ingress ?? []).length > 0) shown.get(event.object.metadata.name)?.();
    }
  })();
  for (let index = 0; index < 2 * newServices; index++) {
    const service = benchService("one pool", count + index);
    const { name } = service.metadata;
    const entry: Times = { sent: Number.NaN, created: Number.NaN };
    times.set(name, entry);
    const isShown = new Promise<void>((resolve) => {
      shown.set(name, () => {
        entry.shown ??= monotonicMs();
        resolve();
      });
    });
    await (isFloor(index) ? serveIt(api, service, entry) : createIt(api, service, entry));
    await isShown;
    await sleep(BETWEEN_MS);
  }
  abort.abort();
  await watching;
}

function isFloor(index: number): boolean {
  return index % 2 === 1;
}

async function createIt(api: KubeClient, service: Service, entry: Times): Promise<void> {
  entry.sent = monotonicMs();
  await api.create(services, service);
  entry.created = monotonicMs();
}

/** As the controller would, with no way to go: it knows of the Service by the answer to its creation. */
async function serveIt(api: KubeClient, service: Service, entry: Times): Promise<void> {
  service.spec.loadBalancerClass = "example.com/bench";
  await createIt(api, service, entry);
  const { name, namespace = "" } = service.metadata;
  entry.patching = monotonicMs();
  await api.patch(services, { namespace, name }, { status: { loadBalancer: { ingress: [{ ip: "192.0.2.1", ipMode: "VIP" }] } } }, { subresource: "status" });
  entry.patched = monotonicMs();
}

function report(): void {
  const entries = [...times.values()];
  const served = entries.filter((_, index) => !isFloor(index));
  const floor = entries.filter((_, index) => isFloor(index));
  const complete = served.filter(({ seen, patching, patched }) => seen !== undefined && patching !== undefined && patched !== undefined);
  if (complete.length < served.length) throw new Error(`the controller told of ${complete.length} of ${served.length} Services`);
  const what = `a new Service among ${count}`;
  const rows: readonly (readonly [string, readonly Times[], keyof Times, keyof Times])[] = [
    [`${what}: from just before its creation to its status`, served, "sent", "shown"],
    [`${what}: from the answer to its creation to its status`, served, "created", "shown"],
    ["of it: its creation, until the API server has answered", served, "sent", "created"],
    ["of it: from that answer until the controller sees it on its watch (below 0: before the answer)", served, "created", "seen"],
    ["of it: the controller's own time, until its patch is on its way", served, "seen", "patching"],
    ["of it: from the patch to the status on a watch", served, "patching", "shown"],
    ["the controller's patch, until the API server has answered", served, "patching", "patched"],
    ["floor: its creator writes the status: from just before its creation", floor, "sent", "shown"],
    ["floor: its creator writes the status: from the answer to its creation", floor, "created", "shown"],
    ["floor: of it: its creation, until the API server has answered", floor, "sent", "created"],
    ["floor: its creator's patch, until the API server has answered", floor, "patching", "patched"],
  ];
  for (const [name, from, start, end] of rows) {
    const spans = from.map((entry) => (entry[end] ?? Number.NaN) - (entry[start] ?? Number.NaN));
    const isGoal = name.startsWith(what);
    for (const [metric, part, goal] of [["p50", 0.5, "< 15 ms"], ["p99", 0.99, "< 60 ms"]] as const) {
      printFigure({ bench: "assign-latency", case: name, metric, value: quantile(spans, part), unit: "ms", samples: spans.length, ...(isGoal ? { goal } : {}) });
    }
  }
}
