/** The status of an IPAddressPool: four counters and the conditions `Valid` and `OverlapsNodes`. Pure. */
import type { FieldError, Pool } from "../../config/config.ts";
import type { Condition, CustomResource } from "../../kube/objects.ts";
import type { Allocator } from "../allocator/allocator.ts";
import { clipMessage, conditionOf, type Verdict, withCondition } from "./conditions.ts";
import { type Neighbour, OVERLAPS_NODES, overlapVerdict } from "./pool-neighbours.ts";

/** The condition that Herald sets on pools. */
export const POOL_VALID = "Valid";

/** How the newest configuration looks to one pool. */
export interface PoolView {
  readonly allocator: Allocator;
  /** Everything wrong with the newest configuration; empty when it runs. */
  readonly errors: readonly FieldError[];
  /** Nodes' addresses in the pool as it runs. */
  readonly neighbours: (pool: Pool) => readonly Neighbour[];
}

/** A JSON merge patch for ipaddresspools/status. Counters beyond 2^53 are raw JSON, exact to the last digit. */
export interface PoolStatusPatch {
  readonly status: Readonly<Record<string, unknown>>;
}

interface CurrentStatus {
  readonly assignedIPv4?: unknown;
  readonly assignedIPv6?: unknown;
  readonly availableIPv4?: unknown;
  readonly availableIPv6?: unknown;
  readonly conditions?: Condition[];
}

/**
 * The patch from what the pool shows to what it should, or undefined when there is nothing to write.
 * @param now RFC 3339, whole seconds.
 */
export function poolStatusPatch(object: CustomResource, view: PoolView, now: string): PoolStatusPatch | undefined {
  const current: CurrentStatus = typeof object.status === "object" && object.status !== null ? object.status : {};
  const name = object.metadata.name;
  const ipv4 = view.allocator.count(name, "IPv4");
  const ipv6 = view.allocator.count(name, "IPv6");
  const counters = {
    assignedIPv4: ipv4?.inUse ?? 0n,
    assignedIPv6: ipv6?.inUse ?? 0n,
    availableIPv4: ipv4?.available ?? 0n,
    availableIPv6: ipv6?.available ?? 0n,
  } as const;
  // The cache holds JSON numbers, so that counters are compared as far as those are exact.
  const sameCounters =
    current.assignedIPv4 === Number(counters.assignedIPv4) &&
    current.assignedIPv6 === Number(counters.assignedIPv6) &&
    current.availableIPv4 === Number(counters.availableIPv4) &&
    current.availableIPv6 === Number(counters.availableIPv6);
  const before = Array.isArray(current.conditions) ? current.conditions : [];
  const running = view.allocator.pool(name);
  const neighbours = running === undefined ? [] : view.neighbours(running);
  const valid = withCondition(before, verdict(object, view), now);
  const isQuiet = neighbours.length === 0 && conditionOf(before, OVERLAPS_NODES) === undefined;
  const conditions = isQuiet ? valid : withCondition(valid, overlapVerdict(neighbours), now);
  if (sameCounters && conditions === before) return undefined;
  const numbers = Object.fromEntries(Object.entries(counters).map(([field, value]) => [field, exactInteger(value)]));
  return { status: { ...numbers, conditions } };
}

function verdict(object: CustomResource, view: PoolView): Verdict {
  const { name, generation } = object.metadata;
  const base = { type: POOL_VALID, ...(generation === undefined ? {} : { observedGeneration: generation }) };
  if (view.errors.length === 0) return { ...base, status: "True", reason: "Accepted", message: "the pool is in effect" };
  const running: Pool | undefined = view.allocator.pool(name);
  const tail = running === undefined ? "the pool is not in effect" : "the pool's last valid version stays in effect";
  const own = view.errors.filter((error) => error.kind === "IPAddressPool" && error.name === name);
  if (own.length > 0) {
    return { ...base, status: "False", reason: "ConfigurationError", message: clipMessage(`${own.map((error) => `${error.path}: ${error.message}`).join("; ")}; ${tail}`) };
  }
  const others = view.errors.map(describeError).join("; ");
  return { ...base, status: "Unknown", reason: "OtherConfigurationError", message: clipMessage(`changes wait for the rest of the configuration: ${others}; ${tail}`) };
}

/** One error with the object it is about: `IPAddressPool "a": spec.addresses[0]: ...`. */
export function describeError(error: FieldError): string {
  return `${error.kind} ${JSON.stringify(error.name)}: ${error.path}: ${error.message}`;
}

/** An integer that JSON.stringify writes digit by digit. The compiler's library doesn't know `JSON.rawJSON` (Node 22 and later) yet. */
function exactInteger(value: bigint): unknown {
  if (value <= BigInt(Number.MAX_SAFE_INTEGER)) return Number(value);
  return (JSON as unknown as { rawJSON(text: string): unknown }).rawJSON(String(value));
}
