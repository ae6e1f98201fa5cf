import { existsSync, mkdirSync, readFileSync, readdirSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { namespaceOf } from "./hosts.ts";
import { poll } from "./poll.ts";

const ROOT = "/sys/fs/cgroup";
/** A version 2 hierarchy beside those of version 1. */
const UNIFIED = "unified";
const REMOVE_BUDGET_MS = 30_000;
/** Controllers of version 2 that a kubelet wants below its own group, where the kernel has them. */
const CONTROLLERS = ["cpuset", "cpu", "io", "memory", "hugetlb", "pids"] as const;
/**
 * How much processor time all containers of a lab get together while others want some too, in multiples of what one ordinary process
 * gets. A group counts as one process until it is told: on a busy machine speakers would stand still for seconds, as none on a node of its own does.
 */
export const LAB_WEIGHT = 20;
/** Files that hold a group's weight, and what they say of one process: version 1 and version 2. */
const WEIGHT_OF_A_PROCESS = { "cpu.shares": 1024, "cpu.weight": 100 } as const;

/**
 * Makes the control group that all containers of a node live below, in every hierarchy of version 1 or in the one of version 2.
 * @param root where they are mounted.
 * @returns its path as a kubelet wants it, from the root of the hierarchies.
 */
export function makeCgroup(lab: string, node: string, root = ROOT): string {
  const path = `/${groupOf(lab)}/${node}`;
  if (isVersion2(root)) {
    enableControllers(root);
    for (const folder of [join(root, groupOf(lab)), join(root, path)]) {
      mkdirSync(folder, { recursive: true });
      enableControllers(folder);
    }
    giveWeight(join(root, groupOf(lab)));
    return path;
  }
  for (const hierarchy of hierarchies(root)) {
    const parts = [hierarchy, join(hierarchy, groupOf(lab)), join(hierarchy, path)];
    mkdirSync(parts.at(-1) ?? "", { recursive: true });
    giveWeight(join(hierarchy, groupOf(lab)));
    // A new group has no processors until it is told, and then no process may enter it.
    for (const [index, folder] of parts.entries()) {
      const parent = parts[index - 1];
      if (parent !== undefined) for (const file of ["cpuset.cpus", "cpuset.mems"]) copyWhereItIs(join(parent, file), join(folder, file));
    }
  }
  return path;
}

/** Removes the control groups of a lab, or of one of its nodes, whose processes must have ended. Groups of a process that the kernel still buries are waited for. */
export async function removeCgroups(lab: string, node = "", root = ROOT): Promise<void> {
  // Container runtimes make groups in a version 2 hierarchy beside those of version 1 too.
  for (const hierarchy of isVersion2(root) ? [root] : [...hierarchies(root), join(root, UNIFIED)]) {
    const folder = join(hierarchy, groupOf(lab), node);
    await poll(() => removeTree(folder), { timeoutMs: REMOVE_BUDGET_MS, intervalMs: 20, what: `${folder} to be empty` });
  }
}

function groupOf(lab: string): string {
  return namespaceOf(lab, "nodes");
}

function isVersion2(root: string): boolean {
  return existsSync(join(root, "cgroup.controllers"));
}

function hierarchies(root: string): string[] {
  if (!existsSync(root)) return [];
  return readdirSync(root, { withFileTypes: true }).filter((entry) => entry.isDirectory() && entry.name !== UNIFIED).map((entry) => join(root, entry.name));
}

function enableControllers(folder: string): void {
  const here = readFileSync(join(folder, "cgroup.controllers"), "utf8").trim().split(" ");
  for (const controller of CONTROLLERS.filter((name) => here.includes(name))) {
    writeFileSync(join(folder, "cgroup.subtree_control"), `+${controller}`);
  }
}

function giveWeight(folder: string): void {
  for (const [file, weight] of Object.entries(WEIGHT_OF_A_PROCESS)) {
    if (existsSync(join(folder, file))) writeFileSync(join(folder, file), String(weight * LAB_WEIGHT));
  }
}

function copyWhereItIs(from: string, to: string): void {
  if (existsSync(to)) writeFileSync(to, readFileSync(from));
}

/** Children first; false while a group is busy. */
function removeTree(folder: string): boolean {
  try {
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      if (entry.isDirectory() && !removeTree(join(folder, entry.name))) return false;
    }
    rmdirSync(folder);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ENOENT";
  }
}
