import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { COMPONENT_LABEL, HERALD_NAMESPACE, OVERRIDES_ANNOTATION, type ProgramOverride } from "./pods.ts";
import { CHECKOUT, LabUnavailable } from "./programs.ts";

/** Changes to how Herald is started in a lab. */
export interface HeraldOptions {
  /** Controllers; 2 when left out. */
  readonly controllers?: number;
  /** More flags for every controller, such as `--log-level=debug`. */
  readonly controllerArgs?: readonly string[];
  /** More flags for every speaker. */
  readonly speakerArgs?: readonly string[];
  /** Whether the speakers take part in the membership protocol, as the chart has it; true when left out. */
  readonly membership?: boolean;
  /** What differs for the speakers of some nodes, by the node's name. */
  readonly speakerOverrides?: Readonly<Record<string, ProgramOverride>>;
  /** More environment for both. */
  readonly env?: Readonly<Record<string, string>>;
}

/** Port of the membership protocol. */
export const MEMBERSHIP_PORT = 7946;
/** Secret that a controller makes and every speaker mounts, its key, and where. */
export const SECRET_NAME = "memberlist";
export const SECRET_KEY = "secretkey";
const SECRET_PATH = "/etc/ml_secret_key";

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
  const isSpeaker = component === "speaker";
  const labels = { "app.kubernetes.io/name": "metallb", [COMPONENT_LABEL]: component };
  const takesPart = isSpeaker && options.membership !== false;
  const env: unknown[] = Object.entries(options.env ?? {}).map(([name, value]) => ({ name, value }));
  if (takesPart) env.push(...membershipEnvironment(labels));
  const annotations = isSpeaker && options.speakerOverrides !== undefined ? { [OVERRIDES_ANNOTATION]: JSON.stringify(options.speakerOverrides) } : {};
  const mounts = takesPart ? { volumeMounts: [{ name: "memberlist", mountPath: SECRET_PATH }] } : {};
  const volumes = takesPart ? { volumes: [{ name: "memberlist", secret: { secretName: SECRET_NAME } }] } : {};
  return {
    apiVersion: "apps/v1",
    kind,
    metadata: { name: component, namespace: HERALD_NAMESPACE, labels },
    spec: {
      ...spec,
      selector: { matchLabels: labels },
      template: {
        metadata: { labels, annotations },
        spec: {
          hostNetwork: isSpeaker,
          // A speaker hands its addresses over first, which takes up to a second and a half.
          terminationGracePeriodSeconds: isSpeaker ? 4 : 10,
          // The lab kills a controller on a lost node late, as a cluster does; a speaker stays.
          tolerations: isSpeaker ? [{ operator: "Exists" }] : [],
          containers: [{ name: component, image: "herald:lab", args, env, ...mounts }],
          ...volumes,
        },
      },
    },
  };
}

/** What the chart tells a speaker about the membership protocol. */
function membershipEnvironment(labels: Readonly<Record<string, string>>): unknown[] {
  const field = (fieldPath: string): unknown => ({ fieldRef: { fieldPath } });
  return [
    { name: "METALLB_ML_BIND_ADDR", valueFrom: field("status.podIP") },
    { name: "METALLB_ML_BIND_PORT", value: String(MEMBERSHIP_PORT) },
    { name: "METALLB_ML_LABELS", value: Object.entries(labels).map(([key, value]) => `${key}=${value}`).join(",") },
    { name: "METALLB_ML_SECRET_KEY_PATH", value: SECRET_PATH },
    { name: "HERALD_TEMPLATE_VERSION", valueFrom: field("metadata.labels['controller-revision-hash']") },
  ];
}
