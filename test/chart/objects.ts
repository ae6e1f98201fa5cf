/** Rendered manifests as objects. */
import { loadAll } from "js-yaml";
import { renderChart, type RenderOptions } from "../../scripts/chart-render.ts";

export interface Container {
  readonly name: string;
  readonly args: readonly string[];
  readonly env: readonly { readonly name: string; readonly value?: string }[];
  readonly ports: readonly { readonly name: string; readonly containerPort: number }[];
  readonly securityContext: Readonly<Record<string, unknown>>;
}

export interface Rule {
  readonly apiGroups?: readonly string[];
  readonly resources?: readonly string[];
  readonly nonResourceURLs?: readonly string[];
  readonly resourceNames?: readonly string[];
  readonly verbs: readonly string[];
}

/** As much of an object as tests look at. */
export interface Rendered {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string; readonly annotations?: Readonly<Record<string, string>> };
  readonly rules?: readonly Rule[];
  readonly spec?: Readonly<Record<string, unknown>> & { readonly replicas?: number; readonly template?: { readonly spec: { readonly containers: readonly Container[] } & Readonly<Record<string, unknown>> } };
}

/** The chart's objects. @throws Error with helm's words when it refuses. */
export function renderedObjects(options: RenderOptions = {}): Rendered[] {
  const rendering = renderChart(options);
  if (rendering.kind === "refused") throw new Error(rendering.message);
  return (loadAll(rendering.text) as (Rendered | null)[]).filter((object) => object !== null);
}

/** The one object of that kind and name. @throws Error when there is none. */
export function find(objects: readonly Rendered[], kind: string, name: string): Rendered {
  const found = objects.filter((object) => object.kind === kind && object.metadata.name === name);
  if (found[0] === undefined || found.length > 1) throw new Error(`${found.length} of ${kind} ${name}`);
  return found[0];
}

/** The container of a workload that runs Herald. @throws Error when there is none. */
export function containerOf(workload: Rendered): Container {
  const container = workload.spec?.template?.spec.containers[0];
  if (container === undefined) throw new Error(`${workload.kind} ${workload.metadata.name} has no container`);
  return container;
}
