/** Where the programs of a test control plane are, and the sentence to skip with when one is missing. */
import { accessSync, constants, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";

/** Kubernetes' version, e.g. "v1.35.4": it names the folder of the cache. Its one home is the lab's go.mod. */
function kubernetesVersion(): string {
  const module = readFileSync(join(import.meta.dirname, "../lab/kubernetes/go.mod"), "utf8");
  return /k8s\.io\/kubernetes (v\S+)/.exec(module)?.[1] ?? "unknown";
}

/** Absolute paths of the programs. */
export interface ApiServerBinaries {
  readonly etcd: string;
  readonly kubeApiserver: string;
  readonly kubectl: string;
}

export type ApiServerBinariesResult =
  | { readonly kind: "found"; readonly binaries: ApiServerBinaries }
  /** `reason` names the programs and the folders that were searched. */
  | { readonly kind: "missing"; readonly reason: string };

/** Folders that are searched, first one first: $KUBEBUILDER_ASSETS, Herald's cache, then where packages install. */
function searchedFolders(): string[] {
  const cache = process.env["HERALD_CACHE"] ?? join(process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"), "herald");
  return [process.env["KUBEBUILDER_ASSETS"], join(cache, "bin", `kubernetes-${kubernetesVersion()}`), join(cache, "bin"), "/usr/bin", "/usr/local/bin"]
    .filter((folder) => folder !== undefined && folder !== "")
    .map(String);
}

/** Path of the program in the first folder that has it, or undefined. */
function findProgram(name: string, folders: readonly string[]): string | undefined {
  return folders.map((folder) => join(folder, name)).find((path) => {
    try {
      accessSync(path, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** Looks for etcd, kube-apiserver and kubectl. Starts nothing. */
export function findApiServerBinaries(): ApiServerBinariesResult {
  const folders = searchedFolders();
  const etcd = findProgram("etcd", folders);
  const kubeApiserver = findProgram("kube-apiserver", folders);
  const kubectl = findProgram("kubectl", folders);
  if (etcd !== undefined && kubeApiserver !== undefined && kubectl !== undefined) {
    return { kind: "found", binaries: { etcd, kubeApiserver, kubectl } };
  }
  const missing = Object.entries({ etcd, "kube-apiserver": kubeApiserver, kubectl })
    .filter(([, path]) => path === undefined)
    .map(([name]) => name);
  return { kind: "missing", reason: `no ${missing.join(", ")} in ${folders.join(", ")}: run scripts/setup` };
}
