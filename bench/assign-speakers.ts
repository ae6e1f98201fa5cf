/**
 * 1,000 pending Services with pods behind them in the light lab, with and without speakers: how fast they are assigned and
 * announced, beside a plain program that writes as many statuses, and who takes how much of the processors. `--runs=N` (3);
 * `--profile=FOLDER` for V8's CPU profiles of Herald's programs. Each run is written down at once: started again, the bench
 * goes on where it was interrupted. What runs beside the API server is `assign-speakers-inside.ts`.
 */
import { spawn } from "node:child_process";
import { join } from "node:path";
import { CONTROL_HOST } from "../test/lab/hosts.ts";
import { Lab, whyNoLab } from "../test/lab/lab.ts";
import { NODE } from "../test/lab/programs.ts";
import { BENCH, CASES, GROUPS, RUNS } from "./assign-speakers-cases.ts";
import { BENCH_POOL } from "./bench-pool.ts";
import { median } from "./cluster-load.ts";
import { profilingOf } from "./options.ts";
import { Samples, wantedRuns } from "./samples.ts";

const LAB = "bench-speakers";

const MANIFESTS = `${BENCH_POOL}---
apiVersion: apps/v1
kind: Deployment
metadata: {name: bench, namespace: default}
spec:
  replicas: 3
  selector: {matchLabels: {app: bench}}
  template:
    metadata: {labels: {app: bench}}
    spec:
      containers:
      - {name: web, image: "web", ports: [{containerPort: 80}]}
`;

if (CASES.some(({ title }) => new Samples(BENCH, title).count < wantedRuns(RUNS))) await measure();
for (const { title, hasSpeakers } of CASES) report(new Samples(BENCH, title), title, hasSpeakers);

async function measure(): Promise<void> {
  const reason = whyNoLab();
  if (reason !== undefined) throw new Error(reason);
  const lab = await Lab.up({ name: LAB, nodes: 3 });
  let failed = true;
  try {
    // A controller makes the speakers' key; then they are on their own, and the bench starts controllers itself.
    await lab.startHerald({ controllers: 1, env: profilingOf() });
    await lab.kubectl(["scale", "deployment/controller", "-n", "metallb-system", "--replicas=0"]);
    await lab.kubectl(["wait", "pod", "-n", "metallb-system", "-l", "app.kubernetes.io/component=controller", "--for=delete", "--timeout=60s"]);
    await lab.apply(MANIFESTS);
    await lab.kubectl(["rollout", "status", "deployment/bench", "--timeout=60s"]);
    const child = spawn("nsenter", [`--net=/run/netns/${lab.namespace(CONTROL_HOST)}`, NODE, join(import.meta.dirname, "assign-speakers-inside.ts"), LAB, ...process.argv.slice(2)], {
      env: { ...process.env, KUBECONFIG: join(lab.logFolder, "../kubeconfig") },
      stdio: ["ignore", "inherit", "inherit"],
    });
    const code = await new Promise<number | null>((done) => child.on("close", done));
    if (code !== 0) throw new Error(`the program beside the API server ended with ${code}`);
    failed = false;
  } finally {
    await lab.down({ failed });
  }
}

function report(samples: Samples, title: string, hasSpeakers: boolean): void {
  const print = (what: string, value: number, unit: string, goal?: string): void => samples.print({ case: `${title}: ${what}`, metric: "median", value, unit }, goal);
  const ratios = samples.of("controller rate").map((rate, index) => rate / (samples.of("plain rate")[index] ?? Number.NaN));
  print("controller's rate, as a part of the plain program's", median(ratios), "");
  for (const [who, key] of [["controller", "controller"], ["plain program", "plain"]] as const) {
    const of = (name: string): number => median(samples.of(`${key} ${name}`));
    print(`${who}, first to last status`, of("rate"), "1/s");
    print(`${who} started -> last Service has its address`, of("assignedMs") / 1000, "s");
    if (hasSpeakers) print(`${who} started -> last address announced`, of("announcedMs") / 1000, "s", who === "controller" ? "< 2.5 s" : undefined);
    print(`${who}, its processor time until the last status`, of("ownMs") / 1000, "s");
    for (const { name, what } of GROUPS) {
      if (!hasSpeakers && name === "speakers") continue;
      print(`${who}, processor time of ${what} until the last status`, of(`${name} untilMs`) / 1000, "s");
      print(`${who}, processor time of ${what} until all is at rest`, of(`${name} restMs`) / 1000, "s");
    }
  }
  for (const { name, what } of GROUPS) if (hasSpeakers || name !== "speakers") print(`at rest: processor time of ${what} in a second`, median(samples.of(`plain ${name} idleMs`)), "ms");
}
