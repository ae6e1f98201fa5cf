/**
 * BGP communities: their text, and the names that Community resources give them. Standard communities are RFC 1997's two
 * 16-bit halves, `65535:65282`; large ones RFC 8092's three 32-bit numbers, `large:1:2:3`.
 */
import { fieldOf, readList, readObject, readRequiredObject, readString, type Field, type FieldErrors } from "./field-errors.ts";

export type BgpCommunity =
  /** Both halves 16 bits; the first is customarily an autonomous system. */
  | { readonly kind: "standard"; readonly high: number; readonly low: number }
  /** All parts 32 bits. */
  | { readonly kind: "large"; readonly globalAdministrator: number; readonly localData1: number; readonly localData2: number };

/** Text that is no community; the message says why and quotes it. */
export class CommunityError extends Error {
  override readonly name = "CommunityError";
}

const MAX_16_BITS = 0xffff;
const MAX_32_BITS = 0xffff_ffff;
const LARGE = "large";

/** Parses `u16:u16` or `large:u32:u32:u32`. @throws CommunityError */
export function parseCommunity(text: string): BgpCommunity {
  const sections = text.split(":");
  if (sections[0] === LARGE) {
    if (sections.length !== 4) throw new CommunityError(`invalid community value: expected community to be of format large:<uint32>:<uint32>:<uint32>, not ${JSON.stringify(text)}`);
    const [globalAdministrator = 0, localData1 = 0, localData2 = 0] = sections.slice(1).map((section) => parseSection(section, { text, max: MAX_32_BITS }));
    return { kind: "large", globalAdministrator, localData1, localData2 };
  }
  if (sections.length !== 2) throw new CommunityError(`invalid community value: expected community to be of format <uint16>:<uint16> or large:<uint32>:<uint32>:<uint32>, not ${JSON.stringify(text)}`);
  const [high = 0, low = 0] = sections.map((section) => parseSection(section, { text, max: MAX_16_BITS }));
  return { kind: "standard", high, low };
}

function parseSection(section: string, { text, max }: { readonly text: string; readonly max: number }): number {
  const value = /^[0-9]{1,10}$/.test(section) ? Number(section) : Number.NaN;
  if (value <= max) return value;
  throw new CommunityError(`invalid community value: invalid section ${JSON.stringify(section)} of community ${JSON.stringify(text)}: must be a number from 0 to ${max}`);
}

/** The canonical text, which parseCommunity reads back. */
export function formatCommunity(community: BgpCommunity): string {
  if (community.kind === "standard") return `${community.high}:${community.low}`;
  return `${LARGE}:${community.globalAdministrator}:${community.localData1}:${community.localData2}`;
}

/** Whether an entry of an advertisement is meant as a value and not as a name that a Community gives. */
export function looksLikeValue(text: string): boolean {
  return text.includes(":");
}

/** Names that Community resources give to communities. */
export type CommunityNames = ReadonlyMap<string, BgpCommunity>;

/** Reads the spec of a Community into `names`; what is wrong, and a name given before, here or elsewhere, goes to `errors`. */
export function readCommunity(object: { readonly spec: unknown }, errors: FieldErrors, names: Map<string, BgpCommunity>): void {
  const specField: Field = { value: object.spec, path: "spec", errors };
  const spec = readObject(specField) ?? {};
  for (const element of readList(fieldOf(spec, "communities", specField))) {
    const entry = readRequiredObject(element);
    if (entry === undefined) continue;
    const nameField = fieldOf(entry, "name", element);
    const name = readString(nameField);
    const value = readCommunityValue(fieldOf(entry, "value", element));
    if (name === undefined || value === undefined) continue;
    if (name === "") errors.add(nameField.path, "must not be empty");
    else if (names.has(name)) errors.add(nameField.path, `duplicate definition of community ${JSON.stringify(name)}`);
    else names.set(name, value);
  }
}

/** A community in text form, or undefined with an error noted. */
export function readCommunityValue(field: Field): BgpCommunity | undefined {
  const text = readString(field);
  if (text === undefined) return undefined;
  try {
    return parseCommunity(text);
  } catch (error) {
    if (!(error instanceof CommunityError)) throw error;
    field.errors.add(field.path, error.message);
    return undefined;
  }
}
