/** Conditions as Kubernetes writes them: set one in a list, leave the others alone. docs/conditions.md lists all reasons. */
import type { Condition } from "../../kube/objects.ts";

/** The condition that Herald sets on Services; everything else in the list belongs to others. */
export const ADDRESS_ASSIGNED = "metallb.io/AddressAssigned";

/** A condition before it has a time. */
export type Verdict = Omit<Condition, "lastTransitionTime">;

/** Longest message: the API takes 32,768 characters, but nobody reads that much. */
export const MAX_CONDITION_MESSAGE = 4096;

/** The text as it goes into a condition or another field for people; what is too long is cut. */
export function clipMessage(text: string): string {
  return text.length > MAX_CONDITION_MESSAGE ? `${text.slice(0, MAX_CONDITION_MESSAGE)}...` : text;
}

/** The condition of this type, or undefined. */
export function conditionOf(conditions: readonly Condition[] | null | undefined, type: string): Condition | undefined {
  return conditions?.find((condition) => condition.type === type);
}

/**
 * The list with this condition in it; the same list when it is there already, word for word. `lastTransitionTime` moves
 * only when the status does.
 * @param now RFC 3339, whole seconds.
 */
export function withCondition(conditions: readonly Condition[], verdict: Verdict, now: string): readonly Condition[] {
  const old = conditionOf(conditions, verdict.type);
  if (old !== undefined && sameVerdict(old, verdict)) return conditions;
  const next: Condition = { ...verdict, lastTransitionTime: old?.status === verdict.status ? old.lastTransitionTime : now };
  return old === undefined ? [...conditions, next] : conditions.map((condition) => (condition === old ? next : condition));
}

function sameVerdict(a: Verdict, b: Verdict): boolean {
  return a.status === b.status && a.reason === b.reason && a.message === b.message && a.observedGeneration === b.observedGeneration;
}
