/**
 * BGPPeer between its two versions, for a CustomResourceDefinition that converts by webhook. Every field of v1beta1 has the
 * same name and shape in v1beta2, so that an unset timer stays unset. What only v1beta2 has travels through v1beta1 in an
 * annotation, so that a change made through the former version loses nothing. Pure.
 */
import type { CustomResource } from "../../kube/objects.ts";

const GROUP = "metallb.io/";
const FORMER = `${GROUP}v1beta1`;
const TODAYS = `${GROUP}v1beta2`;
/** JSON of the fields of a v1beta2 spec that v1beta1 lacks. */
export const CARRIED_ANNOTATION = "metallb.io/v1beta2-fields";
const ONLY_TODAYS = ["localASN", "dynamicASN", "interface", "connectTime", "passwordSecret", "enableGracefulRestart", "vrf", "disableMP", "dualStackAddressFamily"];
/** Of two fields that exclude each other, the one of v1beta1 was set by whoever wrote last. */
const EXCLUDES: Readonly<Record<string, string>> = { dynamicASN: "peerASN", interface: "peerAddress", passwordSecret: "password" };

type Spec = Readonly<Record<string, unknown>>;

/** An object that can't be converted; the message says why. */
export class ConversionError extends Error {
  override readonly name = "ConversionError";
}

/** The object in the version asked for. @throws ConversionError when it is no BGPPeer, or a version unknown. */
export function convertBgpPeer(object: CustomResource, desiredApiVersion: string): CustomResource {
  const { apiVersion = "", kind = "" } = object;
  const name = JSON.stringify(object.metadata.name);
  if (kind !== "BGPPeer") throw new ConversionError(`${kind} ${name}: only BGPPeer has two versions`);
  for (const version of [apiVersion, desiredApiVersion]) {
    if (version !== FORMER && version !== TODAYS) throw new ConversionError(`BGPPeer ${name}: unknown version ${JSON.stringify(version)}`);
  }
  if (apiVersion === desiredApiVersion) return object;
  const spec = isSpec(object.spec) ? object.spec : undefined;
  // What is no object the schema judges.
  if (spec === undefined) return { ...object, apiVersion: desiredApiVersion };
  return desiredApiVersion === FORMER ? toFormer(object, spec) : toTodays(object, spec);
}

function toFormer(object: CustomResource, spec: Spec): CustomResource {
  const carried = Object.fromEntries(Object.entries(spec).filter(([field]) => ONLY_TODAYS.includes(field)));
  const kept = Object.fromEntries(Object.entries(spec).filter(([field]) => !ONLY_TODAYS.includes(field)));
  const annotation = Object.keys(carried).length === 0 ? {} : { [CARRIED_ANNOTATION]: JSON.stringify(carried) };
  return withAnnotations({ ...object, apiVersion: FORMER, spec: kept }, { ...withoutCarried(object), ...annotation });
}

function toTodays(object: CustomResource, spec: Spec): CustomResource {
  const annotation = object.metadata.annotations?.[CARRIED_ANNOTATION];
  const carried = annotation === undefined ? {} : readCarried(annotation);
  const restored = Object.entries(carried).filter(([field]) => ONLY_TODAYS.includes(field) && !Object.hasOwn(spec, field) && !isSet(spec[EXCLUDES[field] ?? ""]));
  // 0 is how v1beta1 says "the default", which v1beta2 says by leaving it out.
  const kept = Object.entries(spec).filter(([field, value]) => !(field === "peerPort" && value === 0));
  return withAnnotations({ ...object, apiVersion: TODAYS, spec: Object.fromEntries([...kept, ...restored]) }, withoutCarried(object));
}

function isSet(value: unknown): boolean {
  return value !== undefined && value !== null && value !== "" && value !== 0;
}

function isSpec(value: unknown): value is Spec {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Nothing when somebody wrote something else there. */
function readCarried(text: string): Spec {
  try {
    const value: unknown = JSON.parse(text);
    return isSpec(value) ? value : {};
  } catch {
    return {};
  }
}

function withoutCarried(object: CustomResource): Record<string, string> {
  const { [CARRIED_ANNOTATION]: _, ...rest } = object.metadata.annotations ?? {};
  return rest;
}

function withAnnotations(object: CustomResource, annotations: Record<string, string>): CustomResource {
  const { annotations: _, ...metadata } = object.metadata;
  return { ...object, metadata: Object.keys(annotations).length === 0 ? metadata : { ...metadata, annotations } };
}
