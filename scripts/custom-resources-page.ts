/**
 * Writes docs/custom-resources.md from crds/*.yaml, so that the page says what the API server checks.
 * Run `node scripts/custom-resources-page.ts` after changing a schema; a test compares the two.
 */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { load } from "js-yaml";

const ROOT = join(import.meta.dirname, "..");
const PAGE = join(ROOT, "docs/custom-resources.md");
/** Descriptions of fields that MetalLB does not have begin with this. */
const ADDITION = "Herald's addition. ";

interface Schema {
  readonly description?: string;
  readonly type?: string;
  readonly format?: string;
  readonly enum?: readonly string[];
  readonly default?: unknown;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minItems?: number;
  readonly required?: readonly string[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly items?: Schema;
  readonly "x-kubernetes-validations"?: readonly { readonly message: string }[];
}

interface Crd {
  readonly spec: {
    readonly names: { readonly kind: string; readonly plural: string };
    readonly versions: readonly { readonly name: string; readonly deprecated?: boolean; readonly schema: { readonly openAPIV3Schema: Schema } }[];
  };
}

/** Kinds in the order in which a newcomer meets them. */
const ORDER = ["IPAddressPool", "L2Advertisement", "BGPPeer", "BGPAdvertisement", "BFDProfile", "Community", "ServiceL2Status", "ServiceBGPStatus", "ConfigurationState"];

const INTRODUCTION = `<!-- Written by scripts/custom-resources-page.ts from crds/*.yaml: change those. -->
# Custom resources

Herald is configured by resources of the group \`metallb.io\`, with the kinds, versions and fields of MetalLB: manifests written for
MetalLB apply as they are. All kinds are namespaced, and read in Herald's own namespace only. \`*\` marks a required field, **+** a
field that is Herald's addition; nobody has to set one, for all of them are reports.

## Who checks what

1. The schema and its rules (this page): what one object alone can tell. The API server refuses the object.
2. \`config/\`: all objects together. Overlapping ranges, entries that are no addresses, malformed or repeated selectors and repeated
   names make the configuration invalid; conditions say why, and the last valid configuration goes on running.

What MetalLB takes, Herald takes. It is wider in one place: \`BGPAdvertisement.spec.localPref\` takes the whole range of the attribute,
up to 4294967295. Some of what MetalLB leaves to its webhook is refused by the API server here, with the webhook running or not: a pool
without addresses, a \`BGPPeer\` with no or two ways to find its peer, number or password, an aggregation length beyond 32 or 128.

\`BGPPeer\` has two versions. v1beta2 is stored; v1beta1 is deprecated and still served, and kubectl warns of it. Their fields have the same
names, and v1beta1 takes those of v1beta2 as well, so the API server converts by the version's name alone: a timer that was never set stays
unset, and writing an object through v1beta1 loses nothing.

## Addresses of a pool

| entry | means |
|---|---|
| \`192.168.10.0/24\`, \`192.168.10.7/24\` | the block; host bits are ignored |
| \`192.168.10.7/32\`, \`fd00::7/128\` | one address; a bare address is refused |
| \`192.168.9.1-192.168.9.5\`, \`192.168.9.1 - 192.168.9.5\` | both ends and what lies between |
| \`::ffff:192.168.9.1\` in an entry | the IPv4 address in it |

No entry may overlap another one, of the same pool or of any other; objects are read in the order of their names, and the later one is
named in the error.

## Selectors

A LabelSelector has \`matchLabels\` and \`matchExpressions\` (operators In, NotIn, Exists, DoesNotExist), all of which must hold; an empty one
matches everything. In a list of selectors one match is enough. Pools of an advertisement: those named, and those selected; when both
lists are empty, every pool. Names that no pool bears are ignored.
`;

/** The page for these definitions. */
export function customResourcesPage(crds: readonly Crd[]): string {
  const sections = crds.toSorted((a, b) => ORDER.indexOf(a.spec.names.kind) - ORDER.indexOf(b.spec.names.kind)).flatMap(({ spec }) =>
    spec.versions.toReversed().map((version) => {
      const root = version.schema.openAPIV3Schema;
      const rows = Object.entries(root.properties ?? {})
        .filter(([name]) => name === "spec" || name === "status")
        .flatMap(([name, schema]) => fieldRows(name, schema, root.required?.includes(name) ?? false));
      const heading = `## ${spec.names.kind} (${version.name}${version.deprecated === true ? ", deprecated" : ""})`;
      return [heading, "", root.description ?? "", "", "| field | type | default | meaning |", "|---|---|---|---|", ...rows, ""].join("\n");
    }));
  return [INTRODUCTION, ...sections].join("\n");
}

/** Rows of a field and of the fields inside it; labels and conditions are described elsewhere and not opened. */
function fieldRows(path: string, schema: Schema, required: boolean): string[] {
  const inner = schema.items ?? schema;
  const opaque = isSelector(inner) || isCondition(inner);
  const children = opaque ? [] : Object.entries(inner.properties ?? {}).flatMap(([name, child]) =>
    fieldRows(`${path}${schema.items === undefined ? "" : "[]"}.${name}`, child, inner.required?.includes(name) ?? false));
  // A spec or status that only groups its fields needs no row of its own, unless it carries rules.
  const rules = schema["x-kubernetes-validations"] ?? [];
  const isGroup = !path.includes(".") && children.length > 0 && rules.length === 0;
  return isGroup ? children : [row(path, schema, required), ...children];
}

function row(path: string, schema: Schema, required: boolean): string {
  const text = schema.description ?? "";
  const isAddition = text.startsWith(ADDITION);
  const rules = (schema["x-kubernetes-validations"] ?? []).map(({ message }) => `${message}.`);
  const meaning = [isAddition ? text.slice(ADDITION.length) : text, ...(rules.length > 0 ? [`Rules: ${rules.join(" ")}`] : [])].join(" ").replaceAll("|", "\\|");
  const value = schema.default === undefined ? "" : `\`${JSON.stringify(schema.default)}\``;
  return `| \`${path}\`${required ? " \\*" : ""}${isAddition ? " **+**" : ""} | ${typeText(schema)} | ${value} | ${meaning} |`;
}

function typeText(schema: Schema): string {
  if (schema.items !== undefined) return `list of ${typeText(schema.items)}${schema.minItems === undefined ? "" : `, at least ${schema.minItems}`}`;
  if (isSelector(schema)) return "LabelSelector";
  if (isCondition(schema)) return "Condition";
  if (schema.enum !== undefined) return schema.enum.join(", ");
  if (schema.format === "date-time") return "time";
  const base = schema.type ?? "any";
  if (schema.minimum !== undefined && schema.maximum !== undefined) return `${base}, ${schema.minimum} to ${schema.maximum}`;
  if (schema.maximum !== undefined) return `${base}, at most ${schema.maximum}`;
  return base;
}

function isSelector(schema: Schema): boolean {
  return schema.properties?.["matchLabels"] !== undefined;
}

function isCondition(schema: Schema): boolean {
  return schema.properties?.["lastTransitionTime"] !== undefined;
}

/** The definitions in crds/. */
export function readCrds(): Crd[] {
  const folder = join(ROOT, "crds");
  return readdirSync(folder).filter((file) => file.endsWith(".yaml")).map((file) => load(readFileSync(join(folder, file), "utf8")) as Crd);
}

if (import.meta.main) writeFileSync(PAGE, customResourcesPage(readCrds()));
