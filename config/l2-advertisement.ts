/** Reads L2Advertisement resources. */
import type { L2Advertisement, Labels, PreferredNodes } from "./config.ts";
import { fieldOf, readInteger, readList, readObject, readRequiredObject, readStrings, readUniqueStrings, type Field, type FieldErrors } from "./field-errors.ts";
import { readSelector, readSelectors, selectorMatches } from "./label-selector.ts";

const MIN_WEIGHT = 1;
const MAX_WEIGHT = 100;

/** What an advertisement chooses from: a pool's name and its labels. */
export interface SelectablePool {
  readonly name: string;
  readonly labels: Labels | undefined;
}

/**
 * Reads the spec of an advertisement; what is wrong goes to `errors`. Its pools are those named and those selected by
 * label, or all when both lists are empty; a name that no pool bears is ignored, for the pool may come later.
 */
export function readL2Advertisement(
  object: { readonly name: string; readonly spec: unknown },
  errors: FieldErrors,
  pools: readonly SelectablePool[],
): L2Advertisement {
  const specField: Field = { value: object.spec, path: "spec", errors };
  const spec = readObject(specField) ?? {};
  const names = new Set(readUniqueStrings(fieldOf(spec, "ipAddressPools", specField), "ipAddressPools"));
  const selectors = readSelectors(fieldOf(spec, "ipAddressPoolSelectors", specField), "ipAddressPoolSelectors");
  const every = names.size === 0 && selectors.length === 0;
  return {
    name: object.name,
    pools: pools.filter((pool) => every || names.has(pool.name) || selectors.some((selector) => selectorMatches(selector, pool.labels))).map((pool) => pool.name).sort(),
    nodeSelectors: readSelectors(fieldOf(spec, "nodeSelectors", specField), "nodeSelectors"),
    serviceSelectors: readSelectors(fieldOf(spec, "serviceSelectors", specField), "serviceSelectors"),
    // An interface named twice is harmless; it counts once.
    interfaces: [...new Set(readStrings(fieldOf(spec, "interfaces", specField)))],
    preferredNodes: readPreferredNodes(fieldOf(spec, "preferredNodeSelectors", specField)),
  };
}

function readPreferredNodes(field: Field): PreferredNodes[] {
  return readList(field).flatMap((element) => {
    const object = readRequiredObject(element);
    if (object === undefined) return [];
    const weight = readWeight(fieldOf(object, "weight", element));
    const preference = readSelector(fieldOf(object, "preference", element));
    return weight === undefined || preference === undefined ? [] : [{ weight, preference }];
  });
}

function readWeight(field: Field): number | undefined {
  const weight = readInteger(field);
  if (weight !== undefined && weight >= MIN_WEIGHT && weight <= MAX_WEIGHT) return weight;
  const absent = field.value === undefined || field.value === null;
  if (weight !== undefined || absent) field.errors.add(field.path, `weight must be from ${MIN_WEIGHT} to ${MAX_WEIGHT}${absent ? "" : `, not ${weight}`}`);
  return undefined;
}
