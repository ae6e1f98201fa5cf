/**
 * Two network namespaces joined by one cable, for tests and benchmarks of the packet thread: "speaker" and "client", each
 * with eth0. Nothing joins them to the machine's own network.
 */

import { execFileSync } from "node:child_process";

import { inNetworkNamespace } from "../../sys/network-namespace.ts";
import { acceptAllFilter, openArpSocket } from "../../sys/packet-socket.ts";
import type { PacketSocket } from "../../sys/packet-socket.ts";
import { watchInterfaces } from "../../sys/interfaces.ts";

export interface VethPair {
  /** Names of the namespaces. */
  readonly speaker: string;
  readonly client: string;
  /** Runs `ip ARGS` in a namespace. */
  ip(namespace: string, ...args: readonly string[]): void;
  /** Takes both namespaces away. */
  remove(): void;
}

/** Why this machine can't make namespaces; undefined when it can. */
export function whyNoNamespaces(): string | undefined {
  if (process.platform !== "linux") return "network namespaces need Linux";
  if (process.getuid?.() !== 0) return "network namespaces need root";
  try {
    execFileSync("ip", ["netns", "list"], { stdio: "ignore" });
    return undefined;
  } catch {
    return "the program ip (package iproute2) is missing or may not list namespaces";
  }
}

/** Makes a pair; `label` tells it from others of this process. */
export function makeVethPair(label: string): VethPair {
  const stem = `hrld-${process.pid}-${label}`;
  const [speaker, client] = [`${stem}-s`, `${stem}-c`];
  const ip = (namespace: string, ...args: readonly string[]): void => {
    execFileSync("ip", ["-n", namespace, ...args], { stdio: ["ignore", "ignore", "pipe"] });
  };
  const remove = (): void => {
    for (const name of [speaker, client]) {
      try {
        execFileSync("ip", ["netns", "delete", name], { stdio: "ignore" });
      } catch {
        // It was not there: nothing to take away.
      }
    }
  };
  try {
    for (const name of [speaker, client]) execFileSync("ip", ["netns", "add", name], { stdio: ["ignore", "ignore", "pipe"] });
    ip(speaker, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", client);
    for (const name of [speaker, client]) ip(name, "link", "set", "eth0", "up");
  } catch (error) {
    remove();
    throw error;
  }
  return { speaker, client, ip, remove };
}

/** A socket on eth0 of a namespace that sees every ARP frame, and eth0's MAC and index. */
export function openClient(namespace: string): { readonly socket: PacketSocket; readonly mac: string; readonly index: number } {
  return inNetworkNamespace(namespace, () => {
    const monitor = watchInterfaces();
    const eth0 = monitor.links().find((link) => link.name === "eth0");
    monitor.close();
    if (eth0?.mac === undefined) throw new Error(`namespace ${namespace} has no eth0`);
    return { socket: openArpSocket(eth0.index, acceptAllFilter), mac: eth0.mac, index: eth0.index };
  });
}
