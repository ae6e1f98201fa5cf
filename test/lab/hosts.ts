/** The plan of a lab's network: who is there, and with which addresses. Nothing here acts. */

/** Addresses of the pods behind a node. The gateway is the node's side of the link to them. */
export interface HostLinks {
  readonly ipv4Range: string;
  readonly ipv6Range: string;
  readonly ipv4Gateway: string;
  readonly ipv6Gateway: string;
  /** Last address of the range, held by the pods' side itself and never given to a pod. */
  readonly ipv4Last: string;
  readonly ipv6Last: string;
  /** First 24 and 64 bits as text; a pod's address is this and its number. */
  readonly ipv4Prefix: string;
  readonly ipv6Prefix: string;
}

/** The second card of a machine, and its addresses there. */
export interface SecondCard {
  readonly ipv4: string;
  readonly ipv6: string;
  readonly mac: string;
}

/** A machine on the segment. */
export interface Host {
  readonly name: string;
  readonly ipv4: string;
  readonly ipv6: string;
  readonly mac: string;
  /** The second network card, in labs that have one: eth1, on a switch of its own. */
  readonly second?: SecondCard;
  /** Set when the host is a Node of Kubernetes or runs pods all the same. */
  readonly pods?: HostLinks;
}

/** The machine outside of the cluster that tests look from; also everybody's default route. */
export const UPSTREAM_HOST = "client";
/** Runs pods that ask for it by nodeSelector, so that losing a node never loses a backend. */
export const BACKEND_HOST = "backend";
export const CONTROL_HOST = "control";

export const SERVICE_RANGES = "10.96.0.0/16,fd00:96::/112";
export const POD_RANGES = "10.244.0.0/16,fd00:244::/32";
export const POD_PREFIX_LENGTH = { ipv4: 24, ipv6: 64 } as const;

/** Nodes get 172.20.0.11 and up; the client's address is the first that is taken. */
export const MAX_NODES = 80;

/** Longest name of a lab: namespace names stay readable and unix socket paths short enough. */
export const MAX_LAB_NAME_LENGTH = 24;

/** Every host of a lab with this many nodes, the switch apart. */
export function hostsOf(nodeCount: number): Host[] {
  const hosts = [host(CONTROL_HOST, 2)];
  for (let number = 1; number <= nodeCount; number += 1) hosts.push({ ...host(`node${number}`, 10 + number), pods: links(number) });
  hosts.push(host(UPSTREAM_HOST, 100), { ...host(BACKEND_HOST, 200), pods: links(250) });
  return hosts;
}

/** Every host of a full lab: the control host runs pods too, and everybody has a second network card. */
export function fullHostsOf(nodeCount: number): Host[] {
  return hostsOf(nodeCount).map((each) => ({
    ...each,
    ...(each.name === CONTROL_HOST ? { pods: links(251) } : {}),
    second: { ipv4: each.ipv4.replace("172.20.", "172.21."), ipv6: each.ipv6.replace("fd00:20:", "fd00:21:"), mac: each.mac.replace(":ac:14:", ":ac:15:") },
  }));
}

/** Port of a host's second card on its switch. */
export function secondPort(hostName: string): string {
  return `${hostName}-1`;
}

/** Names of the nodes, in order: node1, node2, ... */
export function nodeNames(nodeCount: number): string[] {
  return Array.from({ length: nodeCount }, (_, index) => `node${index + 1}`);
}

/** Full name of a host's network namespace. */
export function namespaceOf(lab: string, hostName: string): string {
  return `hl-${lab}.${hostName}`;
}

/** Whether a text can name a lab: lower-case letters, digits and dashes. */
export function isLabName(text: string): boolean {
  return /^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/.test(text) && text.length <= MAX_LAB_NAME_LENGTH;
}

function host(name: string, suffix: number): Host {
  return {
    name,
    ipv4: `172.20.0.${suffix}`,
    ipv6: `fd00:20::${suffix}`,
    // Locally administered, and the end tells the host in a capture.
    mac: `02:00:ac:14:00:${suffix.toString(16).padStart(2, "0")}`,
  };
}

function links(number: number): HostLinks {
  const ipv4Prefix = `10.244.${number}.`;
  const ipv6Prefix = `fd00:244:${number}::`;
  return {
    ipv4Prefix,
    ipv6Prefix,
    ipv4Range: `${ipv4Prefix}0/${POD_PREFIX_LENGTH.ipv4}`,
    ipv6Range: `${ipv6Prefix}/${POD_PREFIX_LENGTH.ipv6}`,
    ipv4Gateway: `${ipv4Prefix}1`,
    ipv6Gateway: `${ipv6Prefix}1`,
    ipv4Last: `${ipv4Prefix}254`,
    ipv6Last: `${ipv6Prefix}ffff`,
  };
}
