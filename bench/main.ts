/**
 * Runs the benches, appends their figures to bench/results.jsonl and rewrites docs/benchmarks.md from the newest of each.
 * `node bench/main.ts [NAME ...]` runs those named, or all; `--report` only rewrites the page.
 */
import { execFileSync, spawn } from "node:child_process";
import { appendFileSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { arch, cpus, release } from "node:os";
import { join, resolve } from "node:path";
import type { Figure } from "./figure.ts";

const root = resolve(import.meta.dirname, "..");
const resultsFile = join(root, "bench/results.jsonl");
const page = join(root, "docs/benchmarks.md");

/** Name -> the program, and what the page says about it. Each prints figures as JSON lines; other lines are shown as they are. */
const benches: Readonly<Record<string, { file: string; about: string }>> = {
  "arp-latency": { file: "bench/arp-latency.ts", about: "Time from an ARP request to its answer over a veth pair, asked by a program in another network namespace. The kernel's own answer is the floor." },
  "assign-1000": { file: "bench/assign-1000.ts", about: "1,000 pending Services on a real API server (3 nodes, light lab); time from starting the controller to the last Service's address in its status. Beside it a plain program that sends the same 1,000 patches, 32 in flight, deciding nothing: what the API server takes on this machine, with kube-proxies and controller manager following. The goal stands for a machine whose API server takes 700 patches a second; where it takes 400, the plain program alone needs 2.5 s." },
  memory: { file: "bench/memory.ts", about: "Resident memory (VmRSS) of the controller that leads and of a speaker, from dist/, idle and with 1,000 Services; and what takes it." },
};

interface Recorded extends Figure {
  readonly date: string;
  readonly commit: string;
  readonly machine: string;
}

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
  const child = spawn(process.execPath, [join(root, file)], { cwd: root, stdio: ["ignore", "pipe", "inherit"] });
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
  const stamp = { date: new Date().toISOString().slice(0, 16), commit: commit(), machine: `${cpus().length} x ${cpus()[0]?.model ?? arch()}, Linux ${release()}, Node ${process.versions.node}` };
  for (const figure of figures) appendFileSync(resultsFile, `${JSON.stringify({ ...figure, ...stamp })}\n`);
  return true;
}

function commit(): string {
  try {
    const dirty = execFileSync("git", ["status", "--porcelain", "--untracked-files=no", "--", ".", ":!bench/results.jsonl", ":!docs/benchmarks.md"], { cwd: root, encoding: "utf8" }) !== "";
    return execFileSync("git", ["rev-parse", "--short", "HEAD"], { cwd: root, encoding: "utf8" }).trim() + (dirty ? "+changes" : "");
  } catch {
    return "unknown";
  }
}

function writePage(): void {
  const lines = existsSync(resultsFile) ? readFileSync(resultsFile, "utf8").split("\n").filter((line) => line !== "") : [];
  const newest = new Map<string, Recorded>();
  for (const line of lines) {
    const figure = JSON.parse(line) as Recorded;
    newest.set(`${figure.bench}|${figure.case}|${figure.metric}`, figure);
  }
  const sections = Object.entries(benches).map(([name, { about }]) => section(name, about, [...newest.values()].filter(({ bench }) => bench === name)));
  writeFileSync(page, `# Benchmarks\n\nMade from \`bench/results.jsonl\` by \`node bench/main.ts --report\`: the newest figure of each row. Repeat all of them with \`make bench\`,\none with \`node bench/main.ts NAME\`. The machines are shared and noisy: compare rows of one run, not runs of different days.\n${sections.join("")}`);
}

function section(name: string, about: string, figures: readonly Recorded[]): string {
  const head = `\n## ${name}\n\n${about}\n\n`;
  if (figures.length === 0) return `${head}Not measured yet.\n`;
  const machine = [...new Set(figures.map((figure) => `${figure.machine}, commit ${figure.commit}, ${figure.date}`))].join("; ");
  const rows = figures.map((figure) => `| ${figure.case} | ${figure.metric} | ${round(figure.value)} ${figure.unit} | ${figure.samples ?? ""} | ${figure.goal ?? ""} |`);
  return `${head}${machine}\n\n| case | metric | value | samples | goal |\n|---|---|---|---|---|\n${rows.join("\n")}\n`;
}

function round(value: number): string {
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);
}
