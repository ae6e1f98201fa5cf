/**
 * How fast a controller that starts gives addresses to Services that wait, beside a plain program that writes as many
 * statuses as fast as the API server takes them. Both are processes of their own, watched by a third; the rate is that from
 * the first status to the last. `--runs=N`, `--cases=1000,10000,1000-8,10000-8`.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type AssignWorld, type Layout, clearAll, createPending, startAssignWorld } from "./assign-world.ts";
import { median, startProgram, stopProgram, untilAssigned } from "./cluster-load.ts";
import { printFigure } from "./figure.ts";
import { wantedRuns } from "./samples.ts";

const TIMEOUT_MS = 180_000;
/** USER_HZ, which is 100 on every Linux. */
const TICKS_PER_SECOND = 100;
const CASES: Readonly<Record<string, { readonly count: number; readonly layout: Layout; readonly goal: string }>> = {
  "1000": { count: 1000, layout: "one pool", goal: ">= 0.8" },
  "10000": { count: 10_000, layout: "one pool", goal: ">= 0.8" },
  "1000-8": { count: 1000, layout: "8 pools", goal: ">= 0.6" },
  "10000-8": { count: 10_000, layout: "8 pools", goal: ">= 0.6" },
};

interface Run {
  /** Statuses per second from the first to the last. */
  readonly rate: number;
  /** From the start of the process to the last status, seconds. */
  readonly total: number;
  /** Time of the processor that the program took per status, from its start, ms. */
  readonly ownCpu: number;
  /** As above: that of the API server and of etcd. */
  readonly serverCpu: number;
}

const given = process.argv.map((arg) => /^--cases=(.+)$/.exec(arg)?.[1]).find((value) => value !== undefined);
for (const name of given?.split(",") ?? Object.keys(CASES)) {
  const wanted = CASES[name];
  if (wanted === undefined) throw new Error(`no case ${name}; there are ${Object.keys(CASES).join(", ")}`);
  await measure(wanted);
}

async function measure({ count, layout, goal }: { count: number; layout: Layout; goal: string }): Promise<void> {
  const world = await startAssignWorld(layout);
  const runs: { readonly controller: Run; readonly plain: Run; readonly ratio: number }[] = [];
  try {
    await createPending(world.client, layout, count);
    for (let run = 0; run < wantedRuns(3); run++) {
      const controller = await runController(world, count);
      await clearAll(world.client);
      const plain = await runPlain(world, count);
      await clearAll(world.client);
      runs.push({ controller, plain, ratio: controller.rate / plain.rate });
      console.log(`${count}, ${layout}: controller ${controller.rate.toFixed(0)}/s (${controller.total.toFixed(2)} s from its start), plain ${plain.rate.toFixed(0)}/s (${plain.total.toFixed(2)} s), ${runs.at(-1)?.ratio.toFixed(2)}; CPU per status: ${controller.ownCpu.toFixed(2)} + ${controller.serverCpu.toFixed(2)}, plain ${plain.ownCpu.toFixed(2)} + ${plain.serverCpu.toFixed(2)} ms`);
    }
  } finally {
    await world.stop();
  }
  const base = { bench: "assign-rate", samples: runs.length };
  const what = `${count} Services, ${layout === "one pool" ? layout : "8 pools, selectors, 30 % shared"}`;
  const ratios = runs.map(({ ratio }) => ratio);
  for (const [metric, value] of [["median", median(ratios)], ["lowest", Math.min(...ratios)], ["highest", Math.max(...ratios)]] as const) {
    printFigure({ ...base, case: `${what}: controller's rate, as a part of the plain program's`, metric, value, unit: "", ...(metric === "median" ? { goal } : {}) });
  }
  // Both programs keep two cores busy, so that this is what the rates come to when nobody else uses them.
  const work = ({ ownCpu, serverCpu }: Run): number => ownCpu + serverCpu;
  printFigure({ ...base, case: `${what}: plain program's processor time with API server and etcd, as a part of the controller's`, metric: "median", value: median(runs.map(({ controller, plain }) => work(plain) / work(controller))), unit: "" });
  for (const [who, pick] of [["controller", (run: (typeof runs)[number]) => run.controller], ["plain program", (run: (typeof runs)[number]) => run.plain]] as const) {
    printFigure({ ...base, case: `${what}: ${who}, first to last status`, metric: "median", value: median(runs.map((run) => pick(run).rate)), unit: "1/s" });
    printFigure({ ...base, case: `${what}: ${who}, its processor time per status`, metric: "median", value: median(runs.map((run) => pick(run).ownCpu)), unit: "ms" });
    printFigure({ ...base, case: `${what}: ${who}, processor time of API server and etcd per status`, metric: "median", value: median(runs.map((run) => pick(run).serverCpu)), unit: "ms" });
    printFigure({ ...base, case: `${what}: ${who}, process started to last status`, metric: "median", value: median(runs.map((run) => pick(run).total)), unit: "s" });
  }
}

async function runController(world: AssignWorld, count: number): Promise<Run> {
  return measureRun(world, count, () => startProgram("controller.mjs", ["--port=0", "--health-probe-port=0", "--log-level=error", "--webhook-mode=disabled"]));
}

async function runPlain(world: AssignWorld, count: number): Promise<Run> {
  return measureRun(world, count, () => spawn(process.execPath, [join(import.meta.dirname, "plain-patcher.ts")], { stdio: ["ignore", "ignore", "inherit"] }));
}

async function measureRun({ client }: AssignWorld, count: number, start: () => ChildProcess): Promise<Run> {
  const waiting = untilAssigned(client, count, TIMEOUT_MS);
  const serverBefore = cpuOfServer();
  const started = performance.now();
  const child = start();
  try {
    const { first, last } = await waiting;
    const ownCpu = (cpuOfProcess(child.pid ?? 0) * 1000) / count;
    const serverCpu = ((cpuOfServer() - serverBefore) * 1000) / count;
    return { rate: (count - 1) / ((last - first) / 1000), total: (last - started) / 1000, ownCpu, serverCpu };
  } finally {
    await stopProgram(child);
  }
}

/** Seconds of the processor that a running process has taken. */
function cpuOfProcess(pid: number): number {
  const fields = statOf(pid);
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

/** That of the API server and of etcd, our children, read at once: what follows the last status is not counted. */
function cpuOfServer(): number {
  const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name)).map(Number);
  return pids.filter(isOurServer).reduce((sum, pid) => sum + cpuOfProcess(pid), 0);
}

function isOurServer(pid: number): boolean {
  try {
    return Number(statOf(pid)[1]) === process.pid && /^(kube-apiserver|etcd)$/.test(readFileSync(`/proc/${pid}/comm`, "utf8").trim());
  } catch {
    // It has ended meanwhile.
    return false;
  }
}

/** The fields of /proc/PID/stat that follow the name. */
function statOf(pid: number): string[] {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  return stat.slice(stat.lastIndexOf(")") + 2).split(" ");
}
