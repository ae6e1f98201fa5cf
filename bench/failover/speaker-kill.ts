/** SIGKILL to the leader's speaker: how long until another node answers ARP for the address. */
import { setTimeout as sleep } from "node:timers/promises";
import { Samples, wantedRuns } from "../samples.ts";
import { type ArpLine, startArpWatch } from "./arp-watch.ts";
import { type Scene, onScene } from "./scene.ts";

const RUNS = 30;
const PHASE_MS = 400;

const runs = wantedRuns(RUNS);
const samples = new Samples("speaker-kill", "kill -9");
if (samples.count < runs) {
  await onScene({ name: "bench-kill" }, async (scene) => {
    while (samples.count < runs) samples.add(await kill(scene));
  });
}
samples.printQuantiles("first", { what: "first ARP answer of another node", unit: "ms", goals: { p50: "< 250 ms" } });

async function kill(scene: Scene): Promise<{ first: number }> {
  const { lab, address } = scene;
  const leader = await scene.leader();
  const own = await lab.nodeMac(leader);
  const isAnothers = ([, mac]: ArpLine): boolean => mac !== undefined && mac !== own;
  const watch = await startArpWatch(lab, address, 5);
  await sleep(Math.random() * PHASE_MS);
  const killed = Date.now();
  await lab.crashSpeaker(leader);
  await watch.until((answers) => answers.some(isAnothers), 30_000);
  const first = (await watch.stop()).find(isAnothers)?.[0] ?? Number.NaN;
  await scene.whole();
  return { first: first - killed };
}
