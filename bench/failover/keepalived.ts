/**
 * The same power cut, seen by the same client, with keepalived (VRRP) on two of the nodes instead of Herald: kube-proxy
 * takes the address as one of the Service's externalIPs, so the way behind it is the same.
 */
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { nsenterArgv } from "../../test/lab/processes.ts";
import { searchPath } from "../../test/lab/programs.ts";
import { Samples, wantedRuns } from "../samples.ts";
import { Prober } from "../../test/lab/prober.ts";
import { type Scene, onScene } from "./scene.ts";

const RUNS = 20;
const PHASE_MS = 1000;
const PRIORITIES: Readonly<Record<string, number>> = { node1: 150, node2: 100 };
/** Seconds between two advertisements: keepalived's default, and one that shows what VRRP can do. */
const ADVERTS = [["adverts every 1 s (its default)", 1], ["adverts every 100 ms", 0.1]] as const;

const runs = wantedRuns(RUNS);
for (const [name, seconds] of ADVERTS) {
  const samples = new Samples("keepalived", name);
  if (samples.count < runs) {
    await onScene({ name: "bench-keepalived", herald: "none" }, async (scene) => {
      const folder = mkdtempSync(join(tmpdir(), "herald-keepalived-"));
      try {
        for (const node of Object.keys(PRIORITIES)) startKeepalived(scene, folder, node, seconds);
        while (samples.count < runs) samples.add(await cut(scene, folder, seconds));
      } finally {
        rmSync(folder, { recursive: true, force: true });
      }
    });
  }
  for (const protocol of ["udp", "tcp"] as const) samples.printQuantiles(protocol, { what: `longest gap, ${protocol.toUpperCase()}`, unit: "ms" });
}

async function cut(scene: Scene, folder: string, seconds: number): Promise<{ udp: number; tcp: number }> {
  const { lab } = scene;
  const leader = await scene.leader();
  const prober = await Prober.start(scene);
  await sleep(Math.random() * PHASE_MS);
  const off = Date.now();
  await lab.powerOff(leader);
  await prober.untilSteady(off);
  const attempts = await prober.stop();
  await lab.exec(leader, ["ip", "address", "del", `${scene.address}/32`, "dev", "eth0"]);
  await lab.restore(leader);
  startKeepalived(scene, folder, leader, seconds);
  // With preemption off it comes back as a backup, and has heard the master by then.
  await sleep(5000 * seconds + 2000);
  return { udp: attempts.longestGapMs("udp", off), tcp: attempts.longestGapMs("tcp", off) };
}

/** Ends with everything else on the node: when it is powered off, and when the lab goes down. */
function startKeepalived({ lab, address }: Scene, folder: string, node: string, seconds: number): void {
  const file = join(folder, `${node}.conf`);
  writeFileSync(file, `global_defs {
  vrrp_version 3
  router_id ${node}
}
vrrp_instance bench {
  state BACKUP
  nopreempt
  interface eth0
  virtual_router_id 51
  priority ${PRIORITIES[node]}
  advert_int ${seconds}
  virtual_ipaddress {
    ${address}/32 dev eth0
  }
}
`);
  const pid = (name: string): string => join(folder, `${node}-${name}.pid`);
  const argv = ["keepalived", "--dont-fork", "--log-console", "--vrrp", "-f", file, "-p", pid("main"), "-r", pid("vrrp")];
  const child = spawn("nsenter", nsenterArgv(lab.namespace(node), argv), { stdio: "ignore", env: { ...process.env, PATH: searchPath() } });
  child.on("error", (error) => console.error(`keepalived: ${error.message}; scripts/setup bench installs it`));
}
