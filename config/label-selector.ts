/**
 * Label selectors as Kubernetes defines them: read from JSON, judged, and matched against labels. Beyond what the API
 * demands, a selector says nothing twice: a repeated value, requirement or selector is a slip of the pen, and refused.
 */
import type { LabelRequirement, LabelSelector, Labels } from "./config.ts";
import { fieldOf, readList, readObject, readRequiredObject, readString, type Field, type JsonObject } from "./field-errors.ts";

/** Longest name part of a label key, and longest value. Kubernetes' own limits. */
const MAX_LABEL_NAME = 63;
/** Longest prefix of a label key: a DNS name. */
const MAX_LABEL_PREFIX = 253;
const LABEL_NAME = /^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$/;
const DNS_NAME = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const OPERATORS: ReadonlySet<string> = new Set<LabelRequirement["operator"]>(["In", "NotIn", "Exists", "DoesNotExist"]);

/** Whether the labels satisfy all of the selector. An empty selector matches everything. */
export function selectorMatches(selector: LabelSelector, labels: Labels | undefined): boolean {
  const value = (key: string): string | undefined => (labels !== undefined && Object.hasOwn(labels, key) ? labels[key] : undefined);
  return (
    Object.entries(selector.matchLabels).every(([key, wanted]) => value(key) === wanted) &&
    selector.matchExpressions.every((requirement) => requirementHolds(requirement, value(requirement.key)))
  );
}

/** Whether one of the selectors matches. No selectors at all restrict nothing: then everything matches. */
export function matchesAny(selectors: readonly LabelSelector[], labels: Labels | undefined): boolean {
  return selectors.length === 0 || selectors.some((selector) => selectorMatches(selector, labels));
}

function requirementHolds(requirement: LabelRequirement, value: string | undefined): boolean {
  switch (requirement.operator) {
    case "In": return value !== undefined && requirement.values.includes(value);
    case "NotIn": return value === undefined || !requirement.values.includes(value);
    case "Exists": return value !== undefined;
    case "DoesNotExist": return value === undefined;
  }
}

/** A list of selectors in which none may appear twice; `what` names them in the message. Bad ones are noted and left out. */
export function readSelectors(field: Field, what: string): LabelSelector[] {
  const selectors = new Map<string, LabelSelector>();
  for (const element of readList(field)) {
    const selector = readSelector(element);
    if (selector === undefined) continue;
    const key = selectorText(selector);
    if (selectors.has(key)) element.errors.add(element.path, `duplicate definition of ${what} ${JSON.stringify(key)}`);
    else selectors.set(key, selector);
  }
  return [...selectors.values()];
}

/** One selector, or undefined with errors noted. */
export function readSelector(field: Field): LabelSelector | undefined {
  const object = readRequiredObject(field);
  if (object === undefined) return undefined;
  const before = field.errors.list.length;
  const matchLabels = readMatchLabels(fieldOf(object, "matchLabels", field));
  const matchExpressions = readRequirements(fieldOf(object, "matchExpressions", field));
  return field.errors.list.length === before ? { matchLabels, matchExpressions } : undefined;
}

function readMatchLabels(field: Field): Record<string, string> {
  const entries: [string, string][] = [];
  for (const [key, value] of Object.entries(readObject(field) ?? {})) {
    const label: Field = { value, path: `${field.path}[${JSON.stringify(key)}]`, errors: field.errors };
    checkLabelKey(label, key);
    const text = readString(label);
    if (text === undefined) continue;
    checkLabelValue(label, text);
    entries.push([key, text]);
  }
  return Object.fromEntries(entries);
}

function readRequirements(field: Field): LabelRequirement[] {
  const requirements = new Map<string, LabelRequirement>();
  for (const element of readList(field)) {
    const object = readRequiredObject(element);
    const requirement = object === undefined ? undefined : readRequirement(element, object);
    if (requirement === undefined) continue;
    const text = requirementText(requirement);
    if (requirements.has(text)) element.errors.add(element.path, `duplicate definition of match expression ${JSON.stringify(text)}`);
    requirements.set(text, requirement);
  }
  return [...requirements.values()];
}

function readRequirement(field: Field, object: JsonObject): LabelRequirement | undefined {
  const keyField = fieldOf(object, "key", field);
  const key = readString(keyField);
  if (key !== undefined) checkLabelKey(keyField, key);
  const operatorField = fieldOf(object, "operator", field);
  const operator = readString(operatorField);
  const valuesField = fieldOf(object, "values", field);
  const values = new Set<string>();
  for (const element of readList(valuesField)) {
    const value = readString(element);
    if (value === undefined) continue;
    checkLabelValue(element, value);
    if (values.has(value)) element.errors.add(element.path, `duplicate definition of match expression value ${JSON.stringify(value)}`);
    values.add(value);
  }
  if (operator === undefined) return undefined;
  if (!isOperator(operator)) {
    operatorField.errors.add(operatorField.path, `${JSON.stringify(operator)} is not a valid label selector operator: use In, NotIn, Exists or DoesNotExist`);
    return undefined;
  }
  const takesValues = operator === "In" || operator === "NotIn";
  if (takesValues && values.size === 0) valuesField.errors.add(valuesField.path, `must not be empty when the operator is ${operator}`);
  if (!takesValues && values.size > 0) valuesField.errors.add(valuesField.path, `must be empty when the operator is ${operator}`);
  return key === undefined ? undefined : { key, operator, values: [...values] };
}

function isOperator(text: string): text is LabelRequirement["operator"] {
  return OPERATORS.has(text);
}

function checkLabelKey(field: Field, key: string): void {
  const slash = key.indexOf("/");
  const prefix = slash < 0 ? undefined : key.slice(0, slash);
  const name = key.slice(slash + 1);
  const prefixOk = prefix === undefined || (prefix.length <= MAX_LABEL_PREFIX && DNS_NAME.test(prefix));
  if (!prefixOk || name.length > MAX_LABEL_NAME || !LABEL_NAME.test(name)) field.errors.add(field.path, `invalid label key ${JSON.stringify(key)}`);
}

function checkLabelValue(field: Field, value: string): void {
  if (value !== "" && (value.length > MAX_LABEL_NAME || !LABEL_NAME.test(value))) {
    field.errors.add(field.path, `invalid label value ${JSON.stringify(value)}`);
  }
}

/** Canonical text: equal for selectors that mean the same by reordering labels, requirements or values. */
function selectorText(selector: LabelSelector): string {
  const labels = Object.entries(selector.matchLabels).map(([key, value]) => `${key}=${value}`);
  return [...labels.sort(), ...selector.matchExpressions.map(requirementText).sort()].join(",");
}

function requirementText(requirement: LabelRequirement): string {
  const values = requirement.values.toSorted().join(",");
  switch (requirement.operator) {
    case "In": return `${requirement.key} in (${values})`;
    case "NotIn": return `${requirement.key} notin (${values})`;
    case "Exists": return requirement.key;
    case "DoesNotExist": return `!${requirement.key}`;
  }
}
