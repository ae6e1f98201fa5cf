/** Reads IPAddressPool resources. */
import { AddressError, parseIpRange, type IpRange } from "../wire/ip-address.ts";
import type { Pool, ServiceAllocation } from "./config.ts";
import { fieldOf, readBoolean, readInteger, readList, readObject, readString, readUniqueStrings, type Field, type FieldErrors } from "./field-errors.ts";
import { readSelectors } from "./label-selector.ts";
import type { RangeSet } from "./range-set.ts";

/** Every range of every pool read so far; the note is the entry as its author wrote it, quoted, and the pool that it is of. */
export type DefinedRanges = RangeSet<string>;

/**
 * Reads the spec of a pool; what is wrong goes to `errors`. The pool's good ranges are added to `defined`, and one that
 * overlaps another, of this pool or of any read before, is refused by name.
 */
export function readIpAddressPool(object: { readonly name: string; readonly spec: unknown }, errors: FieldErrors, defined: DefinedRanges): Pool {
  const specField: Field = { value: object.spec, path: "spec", errors };
  const spec = readObject(specField) ?? {};
  const ranges = readAddresses(fieldOf(spec, "addresses", specField), object.name, defined);
  const serviceAllocation = readServiceAllocation(fieldOf(spec, "serviceAllocation", specField));
  return {
    name: object.name,
    ranges,
    autoAssign: readBoolean(fieldOf(spec, "autoAssign", specField), true),
    avoidBuggyIps: readBoolean(fieldOf(spec, "avoidBuggyIPs", specField), false),
    ...(serviceAllocation === undefined ? {} : { serviceAllocation }),
  };
}

function readAddresses(field: Field, pool: string, defined: DefinedRanges): IpRange[] {
  const entries = readList(field);
  const isEmpty = field.value === null || field.value === undefined || (Array.isArray(field.value) && field.value.length === 0);
  if (isEmpty) field.errors.add(field.path, "pool has no prefixes defined");
  const ranges: IpRange[] = [];
  for (const entry of entries) {
    const text = readString(entry);
    if (text === undefined) continue;
    const range = readRange(entry, text);
    if (range === undefined) continue;
    const conflict = defined.add(range, `${JSON.stringify(text)} of pool ${JSON.stringify(pool)}`);
    if (conflict === undefined) ranges.push(range);
    else entry.errors.add(entry.path, `CIDR ${JSON.stringify(text)} in pool ${JSON.stringify(pool)} overlaps with already defined CIDR ${conflict.overlapped}`);
  }
  return ranges;
}

function readRange(field: Field, text: string): IpRange | undefined {
  try {
    return parseIpRange(text);
  } catch (error) {
    if (!(error instanceof AddressError)) throw error;
    field.errors.add(field.path, error.message);
    return undefined;
  }
}

function readServiceAllocation(field: Field): ServiceAllocation | undefined {
  const object = readObject(field);
  if (object === undefined) return undefined;
  return {
    priority: readInteger(fieldOf(object, "priority", field)) ?? 0,
    namespaces: readUniqueStrings(fieldOf(object, "namespaces", field), "namespaces"),
    namespaceSelectors: readSelectors(fieldOf(object, "namespaceSelectors", field), "namespaceSelectors"),
    serviceSelectors: readSelectors(fieldOf(object, "serviceSelectors", field), "serviceSelectors"),
  };
}
