/**
 * A controller that has many Services: memory at 1,000 and at 10,000, how long a new one among 10,000 waits for its
 * address, what is written per address, and what is written when nothing happens. `--quiet-minutes=N` (10),
 * `--new=N` (300) new Services.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { KubeClient } from "../kube/client.ts";
import { services } from "../kube/objects.ts";
import type { ApiServer } from "../test/apiserver/api-server.ts";
import { benchService, createPending, startAssignWorld, writesBetween, writesTaken } from "./assign-world.ts";
import { forAll, memoryOf, startProgram, stopProgram, untilAssigned } from "./cluster-load.ts";
import { printFigure } from "./figure.ts";
import { numberOption } from "./options.ts";
import { quantile } from "./samples.ts";

const TIMEOUT_MS = 300_000;
const SETTLE_MS = 20_000;
const FEW = 1000;
const MANY = 10_000;
const BENCH = "assign-many";
/** Pause between new Services, so that each meets a controller at rest. */
const BETWEEN_MS = 50;

const quietMinutes = numberOption("quiet-minutes", 10);
const newServices = numberOption("new", 300);
const { server, client, stop } = await startAssignWorld("one pool");
// As in the image, whose environment has it.
const controller = startProgram("controller.mjs", ["--port=0", "--health-probe-port=0", "--log-level=error", "--webhook-mode=disabled"], { MALLOC_ARENA_MAX: "2" });
try {
  await sleep(SETTLE_MS);
  recordMemory("idle", "");
  const before = await writesTaken(server);
  await createPending(client, "one pool", FEW);
  await untilAssigned(client, FEW, TIMEOUT_MS);
  await sleep(SETTLE_MS);
  recordMemory("1,000 Services", "< 90 MB");
  recordWrites(writesBetween(before, await writesTaken(server)));
  await createRest(client);
  await untilAssigned(client, MANY, TIMEOUT_MS);
  await untilQuiet(server);
  recordMemory("10,000 Services", "< 160 MB");
  await recordLatency(client);
  await untilQuiet(server);
  await recordSteady(server);
} finally {
  await stopProgram(controller);
  await stop();
}

function recordMemory(when: string, goal: string): void {
  const { rss, anonymous } = memoryOf(controller.pid ?? 0);
  const figure = { bench: BENCH, case: `controller, ${when}`, unit: "MB" };
  printFigure({ ...figure, metric: "VmRSS", value: rss, ...(goal === "" ? {} : { goal }) });
  printFigure({ ...figure, metric: "of it: heap, stacks, buffers (RssAnon)", value: anonymous });
}

function recordWrites(writes: ReadonlyMap<string, number>): void {
  const per = (what: string): number => (writes.get(what) ?? 0) / FEW;
  const figure = { bench: BENCH, unit: "", samples: FEW, metric: "mean" };
  printFigure({ ...figure, case: "writes per address: patches of services/status", value: per("PATCH services/status"), goal: "1" });
  printFigure({ ...figure, case: "writes per address: events created", value: per("POST events"), goal: "1" });
  printFigure({ ...figure, case: "writes per address: events patched", value: per("PATCH events"), goal: "0" });
}

async function createRest(api: KubeClient): Promise<void> {
  const rest = Array.from({ length: MANY - FEW }, (_, index) => benchService("one pool", FEW + index));
  await forAll(rest, (service) => api.create(services, service));
}

/**
 * From just before a Service's creation, and from the answer to it, to its status on a watch; beside it, by turns, the same
 * of Services of another class, which the controller leaves alone and to which we write a status ourselves at once: the
 * floor of this machine. `assign-latency.ts` says where the time goes.
 */
async function recordLatency(api: KubeClient): Promise<void> {
  const waits = { controller: [] as number[], floor: [] as number[], controllerCreated: [] as number[], floorCreated: [] as number[] };
  const abort = new AbortController();
  const { resourceVersion } = await api.list(services);
  const seen = new Map<string, () => void>();
  const watching = (async () => {
    for await (const event of api.watch(services, { resourceVersion, signal: abort.signal })) {
      if (event.type !== "BOOKMARK" && (event.object.status?.loadBalancer?.ingress ?? []).length > 0) seen.get(event.object.metadata.name)?.();
    }
  })();
  for (let index = 0; index < 2 * newServices; index++) {
    const service = benchService("one pool", MANY + index);
    const isOurs = index % 2 === 1;
    if (isOurs) service.spec.loadBalancerClass = "example.com/bench";
    const { name, namespace = "" } = service.metadata;
    const assigned = new Promise<void>((resolve) => seen.set(name, resolve));
    const start = performance.now();
    await api.create(services, service);
    const created = performance.now();
    if (isOurs) await api.patch(services, { namespace, name }, { status: { loadBalancer: { ingress: [{ ip: "192.0.2.1", ipMode: "VIP" }] } } }, { subresource: "status" });
    await assigned;
    const shown = performance.now();
    waits[isOurs ? "floor" : "controller"].push(shown - start);
    waits[isOurs ? "floorCreated" : "controllerCreated"].push(shown - created);
    await sleep(BETWEEN_MS);
  }
  abort.abort();
  await watching;
  for (const [metric, part, goal] of [["p50", 0.5, "< 15 ms"], ["p99", 0.99, "< 60 ms"], ["max", 1, ""]] as const) {
    const figure = { bench: BENCH, metric, unit: "ms", samples: newServices };
    printFigure({ ...figure, case: "a new Service among 10,000: creation to status", value: quantile(waits.controller, part), ...(goal === "" ? {} : { goal }) });
    printFigure({ ...figure, case: "a new Service among 10,000: the answer to its creation to status", value: quantile(waits.controllerCreated, part), ...(goal === "" ? {} : { goal }) });
    printFigure({ ...figure, case: "floor: its creator writes the status, as soon as it is created", value: quantile(waits.floor, part) });
    printFigure({ ...figure, case: "floor: the same, from the answer to the creation", value: quantile(waits.floorCreated, part) });
  }
}

/** Waits until the last events are written. */
async function untilQuiet(api: ApiServer): Promise<void> {
  for (let last = -1, now = eventsOf(await writesTaken(api)); now !== last; now = eventsOf(await writesTaken(api))) {
    last = now;
    await sleep(SETTLE_MS / 2);
  }
}

function eventsOf(writes: ReadonlyMap<string, number>): number {
  return (writes.get("POST events") ?? 0) + (writes.get("PATCH services/status") ?? 0);
}

async function recordSteady(api: ApiServer): Promise<void> {
  const before = await writesTaken(api);
  await sleep(quietMinutes * 60_000);
  const writes = writesBetween(before, await writesTaken(api));
  console.log(`${quietMinutes} minutes: ${JSON.stringify(Object.fromEntries(writes))}`);
  // The Lease is renewed every 2 seconds, and the API server keeps one of its own.
  const others = [...writes].filter(([what]) => !what.endsWith(" leases")).reduce((sum, [, count]) => sum + count, 0);
  printFigure({ bench: BENCH, case: `${MANY} Services, ${quietMinutes} minutes in which nothing happens: writes, Leases apart`, metric: "sum", value: others, unit: "", goal: "0" });
}
