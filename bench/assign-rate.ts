/**
 * How fast a controller that starts gives addresses to Services that wait, beside a plain program that writes as many
 * statuses as fast as the API server takes them. Both are processes of their own, watched by a third; the rate is that from
 * the first status to the last. `--runs=N` (3), `--cases=1000,10000,1000-8,10000-8`. Each run is written down at once:
 * started again, the bench goes on where it was interrupted.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type AssignWorld, type Layout, clearAll, createPending, startAssignWorld } from "./assign-world.ts";
import { median, startProgram, stopProgram, untilAssigned } from "./cluster-load.ts";
import { cpuSecondsOf, statOf } from "./cpu-time.ts";
import { printFigure } from "./figure.ts";
import { textOption } from "./options.ts";
import { Samples, wantedRuns } from "./samples.ts";

const BENCH = "assign-rate";
const TIMEOUT_MS = 600_000;

interface Case {
  readonly count: number;
  readonly layout: Layout;
  readonly goal: string;
}

const CASES: Readonly<Record<string, Case>> = {
  "1000": { count: 1000, layout: "one pool", goal: ">= 0.8" },
  "10000": { count: 10_000, layout: "one pool", goal: ">= 0.8" },
  "1000-8": { count: 1000, layout: "8 pools", goal: ">= 0.6" },
  "10000-8": { count: 10_000, layout: "8 pools", goal: ">= 0.6" },
};

interface Run {
  /** Statuses per second from the first to the last. */
  readonly rate: number;
  /** From the start of the process to the last status. */
  readonly totalMs: number;
  /** Time of the processor that the program took per status, from its start; that of the API server and of etcd. */
  readonly ownUs: number;
  readonly serverUs: number;
}

for (const name of textOption("cases")?.split(",") ?? Object.keys(CASES)) {
  const wanted = CASES[name];
  if (wanted === undefined) throw new Error(`no case ${name}; there are ${Object.keys(CASES).join(", ")}`);
  const samples = new Samples(BENCH, titleOf(wanted));
  if (samples.count < wantedRuns(3)) await measure(wanted, samples);
  report(wanted, samples);
}

function titleOf({ count, layout }: Case): string {
  return `${count} Services, ${layout === "one pool" ? layout : "8 pools, selectors, 30 % shared"}`;
}

async function measure({ count, layout }: Case, samples: Samples): Promise<void> {
  const world = await startAssignWorld(layout);
  try {
    await createPending(world.client, layout, count);
    while (samples.count < wantedRuns(3)) {
      const controller = await measureRun(world, count, startController);
      await clearAll(world.client);
      const plain = await measureRun(world, count, startPlain);
      await clearAll(world.client);
      const values = { ...prefixed("controller", controller), ...prefixed("plain", plain) };
      samples.add(values);
    }
  } finally {
    await world.stop();
  }
}

function prefixed(who: string, run: Run): Record<string, number> {
  return Object.fromEntries(Object.entries(run).map(([name, value]) => [`${who} ${name}`, value as number]));
}

function report(wanted: Case, samples: Samples): void {
  const base = { bench: BENCH, samples: samples.count };
  const what = titleOf(wanted);
  const of = (who: string, name: keyof Run): number[] => samples.of(`${who} ${name}`);
  const ratios = of("controller", "rate").map((rate, index) => rate / (of("plain", "rate")[index] ?? Number.NaN));
  for (const [metric, value] of [["median", median(ratios)], ["lowest", Math.min(...ratios)], ["highest", Math.max(...ratios)]] as const) {
    printFigure({ ...base, case: `${what}: controller's rate, as a part of the plain program's`, metric, value, unit: "", ...(metric === "median" ? { goal: wanted.goal } : {}) });
  }
  // Both programs keep two cores busy, so that this is what the rates come to when nobody else uses them.
  const work = (who: string): number[] => of(who, "ownUs").map((own, index) => own + (of(who, "serverUs")[index] ?? Number.NaN));
  const share = work("plain").map((plain, index) => plain / (work("controller")[index] ?? Number.NaN));
  printFigure({ ...base, case: `${what}: plain program's processor time with API server and etcd, as a part of the controller's`, metric: "median", value: median(share), unit: "" });
  for (const [who, key] of [["controller", "controller"], ["plain program", "plain"]] as const) {
    printFigure({ ...base, case: `${what}: ${who}, first to last status`, metric: "median", value: median(of(key, "rate")), unit: "1/s" });
    printFigure({ ...base, case: `${what}: ${who}, its processor time per status`, metric: "median", value: median(of(key, "ownUs")) / 1000, unit: "ms" });
    printFigure({ ...base, case: `${what}: ${who}, processor time of API server and etcd per status`, metric: "median", value: median(of(key, "serverUs")) / 1000, unit: "ms" });
    printFigure({ ...base, case: `${what}: ${who}, process started to last status`, metric: "median", value: median(of(key, "totalMs")) / 1000, unit: "s" });
  }
}

function startController(): ChildProcess {
  return startProgram("controller.mjs", ["--port=0", "--health-probe-port=0", "--log-level=error", "--webhook-mode=disabled"]);
}

function startPlain(): ChildProcess {
  return spawn(process.execPath, [join(import.meta.dirname, "plain-patcher.ts")], { stdio: ["ignore", "ignore", "inherit"] });
}

async function measureRun({ client }: AssignWorld, count: number, start: () => ChildProcess): Promise<Run> {
  const waiting = untilAssigned(client, count, TIMEOUT_MS);
  const serverBefore = cpuOfServer();
  const started = performance.now();
  const child = start();
  try {
    const { first, last } = await waiting;
    const ownUs = (cpuSecondsOf(child.pid ?? 0) * 1e6) / count;
    const serverUs = ((cpuOfServer() - serverBefore) * 1e6) / count;
    return { rate: (count - 1) / ((last - first) / 1000), totalMs: last - started, ownUs, serverUs };
  } finally {
    await stopProgram(child);
  }
}

/** That of the API server and of etcd, our children, read at once: what follows the last status is not counted. Seconds. */
function cpuOfServer(): number {
  const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name)).map(Number);
  return pids.filter(isOurServer).reduce((sum, pid) => sum + cpuSecondsOf(pid), 0);
}

function isOurServer(pid: number): boolean {
  try {
    return Number(statOf(pid)[1]) === process.pid && /^(kube-apiserver|etcd)$/.test(readFileSync(`/proc/${pid}/comm`, "utf8").trim());
  } catch {
    // It has ended meanwhile.
    return false;
  }
}
