/** The part of `assign-speakers.ts` that runs on the lab's control host, and writes its runs down. Usage: node assign-speakers-inside.ts LAB */
import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { systemClock } from "../sys/clock.ts";
import { CLIENT, Lab } from "../test/lab/lab.ts";
import { isSameProcess, ProcessTable } from "../test/lab/processes.ts";
import { searchPath } from "../test/lab/programs.ts";
import { labFolder } from "../test/lab/state.ts";
import { BENCH, CASES, GROUPS, type GroupName, RUNS, SERVICES } from "./assign-speakers-cases.ts";
import { clearStatuses, connect, createServices, serviceNames, startProgram, stopProgram, untilAssigned } from "./cluster-load.ts";
import { cpuSecondsOf } from "./cpu-time.ts";
import { announcedNow } from "./failover/announced.ts";
import { announcementsIn } from "./failover/announcements.ts";
import { profilingOf } from "./options.ts";
import { Samples, wantedRuns } from "./samples.ts";

const TIMEOUT_MS = 300_000;
/** The lab is at rest when the programs that are measured together took less of one processor than this, for so long. */
const REST = { load: 0.3, ms: 3000 } as const;
const REST_BUDGET_MS = 300_000;
/** First address of the pool, from which the plain program counts up. */
const PLAIN_FIRST = "172.20.248.0";

type Seconds = Readonly<Record<GroupName, number>>;

const lab = Lab.find(process.argv[2] ?? "");
if (lab === undefined) throw new Error(`no lab ${process.argv[2]}`);
const processes = new ProcessTable(labFolder(lab.name).path);
/** Between two looks at a program's processor time. */
const LOOK_MS = 50;

const client = connect();
const names = serviceNames(SERVICES);
await slowProxiesDown(lab);
await createServices(client, names, "bench");
for (const { title, hasSpeakers } of CASES) {
  if (!hasSpeakers) await stopSpeakers(lab);
  const samples = new Samples(BENCH, title);
  while (samples.count < wantedRuns(RUNS)) {
    const controller = await measureRun(lab, startController, hasSpeakers);
    const plain = await measureRun(lab, startPlain, hasSpeakers);
    samples.add({ ...prefixed("controller", controller), ...prefixed("plain", plain) });
  }
}
client.close();

function prefixed(who: string, run: Readonly<Record<string, number>>): Record<string, number> {
  return Object.fromEntries(Object.entries(run).map(([name, value]) => [`${who} ${name}`, value]));
}

/** In the lab they look for changes ten times a second; by default, as in clusters, once. */
async function slowProxiesDown(where: Lab): Promise<void> {
  for (const node of where.nodes) {
    const name = `kube-proxy-${node}`;
    const argv = processes.find(name)?.argv.map((arg) => (arg.startsWith("--iptables-min-sync-period=") ? "--iptables-min-sync-period=1s" : arg));
    if (argv === undefined) throw new Error(`there is no ${name}`);
    await processes.stop(name, 3000);
    processes.start({ name, namespace: where.namespace(node), argv, env: { PATH: searchPath() } });
  }
}

async function stopSpeakers(where: Lab): Promise<void> {
  await where.kubectl(["delete", "daemonset/speaker", "-n", "metallb-system", "--wait"]);
  await where.kubectl(["wait", "pod", "-n", "metallb-system", "-l", "app.kubernetes.io/component=speaker", "--for=delete", "--timeout=60s"]);
}

function startController(): ChildProcess {
  return startProgram("controller.mjs", ["--port=0", "--health-probe-port=0", "--log-level=error", "--webhook-mode=disabled"], profilingOf());
}

function startPlain(): ChildProcess {
  return spawn(process.execPath, [join(import.meta.dirname, "plain-patcher.ts"), PLAIN_FIRST], { stdio: ["ignore", "ignore", "inherit"] });
}

/**
 * Takes all addresses away, waits until that is done with, starts the program, and waits until everybody is done with it.
 * Gives the rate from the first status to the last; ms from the program's start to the last status and to the last address's
 * first announcement; ms of processor time of the program and of each group until the last status, and until all is at rest
 * (events and ServiceL2Statuses come behind); and before all that at rest, in a second.
 */
async function measureRun(where: Lab, start: () => ChildProcess, hasSpeakers: boolean): Promise<Record<string, number>> {
  await clearStatuses(client, names);
  const atRest = await untilRest();
  const capture = hasSpeakers ? await where.capture(CLIENT, "arp") : undefined;
  const before = cpuNow();
  const waiting = untilAssigned(client, SERVICES, TIMEOUT_MS);
  const [started, startedWall] = [performance.now(), systemClock.wallMs()];
  const child = start();
  try {
    // Looked at again and again: the plain program may have ended by the time its last status is seen.
    let ownMs = 0;
    const look = setInterval(() => (ownMs = child.exitCode === null ? cpuSecondsOf(child.pid ?? 0) * 1000 : ownMs), LOOK_MS);
    const { first, last } = await waiting.finally(() => clearInterval(look));
    const until = cpuNow();
    await untilRest();
    const rest = cpuNow();
    const announcedMs = capture === undefined ? {} : { announcedMs: (await lastAnnounced(where, await capture.stop())) - startedWall };
    const groups = GROUPS.flatMap(({ name }) => [[`${name} untilMs`, (until[name] - before[name]) * 1000], [`${name} restMs`, (rest[name] - before[name]) * 1000], [`${name} idleMs`, atRest[name] * 1000]]);
    return { rate: (SERVICES - 1) / ((last - first) / 1000), assignedMs: last - started, ...announcedMs, ownMs, ...Object.fromEntries(groups) };
  } finally {
    await capture?.stop();
    await stopProgram(child);
  }
}

/** When the last of all addresses was announced for the first time, Unix ms. */
async function lastAnnounced(where: Lab, lines: readonly string[]): Promise<number> {
  const first = new Map<string, number>();
  for (const { address, atMs } of announcementsIn(lines)) if (!first.has(address)) first.set(address, atMs);
  const held = await announcedNow(where);
  const missing = held.filter(({ address }) => !first.has(address)).length;
  if (held.length !== SERVICES || missing > 0) throw new Error(`${held.length} of ${SERVICES} addresses are announced, ${missing} of them were not heard by the client`);
  return Math.max(...first.values());
}

/** Seconds of the processor that the groups have taken so far, with their children: kube-proxy's work is done by iptables. */
function cpuNow(): Seconds {
  const all = processes.list().filter(isSameProcess);
  const sumOf = (programs: RegExp): number => all.filter(({ name }) => programs.test(name)).reduce((sum, { pid }) => sum + cpuSecondsOf(pid, { children: true }), 0);
  return Object.fromEntries(GROUPS.map(({ name, programs }) => [name, sumOf(programs)])) as Record<GroupName, number>;
}

/** Gives what each group takes then, as a part of one processor. */
async function untilRest(): Promise<Seconds> {
  const end = performance.now() + REST_BUDGET_MS;
  for (;;) {
    const [before, since] = [cpuNow(), performance.now()];
    await sleep(REST.ms);
    const [after, seconds] = [cpuNow(), (performance.now() - since) / 1000];
    const loads = Object.fromEntries(GROUPS.map(({ name }) => [name, (after[name] - before[name]) / seconds])) as Record<GroupName, number>;
    const load = Object.values(loads).reduce((sum, value) => sum + value, 0);
    if (load < REST.load) return loads;
    if (performance.now() > end) throw new Error(`the lab's programs still take ${load.toFixed(2)} processors after ${REST_BUDGET_MS / 1000} s`);
  }
}
