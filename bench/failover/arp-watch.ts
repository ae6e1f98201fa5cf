import { join } from "node:path";
import { ClientProgram } from "../../test/lab/client-program.ts";
import { UPSTREAM_HOST, hostsOf } from "../../test/lab/hosts.ts";
import type { Lab } from "../../test/lab/lab.ts";

/** What `arp-program.ts` prints: when it began, in Unix ms, and then for each answer when, and which MAC. */
export type ArpLine = readonly [begun: number] | readonly [answered: number, mac: string];

/** Asks for the address from the client, every so many milliseconds; returns when it has begun. */
export function startArpWatch(lab: Lab, address: string, intervalMs: number): Promise<ClientProgram<ArpLine>> {
  // The client has the same address in both labs.
  const own = hostsOf(lab.nodes.length).find(({ name }) => name === UPSTREAM_HOST)?.ipv4 ?? "";
  return ClientProgram.start(lab, join(import.meta.dirname, "arp-program.ts"), [address, own, String(intervalMs)]);
}
