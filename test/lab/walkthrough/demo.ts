/**
 * `make demo`: the walkthrough, narrated, on a fresh lab that is taken down at the end: Herald's image and chart on nodes with
 * kubelets of their own, or with LIGHT=1 its programs on nodes whose kubelet is played. What is told is built first, beside the
 * start of the lab. `--keep` leaves the lab running.
 */
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { Cluster } from "../cluster.ts";
import { FullLab, whyNoFullLab } from "../full/full-lab.ts";
import { heraldImage } from "../full/release.ts";
import { Lab, whyNoLab } from "../lab.ts";
import { pause } from "../poll.ts";
import { CHECKOUT, LabUnavailable, NODE } from "../programs.ts";
import { install, uninstall } from "./installation.ts";
import { type Context, steps } from "./walkthrough.ts";

const NAME = "demo";
/** Exit codes. */
const FAILED = 1;
const ENDED_BY_SIGNAL = 130;
const NOTICE_MS = 3000;
const isLight = (process.env["LIGHT"] ?? "") !== "";
const reason = isLight ? whyNoLab() : whyNoFullLab();
if (reason !== undefined) {
  console.error(`make demo: ${reason}`);
  process.exit(2);
}
const start = performance.now();
const seconds = (): string => `${((performance.now() - start) / 1000).toFixed(1)} s`;
const say = (line: string): void => console.log(line.trimEnd().replace(/^/gm, "    "));
let starting: Promise<Lab> | undefined;
let current = "";

async function step(title: string, run: () => Promise<void>): Promise<void> {
  current = title;
  console.log(`\n* ${title} (${seconds()})`);
  await run();
}

async function story(context: Context): Promise<void> {
  for (const { title, run } of steps) await step(title, () => run(context));
}

/** Runs one of the project's builders, while the lab starts. @returns what it said. @throws Error with its message */
function build(script: string): Promise<string> {
  const building = promisify(execFile)(NODE, [join(CHECKOUT, "scripts", script)]).then(({ stdout }) => stdout);
  // Looked at once the lab is up.
  building.catch(() => undefined);
  return building;
}

async function onFullLab(): Promise<void> {
  const image = build("image.ts");
  const file = image.then(() => heraldImage());
  file.catch(() => undefined);
  const up = FullLab.up({ name: NAME, nodes: 3, backend: true, image: file });
  starting = up;
  await step("The lab: a control-plane node and three workers, each with its own containerd, kubelet and kube-proxy", async () => {
    const full = await up;
    say(await full.kubectl(["get", "nodes", "-o", "wide"]));
    say(`${(await image).trim()}; every node has it`);
  });
  const lab = await up;
  await step("helm install herald charts/herald -n metallb-system --create-namespace", () => install({ lab, say }, { imported: true }));
  await story({ lab, say });
  await step("helm uninstall: nothing is left running, the user's resources stay", () => uninstall({ lab, say }));
}

async function onLightLab(): Promise<void> {
  const programs = build("build.ts");
  const up = Lab.up({ name: NAME, nodes: 3 });
  starting = up;
  await step("The lab: three nodes, a real API server, kube-proxy on every node", async () => {
    say(await (await up).kubectl(["get", "nodes", "-o", "wide"]));
  });
  const lab = await up;
  await step("Herald starts: two controllers, a speaker on every node", async () => {
    say(await programs);
    await lab.startHerald();
    say(await lab.kubectl(["get", "pods", "-n", "metallb-system", "-o", "wide"]));
  });
  await story({ lab, say });
}

/** Somebody pressed Ctrl-C, or the machine shuts down. */
class Asked extends Error {}

/** Rejects when this process is asked to end: the lab would stay behind. */
function asked(): Promise<never> {
  return new Promise((_, reject) => {
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => reject(new Asked(signal)));
  });
}

/** In whatever state it is; what was just being started when all around it ended gets a moment to notice. */
async function takeDown(): Promise<void> {
  await Cluster.remove(NAME);
  await Promise.race([starting?.catch(() => undefined), pause(NOTICE_MS)]);
  await Cluster.remove(NAME);
}

try {
  await Promise.race([isLight ? onLightLab() : onFullLab(), asked()]);
  console.log(`\nEverything came true in ${seconds()}. To play yourself: ${isLight ? "make lab, then scripts/lab herald start" : "scripts/lab up --full, then scripts/lab herald start"}.`);
} catch (error) {
  if (error instanceof Asked) {
    console.error(`\n${error.message}: taking the lab down`);
    await takeDown();
    process.exit(ENDED_BY_SIGNAL);
  }
  const said = error instanceof LabUnavailable ? error.message : error instanceof Error ? error.stack : String(error);
  console.error(`\nFAILED at: ${current}\n${said}`);
  process.exitCode = FAILED;
} finally {
  const lab = await starting?.catch(() => undefined);
  if (lab !== undefined && !process.argv.includes("--keep")) await lab.down({ failed: process.exitCode === FAILED });
}
// What a failed step left unfinished is of no interest any more.
process.exit();
