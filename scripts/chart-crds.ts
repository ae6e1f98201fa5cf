/**
 * Writes the chart's copies of the custom resource definitions: those of crds/ as templates, so that `helm upgrade` upgrades
 * them, with the annotation that keeps them, and the users' resources, when the chart is uninstalled.
 * `node scripts/chart-crds.ts [--check]`: with --check it writes nothing, and exits 1 when a copy differs.
 */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const root = resolve(import.meta.dirname, "..");
export const CRD_FOLDER = join(root, "crds");
export const CHART_CRD_FOLDER = join(root, "charts/herald/templates/crds");

const HEAD = `{{- /* Made from crds/ by scripts/chart-crds.ts: edit there. */}}
{{- if .Values.crds.enabled }}
`;

const METADATA = `  labels:
    {{- include "herald.labels" . | nindent 4 }}
  annotations:
    helm.sh/resource-policy: keep
`;

/**
 * The template of one definition.
 * @param text a file of crds/: one document, whose metadata holds the name alone.
 * @throws Error when it is shaped otherwise.
 */
export function crdTemplate(text: string): string {
  // Comments at the head are for those who edit the source.
  const body = text.replace(/^(?:#.*\n)+/, "");
  if (body.includes("{{")) throw new Error("a definition holds {{, which a template would read");
  const parts = /^(apiVersion: apiextensions\.k8s\.io\/v1\nkind: CustomResourceDefinition\nmetadata:\n {2}name: \S+\n)(spec:\n[\s\S]*)$/.exec(body);
  if (parts?.[1] === undefined || parts[2] === undefined) throw new Error("a definition does not start with apiVersion, kind, metadata.name and spec");
  return `${HEAD}${parts[1]}${METADATA}${withConversion(parts[2])}{{- end }}\n`;
}

/**
 * A webhook that converts is called in the release's namespace, and not at all when webhooks are turned off: without one
 * the API server renames the version.
 */
function withConversion(spec: string): string {
  const block = / {2}conversion:\n {4}strategy: Webhook\n(?: {4}.*\n)+/.exec(spec)?.[0];
  if (block === undefined) return spec;
  const called = block.replace(/^( +namespace:) \S+$/m, "$1 {{ .Release.Namespace }}");
  return spec.replace(block, () => `  {{- if include "herald.webhooks" . }}\n${called}  {{- else }}\n  conversion:\n    strategy: None\n  {{- end }}\n`);
}

/** The templates by file name. */
export function crdTemplates(folder: string = CRD_FOLDER): ReadonlyMap<string, string> {
  const files = readdirSync(folder).filter((file) => file.endsWith(".yaml")).sort();
  return new Map(files.map((file) => [file, crdTemplate(readFileSync(join(folder, file), "utf8"))]));
}

/** Names of the copies that differ from what they should be, are missing, or are there in vain. */
export function staleCopies(copies: string = CHART_CRD_FOLDER): string[] {
  const wanted = crdTemplates();
  const present = new Set(readdirSync(copies));
  const differs = (file: string): boolean => !present.has(file) || readFileSync(join(copies, file), "utf8") !== wanted.get(file);
  return [...[...wanted.keys()].filter(differs), ...[...present].filter((file) => !wanted.has(file))];
}

function main(): void {
  if (process.argv.includes("--check")) {
    const stale = staleCopies();
    for (const file of stale) console.error(`charts/herald/templates/crds/${file} differs from crds/: run 'node scripts/chart-crds.ts'`);
    process.exitCode = stale.length === 0 ? 0 : 1;
    return;
  }
  const templates = crdTemplates();
  rmSync(CHART_CRD_FOLDER, { recursive: true, force: true });
  mkdirSync(CHART_CRD_FOLDER, { recursive: true });
  for (const [file, text] of templates) writeFileSync(join(CHART_CRD_FOLDER, file), text);
  console.log(`chart-crds: ${templates.size} definitions`);
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) main();
