import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { accessSync, constants, readdirSync, readFileSync } from "node:fs";
import { delimiter, join, resolve } from "node:path";

/** The checkout that this file is part of. */
export const CHECKOUT = resolve(import.meta.dirname, "../..");

/** The Node that runs the lab's own programs and Herald's. */
export const NODE = join(CHECKOUT, "node_modules/.bin/node");

/** Kubernetes' version, whose one home is the require line of test/lab/kubernetes/go.mod. */
export function kubernetesVersion(): string {
  return requiredVersion("test/lab/kubernetes/go.mod", "k8s.io/kubernetes");
}

function requiredVersion(goMod: string, module: string): string {
  const line = readFileSync(join(CHECKOUT, goMod), "utf8")
    .split("\n")
    .find((text) => text.startsWith(`require ${module} `));
  if (line === undefined) throw new Error(`${goMod} does not require ${module}`);
  return line.slice(`require ${module} `.length);
}

/** What keeps the lab from running on this machine; the message says how to mend it. */
export class LabUnavailable extends Error {
  override readonly name = "LabUnavailable";
}

const KUBERNETES_PROGRAMS = ["kube-apiserver", "kube-controller-manager", "kube-proxy", "kubectl"] as const;
const SYSTEM_PROGRAMS = ["etcd", "ip", "nft", "iptables", "ip6tables", "conntrack", "sysctl", "nsenter", "curl", "arping", "tcpdump"] as const;
/** What the full lab needs besides. */
const FULL_KUBERNETES_PROGRAMS = ["kubelet", "kube-scheduler"] as const;
const FULL_SYSTEM_PROGRAMS = ["containerd", "containerd-shim-runc-v2", "ctr", "runc", "unshare", "mount"] as const;
const CNI_PLUGINS = ["ptp", "host-local", "loopback"] as const;

export type ProgramName =
  | (typeof KUBERNETES_PROGRAMS)[number]
  | (typeof SYSTEM_PROGRAMS)[number]
  | (typeof FULL_KUBERNETES_PROGRAMS)[number]
  | (typeof FULL_SYSTEM_PROGRAMS)[number]
  | (typeof CNI_PLUGINS)[number]
  | "helm";

/**
 * Path of a program: KUBEBUILDER_ASSETS wins, then the cache of scripts/setup, then PATH (for CNI plugins, Debian's folder of them).
 * @throws LabUnavailable naming the program and what to run.
 */
export function programPath(name: ProgramName): string {
  const found = findProgram(name);
  if (found !== undefined) return found;
  throw new LabUnavailable(`The lab needs ${name}, which is not on this machine: run 'scripts/setup ${setupPart(name)}'.`);
}

/** Path of a program, or undefined when this machine does not have it. */
export function findProgram(name: ProgramName): string | undefined {
  return searchedFolders(name)
    .map((folder) => join(folder, name))
    .find(isExecutable);
}

/** Where `findProgram` looks, first one first. */
export function searchedFolders(name: ProgramName): string[] {
  const assets = process.env["KUBEBUILDER_ASSETS"];
  const folders = assets === undefined || assets === "" ? [] : [assets];
  if (name === "helm") return [...folders, join(cacheFolder(), "bin", `helm-${requiredVersion("test/lab/helm/go.mod", "helm.sh/helm/v3")}`)];
  if (isOneOf(CNI_PLUGINS, name)) return ["/usr/lib/cni", "/opt/cni/bin"];
  folders.push(join(cacheFolder(), "bin", `kubernetes-${kubernetesVersion()}`));
  // A Kubernetes program from PATH would have another version than the lab says.
  if (isOneOf(SYSTEM_PROGRAMS, name) || isOneOf(FULL_SYSTEM_PROGRAMS, name)) folders.push(...searchPath().split(delimiter));
  return folders;
}

/** Which part of scripts/setup brings a program. */
function setupPart(name: ProgramName): "kubernetes" | "debian" | "helm" | "full" {
  if (name === "helm") return "helm";
  if (isOneOf(KUBERNETES_PROGRAMS, name)) return "kubernetes";
  return isOneOf(SYSTEM_PROGRAMS, name) ? "debian" : "full";
}

function isOneOf<const Name extends string>(names: readonly Name[], name: string): name is Name {
  return (names as readonly string[]).includes(name);
}

/**
 * Checks that a light lab can run here.
 * @throws LabUnavailable with one sentence that says what is missing and how to get it.
 */
export function checkLabPossible(): void {
  checkPossible([...SYSTEM_PROGRAMS, ...KUBERNETES_PROGRAMS]);
}

/**
 * Checks that a full lab can run here: all that the light one needs, kubelets, containers and helm.
 * @throws LabUnavailable with one sentence that says what is missing and how to get it.
 */
export function checkFullLabPossible(): void {
  checkPossible([...SYSTEM_PROGRAMS, ...KUBERNETES_PROGRAMS, ...FULL_SYSTEM_PROGRAMS, ...FULL_KUBERNETES_PROGRAMS, ...CNI_PLUGINS, "helm"]);
}

function checkPossible(programs: readonly ProgramName[]): void {
  if (process.platform !== "linux") throw new LabUnavailable("The lab needs Linux: it is made of network namespaces.");
  if (process.getuid?.() !== 0) throw new LabUnavailable("The lab needs root, for it makes network namespaces: run it with sudo.");
  const missing = programs.filter((name) => findProgram(name) === undefined);
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

/** The folder that every clone shares: `bin` has programs, `images` has archives of images. */
export function cacheFolder(): string {
  const home = process.env["HOME"] ?? "/root";
  return process.env["HERALD_CACHE"] ?? join(process.env["XDG_CACHE_HOME"] ?? join(home, ".cache"), "herald");
}

/** Names what is built from a Go module of ours, so that other sources have another name. scripts/setup makes the same sum. */
export function goSourcesSum(folder: string): string {
  const files = readdirSync(folder);
  const hash = createHash("sha256");
  for (const file of ["go.mod", "go.sum", ...files.filter((name) => name.endsWith(".go")).toSorted()]) {
    if (files.includes(file)) hash.update(readFileSync(join(folder, file)));
  }
  return hash.digest("hex").slice(0, 16);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
