/**
 * What can go wrong, as verbs: each begins now and ends by itself after a time, or when the function that it returns is
 * called. The cluster counts them by kind, and checkers ask it what is at work.
 */

import type { Cluster } from "./cluster.ts";
import { nodeName } from "./events.ts";
import type { NodeId } from "./events.ts";
import { GOOD_LINKS } from "./links.ts";
import type { HostId, LinkQuality } from "./links.ts";
import type { FaultKind } from "./world.ts";

/** Ends a fault; a second call does nothing. */
export type End = () => void;

/** From when a process starts until it can do its part: it lists, joins, and waits for its view to be complete. */
export const START_MS = 3500;

/** The process gets no time to run (SIGSTOP, a full CPU); the kernel goes on. */
export function pauseProcess(cluster: Cluster, node: NodeId, ms: number): void {
  if (cluster.node(node).state !== "running") return;
  const end = cluster.fault("pause", `${nodeName(node)} ${ms.toFixed(0)} ms`);
  cluster.node(node).pause(cluster.now);
  const { since } = cluster.node(node);
  cluster.at(cluster.now + ms, (now) => {
    // It may have been killed and started meanwhile.
    if (cluster.node(node).state === "paused" && cluster.node(node).since === since) cluster.node(node).resume(now);
    end();
  });
}

/** The whole machine stands still (a migration, a snapshot). */
export function pauseMachine(cluster: Cluster, node: NodeId, ms: number): void {
  if (cluster.node(node).state !== "running") return;
  const end = cluster.fault("machinePause", `${nodeName(node)} ${ms.toFixed(0)} ms`);
  cluster.node(node).freeze(cluster.now);
  const { since } = cluster.node(node);
  cluster.at(cluster.now + ms, (now) => {
    if (cluster.node(node).state === "frozen" && cluster.node(node).since === since) cluster.node(node).resume(now);
    end();
  });
}

/** The process is killed, and starts again after a time. The fault is over when the new one can do its part. */
export function restart(cluster: Cluster, node: NodeId, downMs: number, way: "kill" | "stop" | "powerOff" = "kill"): void {
  const { state } = cluster.node(node);
  if (state !== "running") return;
  const end = cluster.fault(way, `${nodeName(node)} ${downMs.toFixed(0)} ms`);
  if (way === "kill") cluster.node(node).kill(cluster.now);
  else if (way === "powerOff") cluster.node(node).powerOff(cluster.now);
  else cluster.node(node).stop(cluster.now);
  bootWhenGone(cluster, node, cluster.now + downMs, () => cluster.at(cluster.now + START_MS, end));
}

function bootWhenGone(cluster: Cluster, node: NodeId, at: number, booted: () => void): void {
  cluster.at(at, (now) => {
    if (cluster.node(node).hasProcess) {
      bootWhenGone(cluster, node, now + 100, booted);
      return;
    }
    cluster.boot(node, now);
    booted();
  });
}

/** The node loses power for good. Being without a node is no fault that lasts: the rest is to do without it. */
export function powerOffForGood(cluster: Cluster, node: NodeId): void {
  const end = cluster.fault("powerOff", `${nodeName(node)} for good`);
  cluster.node(node).powerOff(cluster.now);
  end();
}

/** The process is killed and does not come back. */
export function killForGood(cluster: Cluster, node: NodeId): void {
  const end = cluster.fault("kill", `${nodeName(node)} for good`);
  cluster.node(node).kill(cluster.now);
  end();
}

/** A node that was without its process, or without power, has it again. The fault is over when the process can do its part. */
export function comeBack(cluster: Cluster, node: NodeId): void {
  if (cluster.node(node).hasProcess) return;
  const end = cluster.fault("kill", `${nodeName(node)} is back`);
  cluster.boot(node);
  cluster.at(cluster.now + START_MS, end);
}

/** No packet goes from one set of hosts to the other, in this direction. */
export function cut(cluster: Cluster, from: readonly HostId[], to: readonly HostId[], kind: FaultKind = "oneWay"): End {
  return cutPairs(cluster, directed(from, to), { kind, text: `${list(from)} -> ${list(to)}` });
}

/** Two sides that do not reach each other. Hosts on neither side reach both. */
export function partition(cluster: Cluster, left: readonly HostId[], right: readonly HostId[], kind: FaultKind = "partition"): End {
  return cutPairs(cluster, [...directed(left, right), ...directed(right, left)], { kind, text: `${list(left)} | ${list(right)}` });
}

type Direction = readonly [from: HostId, to: HostId];

function directed(from: readonly HostId[], to: readonly HostId[]): Direction[] {
  return from.flatMap((left) => to.filter((right) => right !== left).map((right) => [left, right] as const));
}

function cutPairs(cluster: Cluster, pairs: readonly Direction[], { kind, text }: { readonly kind: FaultKind; readonly text: string }): End {
  for (const [left, right] of pairs) cluster.perform({ kind: "cut", from: left, to: right });
  const end = cluster.fault(kind, text);
  let isOver = false;
  return () => {
    if (isOver) return;
    isOver = true;
    for (const [left, right] of pairs) cluster.perform({ kind: "mend", from: left, to: right });
    end();
  };
}

/** What a flapping link takes away: with `carrier` the kernel sees that and tells the process; `uplink`: gateway and client stay reachable. */
export interface UnplugOptions {
  readonly carrier?: boolean;
  readonly uplink?: boolean;
  readonly kind?: FaultKind;
}

/** The node's cable is out, its own or that of the switch behind it. */
export function unplug(cluster: Cluster, node: NodeId, { carrier = false, uplink = false, kind = "flap" }: UnplugOptions): End {
  const end = partition(cluster, [node], others(cluster, node).filter((host) => !uplink || host < cluster.nodes.length), kind);
  if (carrier) cluster.node(node).setInterfaceUsable(false, cluster.now);
  let isOver = false;
  return () => {
    if (isOver) return;
    isOver = true;
    end();
    if (carrier) cluster.node(node).setInterfaceUsable(true, cluster.now);
  };
}

/** The node sends, and nothing reaches it. */
export function deafen(cluster: Cluster, node: NodeId): End {
  return cut(cluster, others(cluster, node), [node], "deaf");
}

/** The links get worse. */
export function degrade(cluster: Cluster, quality: Partial<LinkQuality>): End {
  cluster.perform({ kind: "quality", quality: { ...GOOD_LINKS, ...quality } });
  const end = cluster.fault("loss", JSON.stringify(quality));
  return () => {
    cluster.perform({ kind: "quality", quality: GOOD_LINKS });
    end();
  };
}

/** The node's watch ends, or hangs, for a time. */
export function loseApi(cluster: Cluster, nodes: readonly NodeId[], ms: number, way: "away" | "hung"): void {
  const end = cluster.fault(way === "away" ? "apiAway" : "apiHung", `${list(nodes)} ${ms.toFixed(0)} ms`);
  for (const node of nodes) {
    if (way === "away") cluster.api.goAway(node, cluster.now);
    else cluster.api.hang(node, cluster.now);
  }
  cluster.at(cluster.now + ms, (now) => {
    for (const node of nodes) cluster.api.comeBack(node, now);
    end();
  });
}

/** Events of the API come this late at the node, for a time. */
export function delayApi(cluster: Cluster, node: NodeId, { lagMs, ms }: { readonly lagMs: number; readonly ms: number }): void {
  const end = cluster.fault("apiLag", `${nodeName(node)} ${lagMs.toFixed(0)} ms`);
  cluster.api.setLag(node, lagMs);
  cluster.at(cluster.now + ms, () => cluster.api.setLag(node, 20));
  cluster.at(cluster.now + ms + lagMs, end);
}

/** The node's wall clock is set. */
export function stepClock(cluster: Cluster, node: NodeId, byMs: number): void {
  const end = cluster.fault("clockStep", `${nodeName(node)} by ${byMs.toFixed(0)} ms`);
  cluster.node(node).clock.wallOffsetMs += byMs;
  end();
}

/** All hosts but one: nodes, gateway and client. */
export function others(cluster: Cluster, node: NodeId): readonly HostId[] {
  return Array.from({ length: cluster.nodes.length + 2 }, (_, host) => host).filter((host) => host !== node);
}

function list(hosts: readonly HostId[]): string {
  return hosts.length > 8 ? `${hosts.length} hosts` : hosts.join(",");
}
