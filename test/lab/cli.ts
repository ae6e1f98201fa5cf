import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { parseCommand, USAGE, type LabCommand } from "./cli-command.ts";
import { Cluster } from "./cluster.ts";
import { FullCluster } from "./full/full-cluster.ts";
import { FullLab } from "./full/full-lab.ts";
import { KindLab } from "./full/kind-lab.ts";
import { Lab, type LabDriver } from "./lab.ts";
import { nsenterArgv } from "./processes.ts";
import { LabUnavailable, checkLabPossible, programPath, searchPath } from "./programs.ts";
import { labNames } from "./state.ts";

/** Exit code when the machine, the lab or the command line is not as it must be. */
const REFUSED = 2;

async function run(command: LabCommand): Promise<number> {
  const { verb, args, name } = command;
  switch (verb) {
    case "help":
      console.log(USAGE);
      return 0;
    case "up":
      return up(command);
    case "down":
      await down(name);
      console.log(`lab ${name} is down`);
      return 0;
    case "status":
      return status(name);
    case "kubectl":
      return kubectl(name, args);
    case "exec":
      return inHost(name, args[0] ?? "", args.slice(1));
    case "herald":
      return herald(name, args[0]);
    case "apiserver":
      await (args[0] === "stop" ? driver(name).stopApiServer() : driver(name).startApiServer());
      return 0;
    case "poweroff":
      for (const node of args) await driver(name).powerOff(node);
      return 0;
    case "crash":
      for (const node of args) await driver(name).crashSpeaker(node);
      return 0;
    case "stop":
      for (const node of args) await driver(name).stopSpeaker(node);
      return 0;
    case "pause":
      for (const node of args) await driver(name).pauseSpeaker(node, command.ms);
      return 0;
    case "dropapi":
      for (const node of args) await driver(name).dropApi(node);
      return 0;
    case "loss":
      await driver(name).lossPercent(Number(args[0]));
      return 0;
    case "partition":
      await driver(name).partition(args, command.from);
      return 0;
    case "restore":
      for (const node of args) await driver(name).restore(node);
      return 0;
    case "logs":
      return logs(name, args);
  }
}

async function up({ name, nodes, full }: LabCommand): Promise<number> {
  const start = performance.now();
  const lab = await startLab({ name, nodes, ...(full ? { full } : {}) });
  const option = name === "lab" ? "" : ` --name ${name}`;
  console.log(await lab.kubectl(["get", "nodes"]));
  console.log(`lab ${name} is up after ${((performance.now() - start) / 1000).toFixed(1)} s. Try: scripts/lab kubectl${option} get pods -A · scripts/lab herald start${option} · scripts/lab down${option}`);
  return 0;
}

function startLab({ name, nodes, full }: Pick<LabCommand, "name" | "nodes" | "full">): Promise<LabDriver> {
  if (full?.driver === "kind") return KindLab.up({ name, nodes, ...full });
  return full ? FullLab.up({ name, nodes, ...full, stays: true }) : Lab.up({ name, nodes, stays: true });
}

async function down(name: string): Promise<void> {
  const kind = KindLab.find(name);
  if (kind) return kind.down();
  checkLabPossible();
  await Cluster.remove(name);
}

async function status(name: string): Promise<number> {
  const found = labNames().flatMap((other) => Cluster.find(other) ?? []);
  const onKind = labNames().flatMap((other) => KindLab.find(other) ?? []);
  for (const cluster of found) console.log(await cluster.status());
  for (const lab of onKind) console.log(`lab ${lab.name}: on kind, nodes ${lab.nodes.join(", ")}, kubeconfig ${lab.kubeconfig}`);
  if (found.length + onKind.length === 0) console.log("no lab is there");
  return found.some((cluster) => cluster.state.name === name && cluster.isAlive()) || onKind.some((lab) => lab.name === name) ? 0 : 1;
}

async function herald(name: string, action: string | undefined): Promise<number> {
  const lab = driver(name);
  if (action === "start") await lab.startHerald({}, (line) => console.log(line));
  else await lab.stopHerald();
  console.log(action === "start" ? "Herald is Ready" : "Herald is gone; its resources stay");
  return 0;
}

/** The command has the terminal, so that shells and editors work in it. */
function inHost(name: string, host: string, argv: readonly string[]): number {
  if (KindLab.find(name)) return inTerminal("docker", ["exec", "--interactive", ...(process.stdin.isTTY ? ["--tty"] : []), host === "client" ? `${name}-client` : host, ...(argv.length > 0 ? argv : ["bash"])]);
  const cluster = running(name);
  const words = argv.length > 0 ? argv : ["bash"];
  return inTerminal("nsenter", cluster instanceof FullCluster ? cluster.enter(host, words) : nsenterArgv(cluster.namespace(host), words));
}

function kubectl(name: string, args: readonly string[]): number {
  const kind = KindLab.find(name);
  if (kind) return inTerminal(programPath("kubectl"), [`--kubeconfig=${kind.kubeconfig}`, ...args]);
  const cluster = running(name);
  return inTerminal("nsenter", nsenterArgv(cluster.namespace("control"), [programPath("kubectl"), `--kubeconfig=${cluster.folder.kubeconfig}`, ...args]));
}

function inTerminal(program: string, argv: readonly string[]): number {
  return spawnSync(program, argv, { stdio: "inherit", env: { ...process.env, PATH: searchPath() } }).status ?? 1;
}

function logs(name: string, wanted: readonly string[]): number {
  const folder = Cluster.find(name)?.folder.logs;
  if (folder === undefined || !existsSync(folder)) throw new LabUnavailable(`There is no lab '${name}'.`);
  const files = readdirSync(folder).map((file) => file.slice(0, -".log".length)).sort();
  if (wanted.length === 0) console.log(files.join("\n"));
  for (const what of wanted) {
    const matching = files.filter((file) => file.startsWith(what));
    if (matching.length === 0) throw new LabUnavailable(`There is no log '${what}'; there are ${files.join(", ")}.`);
    for (const file of matching) process.stdout.write(readFileSync(join(folder, `${file}.log`)));
  }
  return 0;
}

/** The running lab of that name, whatever it is made of. */
function driver(name: string): LabDriver {
  const kind = KindLab.find(name);
  if (kind) return kind;
  running(name);
  const lab = FullLab.find(name) ?? Lab.find(name);
  if (!lab) throw new LabUnavailable(`The lab '${name}' has ended.`);
  return lab;
}

function running(name: string): Cluster {
  checkLabPossible();
  const cluster = FullCluster.find(name) ?? Cluster.find(name);
  if (!cluster?.isAlive()) throw new LabUnavailable(`No lab named '${name}' is running: start it with 'scripts/lab up${name === "lab" ? "" : ` --name ${name}`}'.`);
  return cluster;
}

try {
  process.exitCode = await run(parseCommand(process.argv.slice(2)));
} catch (error) {
  console.error(error instanceof Error ? error.message : String(error));
  process.exitCode = error instanceof LabUnavailable ? REFUSED : 1;
}
