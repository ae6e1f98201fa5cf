/** `kubectl herald convert`: its flags, and what it prints. Pure, but for the file it is handed. */
import { dump } from "js-yaml";
import { defineFlags, parseFlags } from "../../config/flags.ts";
import { convertConfigMap } from "./config-map.ts";

const flags = defineFlags({
  source: { kind: "string", default: "./config.yaml", help: "File with the ConfigMap; - is standard input" },
  "only-data": { kind: "bool", default: false, help: "The file holds the configuration alone, without the ConfigMap around it" },
  stdout: { kind: "bool", default: true, help: "Taken for the sake of scripts that call MetalLB's converter: the resources always go to standard output" },
  namespace: { kind: "string", default: "", help: "Namespace of the resources; default is the ConfigMap's, else metallb-system" },
});

export const HELP = "kubectl herald convert: turns MetalLB's ConfigMap (its configuration until 0.12) into resources, on standard output\n\n";

/** What a command prints and ends with. */
export interface CommandResult {
  readonly code: number;
  readonly output: string;
  /** For standard error: warnings, or why there is no output. */
  readonly complaints: string;
}

/** Runs the command; `read` gives the text of a file and may throw. Never throws. */
export function convertCommand(argv: readonly string[], read: (path: string) => string): CommandResult {
  const parsed = parseFlags(flags, argv, {});
  if (parsed.kind === "help") return { code: 0, output: HELP + parsed.text, complaints: "" };
  if (parsed.kind !== "run") return refusal(parsed.kind === "error" ? [parsed.message] : ["unknown flag --version"]);
  const { source, namespace } = parsed.values;
  let text: string;
  try {
    text = read(source);
  } catch (error) {
    return refusal([error instanceof Error ? error.message : String(error)]);
  }
  const result = convertConfigMap(text, { onlyData: parsed.values["only-data"], ...(namespace === "" ? {} : { namespace }) });
  if (result.kind === "refused") return refusal(result.errors);
  const documents = result.resources.map((resource) => `${dump(resource, { lineWidth: -1, noRefs: true })}---\n`);
  const header = "# Made from a ConfigMap of MetalLB's by kubectl herald convert.\n";
  return { code: 0, output: header + documents.join(""), complaints: result.warnings.map((warning) => `warning: ${warning}\n`).join("") };
}

function refusal(errors: readonly string[]): CommandResult {
  return { code: 1, output: "", complaints: errors.map((error) => `error: ${error}\n`).join("") };
}
