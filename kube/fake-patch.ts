/**
 * The patch types of the API, as far as the fake API server needs them. Values are JSON; nothing is changed in place.
 */

type Json = Record<string, unknown>;

/** Whether `value` is a JSON object (neither null nor a list). */
export function isObject(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** JSON merge patch, RFC 7386 §2. */
export function mergePatch(target: unknown, patch: unknown): unknown {
  if (!isObject(patch)) return patch;
  const result: Json = isObject(target) ? { ...target } : {};
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete result[key];
    else result[key] = mergePatch(result[key], value);
  }
  return result;
}

/** Lists that a strategic merge patch merges by a key, by the list's field name; others are replaced. */
const mergeKeys: Readonly<Record<string, string>> = { conditions: "type", ports: "port", ownerReferences: "uid" };

/** Strategic merge patch with the merge keys of Services and Nodes; `$patch: delete` removes a list's element. */
export function strategicMergePatch(target: unknown, patch: unknown): unknown {
  if (!isObject(patch)) return patch;
  const result: Json = isObject(target) ? { ...target } : {};
  for (const [key, value] of Object.entries(patch)) {
    const mergeKey = mergeKeys[key];
    if (value === null) delete result[key];
    else if (Array.isArray(value) && mergeKey !== undefined) result[key] = mergeList(result[key], value, mergeKey);
    else result[key] = strategicMergePatch(result[key], value);
  }
  return result;
}

function mergeList(target: unknown, patch: readonly unknown[], mergeKey: string): unknown[] {
  const result: unknown[] = Array.isArray(target) ? [...target] : [];
  for (const element of patch) {
    if (!isObject(element)) continue;
    const index = result.findIndex((existing) => isObject(existing) && existing[mergeKey] === element[mergeKey]);
    if (element["$patch"] === "delete") {
      if (index >= 0) result.splice(index, 1);
    } else if (index >= 0) result[index] = strategicMergePatch(result[index], element);
    else result.push(element);
  }
  return result;
}
