/**
 * Time from an ARP request (or a neighbour solicitation) to its answer, over a veth pair between two network namespaces of its own: answered by the
 * packet thread with the main thread idle, with the main thread stalled 50 ms of every 100, and by the kernel (the floor).
 * Needs root. Usage: node bench/arp-latency.ts [questions]
 */

import { execFile } from "node:child_process";
import { promisify } from "node:util";

import { startPacketThread } from "../speaker/packet-thread-handle.ts";
import { inNetworkNamespace } from "../sys/network-namespace.ts";
import { makeVethPair, whyNoNamespaces } from "../test/netns/veth-pair.ts";
import { printFigure } from "./figure.ts";

const VIP = "192.0.2.80";
const IPV6_VIP = "fd09::80";
const KERNEL_ADDRESS = "192.0.2.2";
const IPV6_KERNEL_ADDRESS = "fd09::2";
const STALL_MS = 50;
const STALL_EVERY_MS = 100;

const questions = process.argv[2] ?? "3000";
const why = whyNoNamespaces();
if (why !== undefined) {
  process.stderr.write(`arp-latency: ${why}\n`);
  process.exit(1);
}
const pair = makeVethPair("bench");

const METRICS = [
  ["meanUs", "mean"],
  ["p50Us", "p50"],
  ["p99Us", "p99"],
  ["maxUs", "max"],
] as const;

async function measure(name: string, address: string, goalOfMean?: string): Promise<void> {
  const { stdout } = await promisify(execFile)(process.execPath, [new URL("arp-client.ts", import.meta.url).pathname, pair.client, address, questions]);
  const figures = JSON.parse(stdout) as Record<string, number>;
  if (figures["lost"] !== 0) throw new Error(`${name}: ${figures["lost"]} questions without an answer`);
  for (const [key, metric] of METRICS) {
    const value = Number((figures[key] ?? Number.NaN).toFixed(1));
    const goal = metric === "mean" && goalOfMean !== undefined ? { goal: goalOfMean } : {};
    printFigure({ bench: "arp-latency", case: name, metric, value, unit: "us", samples: Number(questions), ...goal });
  }
}

/** Keeps the main thread from doing anything else. */
function stall(): void {
  const end = performance.now() + STALL_MS;
  while (performance.now() < end);
}

try {
  pair.ip(pair.speaker, "addr", "add", `${KERNEL_ADDRESS}/24`, "dev", "eth0");
  for (const text of [`${IPV6_KERNEL_ADDRESS}/64`, "fe80::2/64"]) pair.ip(pair.speaker, "addr", "add", text, "dev", "eth0", "nodad");
  const rows = [VIP, IPV6_VIP].map((address) => ({ address, group: address, interfaces: "all", candidates: [{ node: "node1", score: 0 }] }) as const);
  let missing = rows.length;
  const owned = Promise.withResolvers<void>();
  const handle = inNetworkNamespace(pair.speaker, () =>
    startPacketThread({
      node: "node1",
      excludeInterfaces: [],
      entry: new URL("../speaker/packet-thread.ts", import.meta.url),
      onFact: (fact) => {
        if (fact.kind === "owned" && --missing === 0) owned.resolve();
      },
      onExit: (error) => owned.reject(error ?? new Error("the packet thread ended")),
    }),
  );
  handle.send({ kind: "table", version: 1, full: true, upsert: rows, remove: [] });
  await owned.promise;
  await measure("kernel (the floor)", KERNEL_ADDRESS);
  await measure("packet thread, main thread idle", VIP, "< 100 us");
  await measure("NDP, kernel (the floor)", IPV6_KERNEL_ADDRESS);
  await measure("NDP, packet thread, main thread idle", IPV6_VIP);
  const stalls = setInterval(stall, STALL_EVERY_MS);
  await measure("packet thread, main thread stalled 50 ms of 100", VIP, "< 200 us");
  clearInterval(stalls);
  await handle.stop();
} finally {
  pair.remove();
}
