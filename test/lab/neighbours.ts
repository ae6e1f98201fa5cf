/** Who answers for an IPv6 address on the segment: what `arping` and `expectAnswerFrom` are for IPv4. */
import assert from "node:assert/strict";
import { eventually } from "./eventually.ts";
import { CLIENT, type Lab } from "./lab.ts";
import { WITHIN } from "./observe.ts";

/** MACs that answer a neighbour solicitation of the client's, in lower case; empty when nobody did. */
export async function askNeighbours(lab: Lab, address: string): Promise<string[]> {
  // Without -1 it waits for all answers to each of its questions.
  const { stdout } = await lab.exec(CLIENT, ["ndisc6", "-m", "-q", "-r", "3", "-w", "500", address, "eth0"]);
  return stdout.split("\n").map((line) => line.trim().toLowerCase()).filter((line) => line !== "");
}

/** Waits until exactly this node's MAC answers. */
export async function expectNeighbour(lab: Lab, address: string, node: string): Promise<void> {
  const mac = await lab.nodeMac(node);
  await eventually(async () => {
    const macs = [...new Set(await askNeighbours(lab, address))];
    assert.deepEqual(macs, [mac], `for ${address} answers ${macs.join(" and ") || "nobody"} instead of ${mac} of ${node}`);
  }, { ...WITHIN, what: `${node} answers for ${address}` });
}
