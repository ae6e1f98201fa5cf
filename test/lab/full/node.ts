import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { makeCgroup, removeCgroups } from "../cgroups.ts";
import { writeKubeconfig } from "../control-plane.ts";
import { type Host, namespaceOf } from "../hosts.ts";
import { poll } from "../poll.ts";
import { type ProcessRecord, type ProcessTable, endProcess, isSameProcess, startTimeOf } from "../processes.ts";
import { programPath, searchPath } from "../programs.ts";
import type { LabFolder, LabState } from "../state.ts";
import { tokenOf } from "./control-plane-flags.ts";
import { type NodeFiles, nodeEnvironment, writeNodeFiles } from "./node-files.ts";

const START_BUDGET_MS = 60_000;

/** A lab, as its nodes need it. */
export interface NodeContext {
  readonly folder: LabFolder;
  readonly state: LabState;
  readonly processes: ProcessTable;
}

/** Switches a node on: a tree of processes in namespaces of its own, whose kubelet starts as soon as it is told where the API server is. */
export async function startNode(context: NodeContext, host: Host): Promise<void> {
  const { folder, state, processes } = context;
  const config = configFolder(folder, host.name);
  const settings = state.full ?? { family: "ipv4", proxyMode: "iptables" };
  // Groups that a power cut left say that containers run which do not.
  await removeCgroups(state.name, host.name);
  const files: NodeFiles = { host, settings, config, cgroup: makeCgroup(state.name, host.name) };
  writeNodeFiles(files);
  const init = join(import.meta.dirname, "node-init.sh");
  const shell = processes.start({
    name: shellName(host.name),
    namespace: namespaceOf(state.name, host.name),
    env: { ...nodeEnvironment(files), PATH: searchPath() },
    argv: [
      programPath("unshare"), "--mount", "--propagation", "private", "--uts", "--pid", "--fork", "--mount-proc", "--kill-child",
      "bash", init, host.name, folder.path, join(folder.disks, host.name), config, folder.logs,
    ],
  });
  // unshare stays as the parent; the node is its child.
  const pid = await poll(() => childOf(shell.pid), { timeoutMs: START_BUDGET_MS, intervalMs: 10, what: `${host.name} to start` });
  if (!processes.remember(initName(host.name), pid, ["bash", init, host.name])) throw new Error(`${host.name} ended at its start; see ${processes.logPath(shellName(host.name))}`);
}

/** Tells a node where the API server is. */
export function introduceNode({ folder, state }: NodeContext, node: string): void {
  const config = configFolder(folder, node);
  writeKubeconfig({ folder, state, path: join(config, "kubelet.kubeconfig"), token: tokenOf(folder, `system:node:${node}`) });
  writeKubeconfig({ folder, state, path: join(config, "kube-proxy.kubeconfig"), token: tokenOf(folder, "system:kube-proxy") });
}

/** Ends all that runs on a node, containers too, without a word to any of them. Its disk stays. */
export async function killNode({ processes }: NodeContext, node: string): Promise<void> {
  for (const name of [initName(node), shellName(node)]) {
    const record = processes.find(name);
    if (record) await endProcess(record, 0);
    processes.forget(name);
  }
}

/** Process 1 of a node; undefined while it is off. */
export function initOf({ processes }: NodeContext, node: string): ProcessRecord | undefined {
  const record = processes.find(initName(node));
  return record && isSameProcess(record) ? record : undefined;
}

/** The arguments of nsenter that run a program on a node, with its files, processes and network. */
export function nodeArgv(init: ProcessRecord, argv: readonly string[]): string[] {
  return ["--target", String(init.pid), "--mount", "--uts", "--net", "--pid", "--", ...argv];
}

/**
 * Processes in containers of a node that run a program of this name, `speaker` or `speaker.mjs` say: the first argument that
 * ends so, whatever runs it.
 */
export function containerProcesses(lab: string, node: string, program: string): { readonly pid: number; readonly startTime: string }[] {
  const group = `/${namespaceOf(lab, "nodes")}/${node}/`;
  return readdirSync("/proc").filter((entry) => /^\d+$/.test(entry)).flatMap((entry) => {
    try {
      if (!readFileSync(`/proc/${entry}/cgroup`, "utf8").includes(group)) return [];
      const words = readFileSync(`/proc/${entry}/cmdline`, "utf8").split("\0");
      const startTime = startTimeOf(Number(entry));
      const found = words.some((word) => [program, `${program}.mjs`].includes(word.split("/").at(-1) ?? ""));
      return found && startTime !== undefined ? [{ pid: Number(entry), startTime }] : [];
    } catch {
      // It ended while we looked.
      return [];
    }
  });
}

/** A process of a container that runs somewhere in a lab, by the container's id; undefined when there is none. */
export function processOfContainer(id: string): number | undefined {
  const found = readdirSync("/proc").filter((entry) => /^\d+$/.test(entry)).find((entry) => {
    try {
      return readFileSync(`/proc/${entry}/cgroup`, "utf8").includes(id);
    } catch {
      return false;
    }
  });
  return found === undefined ? undefined : Number(found);
}

function configFolder(folder: LabFolder, node: string): string {
  return join(folder.path, "nodes", node);
}

function shellName(node: string): string {
  return `namespaces-${node}`;
}

function initName(node: string): string {
  return `init-${node}`;
}

function childOf(pid: number): number | undefined {
  try {
    const [first = ""] = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ");
    return first === "" ? undefined : Number(first);
  } catch {
    return undefined;
  }
}
