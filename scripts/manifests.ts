/**
 * Writes dist/manifests/herald.yaml: the chart with its defaults as plain manifests, for those who have no helm, with the
 * namespace, which the chart leaves to `helm install --create-namespace`.
 * `node scripts/manifests.ts [FILE]`
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { packageVersion, renderChart } from "./chart-render.ts";

const NAMESPACE = "metallb-system";

/** Speakers are on the host's network and have NET_RAW, which no stricter level allows. */
const NAMESPACE_DOCUMENT = `apiVersion: v1
kind: Namespace
metadata:
  name: ${NAMESPACE}
  labels:
    pod-security.kubernetes.io/enforce: privileged
    pod-security.kubernetes.io/audit: privileged
    pod-security.kubernetes.io/warn: privileged
`;

/** What only helm understands. */
const HELMS_OWN = /^ *(?:helm\.sh\/chart: .*|app\.kubernetes\.io\/managed-by: Helm|helm\.sh\/resource-policy: keep|# Source: .*)\n/gm;

/**
 * The manifests' text.
 * @throws Error when the chart can't be rendered.
 */
export function manifests(): string {
  const rendering = renderChart({ namespace: NAMESPACE });
  if (rendering.kind === "refused") throw new Error(rendering.message);
  const documents = rendering.text.replaceAll(HELMS_OWN, "").replaceAll(/^ {2}annotations:\n(?! {4})/gm, "");
  return `# Herald ${packageVersion()}, made from charts/herald by scripts/manifests.ts.\n# kubectl apply --server-side -f herald.yaml\n---\n${NAMESPACE_DOCUMENT}${documents}`;
}

function main(): void {
  const file = process.argv[2] ?? join(resolve(import.meta.dirname, ".."), "dist/manifests/herald.yaml");
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, manifests());
  console.log(file);
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) main();
