/** The part of `memory.ts` that runs on the lab's node1. Prints figures. */
import { spawn } from "node:child_process";
import { createRequire } from "node:module";
import { setTimeout as sleep } from "node:timers/promises";
import { connect, createPool, createServices, memoryOf, serviceNames, startProgram, stopProgram, untilAssigned } from "./cluster-load.ts";
import { printFigure } from "./figure.ts";

const COUNT = 1000;
/** Long enough for the first garbage collections and for every ServiceL2Status to be written. */
const SETTLE_MS = 20_000;

/** What a speaker is built on, piece by piece: programs that load it and then do nothing. */
const WORKER = 'new (require("node:worker_threads").Worker)("setInterval(() => {}, 1e6)", { eval: true });';
const KOFFI = `require(${JSON.stringify(createRequire(import.meta.url).resolve("koffi"))});`;
const BASELINES: Readonly<Record<string, string>> = {
  "bare Node": "",
  "Node with node:https": 'require("node:https");',
  "the same, and koffi": `require("node:https"); ${KOFFI}`,
  "the same, and an idle worker": `require("node:https"); ${KOFFI} ${WORKER}`,
};

for (const [name, code] of Object.entries(BASELINES)) {
  const child = spawn(process.execPath, ["-e", `${code} setInterval(() => {}, 1e6)`], { stdio: ["ignore", "ignore", "inherit"] });
  await sleep(1500);
  if (child.pid === undefined) throw new Error(`${name} did not start`);
  printFigure({ bench: "memory", case: `baseline: ${name}`, metric: "VmRSS", value: memoryOf(child.pid).rss, unit: "MB" });
  await stopProgram(child);
}

const client = connect();
const names = serviceNames(COUNT);
const started = {
  controller: startProgram("controller.mjs", ["--port=0", "--health-probe-port=0", "--log-level=error"]),
  speaker: startProgram("speaker.mjs", ["--port=0", "--log-level=error"], { METALLB_NODE_NAME: "node1" }),
};
await sleep(SETTLE_MS / 2);
record("idle");
await createPool(client);
await createServices(client, names, "bench");
await untilAssigned(client, COUNT, 60_000);
await sleep(SETTLE_MS);
record("1,000 Services");
await stopProgram(started.controller);
await stopProgram(started.speaker);
client.close();

function record(when: string): void {
  for (const [program, { pid }] of Object.entries(started)) {
    if (pid === undefined) throw new Error(`${program} did not start`);
    const { rss, anonymous, file } = memoryOf(pid);
    printFigure({ bench: "memory", case: `${program}, ${when}`, metric: "VmRSS", value: rss, unit: "MB", goal: "< 110 MB" });
    printFigure({ bench: "memory", case: `${program}, ${when}`, metric: "of it: heap, stacks, buffers (RssAnon)", value: anonymous, unit: "MB" });
    printFigure({ bench: "memory", case: `${program}, ${when}`, metric: "of it: Node's binary and libraries (RssFile)", value: file, unit: "MB" });
  }
}
