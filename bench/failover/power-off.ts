/**
 * Power off of the leader's node, again and again: the longest gap that a client sees. With the default profile, and
 * fewer times with the fast one.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { Samples, wantedRuns } from "../samples.ts";
import { Prober } from "../../test/lab/prober.ts";
import { type Scene, onScene } from "./scene.ts";

const RUNS = 100;
const RUNS_FAST = 20;
/** The cut must not keep step with beats or turns. */
const PHASE_MS = 400;
const GOALS = { p50: "< 450 ms", p95: "< 700 ms", max: "< 1000 ms" };

for (const [profile, runs, goals] of [["default", wantedRuns(RUNS), GOALS], ["fast", Math.ceil(wantedRuns(RUNS) * (RUNS_FAST / RUNS)), {}]] as const) {
  const samples = new Samples("failover-power-off", `profile ${profile}`);
  if (samples.count < runs) {
    await onScene({ name: "bench-power", herald: { speakerArgs: [`--profile=${profile}`] } }, async (scene) => {
      while (samples.count < runs) samples.add(await cut(scene));
    });
  }
  for (const protocol of ["udp", "tcp"] as const) samples.printQuantiles(protocol, { what: `longest gap, ${protocol.toUpperCase()}`, unit: "ms", goals });
}

async function cut(scene: Scene): Promise<{ udp: number; tcp: number }> {
  const { lab } = scene;
  const leader = await scene.leader();
  const prober = await Prober.start(scene);
  await sleep(Math.random() * PHASE_MS);
  const off = Date.now();
  await lab.powerOff(leader);
  await prober.untilSteady(off);
  const attempts = await prober.stop();
  await lab.restore(leader);
  await scene.whole();
  return { udp: attempts.longestGapMs("udp", off), tcp: attempts.longestGapMs("tcp", off) };
}
