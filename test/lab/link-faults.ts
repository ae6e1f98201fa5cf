import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { CONTROL_HOST, hostsOf, namespaceOf } from "./hosts.ts";

const run = promisify(execFile);

/** Port of the API server. */
const API_PORT = 6443;

/**
 * Faults that the switch adds to links: what passes between a node and the API server is dropped without a word, so that
 * connections stay open and silent; and a share of all frames is lost on a link, each way.
 */
export async function dropApi(lab: string, node: string): Promise<void> {
  const control = hostsOf(0).find(({ name }) => name === CONTROL_HOST);
  const families = [["ip", control?.ipv4], ["ip6", control?.ipv6]] as const;
  await nft(lab, [
    ...API_TABLE,
    "flush chain bridge labapi forward",
    ...families.flatMap(([family, address]) => [
      `add rule bridge labapi forward iifname @silent ${family} daddr ${address} tcp dport ${API_PORT} counter drop`,
      `add rule bridge labapi forward oifname @silent ${family} saddr ${address} tcp sport ${API_PORT} counter drop`,
    ]),
    `add element bridge labapi silent { "${node}" }`,
  ]);
}

/** Loses this share of the frames on the links of these hosts, in either direction; replaces what was said before, and 0 ends it. */
export async function setLoss(lab: string, percent: number, hosts: readonly string[]): Promise<void> {
  if (!(percent >= 0 && percent <= 100)) throw new Error(`${percent} % cannot be lost`);
  const share = Math.round(percent * 100);
  await nft(lab, [
    "add table bridge labloss",
    "delete table bridge labloss",
    ...(share === 0 || hosts.length === 0 ? [] : [
      ...LOSS_TABLE,
      "add chain bridge labloss out { type filter hook prerouting priority 0; }",
      "add chain bridge labloss in { type filter hook postrouting priority 0; }",
      `add rule bridge labloss out iifname @lossy numgen random mod 10000 <= ${share - 1} counter drop`,
      `add rule bridge labloss in oifname @lossy numgen random mod 10000 <= ${share - 1} counter drop`,
      `add element bridge labloss lossy { ${hosts.map((host) => `"${host}"`).join(", ")} }`,
    ]),
  ]);
}

/** Takes these faults off the links of a node. */
export async function mendLink(lab: string, node: string): Promise<void> {
  // Deleting an element that is not there fails the whole batch, and adding a present one does not.
  const forget = (set: string): string[] => [`add element ${set} { "${node}" }`, `delete element ${set} { "${node}" }`];
  await nft(lab, [...API_TABLE, ...forget("bridge labapi silent"), ...LOSS_TABLE, ...forget("bridge labloss lossy")]);
}

const API_TABLE = ["add table bridge labapi", "add set bridge labapi silent { type ifname; }", "add chain bridge labapi forward { type filter hook forward priority 1; }"];
const LOSS_TABLE = ["add table bridge labloss", "add set bridge labloss lossy { type ifname; }"];

async function nft(lab: string, lines: readonly string[]): Promise<void> {
  const child = run("nsenter", [`--net=/run/netns/${namespaceOf(lab, "switch")}`, "nft", "-f", "-"]);
  child.child.stdin?.end(`${lines.join("\n")}\n`);
  await child;
}
