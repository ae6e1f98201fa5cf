import { join } from "node:path";
import { CLIENT, type Lab } from "../../test/lab/lab.ts";
import { hostsOf } from "../../test/lab/hosts.ts";
import { ClientProgram } from "../../test/lab/client-program.ts";

/** What `arp-program.ts` prints: when, in Unix ms, and which MAC answered. */
export type ArpAnswer = readonly [number, string];

/** Asks for the address every 5 ms, from the client. */
export function startArpWatch(lab: Lab, address: string): Promise<ClientProgram<ArpAnswer>> {
  const own = hostsOf(lab.nodes.length).find(({ name }) => name === CLIENT)?.ipv4 ?? "";
  return ClientProgram.start(lab, join(import.meta.dirname, "arp-program.ts"), [address, own]);
}
