/**
 * Ten minutes of a bad network and slow machines, in which nobody dies: 2 % of the frames lost on every link, the
 * speakers' main threads asleep half of the time, a speaker stopped for 50 to 500 ms now and then. Counts the addresses
 * that moved; then one node is powered off, to show that moves are counted.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { join } from "node:path";
import { CLIENT } from "../../test/lab/lab.ts";
import { metricOf } from "../../test/lab/metrics.ts";
import { Samples } from "../samples.ts";
import { untilAnnounced } from "./announced.ts";
import { announcementsIn, movesIn } from "./announcements.ts";
import { type Scene, createServices, onScene } from "./scene.ts";

/** `--minutes=N` for a shorter look. */
const MINUTES = Number(process.argv.map((arg) => /^--minutes=([\d.]+)$/.exec(arg)?.[1]).find((value) => value !== undefined) ?? 10);
const SERVICES = 30;
const LOSS_PERCENT = 2;
const PAUSE_MS = { least: 50, most: 500 } as const;
const BETWEEN_MS = 1500;
const CLASSES = ["powerOff", "processGone", "paused"] as const;

const samples = new Samples("false-takeovers", `${MINUTES} minutes, ${SERVICES} addresses`);
if (samples.count === 0) {
  const stalled = { env: { NODE_OPTIONS: `--import=${join(import.meta.dirname, "stall-main-thread.ts")}` } };
  await onScene({ name: "bench-false", herald: { speakerOverrides: { node1: stalled, node2: stalled, node3: stalled } } }, async (scene) => samples.add(await endure(scene)));
}
for (const [name, what, goal] of [["moves", "addresses that moved", "0"], ["verdicts", "speakers given up by another", "0"], ["pauses", "pauses of a speaker", undefined], ["forced", "addresses that moved when the node was powered off", ">= 1"]] as const) {
  samples.printSum(name, { what, ...(goal === undefined ? {} : { goal }) });
}

async function endure(scene: Scene): Promise<{ moves: number; verdicts: number; pauses: number; forced: number }> {
  const { lab } = scene;
  await createServices(scene, SERVICES - 1);
  await untilAnnounced(lab, SERVICES, { timeoutMs: 60_000 });
  const capture = await lab.capture(CLIENT, "arp");
  await lab.lossPercent(LOSS_PERCENT);
  const end = Date.now() + MINUTES * 60_000;
  let pauses = 0;
  while (Date.now() < end) {
    await sleep(Math.random() * BETWEEN_MS);
    await lab.pauseSpeaker(lab.nodes[Math.floor(Math.random() * lab.nodes.length)] ?? "", PAUSE_MS.least + Math.random() * (PAUSE_MS.most - PAUSE_MS.least));
    pauses += 1;
  }
  const verdicts = await verdictsOf(scene);
  await lab.lossPercent(0);
  const before = Date.now();
  const victim = await scene.leader();
  await lab.powerOff(victim);
  await untilAnnounced(lab, SERVICES, { not: victim, timeoutMs: 60_000 });
  const seen = announcementsIn(await capture.stop());
  const moves = movesIn(seen.filter(({ atMs }) => atMs < before));
  return { moves, verdicts, pauses, forced: movesIn(seen) - moves };
}

/** Speakers that the speakers gave up, all together. */
async function verdictsOf({ lab }: Scene): Promise<number> {
  const counts = await Promise.all(lab.nodes.flatMap((node) => CLASSES.map((name) => metricOf(lab, { node, program: "speaker" }, "herald_speaker_verdicts_total", { class: name }))));
  return counts.reduce<number>((sum, count) => sum + (count ?? 0), 0);
}
