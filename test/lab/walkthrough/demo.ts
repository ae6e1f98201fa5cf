/** `make demo`: the walkthrough, narrated, on a fresh lab that is taken down at the end. `--keep` leaves it running. */
import { Lab, whyNoLab } from "../lab.ts";
import { steps } from "./walkthrough.ts";

const reason = whyNoLab();
if (reason !== undefined) {
  console.error(`make demo: ${reason}`);
  process.exit(2);
}
const start = performance.now();
const seconds = (): string => `${((performance.now() - start) / 1000).toFixed(1)} s`;
const say = (line: string): void => console.log(line.trimEnd().replace(/^/gm, "    "));
let lab: Lab | undefined;
let step = "The lab: three nodes, a real API server, kube-proxy on every node";
try {
  console.log(`\n* ${step}`);
  lab = await Lab.up({ name: "demo", nodes: 3 });
  say(await lab.kubectl(["get", "nodes", "-o", "wide"]));
  step = "Herald starts: two controllers, a speaker on every node";
  console.log(`\n* ${step} (${seconds()})`);
  await lab.startHerald();
  say(await lab.kubectl(["get", "pods", "-n", "metallb-system", "-o", "wide"]));
  for (const { title, run } of steps) {
    step = title;
    console.log(`\n* ${title} (${seconds()})`);
    await run({ lab, say });
  }
  console.log(`\nEverything came true in ${seconds()}. To play yourself: make lab, then scripts/lab herald start.`);
} catch (error) {
  console.error(`\nFAILED at: ${step}\n${error instanceof Error ? error.stack : String(error)}`);
  process.exitCode = 1;
} finally {
  if (lab !== undefined && !process.argv.includes("--keep")) await lab.down({ failed: process.exitCode === 1 });
}
