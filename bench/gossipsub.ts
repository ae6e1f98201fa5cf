/**
 * gossipsub (`@libp2p/gossipsub`, on libp2p with TCP, noise and yamux) beside Herald's agreement: packages, memory, and
 * how long the others take to notice a member that is silently gone. The packages go into a temporary folder; Herald does
 * not depend on them. Needs root (for a network namespace of its own), nft and the npm registry.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { lstatSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { build } from "esbuild";
import type { HeardFact } from "../test/netns/thread-process.ts";
import { median, memoryOf } from "./cluster-load.ts";
import { printFigure } from "./figure.ts";
import type { MeshLine } from "./gossipsub-node.ts";

const BENCH = "gossipsub";
const NAMESPACE = `herald-bench-${process.pid}`;
const PACKAGES = ["libp2p", "@libp2p/gossipsub", "@libp2p/identify", "@libp2p/tcp", "@chainsafe/libp2p-noise", "@chainsafe/libp2p-yamux", "@multiformats/multiaddr"];
const STACK = `export { createLibp2p } from "libp2p";
export { gossipsub } from "@libp2p/gossipsub";
export { identify } from "@libp2p/identify";
export { tcp } from "@libp2p/tcp";
export { noise } from "@chainsafe/libp2p-noise";
export { yamux } from "@chainsafe/libp2p-yamux";
export { multiaddr } from "@multiformats/multiaddr";`;
/** Longer is not waited for; memberlist's own worst case is below. */
const NOTICE_LIMIT_MS = 60_000;
const TOGETHER_LIMIT_MS = 30_000;
/** Long enough for the first garbage collections. */
const SETTLE_MS = 5000;
const [ONE, TWO, GONE] = ["127.0.0.1", "127.0.0.2", "127.0.0.3"];
const root = resolve(import.meta.dirname, "..");
const runs = Number(process.argv.find((arg) => arg.startsWith("--runs="))?.slice(7) ?? 3);

const folder = mkdtempSync(join(tmpdir(), "herald-bench-gossipsub-"));
const children = new Set<ChildProcess>();
try {
  install();
  await bundle();
  execFileSync("ip", ["netns", "add", NAMESPACE]);
  execFileSync("ip", ["-n", NAMESPACE, "link", "set", "lo", "up"]);
  await measureMemory();
  await measureNoticing("gossipsub, three processes", startGossipsub);
  await measureNoticing("Herald's packet thread, three processes", startHerald);
} finally {
  await stopAll();
  try {
    execFileSync("ip", ["netns", "delete", NAMESPACE], { stdio: "ignore" });
  } catch {
    // It was not made.
  }
  rmSync(folder, { recursive: true, force: true });
}

function install(): void {
  writeFileSync(join(folder, "package.json"), '{"private":true,"type":"module"}');
  execFileSync("npm", ["install", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", ...PACKAGES], { cwd: folder, stdio: ["ignore", "ignore", "inherit"] });
  const installed = execFileSync("npm", ["ls", "--all", "--parseable"], { cwd: folder, encoding: "utf8" }).split("\n");
  const isNested = (path: string): boolean => path.startsWith(join(folder, "node_modules"));
  printFigure({ bench: BENCH, case: "gossipsub and what it needs", metric: "packages installed", value: installed.filter(isNested).length, unit: "" });
  printFigure({ bench: BENCH, case: "gossipsub and what it needs", metric: "files installed", value: bytesBelow(join(folder, "node_modules")) / 1e6, unit: "MB" });
}

function bytesBelow(path: string): number {
  return readdirSync(path, { recursive: true }).reduce((sum, name) => {
    const status = lstatSync(join(path, String(name)));
    return sum + (status.isFile() ? status.size : 0);
  }, 0);
}

/** Herald is always bundled; gossipsub is measured bundled and as it is installed. */
async function bundle(): Promise<void> {
  writeFileSync(join(folder, "installed.mjs"), STACK);
  const common = { bundle: true, platform: "node", format: "esm", logLevel: "error", banner: { js: 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);' } } as const;
  await build({ ...common, entryPoints: [join(folder, "installed.mjs")], outfile: join(folder, "bundled.mjs") });
  for (const name of ["gossipsub-node", "gossipsub-agreements"]) {
    await build({ ...common, entryPoints: [join(root, `bench/${name}.ts`)], outfile: join(folder, `${name}.mjs`) });
  }
}

function start(args: readonly string[]): ChildProcess {
  const child = spawn("nsenter", [`--net=/run/netns/${NAMESPACE}`, process.execPath, ...args], { stdio: ["pipe", "pipe", "inherit"] });
  children.add(child);
  return child;
}

async function stopAll(): Promise<void> {
  for (const child of children) {
    if (child.exitCode === null && child.signalCode === null) {
      const ended = new Promise((done) => child.once("exit", done));
      child.kill("SIGKILL");
      await ended;
    }
    children.delete(child);
  }
}

async function measureMemory(): Promise<void> {
  const programs: Readonly<Record<string, readonly string[]>> = {
    "bare Node": ["-e", "setInterval(() => {}, 1e6)"],
    "gossipsub started, as installed": [join(folder, "gossipsub-node.mjs"), join(folder, "installed.mjs"), ONE],
    "gossipsub started, bundled": [join(folder, "gossipsub-node.mjs"), join(folder, "bundled.mjs"), ONE],
    "Herald's agreement, three members in one process": [join(folder, "gossipsub-agreements.mjs")],
  };
  for (const [name, args] of Object.entries(programs)) {
    const child = start(args);
    child.stdout?.resume();
    await sleep(SETTLE_MS);
    if (child.pid === undefined || child.exitCode !== null) throw new Error(`${name} ended`);
    printFigure({ bench: BENCH, case: name, metric: "VmRSS", value: memoryOf(child.pid).rss, unit: "MB" });
    await stopAll();
  }
}

/** What a run watches: whether all three are together, and when which way of noticing was first heard of. */
interface Watch {
  isTogether(): boolean;
  /** Unix ms by name of what was noticed. */
  readonly noticed: ReadonlyMap<string, number>;
  /** What ends the run when all of it was noticed. */
  readonly awaited: readonly string[];
}

function startGossipsub(): Watch {
  const noticed = new Map<string, number>();
  const last = new Map<string, MeshLine>();
  const run = (address: string, dials: readonly string[]): void => {
    const child = start([join(folder, "gossipsub-node.mjs"), join(folder, "bundled.mjs"), address, ...dials]);
    onLine(child, (text) => {
      const line = JSON.parse(text) as MeshLine;
      const before = last.get(address);
      last.set(address, line);
      if (address !== ONE || before === undefined) return;
      if (line.mesh < before.mesh && !noticed.has("left the mesh")) noticed.set("left the mesh", line.atUnixMs);
    });
  };
  // The one that goes is dialled and dials nobody: its address is on every packet of its connections.
  run(GONE, []);
  run(TWO, []);
  void sleep(2000).then(() => run(ONE, [TWO, GONE]));
  return { isTogether: () => last.get(ONE)?.mesh === 2, noticed, awaited: ["left the mesh"] };
}

function startHerald(): Watch {
  const noticed = new Map<string, number>();
  const alive = new Map<string, Set<string>>();
  const all = [ONE, TWO, GONE];
  for (const address of all) {
    alive.set(address, new Set());
    const child = start([join(root, "test/netns/thread-process.ts"), `node-${address}`, address]);
    onLine(child, (text) => {
      const { atUnixMs, fact } = JSON.parse(text) as HeardFact;
      if (fact.kind !== "member") return;
      if (fact.state === "alive") alive.get(address)?.add(fact.node);
      if (address === ONE && fact.node === `node-${GONE}` && fact.state === "dead" && !noticed.has("declared dead")) noticed.set("declared dead", atUnixMs);
    });
    const peers = all.filter((other) => other !== address).map((other) => ({ node: `node-${other}`, address: other }));
    child.stdin?.write(`${JSON.stringify({ kind: "peers", peers })}\n`);
  }
  return { isTogether: () => [...alive.values()].every(({ size }) => size === 2), noticed, awaited: ["declared dead"] };
}

function onLine(child: ChildProcess, heed: (line: string) => void): void {
  if (child.stdout !== null) createInterface({ input: child.stdout }).on("line", heed);
}

async function measureNoticing(name: string, begin: () => Watch): Promise<void> {
  const samples = new Map<string, number[]>();
  for (let run = 0; run < runs; run++) {
    const watch = begin();
    if (!(await until(() => watch.isTogether(), TOGETHER_LIMIT_MS))) throw new Error(`${name}: not together after ${TOGETHER_LIMIT_MS} ms`);
    await sleep(SETTLE_MS);
    if (watch.noticed.size > 0) throw new Error(`${name}: noticed before anything happened`);
    const cutAt = Date.now();
    cut(true);
    await until(() => watch.awaited.every((what) => watch.noticed.has(what)), NOTICE_LIMIT_MS);
    cut(false);
    for (const what of watch.awaited) {
      const at = watch.noticed.get(what);
      console.log(`${name}, run ${run + 1}: ${what} ${at === undefined ? "never" : `after ${at - cutAt} ms`}`);
      samples.set(what, [...(samples.get(what) ?? []), at === undefined ? NOTICE_LIMIT_MS : at - cutAt]);
    }
    await stopAll();
  }
  for (const [what, values] of samples) {
    const limit = values.includes(NOTICE_LIMIT_MS) ? ` (${NOTICE_LIMIT_MS / 1000} s stands for longer)` : "";
    printFigure({ bench: BENCH, case: name, metric: `silently gone -> ${what}, median${limit}`, value: median(values) / 1000, unit: "s", samples: values.length });
    printFigure({ bench: BENCH, case: name, metric: `silently gone -> ${what}, worst${limit}`, value: Math.max(...values) / 1000, unit: "s", samples: values.length });
  }
}

/** Drops what goes to and comes from the third address, on arrival: senders are told nothing, as when a cable is pulled. */
function cut(isCut: boolean): void {
  const nft = (rules: string): void => void execFileSync("nsenter", [`--net=/run/netns/${NAMESPACE}`, "nft", "-f", "-"], { input: rules });
  if (isCut) nft(`table ip cut {\n chain arriving {\n type filter hook prerouting priority -300;\n ip saddr ${GONE} drop\n ip daddr ${GONE} drop\n }\n}\n`);
  else nft("delete table ip cut\n");
}

async function until(holds: () => boolean, limitMs: number): Promise<boolean> {
  const end = performance.now() + limitMs;
  while (performance.now() < end) {
    if (holds()) return true;
    await sleep(20);
  }
  return holds();
}
