/**
 * A process around one packet thread, for tests that kill it: `node thread-process.ts NODE ADDRESS`, inside a network
 * namespace. Messages come in on standard input, one in JSON a line, and facts leave on standard output, each with the
 * Unix ms at which the main thread heard it. SIGTERM ends it in an orderly way.
 */

import { createInterface } from "node:readline";

import { startPacketThread } from "../../speaker/packet-thread-handle.ts";
import type { FromPacketThread, ToPacketThread } from "../../speaker/packet-protocol.ts";

/** One line of output. */
export interface HeardFact {
  readonly atUnixMs: number;
  readonly fact: FromPacketThread;
}

const [node, bindAddress] = process.argv.slice(2);
if (node === undefined || bindAddress === undefined) throw new Error("node and address wanted");
const lines = createInterface({ input: process.stdin });
const handle = startPacketThread({
  node,
  membership: {
    bindAddress,
    bindPort: 7946,
    keys: [new Uint8Array(32).fill(7)],
    wan: false,
    profile: "default",
    failback: "sticky",
    election: "hash",
    template: "",
    bootUnixMs: Date.now(),
  },
  excludeInterfaces: ["^lo$"],
  entry: new URL("../../speaker/packet-thread.ts", import.meta.url),
  onFact: (fact) => process.stdout.write(`${JSON.stringify({ atUnixMs: Date.now(), fact } satisfies HeardFact)}\n`),
  onExit(error) {
    process.stderr.write(`${error?.stack ?? "the packet thread ended"}\n`);
    process.exit(1);
  },
});
lines.on("line", (line) => handle.send(JSON.parse(line) as ToPacketThread));
process.on("SIGTERM", () => {
  lines.close();
  process.stdin.destroy();
  void handle.stop();
});
