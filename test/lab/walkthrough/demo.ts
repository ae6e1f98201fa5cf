/**
 * `make demo`: the walkthrough, narrated, on a fresh lab that is taken down at the end: Herald's image and chart on nodes with
 * kubelets of their own, or with LIGHT=1 its programs on nodes whose kubelet is played. `--keep` leaves the lab running.
 */
import { FullLab, whyNoFullLab } from "../full/full-lab.ts";
import { Lab, whyNoLab } from "../lab.ts";
import { install, uninstall } from "./installation.ts";
import { type Context, steps } from "./walkthrough.ts";

const NAME = "demo";
const isLight = (process.env["LIGHT"] ?? "") !== "";
const reason = isLight ? whyNoLab() : whyNoFullLab();
if (reason !== undefined) {
  console.error(`make demo: ${reason}`);
  process.exit(2);
}
const start = performance.now();
const seconds = (): string => `${((performance.now() - start) / 1000).toFixed(1)} s`;
const say = (line: string): void => console.log(line.trimEnd().replace(/^/gm, "    "));
let lab: Lab | undefined;
let current = "";

async function step(title: string, run: () => Promise<void>): Promise<void> {
  current = title;
  console.log(`\n* ${title} (${seconds()})`);
  await run();
}

async function story(context: Context): Promise<void> {
  for (const { title, run } of steps) await step(title, () => run(context));
}

async function onFullLab(): Promise<void> {
  await step("The lab: a control-plane node and three workers, each with its own containerd, kubelet and kube-proxy", async () => {
    const full = await FullLab.up({ name: NAME, nodes: 3, backend: true });
    lab = full;
    say(await full.kubectl(["get", "nodes", "-o", "wide"]));
  });
  const full = lab as FullLab;
  await step("helm install herald charts/herald -n metallb-system --create-namespace", () => install({ lab: full, say }));
  await story({ lab: full, say });
  await step("helm uninstall: nothing is left running, the user's resources stay", () => uninstall({ lab: full, say }));
}

async function onLightLab(): Promise<void> {
  await step("The lab: three nodes, a real API server, kube-proxy on every node", async () => {
    lab = await Lab.up({ name: NAME, nodes: 3 });
    say(await lab.kubectl(["get", "nodes", "-o", "wide"]));
  });
  const light = lab as Lab;
  await step("Herald starts: two controllers, a speaker on every node", async () => {
    await light.startHerald();
    say(await light.kubectl(["get", "pods", "-n", "metallb-system", "-o", "wide"]));
  });
  await story({ lab: light, say });
}

try {
  await (isLight ? onLightLab() : onFullLab());
  console.log(`\nEverything came true in ${seconds()}. To play yourself: ${isLight ? "make lab, then scripts/lab herald start" : "scripts/lab up --full, then scripts/lab herald start"}.`);
} catch (error) {
  console.error(`\nFAILED at: ${current}\n${error instanceof Error ? error.stack : String(error)}`);
  process.exitCode = 1;
} finally {
  if (lab !== undefined && !process.argv.includes("--keep")) await lab.down({ failed: process.exitCode === 1 });
}
