/**
 * The envelopes of the API server's questions: AdmissionReview (admission.k8s.io/v1) and ConversionReview
 * (apiextensions.k8s.io/v1 and v1beta1, whose shapes are the same). Pure; what is malformed is a ReviewError.
 */
import type { FieldError } from "../../config/config.ts";
import { FieldErrors, fieldOf, readList, readObject, readOptionalString, readRequiredObject, readString, type Field, type JsonObject } from "../../config/field-errors.ts";
import type { CustomResource } from "../../kube/objects.ts";

/** A question that can't be understood; the message says which field is wrong. */
export class ReviewError extends Error {
  override readonly name = "ReviewError";
}

export type Operation = "CREATE" | "UPDATE" | "DELETE" | "CONNECT";

/** What the API server wants to do. `object` is absent for DELETE, `oldObject` for CREATE. */
export interface AdmissionRequest {
  readonly uid: string;
  readonly operation: Operation;
  readonly namespace: string;
  readonly name: string;
  readonly object: CustomResource | undefined;
  readonly oldObject: CustomResource | undefined;
}

/** The answer: allowed, or not and why. Warnings are shown to the user either way. */
export interface AdmissionVerdict {
  readonly refusal?: string;
  readonly warnings?: readonly string[];
}

/** Objects to be rewritten in another version. */
export interface ConversionRequest {
  /** Of the envelope, to be given back. */
  readonly apiVersion: string;
  readonly uid: string;
  readonly desiredApiVersion: string;
  readonly objects: readonly CustomResource[];
}

const OPERATIONS: readonly string[] = ["CREATE", "UPDATE", "DELETE", "CONNECT"] satisfies Operation[];
const ADMISSION = "admission.k8s.io/v1";
const CONVERSIONS = ["apiextensions.k8s.io/v1", "apiextensions.k8s.io/v1beta1"];
/** Longest warning that the API server shows without cutting it. */
const MAX_WARNING = 256;

/** Reads an AdmissionReview of version v1. @throws ReviewError */
export function decodeAdmissionReview(body: unknown): AdmissionRequest {
  const envelope = new Envelope(body, { kind: "AdmissionReview", apiVersions: [ADMISSION] });
  const { request } = envelope;
  const operation = readString(request("operation")) ?? "";
  if (!OPERATIONS.includes(operation)) envelope.errors.add("request.operation", `must be one of ${OPERATIONS.join(", ")}`);
  const object = readResource(request("object"));
  const oldObject = readResource(request("oldObject"));
  if (object === undefined && (operation === "CREATE" || operation === "UPDATE")) envelope.errors.add("request.object", "is missing");
  const uid = readString(request("uid"));
  const namespace = readOptionalString(request("namespace"));
  const name = readOptionalString(request("name"));
  envelope.finish();
  const metadata = (object ?? oldObject)?.metadata;
  return { uid: uid ?? "", operation: operation as Operation, namespace: namespace ?? metadata?.namespace ?? "", name: name ?? (metadata?.name || metadata?.generateName) ?? "", object, oldObject };
}

/** The AdmissionReview that answers. */
export function encodeAdmissionReview(request: { readonly uid: string }, { refusal, warnings = [] }: AdmissionVerdict): object {
  const status = refusal === undefined ? {} : { status: { code: 422, reason: "Invalid", message: refusal } };
  const shown = warnings.length === 0 ? {} : { warnings: warnings.map((warning) => warning.slice(0, MAX_WARNING)) };
  return { apiVersion: ADMISSION, kind: "AdmissionReview", response: { uid: request.uid, allowed: refusal === undefined, ...status, ...shown } };
}

/** Reads a ConversionReview. @throws ReviewError */
export function decodeConversionReview(body: unknown): ConversionRequest {
  const envelope = new Envelope(body, { kind: "ConversionReview", apiVersions: CONVERSIONS });
  const { request } = envelope;
  const uid = readString(request("uid"));
  const desiredApiVersion = readString(request("desiredAPIVersion"));
  // As many as fit into a body: the API server asks for a whole list at once.
  const objects = readList(request("objects"), Number.MAX_SAFE_INTEGER).flatMap((field) => (readRequiredObject(field) === undefined ? [] : (readResource(field) ?? [])));
  envelope.finish();
  return { apiVersion: envelope.apiVersion, uid: uid ?? "", desiredApiVersion: desiredApiVersion ?? "", objects };
}

/** The ConversionReview that answers: all objects, or why there are none. */
export function encodeConversionReview(request: ConversionRequest, result: { readonly objects: readonly object[] } | { readonly failure: string }): object {
  const response = "failure" in result
    ? { result: { status: "Failure", message: result.failure }, convertedObjects: [] }
    : { result: { status: "Success" }, convertedObjects: result.objects };
  return { apiVersion: request.apiVersion, kind: "ConversionReview", response: { uid: request.uid, ...response } };
}

/** One error as a user reads it: `IPAddressPool "a": spec.addresses[0]: ...`. */
export function describeFieldError({ kind, name, path, message }: FieldError): string {
  return `${kind} ${JSON.stringify(name)}: ${path}: ${message}`;
}

class Envelope {
  readonly errors: FieldErrors;
  readonly apiVersion: string;
  /** A field of `request`. */
  readonly request: (name: string) => Field;

  constructor(body: unknown, { kind, apiVersions }: { readonly kind: string; readonly apiVersions: readonly string[] }) {
    const errors = new FieldErrors({ kind, name: "" });
    const isObject = typeof body === "object" && body !== null && !Array.isArray(body);
    if (!isObject) throw new ReviewError(`the body is no ${kind}`);
    const root = body as JsonObject;
    const of = (name: string): Field => ({ ...fieldOf(root, name, { path: "", errors }), path: name });
    this.apiVersion = readString(of("apiVersion")) ?? "";
    if (!apiVersions.includes(this.apiVersion)) errors.add("apiVersion", `must be ${apiVersions.join(" or ")}`);
    if (readString(of("kind")) !== kind) errors.add("kind", `must be ${kind}`);
    const requestField = of("request");
    const request = readRequiredObject(requestField) ?? {};
    this.request = (name) => fieldOf(request, name, requestField);
    this.errors = errors;
  }

  /** @throws ReviewError when something was wrong. */
  finish(): void {
    const [first] = this.errors.list;
    if (first !== undefined) throw new ReviewError(`${first.kind}: ${first.path}: ${first.message}`);
  }
}

/** An object with the metadata that Herald reads; everything else is kept as it came. */
function readResource(field: Field): CustomResource | undefined {
  const object = readObject(field);
  if (object === undefined) return undefined;
  const metadataField = fieldOf(object, "metadata", field);
  const metadata = readRequiredObject(metadataField) ?? {};
  for (const name of ["name", "generateName", "namespace", "deletionTimestamp"]) readOptionalString(fieldOf(metadata, name, metadataField));
  for (const name of ["labels", "annotations"]) {
    const map = fieldOf(metadata, name, metadataField);
    for (const [key, value] of Object.entries(readObject(map) ?? {})) readString({ value, path: `${map.path}[${JSON.stringify(key)}]`, errors: field.errors });
  }
  return { ...object, metadata: { ...metadata, name: typeof metadata["name"] === "string" ? metadata["name"] : "" } };
}
