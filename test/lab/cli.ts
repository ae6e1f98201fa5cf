import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { parseCommand, USAGE, type LabCommand } from "./cli-command.ts";
import { Cluster } from "./cluster.ts";
import { FullCluster } from "./full/full-cluster.ts";
import { FullLab } from "./full/full-lab.ts";
import { Lab } from "./lab.ts";
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
      checkLabPossible();
      await Cluster.remove(name);
      console.log(`lab ${name} is down`);
      return 0;
    case "status":
      return status(name);
    case "kubectl": {
      const { folder } = running(name);
      return inNamespace(running(name).namespace("control"), [programPath("kubectl"), `--kubeconfig=${folder.kubeconfig}`, ...args]);
    }
    case "exec":
      return inHost(name, args[0] ?? "", args.slice(1));
    case "herald":
      return herald(name, args[0]);
    case "apiserver":
      await (args[0] === "stop" ? running(name).stopApiServer() : running(name).startApiServer());
      return 0;
    case "poweroff":
      for (const node of args) await running(name).powerOff(node);
      return 0;
    case "crash":
      for (const node of args) await running(name).crashSpeaker(node);
      return 0;
    case "stop":
      for (const node of args) await (runningFull(name) ?? running(name)).stopSpeaker(node);
      return 0;
    case "pause":
      for (const node of args) await running(name).pauseSpeaker(node, command.ms);
      return 0;
    case "dropapi":
      for (const node of args) await running(name).dropApi(node);
      return 0;
    case "loss":
      await running(name).lossPercent(Number(args[0]));
      return 0;
    case "partition":
      await running(name).partition(args, command.from);
      return 0;
    case "restore":
      for (const node of args) await (runningFull(name) ?? running(name)).restore(node);
      return 0;
    case "logs":
      return logs(name, args);
  }
}

async function up({ name, nodes, full }: LabCommand): Promise<number> {
  const start = performance.now();
  const lab = full ? await FullLab.up({ name, nodes, ...full, stays: true }) : await Lab.up({ name, nodes, stays: true });
  const option = name === "lab" ? "" : ` --name ${name}`;
  console.log(await lab.kubectl(["get", "nodes"]));
  console.log(`lab ${name} is up after ${((performance.now() - start) / 1000).toFixed(1)} s. Try: scripts/lab kubectl${option} get pods -A · scripts/lab herald start${option} · scripts/lab down${option}`);
  return 0;
}

async function status(name: string): Promise<number> {
  const found = labNames().flatMap((other) => Cluster.find(other) ?? []);
  for (const cluster of found) console.log(await cluster.status());
  if (found.length === 0) console.log("no lab is there");
  return found.some((cluster) => cluster.state.name === name && cluster.isAlive()) ? 0 : 1;
}

async function herald(name: string, action: string | undefined): Promise<number> {
  running(name);
  const lab = FullLab.find(name) ?? Lab.find(name);
  if (action === "start") await lab?.startHerald({}, (line) => console.log(line));
  else await lab?.stopHerald();
  console.log(action === "start" ? "Herald is Ready" : "Herald is gone; its resources stay");
  return 0;
}

/** The command has the terminal, so that shells and editors work in it. */
function inHost(name: string, host: string, argv: readonly string[]): number {
  const cluster = running(name);
  const words = argv.length > 0 ? argv : ["bash"];
  return nsenter(cluster instanceof FullCluster ? cluster.enter(host, words) : nsenterArgv(cluster.namespace(host), words));
}

function inNamespace(namespace: string, argv: readonly string[]): number {
  return nsenter(nsenterArgv(namespace, argv));
}

function nsenter(argv: readonly string[]): number {
  return spawnSync("nsenter", argv, { stdio: "inherit", env: { ...process.env, PATH: searchPath() } }).status ?? 1;
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

/** The full lab of that name, for what needs the API; undefined when it is a light one. */
function runningFull(name: string): FullLab | undefined {
  running(name);
  return FullLab.find(name);
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
