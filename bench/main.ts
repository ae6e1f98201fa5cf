/**
 * Runs the benches, appends their figures to bench/results.jsonl and rewrites docs/benchmarks.md from the newest of each.
 * `node bench/main.ts [NAME ...]` runs those named, or all; `--report` only rewrites the page; `--runs=N` makes more or
 * fewer runs of those that repeat themselves; any other option goes to the bench.
 */
import { spawn } from "node:child_process";
import { appendFileSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import type { Figure } from "./figure.ts";
import { RESULTS_FILE, type Stamp, stampNow } from "./stamp.ts";

const root = resolve(import.meta.dirname, "..");
const page = join(root, "docs/benchmarks.md");

/** Name -> the program, and what the page says about it. Each prints figures as JSON lines; other lines are shown as they are. */
const benches: Readonly<Record<string, { file: string; about: string }>> = {
  "arp-latency": { file: "bench/arp-latency.ts", about: "Time from an ARP request to its answer over a veth pair, asked by a program in another network namespace. The kernel's own answer is the floor." },
  "assign-1000": { file: "bench/assign-1000.ts", about: "1,000 pending Services on a real API server (3 nodes, light lab, no speaker); time from starting the controller to the last Service's address in its status. Beside it a plain program that sends the same 1,000 patches, 32 in flight, deciding nothing: what the API server takes on this machine, with kube-proxies and controller manager following. The goal stands for a machine whose API server takes 700 patches a second; where it takes 400, the plain program alone needs 2.5 s." },
  "assign-speakers": { file: "bench/assign-speakers.ts", about: "1,000 pending Services with pods behind them in the light lab: three nodes, each with a speaker and a kube-proxy, API server, etcd and controller manager, all on the same processors; kube-proxies look for changes once a second, which is their default. How long until the last Service has its address and until the last address is announced (gratuitous ARP, captured on the client), beside the plain program that decides nothing, with the speakers following as well; and how much of the processors each program takes. Then the same without speakers. Processor times say more than rates here: with all processors busy, the rates follow from them. Each run is written down at once, and an interrupted bench goes on where it was." },
  "assign-rate": { file: "bench/assign-rate.ts", about: "How fast a controller that starts gives addresses to Services that wait, beside a plain program that writes as many statuses, 32 in flight, and decides nothing; on an API server and etcd that nobody else uses (no speaker, no kube-proxy; with them: assign-speakers), each program a process of its own, from the first status to the last. Where the machine is shared, single runs differ by a factor; processor times hardly do, and with all cores busy they are what the rates come to. All cases take about half an hour; `node bench/main.ts assign-rate --cases=10000,10000-8 --runs=3` measures some. Each run is written down at once, and an interrupted bench goes on where it was." },
  "assign-many": { file: "bench/assign-many.ts", about: "A controller from dist/ with 1,000 and with 10,000 Services on an API server that nobody else uses: its memory, how long a new Service waits for its address, writes per address, and writes in ten minutes in which nothing happens, all counted by the API server." },
  "assign-latency": { file: "bench/assign-latency.ts", about: "Where the time goes between the creation of one Service among 10,000 and its address, on an API server that nobody else uses: its creation, which is the API server's own work (the Service does not exist before; the more Services there are, the longer this takes, as `--services=300` shows; by its source Kubernetes 1.35 lists all cluster IPs for its metrics whenever it gives one), the way to the controller, the controller itself, its patch, and the way of the status to whoever watches. The controller runs from source, with a client that notes the times. Beside it, by turns, Services that their creator gives a status itself as soon as the API server has answered: what no controller can undercut. Takes ten minutes, most of them for the 10,000." },
  allocator: { file: "bench/allocator.ts", about: "The controller's allocator alone: 2,000,000 operations, each of which draws one of 1,000,000 Services; one that holds an address frees it, another takes one, automatically (the lowest free one) or by request (an address of its own, spread over the range). Memory is what lives on the heap and in typed arrays more than before." },
  memory: { file: "bench/memory.ts", about: "Resident memory (VmRSS) of the controller that leads and of a speaker, from dist/, idle and with 1,000 Services; and what takes it." },
  gossipsub: { file: "bench/gossipsub.ts", about: "libp2p's gossipsub beside Herald's agreement: what is installed, resident memory, and the time until the others notice a member whose packets are silently dropped, three processes on one loopback interface in a network namespace of their own. gossipsub detects no failures; what is timed is when the peer leaves the mesh of the topic. See adr/0002." },
  "failover-power-off": { file: "bench/failover/power-off.ts", about: "Three nodes in the light lab, the Service's pods on a host of their own. The leader's node is powered off (cable first, then everything on it) while a client sends a UDP request every 10 ms and opens a fresh TCP connection every 20 ms: the longest time between two answers. Then the node comes back, and the next cut follows. For comparison: MetalLB took 5.1 to 6.6 s in such a lab (measured once, by no command of this repository); keepalived is measured below." },
  keepalived: { file: "bench/failover/keepalived.ts", about: "The same cut and the same client, with Debian's keepalived (VRRPv3, two nodes, no preemption) instead of Herald; behind it the same kube-proxy. Needs `scripts/setup bench`." },
  "speaker-kill": { file: "bench/failover/speaker-kill.ts", about: "SIGKILL to the leader's speaker, its node stays up. The client asks for the address by ARP every 5 ms: time until another node answers. MetalLB took 5.6 to 5.9 s (measured once, by no command of this repository)." },
  "groups-1000": { file: "bench/failover/groups-1000.ts", about: "1,000 Services on three nodes, one node powered off: from the cut until its last address is announced (gratuitous ARP, captured on the client) by another node." },
  "false-takeovers": { file: "bench/failover/false-takeovers.ts", about: "Nobody dies, but 2 % of the frames are lost on every link, the speakers' main threads sleep 50 of every 100 ms, and now and then a speaker is stopped (SIGSTOP) for 50 to 500 ms. Counted from the announcements that the client hears; at the end one node is really powered off, to show that moves are counted." },
  "clean-stop": { file: "bench/failover/clean-stop.ts", about: "SIGTERM to the leader's speaker while its node stays up, one pod on a host of its own. The control run shows what the move itself costs under kube-proxy, whoever makes it: a node that meets an established connection for the first time has no state for it." },
  "node-returns": { file: "bench/failover/node-returns.ts", about: "A node that was powered off, and led, comes back while a client holds 50 connections open and goes on asking. MetalLB, whose leader moves back, reset 50 of 50 (measured once, by no command of this repository)." },
  "full-install": { file: "bench/full/install.ts", about: "Herald from its chart in the full lab (a control-plane node and three workers with kubelets of their own, all on this machine, the image on each of them): from `helm install` into a cluster that has nothing of Herald's until its two controllers and four speakers are Ready, as one watch shows it; then from `kubectl apply` of a pool, an advertisement and a Service with ready pods to the first answer to a client that asks by ARP every 10 ms. The load is that of the machine when a run begins, which the lab and the run before add to. MetalLB took 16.6 s and 2.7 s (measured once, by no command of this repository). Needs `make image`." },
};

interface Recorded extends Figure, Stamp {}

const args = process.argv.slice(2);
const names = args.filter((arg) => !arg.startsWith("--"));
const unknown = names.filter((name) => benches[name] === undefined);
if (unknown.length > 0) {
  console.error(`unknown bench ${unknown.join(", ")}; there are: ${Object.keys(benches).join(", ")}`);
  process.exit(2);
}
let failed = 0;
if (!args.includes("--report")) {
  for (const [name, { file }] of Object.entries(benches)) {
    if (names.length === 0 || names.includes(name)) failed += (await run(name, file)) ? 0 : 1;
  }
}
writePage();
process.exitCode = failed === 0 ? 0 : 1;

async function run(name: string, file: string): Promise<boolean> {
  console.log(`== ${name}`);
  const child = spawn(process.execPath, [join(root, file), ...args.filter((arg) => arg.startsWith("--") && arg !== "--report")], { cwd: root, stdio: ["ignore", "pipe", "inherit"] });
  let text = "";
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
    text += chunk;
    process.stdout.write(chunk);
  });
  const code = await new Promise<number | null>((done) => child.on("close", done));
  const figures = text.split("\n").flatMap((line) => (line.startsWith('{"bench"') ? [JSON.parse(line) as Figure] : []));
  if (code !== 0 || figures.length === 0) {
    console.error(`${name} failed (exit ${code}, ${figures.length} figures); nothing is recorded`);
    return false;
  }
  const stamp = stampNow();
  for (const figure of figures) appendFileSync(RESULTS_FILE, `${JSON.stringify({ ...figure, ...stamp })}\n`);
  return true;
}

function writePage(): void {
  const lines = existsSync(RESULTS_FILE) ? readFileSync(RESULTS_FILE, "utf8").split("\n").filter((line) => line !== "") : [];
  const newest = new Map<string, Recorded>();
  for (const line of lines) {
    const figure = JSON.parse(line) as Recorded;
    // Single runs of a bench stand there too, so that it can go on after an interruption.
    if (figure.bench === undefined) continue;
    newest.set(`${figure.bench}|${figure.case}|${figure.metric}`, figure);
  }
  const sections = Object.entries(benches).map(([name, { about }]) => section(name, about, [...newest.values()].filter(({ bench }) => bench === name)));
  writeFileSync(page, `# Benchmarks\n\nMade from \`bench/results.jsonl\` by \`node bench/main.ts --report\`: the newest figure of each row. Repeat all of them with \`make bench\`,\none with \`node bench/main.ts NAME\`. The machines are shared and noisy: compare rows of one run, not runs of different days.\n${sections.join("")}`);
}

function section(name: string, about: string, figures: readonly Recorded[]): string {
  const head = `\n## ${name}\n\n${about}\n\n`;
  if (figures.length === 0) return `${head}Not measured yet.\n`;
  const machine = [...new Set(figures.map((figure) => `${figure.machine}, commit ${figure.commit}, ${figure.date}`))].join("; ");
  const rows = figures.map((figure) => `| ${figure.case} | ${figure.metric} | ${Number.isInteger(figure.value) ? figure.value : round(figure.value)} ${figure.unit} | ${figure.samples ?? ""} | ${figure.goal ?? ""} |`);
  return `${head}${machine}\n\n| case | metric | value | samples | goal |\n|---|---|---|---|---|\n${rows.join("\n")}\n`;
}

function round(value: number): string {
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);
}
