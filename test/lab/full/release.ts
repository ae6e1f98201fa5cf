/** Herald as users install it, from its image and its chart: what every cluster with real kubelets shares. */
import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import type { HeraldOptions } from "../herald.ts";
import { HERALD_NAMESPACE } from "../pods.ts";
import { poll } from "../poll.ts";
import { CHECKOUT, LabUnavailable } from "../programs.ts";

const RELEASE = "herald";
const READY_BUDGET_MS = 180_000;

/** How to install Herald: from its image and its chart. */
export interface InstallOptions extends HeraldOptions {
  /** Values of the chart that differ from its own. */
  readonly values?: Readonly<Record<string, unknown>>;
  /** Folder or archive of the chart; `charts/herald` when left out. */
  readonly chart?: string;
  /** Archive of the image; the youngest of this machine's kind in dist/image (or in the folder $HERALD_IMAGES) when left out. */
  readonly image?: string;
  /** Whether the nodes have the image already; false when left out. */
  readonly imported?: boolean;
}

/** A cluster that a chart can be installed in. Each fails with the program's message. */
export interface ReleaseDoor {
  kubectl(args: readonly string[]): Promise<string>;
  helm(args: readonly string[], options?: { readonly input?: string }): Promise<string>;
  importImage(file: string): Promise<void>;
}

/**
 * Imports Herald's image and installs its chart, or upgrades the release that is there; returns when every pod is Ready.
 * @throws Error with what the pods say when they are not Ready in time, LabUnavailable when there is no image.
 */
export async function installHerald(door: ReleaseDoor, options: InstallOptions, say: (line: string) => void): Promise<void> {
  for (const key of ["controllerArgs", "speakerArgs", "speakerOverrides", "env", "membership"] as const) {
    if (options[key] !== undefined) throw new Error(`${key} is for the light lab: say it by values of the chart`);
  }
  if (options.imported !== true) await door.importImage(options.image ?? heraldImage());
  const values = { ...options.values, ...(options.controllers === undefined ? {} : { controller: { ...options.values?.["controller"] as object, replicas: options.controllers } }) };
  await door.helm(["upgrade", "--install", RELEASE, options.chart ?? join(CHECKOUT, "charts/herald"), "--namespace", HERALD_NAMESPACE, "--create-namespace", "--values", "-"], { input: JSON.stringify(values) });
  await waitForRelease(door, say);
}

/** Waits until the Deployments and DaemonSets of Herald's namespace are rolled out and Ready. @throws Error with what the pods say */
export async function waitForRelease(door: ReleaseDoor, say: (line: string) => void, timeoutMs = READY_BUDGET_MS): Promise<void> {
  let said = "";
  try {
    await poll(async () => {
      const lines = (await door.kubectl(["get", "deployments,daemonsets", "-n", HERALD_NAMESPACE, "-o", `jsonpath=${ROLLOUT}`])).split("\n").filter((line) => line !== "");
      const line = lines.map((each) => each.split(" ")).map(([name, , , wanted, ready]) => `${name}: ${ready || 0} of ${wanted} ready`).join(", ");
      if (line !== said) say(line);
      said = line;
      return lines.length > 0 && lines.every(isRolledOut);
    }, { timeoutMs, intervalMs: 200, what: "Herald's pods to be Ready" });
  } catch (error) {
    throw new Error(`${error instanceof Error ? error.message : String(error)}\n${await whyNotReady(door)}`, { cause: error });
  }
}

/** Uninstalls Herald and waits until its pods are gone. The user's resources stay. */
export async function uninstallHerald(door: ReleaseDoor): Promise<void> {
  await door.helm(["uninstall", RELEASE, "--namespace", HERALD_NAMESPACE, "--ignore-not-found"]);
  await poll(async () => (await door.kubectl(["get", "pods", "-n", HERALD_NAMESPACE, "-o", "name"])).trim() === "",
    { timeoutMs: 120_000, what: "Herald's pods to be gone" });
}

/** Name, generations and counts of a workload. */
const ROLLOUT = '{range .items[*]}{.metadata.name} {.metadata.generation} {.status.observedGeneration} {.spec.replicas}{.status.desiredNumberScheduled} {.status.readyReplicas}{.status.numberReady} {.status.updatedReplicas}{.status.updatedNumberScheduled} {.status.replicas}{.status.currentNumberScheduled}{"\\n"}{end}';

function isRolledOut(line: string): boolean {
  const [, generation, observed, wanted, ready, updated, current] = line.split(" ");
  return generation === observed && [ready, updated, current].every((count) => count === wanted);
}

async function whyNotReady(door: ReleaseDoor): Promise<string> {
  const asked = await Promise.all([["get", "pods", "-o", "wide"], ["get", "events", "--sort-by=.lastTimestamp"], ["logs", "--all-containers", "--prefix", "--tail=5", "-l", "app.kubernetes.io/component"]]
    .map((args) => door.kubectl([...args, "-n", HERALD_NAMESPACE]).catch((error: unknown) => String(error))));
  return asked.join("\n");
}

/** The youngest archive of Herald's image for this machine. */
export function heraldImage(): string {
  const folder = process.env["HERALD_IMAGES"] ?? join(CHECKOUT, "dist/image");
  const kind = process.arch === "x64" ? "amd64" : process.arch;
  const found = existsSync(folder) ? readdirSync(folder).filter((file) => file.startsWith("herald-") && file.endsWith(`-${kind}.tar`)).map((file) => join(folder, file)) : [];
  const youngest = found.toSorted((a, b) => statSync(b).mtimeMs - statSync(a).mtimeMs)[0];
  if (youngest === undefined) throw new LabUnavailable(`${folder} holds no image of Herald for ${kind}: run 'make image' first.`);
  return youngest;
}
