/** 1,000 Services on three nodes, one node powered off: how long until the last of its addresses is announced by another. */
import { CLIENT } from "../../test/lab/lab.ts";
import { quantile, Samples, wantedRuns } from "../samples.ts";
import { untilAnnounced } from "./announced.ts";
import { announcementsIn } from "./announcements.ts";
import { type Scene, createServices, onScene } from "./scene.ts";

const SERVICES = 1000;
const RUNS = 5;
const BUDGET_MS = 300_000;

const runs = wantedRuns(RUNS);
const samples = new Samples("groups-1000", `${SERVICES} Services, 3 nodes`);
if (samples.count < runs) {
  await onScene({ name: "bench-groups" }, async (scene) => {
    // The scene's own Service is one of them.
    await createServices(scene, SERVICES - 1);
    while (samples.count < runs) samples.add(await cut(scene));
  });
}
samples.printQuantiles("last", { what: "last address announced elsewhere", unit: "ms", goals: { max: "< 1500 ms" } });
samples.printQuantiles("p50", { what: "address announced elsewhere, median of a run", unit: "ms" });
samples.printQuantiles("moved", { what: "addresses of the node that was cut", unit: "" });

async function cut(scene: Scene): Promise<{ last: number; p50: number; moved: number }> {
  const { lab } = scene;
  const held = await untilAnnounced(lab, SERVICES, { timeoutMs: BUDGET_MS });
  // Addresses stay where they went, so the nodes are cut in turn: after the first time one of them holds none.
  const load = (node: string): number => held.filter((each) => each.node === node).length;
  const victim = lab.nodes.toSorted((a, b) => load(a) - load(b)).at(1) ?? "";
  const mac = await lab.nodeMac(victim);
  const capture = await lab.capture(CLIENT, "arp");
  const off = Date.now();
  await lab.powerOff(victim);
  const addresses = held.filter(({ node }) => node === victim).map(({ address }) => address);
  if (addresses.length === 0) throw new Error(`${victim} announces nothing`);
  await untilAnnounced(lab, SERVICES, { not: victim, timeoutMs: BUDGET_MS });
  const first = new Map<string, number>();
  for (const seen of announcementsIn(await capture.stop())) {
    if (seen.mac !== mac && seen.atMs >= off && !first.has(seen.address)) first.set(seen.address, seen.atMs - off);
  }
  const times = addresses.map((address) => first.get(address) ?? Number.NaN);
  if (times.some(Number.isNaN)) throw new Error(`${times.filter(Number.isNaN).length} addresses were never announced elsewhere`);
  await lab.restore(victim);
  await scene.whole();
  return { last: Math.max(...times), p50: quantile(times, 0.5), moved: addresses.length };
}
