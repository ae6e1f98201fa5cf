/**
 * SIGTERM to the leader's speaker while its node stays up: requests lost, connections that could not be opened, and what
 * becomes of 50 connections that stood. Beside it a control run in which nobody stops and only the client's ARP entry
 * goes to another node: what such a move costs whoever makes it.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { BACKEND_HOST, hostsOf } from "../../test/lab/hosts.ts";
import { CLIENT } from "../../test/lab/lab.ts";
import { Samples, wantedRuns } from "../samples.ts";
import { CONNECTIONS, Connections } from "./connections.ts";
import { Prober } from "../../test/lab/prober.ts";
import { type Scene, onScene } from "./scene.ts";

const RUNS = 10;
/** Connections are used twice a second: by then each has met the new node. */
const AFTER_MS = 3000;

const runs = wantedRuns(RUNS);
const stopped = new Samples("clean-stop", "SIGTERM");
const switched = new Samples("clean-stop", "control: only the client's ARP entry changes");
if (stopped.count < runs || switched.count < runs) {
  await onScene({ name: "bench-stop", replicas: 1 }, async (scene) => {
    while (stopped.count < runs) stopped.add(await stop(scene));
    while (switched.count < runs) switched.add(await switchEntry(scene));
  });
}
for (const [samples, goal] of [[stopped, "0"], [switched, undefined]] as const) {
  const told = goal === undefined ? {} : { goal };
  samples.printSum("udpLost", { what: "UDP requests lost", ...told });
  samples.printSum("tcpFailed", { what: "new TCP connections failed", ...told });
  samples.printSum("udpSent", { what: "UDP requests sent" });
  samples.printSum("tcpTried", { what: "new TCP connections tried" });
  samples.printSum("closed", { what: `established connections closed, ${CONNECTIONS} in each run` });
  samples.printSum("resetsByBackend", { what: "RST frames that the backend's host sent" });
  samples.printSum("resetsFromOld", { what: "RST frames that reached the client through the old node" });
  samples.printSum("resetsFromNew", { what: "RST frames that reached the client through another node" });
}

async function stop(scene: Scene): Promise<Record<string, number>> {
  const { lab } = scene;
  const leader = await scene.leader();
  const seen = await watch(scene, leader, () => lab.stopSpeaker(leader));
  await lab.restore(leader);
  await scene.whole();
  return seen;
}

async function switchEntry(scene: Scene): Promise<Record<string, number>> {
  const { lab, address } = scene;
  const leader = await scene.leader();
  const other = lab.nodes.find((node) => node !== leader) ?? "";
  const seen = await watch(scene, leader, async () => {
    await lab.exec(CLIENT, ["ip", "neigh", "replace", address, "lladdr", await lab.nodeMac(other), "dev", "eth0", "nud", "permanent"]);
  });
  await lab.exec(CLIENT, ["ip", "neigh", "del", address, "dev", "eth0"]);
  return seen;
}

/** What the client meets while that happens, and who sent the RST frames. */
async function watch(scene: Scene, leader: string, act: () => Promise<void>): Promise<Record<string, number>> {
  const { lab, address } = scene;
  const atClient = await lab.capture(CLIENT, `src host ${address} and tcp[tcpflags] & tcp-rst != 0`);
  const atBackend = await lab.capture(BACKEND_HOST, "tcp src port 8080 and tcp[tcpflags] & tcp-rst != 0");
  const connections = await Connections.open(scene);
  const prober = await Prober.start(scene);
  const begin = Date.now();
  await act();
  await sleep(AFTER_MS);
  await prober.untilSteady(begin);
  const closed = await connections.stop();
  const attempts = await prober.stop();
  const macs = (await atClient.stop()).map((line) => line.split(" ")[1]);
  const backendMac = hostsOf(0).find(({ name }) => name === BACKEND_HOST)?.mac;
  const own = await lab.nodeMac(leader);
  return {
    udpLost: attempts.failed("udp"),
    tcpFailed: attempts.failed("tcp"),
    udpSent: attempts.count("udp"),
    tcpTried: attempts.count("tcp"),
    closed,
    resetsByBackend: (await atBackend.stop()).filter((line) => line.split(" ")[1] === backendMac).length,
    resetsFromOld: macs.filter((mac) => mac === own).length,
    resetsFromNew: macs.filter((mac) => mac !== own).length,
  };
}
