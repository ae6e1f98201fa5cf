/**
 * Label and field selectors for the fake API server.
 */
import type { ListOptions } from "./client.ts";
import type { KubeObject } from "./objects.ts";

/** Whether `object` is part of a list or watch with these options. */
export function matchesList(object: KubeObject, options: ListOptions): boolean {
  if (options.namespace !== undefined && object.metadata.namespace !== options.namespace) return false;
  return matchesLabels(object.metadata.labels ?? {}, options.labelSelector ?? "") && matchesFields(object, options.fieldSelector ?? "");
}

/** `a=b`, `a==b`, `a!=b`, `a`, `!a`, `a in (b,c)`, `a notin (b,c)`, joined by commas. */
function matchesLabels(labels: Readonly<Record<string, string>>, selector: string): boolean {
  return terms(selector).every((term) => {
    const [, setKey = "", setOperator, values = ""] = /^(\S+)\s+(in|notin)\s*\((.*)\)$/.exec(term) ?? [];
    if (setOperator !== undefined) return values.split(",").some((each) => labels[setKey] === each.trim()) === (setOperator === "in");
    const [, key = "", operator, value = ""] = /^([^=!]+)(==|!=|=)(.*)$/.exec(term) ?? [];
    if (operator !== undefined) return (labels[key] === value) === (operator !== "!=");
    return term.startsWith("!") ? !(term.slice(1) in labels) : term in labels;
  });
}

/** `metadata.name=x` and other paths with `=` or `!=`. */
function matchesFields(object: KubeObject, selector: string): boolean {
  return terms(selector).every((term) => {
    const [, path = "", operator, wanted = ""] = /^([^=!]+)(==|!=|=)(.*)$/.exec(term) ?? [];
    let value: unknown = object;
    for (const step of path.split(".")) value = typeof value === "object" && value !== null ? Reflect.get(value, step) : undefined;
    return (String(value ?? "") === wanted) === (operator !== "!=");
  });
}

function terms(selector: string): string[] {
  return selector
    .split(/,(?![^(]*\))/)
    .map((term) => term.trim())
    .filter((term) => term !== "");
}
