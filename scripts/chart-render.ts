/** The chart of charts/herald through helm: what it renders for some values, and what it refuses. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { kubernetesVersion, programPath } from "../test/lab/programs.ts";

const root = resolve(import.meta.dirname, "..");
export const CHART = join(root, "charts/herald");

/** Longest wait for helm, ms; a rendering takes a tenth of a second. */
const TIMEOUT_MS = 60_000;
const MAX_OUTPUT = 16 * 1024 * 1024;

export interface RenderOptions {
  /** Text of a values file, YAML or JSON. */
  readonly values?: string;
  readonly release?: string;
  readonly namespace?: string;
}

export type Rendering =
  | { readonly kind: "rendered"; /** YAML documents. */ readonly text: string }
  /** What helm said, from after "Error: ". */
  | { readonly kind: "refused"; readonly message: string };

/** The version, whose one home is package.json. */
export function packageVersion(): string {
  return (JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { version: string }).version;
}

export interface HelmResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * Runs helm; a command that fails does not throw.
 * @throws LabUnavailable when there is no helm, with a sentence about how to get it.
 */
export function helm(args: readonly string[], options: { readonly input?: string; readonly env?: Readonly<Record<string, string>> } = {}): HelmResult {
  const result = spawnSync(programPath("helm"), args, {
    encoding: "utf8", timeout: TIMEOUT_MS, maxBuffer: MAX_OUTPUT, input: options.input ?? "", env: { ...process.env, ...options.env },
  });
  if (result.error !== undefined) throw result.error;
  return { code: result.status ?? -1, stdout: result.stdout, stderr: result.stderr };
}

/** Renders the chart as an installation would be, without a cluster. */
export function renderChart({ values = "", release = "herald", namespace = "metallb-system" }: RenderOptions = {}): Rendering {
  // A helm built from its module does not know Kubernetes' version.
  const { code, stdout, stderr } = helm(["template", release, CHART, "--namespace", namespace, "--kube-version", kubernetesVersion(), "--values", "-"], { input: values });
  if (code === 0) return { kind: "rendered", text: stdout };
  return { kind: "refused", message: stderr.replace(/^[\s\S]*?Error: /, "").trim() };
}
