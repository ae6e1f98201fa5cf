import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Api, ApiError } from "./api.ts";
import { type Pod, overrideOf } from "./pods.ts";

/** The folder of a pod's volumes below the lab's. */
function folderOf(labPath: string, uid: string): string {
  return join(labPath, "volumes", uid);
}

/**
 * Plays a pod's Secret volumes: writes their files to folders of the lab, as a kubelet mounts them.
 * @returns the folder by mount path; undefined while a Secret is not there, for so long the pod may not start.
 * @throws Error when the API server is away.
 */
export async function mountVolumes(api: Api, labPath: string, pod: Pod): Promise<Map<string, string> | undefined> {
  const folders = new Map<string, string>();
  for (const { name, secret } of pod.spec.volumes ?? []) {
    const mountPath = pod.spec.containers[0]?.volumeMounts?.find((mount) => mount.name === name)?.mountPath;
    if (secret === undefined || mountPath === undefined) continue;
    const data = await readSecret(api, `/api/v1/namespaces/${pod.metadata.namespace ?? "default"}/secrets/${secret.secretName}`);
    if (data === undefined && secret.optional !== true) return undefined;
    const folder = join(folderOf(labPath, pod.metadata.uid ?? ""), name);
    mkdirSync(folder, { recursive: true });
    const texts = { ...data, ...overrideOf(pod, pod.spec.nodeName ?? "").secret };
    for (const [key, text] of Object.entries(texts)) writeFileSync(join(folder, key), text, { mode: 0o600 });
    folders.set(mountPath, folder);
  }
  return folders;
}

/** Forgets the volumes of a pod that is gone. */
export function unmountVolumes(labPath: string, uid: string): void {
  rmSync(folderOf(labPath, uid), { recursive: true, force: true });
}

async function readSecret(api: Api, path: string): Promise<Readonly<Record<string, string>> | undefined> {
  try {
    const { data = {} } = await api.call("GET", path) as { data?: Record<string, string> };
    return Object.fromEntries(Object.entries(data).map(([key, value]) => [key, Buffer.from(value, "base64").toString()]));
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) return undefined;
    throw error;
  }
}
