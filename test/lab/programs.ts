import { spawnSync } from "node:child_process";
import { accessSync, constants, readFileSync } from "node:fs";
import { delimiter, join, resolve } from "node:path";

/** The checkout that this file is part of. */
export const CHECKOUT = resolve(import.meta.dirname, "../..");

/** The Node that runs the lab's own programs and Herald's. */
export const NODE = join(CHECKOUT, "node_modules/.bin/node");

/** Kubernetes' version, whose one home is the require line of test/lab/kubernetes/go.mod. */
export function kubernetesVersion(): string {
  const module = readFileSync(join(CHECKOUT, "test/lab/kubernetes/go.mod"), "utf8");
  const version = /^require k8s\.io\/kubernetes (v\S+)$/m.exec(module)?.[1];
  if (version === undefined) throw new Error("test/lab/kubernetes/go.mod does not require k8s.io/kubernetes");
  return version;
}

/** What keeps the lab from running on this machine; the message says how to mend it. */
export class LabUnavailable extends Error {
  override readonly name = "LabUnavailable";
}

const KUBERNETES_PROGRAMS = ["kube-apiserver", "kube-controller-manager", "kube-proxy", "kubectl"] as const;
const SYSTEM_PROGRAMS = ["etcd", "ip", "nft", "iptables", "ip6tables", "conntrack", "sysctl", "nsenter", "curl", "arping", "tcpdump"] as const;

export type ProgramName = (typeof KUBERNETES_PROGRAMS)[number] | (typeof SYSTEM_PROGRAMS)[number];

/**
 * Path of a program: KUBEBUILDER_ASSETS wins, then the cache of scripts/setup, then PATH.
 * @throws LabUnavailable naming the program and what to run.
 */
export function programPath(name: ProgramName): string {
  const found = findProgram(name);
  if (found !== undefined) return found;
  const part = (KUBERNETES_PROGRAMS as readonly string[]).includes(name) ? "kubernetes" : "debian";
  throw new LabUnavailable(`The lab needs ${name}, which is not on this machine: run 'scripts/setup ${part}'.`);
}

/**
 * Checks that a lab can run here.
 * @throws LabUnavailable with one sentence that says what is missing and how to get it.
 */
export function checkLabPossible(): void {
  if (process.platform !== "linux") throw new LabUnavailable("The lab needs Linux: it is made of network namespaces.");
  if (process.getuid?.() !== 0) throw new LabUnavailable("The lab needs root, for it makes network namespaces: run it with sudo.");
  const missing = [...SYSTEM_PROGRAMS, ...KUBERNETES_PROGRAMS].filter((name) => findProgram(name) === undefined);
  if (missing.length > 0) {
    throw new LabUnavailable(`The lab needs ${missing.join(", ")}, which this machine does not have: run 'scripts/setup'.`);
  }
  // Root inside a container may not make namespaces, or not use the packet filter in them.
  const probe = spawnSync("unshare", ["--net", "nft", "list", "ruleset"], { encoding: "utf8", env: { ...process.env, PATH: searchPath() } });
  if (probe.status !== 0) {
    throw new LabUnavailable(`The lab needs to make network namespaces with nftables, which is refused here: ${String(probe.stderr ?? probe.error?.message).trim()}.`);
  }
}

/** PATH with the folders that hold network programs, which a user's PATH may leave out. */
export function searchPath(): string {
  return [process.env["PATH"] ?? "", "/usr/local/sbin", "/usr/sbin", "/sbin"].join(delimiter);
}

function findProgram(name: ProgramName): string | undefined {
  const assets = process.env["KUBEBUILDER_ASSETS"];
  const folders = assets === undefined ? [] : [assets];
  folders.push(join(cacheFolder(), "bin", `kubernetes-${kubernetesVersion()}`));
  // A Kubernetes program from PATH would have another version than the lab says.
  if ((SYSTEM_PROGRAMS as readonly string[]).includes(name)) folders.push(...searchPath().split(delimiter));
  return folders.map((folder) => join(folder, name)).find(isExecutable);
}

function cacheFolder(): string {
  const home = process.env["HOME"] ?? "/root";
  return process.env["HERALD_CACHE"] ?? join(process.env["XDG_CACHE_HOME"] ?? join(home, ".cache"), "herald");
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
