/**
 * Reading untyped JSON field by field. Whatever the API server let through, a reader gives a value of the asked type or
 * notes an error with the field's path; none throws. null counts as absent, as the API server treats it.
 */
import type { FieldError } from "./config.ts";

/** Longest message, characters: an entry of a spec may be megabytes long, and messages end up in conditions. */
const MAX_MESSAGE = 512;

/** Most entries of one list: an object has room for a hundred thousand, over which a program would brood for seconds. */
export const MAX_ENTRIES = 10_000;

/** What is wrong with one object, in the order in which its fields are read. */
export class FieldErrors {
  readonly #object: { readonly kind: string; readonly name: string };
  readonly #errors: FieldError[] = [];

  constructor(object: { readonly kind: string; readonly name: string }) {
    this.#object = object;
  }

  /** Notes that the field at `path` is wrong; a long message is cut. */
  add(path: string, message: string): void {
    const short = message.length > MAX_MESSAGE ? `${message.slice(0, MAX_MESSAGE)}...` : message;
    this.#errors.push({ kind: this.#object.kind, name: this.#object.name, path, message: short });
  }

  get list(): readonly FieldError[] {
    return this.#errors;
  }
}

/** A JSON object whose fields are still unread. */
export type JsonObject = Readonly<Record<string, unknown>>;

/** A field and where it is. `errors` collects what is wrong with it. */
export interface Field {
  readonly value: unknown;
  /** e.g. "spec.addresses[1]" */
  readonly path: string;
  readonly errors: FieldErrors;
}

/** The field `name` of an object; undefined when absent. Inherited properties are no fields. */
export function fieldOf(object: JsonObject, name: string, parent: { readonly path: string; readonly errors: FieldErrors }): Field {
  return { value: Object.hasOwn(object, name) ? object[name] : undefined, path: `${parent.path}.${name}`, errors: parent.errors };
}

function isAbsent(value: unknown): value is null | undefined {
  return value === null || value === undefined;
}

/** The field as an object, or undefined when it is absent or of another type (then an error is noted). */
export function readObject(field: Field): JsonObject | undefined {
  if (isAbsent(field.value)) return undefined;
  if (typeof field.value === "object" && !Array.isArray(field.value)) return field.value as JsonObject;
  field.errors.add(field.path, `must be an object, not ${typeName(field.value)}`);
  return undefined;
}

/** As readObject, but its absence is an error too. */
export function readRequiredObject(field: Field): JsonObject | undefined {
  if (isAbsent(field.value)) field.errors.add(field.path, "must be an object, not null");
  return readObject(field);
}

/** The elements of a list as fields; empty when it is absent, no list, or has more than `most` of them (then an error is noted). */
export function readList(field: Field, most = MAX_ENTRIES): Field[] {
  if (isAbsent(field.value)) return [];
  if (!Array.isArray(field.value)) {
    field.errors.add(field.path, `must be a list, not ${typeName(field.value)}`);
    return [];
  }
  if (field.value.length > most) {
    field.errors.add(field.path, `has ${field.value.length} entries; ${most} are the most`);
    return [];
  }
  return field.value.map((value: unknown, index) => ({ value, path: `${field.path}[${index}]`, errors: field.errors }));
}

/** A required string, or undefined with an error noted. */
export function readString(field: Field): string | undefined {
  if (typeof field.value === "string") return field.value;
  field.errors.add(field.path, `must be a string, not ${typeName(field.value)}`);
  return undefined;
}

/** An optional string; undefined when it is absent, empty, or of another type (then an error is noted). */
export function readOptionalString(field: Field): string | undefined {
  return isAbsent(field.value) || field.value === "" ? undefined : readString(field);
}

/** The strings of a list; elements of another type are noted and left out. */
export function readStrings(field: Field): string[] {
  return readList(field).flatMap((element) => readString(element) ?? []);
}

/** Strings of a list in which none may appear twice; `what` names them in the message. */
export function readUniqueStrings(field: Field, what: string): string[] {
  const strings = new Set<string>();
  for (const element of readList(field)) {
    const text = readString(element);
    if (text === undefined) continue;
    if (strings.has(text)) element.errors.add(element.path, `duplicate definition of ${what} ${JSON.stringify(text)}`);
    strings.add(text);
  }
  return [...strings];
}

/** A boolean; `absent` when the field is absent, and when it is of another type (then an error is noted). */
export function readBoolean(field: Field, absent: boolean): boolean {
  if (isAbsent(field.value)) return absent;
  if (typeof field.value === "boolean") return field.value;
  field.errors.add(field.path, `must be true or false, not ${typeName(field.value)}`);
  return absent;
}

/** A whole number that a double holds exactly; undefined when absent or of another type (then an error is noted). */
export function readInteger(field: Field): number | undefined {
  if (isAbsent(field.value)) return undefined;
  if (typeof field.value === "number" && Number.isSafeInteger(field.value)) return field.value;
  field.errors.add(field.path, `must be a whole number, not ${typeof field.value === "number" ? String(field.value) : typeName(field.value)}`);
  return undefined;
}

/** The JSON name of the value's type, as a message says it. */
function typeName(value: unknown): string {
  if (isAbsent(value)) return "null";
  if (Array.isArray(value)) return "a list";
  return typeof value === "object" ? "an object" : `a ${typeof value}`;
}
