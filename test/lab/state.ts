import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { isLabName, MAX_LAB_NAME_LENGTH } from "./hosts.ts";
import type { ProcessIdentity } from "./processes.ts";
import { LabUnavailable } from "./programs.ts";

/** What is remembered of a lab between two commands. */
export interface LabState {
  readonly name: string;
  readonly nodeCount: number;
  /** Set when the nodes have kubelets of their own. */
  readonly full?: FullLabSettings;
  /**
   * The process without which the lab is nobody's: the one that starts it, and for good the test
   * that did. Missing when the lab stays until somebody ends it.
   */
  readonly owner?: ProcessIdentity;
  /** Time of day when `up` ended, RFC 3339; missing while the lab is still starting. */
  readonly readyAt?: string;
}

/** What can be chosen of a full lab. */
export interface FullLabSettings {
  /** The family whose addresses come first; both are there. */
  readonly family: "ipv4" | "ipv6";
  readonly proxyMode: "iptables" | "nftables";
}

/** Paths in a lab's folder. */
export interface LabFolder {
  readonly path: string;
  readonly state: string;
  readonly kubeconfig: string;
  readonly token: string;
  readonly certificate: string;
  readonly etcd: string;
  readonly logs: string;
  readonly captures: string;
  /** What the nodes of a full lab have on their disks, on a file system that is no tmpfs: /run often is one. */
  readonly disks: string;
  /** What the API server of a full lab was asked, by whom: one JSON object per line. */
  readonly auditLog: string;
  /** Unix socket of the player; the file system reaches across network namespaces. */
  readonly playerSocket: string;
}

/**
 * The folder of a lab, outside of any checkout: `$XDG_STATE_HOME/herald-lab/NAME`, or below /run.
 * @throws LabUnavailable when the name cannot be one.
 */
export function labFolder(name: string): LabFolder {
  if (!isLabName(name)) {
    throw new LabUnavailable(`'${name}' cannot name a lab: use at most ${MAX_LAB_NAME_LENGTH} lower-case letters, digits and dashes.`);
  }
  const path = join(labsFolder(), name);
  return {
    path,
    state: join(path, "lab.json"),
    kubeconfig: join(path, "kubeconfig"),
    token: join(path, "admin-token"),
    certificate: join(path, "certificates/apiserver.crt"),
    etcd: join(path, "etcd"),
    logs: join(path, "logs"),
    captures: join(path, "captures"),
    disks: join(disksFolder(), name),
    auditLog: join(path, "audit.log"),
    playerSocket: join(path, "player.sock"),
  };
}

/** Names of the labs that left a folder, running or not. */
export function labNames(): string[] {
  return existsSync(labsFolder()) ? readdirSync(labsFolder()).filter(isLabName).sort() : [];
}

export function readState(folder: LabFolder): LabState | undefined {
  try {
    return JSON.parse(readFileSync(folder.state, "utf8")) as LabState;
  } catch {
    return undefined;
  }
}

export function writeState(folder: LabFolder, state: LabState): void {
  mkdirSync(folder.path, { recursive: true });
  writeFileSync(folder.state, `${JSON.stringify(state)}\n`);
}

export function removeFolder(folder: LabFolder): void {
  for (const path of [folder.path, folder.disks]) rmSync(path, { recursive: true, force: true });
}

function disksFolder(): string {
  return join(process.env["XDG_STATE_HOME"] ?? "/var/lib", "herald-lab-disks");
}

function labsFolder(): string {
  return join(process.env["XDG_STATE_HOME"] ?? "/run", "herald-lab");
}
