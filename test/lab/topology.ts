import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { type Host, type HostLinks, POD_PREFIX_LENGTH, UPSTREAM_HOST, namespaceOf, secondPort } from "./hosts.ts";
import { killNamespace } from "./processes.ts";

const run = promisify(execFile);

/** Who is on a lab's network. */
export interface NetworkPlan {
  readonly hosts: readonly Host[];
  /** Whether a namespace behind every node stands for its pods; else a CNI plugin makes the pods' own. */
  readonly podHosts: boolean;
}

/**
 * Builds the network of a lab: a namespace with a bridge (`switch`), one namespace per host joined
 * to it by a veth named eth0 inside and named after the host on the switch side, and behind every
 * node a namespace for its pods, as a CNI plugin would make. Second cards are eth1, on a second bridge. Nothing joins the machine's own
 * namespace, so nothing that the lab sends can leave.
 */
export async function buildNetwork(lab: string, plan: NetworkPlan): Promise<void> {
  const { hosts, podHosts } = plan;
  const names = ["switch", ...hosts.flatMap((host) => (podHosts && host.pods ? [host.name, podsHost(host.name)] : [host.name]))];
  await batch(undefined, names.map((name) => `netns add ${namespaceOf(lab, name)}`));
  await Promise.all(names.map((name) => setSysctls(namespaceOf(lab, name))));
  const bridge = namespaceOf(lab, "switch");
  await batch(bridge, [
    "link set lo up",
    "link add br0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
    "link set br0 up",
    ...(hosts.some(({ second }) => second) ? ["link add br1 type bridge stp_state 0 forward_delay 0 mcast_snooping 0", "link set br1 up"] : []),
    ...hosts.flatMap((host) => [
      `link add ${host.name} type veth peer name eth0 address ${host.mac} netns ${namespaceOf(lab, host.name)}`,
      `link set ${host.name} master br0`,
      `link set ${host.name} up`,
      ...(host.second ? [
        `link add ${secondPort(host.name)} type veth peer name eth1 address ${host.second.mac} netns ${namespaceOf(lab, host.name)}`,
        `link set ${secondPort(host.name)} master br1`,
        `link set ${secondPort(host.name)} up`,
      ] : []),
    ]),
  ]);
  await Promise.all(hosts.map((host) => configureHost(lab, host, plan)));
}

/** Name of the host that stands for the pods behind a node: `node1-pods`. */
export function podsHost(node: string): string {
  return `${node}-pods`;
}

/** Kills what runs in every namespace of the lab, then removes them. Leaves other labs alone. */
export async function removeNetwork(lab: string): Promise<void> {
  const namespaces = await listNamespaces(lab);
  for (const namespace of namespaces) await killNamespace(namespace);
  await batch(undefined, namespaces.map((name) => `netns del ${name}`));
}

/** The namespaces of this lab that exist, by their full names. */
export async function listNamespaces(lab: string): Promise<string[]> {
  const { stdout } = await run("ip", ["netns", "list"]);
  return stdout.split("\n").map((line) => line.split(" ")[0] ?? "").filter((name) => name.startsWith(namespaceOf(lab, "")));
}

/** Cuts or joins the cable in a port of the switch, which is called as its host is: on the switch's side, as pulling it at the switch does. */
export async function setCable(lab: string, port: string, state: "up" | "down"): Promise<void> {
  await run("ip", ["-n", namespaceOf(lab, "switch"), "link", "set", port, state]);
}

/**
 * Gives a host that lost power its routes back: the kernel drops IPv6 routes and addresses of a
 * link that went down.
 */
export async function reconfigureHost(lab: string, plan: NetworkPlan, name: string): Promise<void> {
  const host = plan.hosts.find((candidate) => candidate.name === name);
  if (host) await configureHost(lab, host, plan);
}

/** Forgets what a machine loses with its power: packet filter rules, connections, neighbours. */
export async function forgetState(lab: string, host: string): Promise<void> {
  const enter = [`--net=/run/netns/${namespaceOf(lab, host)}`];
  await run("nsenter", [...enter, "nft", "flush", "ruleset"]);
  await run("nsenter", [...enter, "conntrack", "-F"]).catch(() => undefined);
  await run("nsenter", [...enter, "ip", "neigh", "flush", "all"]).catch(() => undefined);
}

/**
 * Drops every frame at the switch between the two groups of hosts, in both directions. Adds to
 * the partitions there are.
 */
export async function partition(lab: string, group: readonly string[], others: readonly string[]): Promise<void> {
  const rules = group.flatMap((a) => others.flatMap((b) => [`${quoted(a)} . ${quoted(b)}`, `${quoted(b)} . ${quoted(a)}`]));
  if (rules.length === 0) return;
  await nft(lab, [
    "add table bridge lab",
    "add set bridge lab cut { typeof iifname . oifname; }",
    "add chain bridge lab forward { type filter hook forward priority 0; }",
    "flush chain bridge lab forward",
    "add rule bridge lab forward iifname . oifname @cut counter drop",
    `add element bridge lab cut { ${rules.join(", ")} }`,
  ]);
}

/** Heals every partition that has this host on one side. */
export async function healPartition(lab: string, host: string, hosts: readonly string[]): Promise<void> {
  const pairs = hosts.filter((other) => other !== host)
    .flatMap((other) => [`${quoted(host)} . ${quoted(other)}`, `${quoted(other)} . ${quoted(host)}`]);
  // Deleting an element that is not there fails the whole batch, and adding a present one does not.
  await nft(lab, [
    "add table bridge lab",
    "add set bridge lab cut { typeof iifname . oifname; }",
    `add element bridge lab cut { ${pairs.join(", ")} }`,
    `delete element bridge lab cut { ${pairs.join(", ")} }`,
  ]);
}

function quoted(name: string): string {
  return `"${name}"`;
}

async function configureHost(lab: string, host: Host, { hosts, podHosts }: NetworkPlan): Promise<void> {
  const namespace = namespaceOf(lab, host.name);
  const upstream = hosts.find((other) => other.name === UPSTREAM_HOST);
  const lines = ["link set lo up", "link set eth0 up", `addr replace ${host.ipv4}/16 dev eth0`, `addr replace ${host.ipv6}/64 dev eth0 nodad`];
  if (host.second) lines.push("link set eth1 up", `addr replace ${host.second.ipv4}/16 dev eth1`, `addr replace ${host.second.ipv6}/64 dev eth1 nodad`);
  // A process that dials a Service needs some route before kube-proxy's rule turns it.
  if (upstream && upstream !== host) lines.push(`route replace default via ${upstream.ipv4}`, `route replace ::/0 via ${upstream.ipv6}`);
  // Pod ranges are known inside the cluster only; the client is a machine outside of it.
  if (host.name !== UPSTREAM_HOST) {
    for (const other of hosts) {
      if (!other.pods || other === host) continue;
      lines.push(`route replace ${other.pods.ipv4Range} via ${other.ipv4}`, `route replace ${other.pods.ipv6Range} via ${other.ipv6}`);
    }
  }
  await batch(namespace, lines);
  if (podHosts && host.pods) await configurePods(lab, host.name, host.pods);
}

async function configurePods(lab: string, node: string, pods: HostLinks): Promise<void> {
  const inner = namespaceOf(lab, podsHost(node));
  const outer = namespaceOf(lab, node);
  const exists = await run("ip", ["-n", outer, "link", "show", "pods"]).then(() => true, () => false);
  await batch(outer, [
    ...(exists ? [] : [`link add pods type veth peer name eth0 netns ${inner}`]),
    "link set pods up",
    `addr replace ${pods.ipv4Gateway}/${POD_PREFIX_LENGTH.ipv4} dev pods`,
    `addr replace ${pods.ipv6Gateway}/${POD_PREFIX_LENGTH.ipv6} dev pods nodad`,
  ]);
  await batch(inner, [
    "link set lo up",
    "link set eth0 up",
    // The pods' addresses are added one by one; until then a route needs an address of its own.
    `addr replace ${pods.ipv4Last}/${POD_PREFIX_LENGTH.ipv4} dev eth0`,
    `addr replace ${pods.ipv6Last}/${POD_PREFIX_LENGTH.ipv6} dev eth0 nodad`,
    `route replace default via ${pods.ipv4Gateway}`,
    `route replace ::/0 via ${pods.ipv6Gateway}`,
  ]);
}

/** Duplicate address detection would hold every IPv6 address back for a second or two. */
async function setSysctls(namespace: string): Promise<void> {
  const ipv4 = ["net.ipv4.ip_forward=1", "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.default.rp_filter=0"];
  const ipv6 = ["forwarding=1", "accept_dad=0", "accept_ra=0", "disable_ipv6=0"]
    .flatMap((setting) => [`net.ipv6.conf.all.${setting}`, `net.ipv6.conf.default.${setting}`]);
  await run("nsenter", [`--net=/run/netns/${namespace}`, "sysctl", "-q", "-w", ...ipv4, ...ipv6]);
}

async function batch(namespace: string | undefined, lines: readonly string[]): Promise<void> {
  if (lines.length > 0) await feed("ip", [...(namespace ? ["-n", namespace] : []), "-batch", "-"], lines);
}

async function nft(lab: string, lines: readonly string[]): Promise<void> {
  await feed("nsenter", [`--net=/run/netns/${namespaceOf(lab, "switch")}`, "nft", "-f", "-"], lines);
}

async function feed(program: string, argv: readonly string[], lines: readonly string[]): Promise<void> {
  const child = run(program, argv);
  child.child.stdin?.end(`${lines.join("\n")}\n`);
  await child;
}
