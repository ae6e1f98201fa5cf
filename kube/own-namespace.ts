import { readTextFileIfPresent } from "../sys/files.ts";

/** Where Kubernetes mounts the namespace of a pod's service account. */
const NAMESPACE_FILE = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";
const DEFAULT_NAMESPACE = "metallb-system";

/**
 * Namespace of Herald's own resources: the one asked for, else the service account's, else metallb-system.
 * @param asked value of --namespace; empty when it was not given.
 */
export function ownNamespace(asked: string, readFile: (path: string) => string | undefined = readTextFileIfPresent): string {
  return asked || readFile(NAMESPACE_FILE)?.trim() || DEFAULT_NAMESPACE;
}
