/**
 * The ConfigurationState object `controller`: whether the controller accepts the configuration as it is now; and what is
 * kept of the speakers'. Pure.
 */
import type { FieldError } from "../../config/config.ts";
import { DEFAULT_GATEWAYS, formatDefaultGateways, parseDefaultGateways } from "../../config/default-gateways.ts";
import type { Condition, CustomResource, OwnerReference } from "../../kube/objects.ts";
import { configurationStates } from "../../kube/objects.ts";
import { stripFor } from "../../kube/strip.ts";
import { clipMessage, type Verdict, withCondition } from "./conditions.ts";
import { describeError } from "./pool-status.ts";

/** Name of the object. */
export const CONFIGURATION_STATE = "controller";
const CONDITION = "poolReconcilerValid";

const strip = stripFor(configurationStates);

/** Keeps our own object as it is, and of the others, which anybody may have written, no more than the gateways that they tell of. */
export function stripConfigurationState(object: CustomResource): CustomResource {
  const { name, namespace, uid, resourceVersion, annotations } = object.metadata;
  if (name === CONFIGURATION_STATE) return strip(object);
  const gateways = annotations?.[DEFAULT_GATEWAYS];
  return {
    metadata: {
      name,
      ...(namespace === undefined ? {} : { namespace }),
      ...(uid === undefined ? {} : { uid }),
      ...(resourceVersion === undefined ? {} : { resourceVersion }),
      ...(gateways === undefined ? {} : { annotations: { [DEFAULT_GATEWAYS]: formatDefaultGateways(parseDefaultGateways(gateways)) } }),
    },
  };
}

/** The object as it is created, before it has a status. */
export function newConfigurationState(namespace: string, owner: OwnerReference | undefined): CustomResource {
  return {
    apiVersion: "metallb.io/v1beta1",
    kind: "ConfigurationState",
    metadata: {
      namespace,
      name: CONFIGURATION_STATE,
      labels: { "metallb.io/component-type": "controller" },
      ...(owner === undefined ? {} : { ownerReferences: [owner] }),
    },
  };
}

/**
 * The merge patch for its status, or undefined when it says all that already.
 * @param now RFC 3339, whole seconds.
 */
export function configurationStatePatch(object: CustomResource, errors: readonly FieldError[], now: string): object | undefined {
  const current = (typeof object.status === "object" && object.status !== null ? object.status : {}) as { conditions?: Condition[]; result?: string; errorSummary?: string };
  const message = errors.length === 0 ? "" : clipMessage(`configuration error: ${errors.map(describeError).join("\n")}`);
  const verdict: Verdict = errors.length === 0 ? { type: CONDITION, status: "True", reason: "Reconciled", message } : { type: CONDITION, status: "False", reason: "ConfigurationError", message };
  const before = current.conditions ?? [];
  const conditions = withCondition(before, verdict, now);
  const result = errors.length === 0 ? "Valid" : "Invalid";
  if (conditions === before && current.result === result && (current.errorSummary ?? "") === message) return undefined;
  return { status: { result, errorSummary: message, conditions } };
}
