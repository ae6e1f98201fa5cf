/** Where the programs of a test control plane are, and the sentence to skip with when one is missing. */
import { findProgram, searchedFolders } from "../lab/programs.ts";

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

/** Looks for etcd, kube-apiserver and kubectl. Starts nothing. */
export function findApiServerBinaries(): ApiServerBinariesResult {
  const etcd = findProgram("etcd");
  const kubeApiserver = findProgram("kube-apiserver");
  const kubectl = findProgram("kubectl");
  if (etcd !== undefined && kubeApiserver !== undefined && kubectl !== undefined) {
    return { kind: "found", binaries: { etcd, kubeApiserver, kubectl } };
  }
  const missing = (["etcd", "kube-apiserver", "kubectl"] as const).filter((name) => findProgram(name) === undefined);
  return { kind: "missing", reason: `no ${missing.join(", ")} in ${[...new Set(missing.flatMap(searchedFolders))].join(", ")}: run scripts/setup` };
}
