/** A node that was off comes back while 50 connections stand: nothing may move, and nobody may notice. */
import { setTimeout as sleep } from "node:timers/promises";
import { CLIENT } from "../../test/lab/lab.ts";
import { Samples, wantedRuns } from "../samples.ts";
import { announcementsIn, movesIn } from "./announcements.ts";
import { CONNECTIONS, Connections } from "./connections.ts";
import { Prober } from "../../test/lab/prober.ts";
import { type Scene, onScene } from "./scene.ts";

const RUNS = 3;
/** Longer than anything that holds a returning node back. */
const AFTER_MS = 15_000;

const runs = wantedRuns(RUNS);
const samples = new Samples("node-returns", "the former leader comes back");
if (samples.count < runs) {
  await onScene({ name: "bench-return" }, async (scene) => {
    while (samples.count < runs) samples.add(await comeBack(scene));
  });
}
samples.printSum("moves", { what: "moves of the address", goal: "0" });
samples.printSum("udpLost", { what: "UDP requests lost", goal: "0" });
samples.printSum("tcpFailed", { what: "new TCP connections failed", goal: "0" });
samples.printSum("closed", { what: `established connections closed, ${CONNECTIONS} in each run`, goal: "0" });

async function comeBack(scene: Scene): Promise<Record<string, number>> {
  const { lab, address } = scene;
  const former = await scene.leader();
  const prober = await Prober.start(scene);
  const off = Date.now();
  await lab.powerOff(former);
  await prober.untilSteady(off);
  await prober.stop();

  const capture = await lab.capture(CLIENT, `arp and host ${address}`);
  const connections = await Connections.open(scene);
  const again = await Prober.start(scene);
  await lab.restore(former);
  await scene.whole();
  await sleep(AFTER_MS);
  const attempts = await again.stop();
  const closed = await connections.stop();
  return { moves: movesIn(announcementsIn(await capture.stop())), udpLost: attempts.failed("udp"), tcpFailed: attempts.failed("tcp"), closed };
}
