import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { COMPONENT_LABEL, HERALD_NAMESPACE } from "./pods.ts";
import { CHECKOUT, LabUnavailable } from "./programs.ts";

/** Changes to how Herald is started in a lab. */
export interface HeraldOptions {
  /** Controllers; 2 when left out. */
  readonly controllers?: number;
  /** More flags for every controller, such as `--log-level=debug`. */
  readonly controllerArgs?: readonly string[];
  /** More flags for every speaker. */
  readonly speakerArgs?: readonly string[];
  /** More environment for both. */
  readonly env?: Readonly<Record<string, string>>;
}

/** Folder of the custom resource definitions. */
export const CRD_FOLDER = join(CHECKOUT, "crds");

/**
 * Checks that there is something to start.
 * @throws LabUnavailable when Herald is not built or the definitions are not there.
 */
export function checkHeraldBuilt(): void {
  const folder = process.env["HERALD_DIST"] ?? join(CHECKOUT, "dist");
  for (const program of ["controller.mjs", "speaker.mjs"]) {
    if (!existsSync(join(folder, program))) throw new LabUnavailable(`${join(folder, program)} is not there: run 'npm run build' first.`);
  }
  if (!existsSync(CRD_FOLDER) || !readdirSync(CRD_FOLDER).some((file) => file.endsWith(".yaml"))) {
    throw new LabUnavailable(`${CRD_FOLDER} holds no custom resource definitions.`);
  }
}

/** Herald's namespace. Its other objects come after the definitions. */
export function heraldNamespace(): unknown {
  return { apiVersion: "v1", kind: "Namespace", metadata: { name: HERALD_NAMESPACE } };
}

/** The Deployment and the DaemonSet, shaped as the chart shapes them where it matters here. */
export function heraldWorkloads(options: HeraldOptions): unknown[] {
  // A controller shares its node's ports with the speaker there, so its own are others.
  const controllerArgs = ["--port=9121", "--health-probe-port=17473", ...(options.controllerArgs ?? [])];
  return [
    workload("Deployment", "controller", controllerArgs, options, { replicas: options.controllers ?? 2 }),
    workload("DaemonSet", "speaker", [...(options.speakerArgs ?? [])], options, {}),
  ];
}

function workload(kind: string, component: string, args: readonly string[], options: HeraldOptions, spec: object): unknown {
  const labels = { "app.kubernetes.io/name": "metallb", [COMPONENT_LABEL]: component };
  const env = Object.entries(options.env ?? {}).map(([name, value]) => ({ name, value }));
  return {
    apiVersion: "apps/v1",
    kind,
    metadata: { name: component, namespace: HERALD_NAMESPACE, labels },
    spec: {
      ...spec,
      selector: { matchLabels: labels },
      template: {
        metadata: { labels },
        spec: {
          hostNetwork: component === "speaker",
          terminationGracePeriodSeconds: component === "speaker" ? 2 : 10,
          // The lab kills a controller on a lost node late, as a cluster does; a speaker stays.
          tolerations: component === "speaker" ? [{ operator: "Exists" }] : [],
          containers: [{ name: component, image: "herald:lab", args, env }],
        },
      },
    },
  };
}
