/**
 * One Service: what it asks for and who holds what come in, a plan comes out. Pure but for the allocator, which is told
 * at once: an address belongs to the Service from the moment that the plan exists, before anything is written.
 *
 * Planning again, after a refused patch or without news, gives the same plan: events are told from the difference
 * between what the Service shows and what it should show, never from what happened on the way.
 */
import { readServiceAnnotations } from "../../config/annotations.ts";
import type { Labels } from "../../config/config.ts";
import type { EventBody } from "../../kube/event-recorder.ts";
import { keyOf } from "../../kube/informer.ts";
import type { Service } from "../../kube/objects.ts";
import { formatIpAddress, type IpAddress } from "../../wire/ip-address.ts";
import type { AllocationRequest, Holding, RefusalReason } from "../allocator/allocation.ts";
import type { Allocator } from "../allocator/allocator.ts";
import type { SharingTerms } from "../allocator/sharing.ts";
import { ADDRESS_ASSIGNED, clipMessage, conditionOf, type Verdict } from "./conditions.ts";
import { type PoolClient, poolAdmits } from "./pool-access.ts";
import { includes, quoteList, recordedAddresses, recordText, shownByRecord } from "./service-record.ts";
import { readServiceRequest, type WantedAddresses } from "./service-request.ts";
import { type DesiredStatus, isMarkedOurs, statusAddresses, statusPatch, type ServiceStatusPatch } from "./service-status.ts";

export interface PlanContext {
  readonly allocator: Allocator;
  /** The loadBalancerClass served; empty means Services without one. */
  readonly lbClass: string;
  /** RFC 3339, whole seconds. */
  readonly now: string;
  /** Labels of a namespace; undefined when it is not known. */
  readonly namespaceLabels: (namespace: string) => Labels | undefined;
}

export interface ServicePlan {
  /** Absent when the Service shows what it should. */
  readonly patch?: ServiceStatusPatch;
  /** To be recorded once the patch is through. */
  readonly events: readonly EventBody[];
  /** It wants an address (or a better one) and would be served if one became free. */
  readonly waiting: boolean;
  /** The terms on which it would share an address. */
  readonly sharing?: SharingTerms;
}

/** Why a Service has no address, or not the one it asks for. */
type Problem = { readonly reason: RefusalReason | "InvalidRequest" | "NoClusterIp" | "NotEnoughClusterIps"; readonly message: string; readonly event: string };

const NOTHING: ServicePlan = { events: [], waiting: false };

/** Decides what a Service holds from now on, and what must be written. */
export function planService(service: Service, context: PlanContext): ServicePlan {
  const { allocator } = context;
  const key = keyOf(service);
  const request = readServiceRequest(service, context.lbClass);
  if (request.kind !== "foreign" && request.kind !== "none") allocator.guard(key, statusAddresses(service));
  switch (request.kind) {
    case "foreign":
      // Another installation with another class marks its Services as we do: only what we hold ourselves is ours.
      return hasOurs(service, allocator) ? planReturn(service, context) : NOTHING;
    case "none":
      return hasOurs(service, allocator) || isMarkedOurs(service) || statusAddresses(service).some((address) => allocator.poolOf(address) !== undefined) ? planReturn(service, context) : NOTHING;
    case "impossible":
      allocator.leave(key);
      return conclude(service, context, undefined, { ...request, event: request.reason === "NotEnoughClusterIps" ? "not enough clusterips" : "LoadBalancerFailed" });
    case "malformed": {
      const asksForNothing: WantedAddresses = { ...request, kind: "wanted", addresses: [] };
      if (!mayKeep(service, context, asksForNothing) && !keepOneOfTwo(service, context, asksForNothing)) allocator.leave(key);
      return conclude(service, context, allocator.holding(key), { reason: "InvalidRequest", message: `invalid requested loadbalancer IPs: ${request.message}`, event: "LoadBalancerFailed" });
    }
    case "wanted": {
      const plan = planWanted(service, context, request);
      return request.sharing === undefined ? plan : { ...plan, sharing: request.sharing };
    }
  }
}

/** Whether the Service holds an address of ours, or shows one that it held. */
function hasOurs(service: Service, allocator: Allocator): boolean {
  const key = keyOf(service);
  const shown = statusAddresses(service);
  return allocator.holding(key) !== undefined || allocator.leaving(key).some((address) => includes(shown, address));
}

/** Takes back what a Service has from us; what another load balancer of its class wrote since is left alone. */
function planReturn(service: Service, context: PlanContext): ServicePlan {
  const { allocator } = context;
  const key = keyOf(service);
  allocator.leave(key);
  // What it shows of our pools without holding it is not free either before it is cleared.
  allocator.guard(key, statusAddresses(service).filter((address) => allocator.poolOf(address) !== undefined));
  const held = allocator.leaving(key);
  // Without the type no address is allowed, whoever wrote it.
  const clears = service.spec.type !== "LoadBalancer" || statusAddresses(service).some((address) => includes(held, address) || allocator.poolOf(address) !== undefined);
  const patch = statusPatch(service, { addresses: clears ? [] : "untouched" }, context.now);
  return patch === undefined ? NOTHING : { patch, events: [], waiting: false };
}

function clientOf(service: Service, context: PlanContext): PoolClient {
  const namespace = service.metadata.namespace ?? "";
  return { namespace, namespaceLabels: context.namespaceLabels(namespace), labels: service.metadata.labels };
}

/**
 * Lets the Service hold what it holds, or else what it shows, on these terms. False when it has nothing or others, who
 * hold it too, are in the way.
 */
function keepOnTerms(service: Service, allocator: Allocator, sharing: SharingTerms | undefined): boolean {
  const key = keyOf(service);
  const held = allocator.holding(key) ?? allocator.adopt(key, shownByRecord(service, (address) => allocator.poolOf(address)), sharing);
  if (held === undefined || !allocator.mayStay(key, sharing)) return false;
  allocator.renew(key, sharing);
  return true;
}

function requestOf(service: Service, context: PlanContext, wanted: WantedAddresses): AllocationRequest {
  const client = clientOf(service, context);
  return { ...wanted, service: keyOf(service), admits: (pool) => poolAdmits(pool, client) };
}

/** Whether the Service may keep what it holds, or else shows, whatever it asks for. */
function mayKeep(service: Service, context: PlanContext, wanted: WantedAddresses): boolean {
  const { allocator } = context;
  if (!keepOnTerms(service, allocator, wanted.sharing)) return false;
  const held = allocator.holding(keyOf(service));
  const pool = allocator.pool(held?.pool ?? "");
  return held !== undefined && pool !== undefined && poolAdmits(pool, clientOf(service, context)) && familiesFit(held, wanted);
}

/** Of two addresses, one of them of a family that the Service has no more, keeps the other. False when it is not so, or it may not. */
function keepOneOfTwo(service: Service, context: PlanContext, wanted: WantedAddresses): boolean {
  const { allocator } = context;
  const held = allocator.holding(keyOf(service));
  if (held === undefined || held.addresses.length <= wanted.families.length || !allocator.mayStay(keyOf(service), wanted.sharing)) return false;
  return allocator.allocate({ ...requestOf(service, context, wanted), addresses: [], pool: held.pool }).kind === "assigned";
}

function planWanted(service: Service, context: PlanContext, wanted: WantedAddresses): ServicePlan {
  const { allocator } = context;
  const key = keyOf(service);
  const request = requestOf(service, context, wanted);
  const keeps = mayKeep(service, context, wanted);
  const held = allocator.holding(key);
  if (keeps && held !== undefined && asRequested(held, wanted)) {
    // The missing address of a PreferDualStack Service may have become free; only the pool it is in can give it.
    const incomplete = held.addresses.length < wanted.families.length && wanted.addresses.length === 0;
    if (incomplete && allocator.allocate({ ...request, pool: held.pool, oneIsEnough: false }).kind === "refused") {
      // One that had two and lost one of them takes two from another pool, rather than to go on with half.
      if (hadBoth(service)) allocator.allocate({ ...request, oneIsEnough: false });
    }
    return conclude(service, context, allocator.holding(key), undefined, incomplete && allocator.holding(key)?.addresses.length === 1);
  }
  const result = allocator.allocate(request);
  if (result.kind === "assigned") return conclude(service, context, allocator.holding(key), undefined, result.addresses.length < wanted.families.length);
  if (!keeps && !keepOneOfTwo(service, context, wanted)) allocator.leave(key);
  return conclude(service, context, allocator.holding(key), { reason: result.reason, message: result.message, event: "AllocationFailed" });
}

/** What it shows tells nothing of what it had: a second address may have been written there by hand. */
function hadBoth(service: Service): boolean {
  return new Set(recordedAddresses(service)?.map((address) => address.family)).size === 2;
}

function familiesFit(held: Holding, wanted: WantedAddresses): boolean {
  const fit = held.addresses.every((address) => wanted.families.includes(address.family));
  return fit && (held.addresses.length === wanted.families.length || wanted.oneIsEnough);
}

function asRequested(held: Holding, wanted: WantedAddresses): boolean {
  if (wanted.pool !== undefined && wanted.pool !== held.pool) return false;
  if (wanted.addresses.length === 0) return true;
  return wanted.addresses.length === held.addresses.length && wanted.addresses.every((address) => includes(held.addresses, address));
}

/** From what the Service holds, and what is wrong, to the patch and the events. */
function conclude(service: Service, context: PlanContext, held: Holding | undefined, problem: Problem | undefined, incomplete = false): ServicePlan {
  const condition = verdict(held, problem);
  const desired: DesiredStatus = { addresses: held?.addresses ?? [], condition, ...(held === undefined ? {} : { pool: held.pool }) };
  const patch = statusPatch(service, desired, context.now);
  const waiting = problem === undefined ? incomplete : WAITS.has(problem.reason);
  if (patch === undefined) return { events: [], waiting };
  return { patch, events: [...assignmentEvents(service, context, held), ...problemEvents(service, condition, problem), ...deprecations(service)], waiting };
}

/** Refusals that end when somebody else frees an address. */
const WAITS: ReadonlySet<Problem["reason"]> = new Set<Problem["reason"]>(["NoFreeAddress", "AddressInUse", "SharingConflict"]);

function verdict(held: Holding | undefined, problem: Problem | undefined): Verdict {
  const type = ADDRESS_ASSIGNED;
  if (held === undefined) return { type, status: "False", reason: problem?.reason ?? "NoFreeAddress", message: clipMessage(problem?.message ?? "") };
  const record = recordText(held.addresses, held.pool);
  if (problem === undefined) return { type, status: "True", reason: "Assigned", message: record };
  return { type, status: "True", reason: "RequestRefused", message: clipMessage(`keeps ${record}: ${problem.message}`) };
}

function assignmentEvents(service: Service, context: PlanContext, held: Holding | undefined): EventBody[] {
  const shown = statusAddresses(service);
  const events: EventBody[] = [];
  const lost = shown.filter((address) => !includes(held?.addresses ?? [], address));
  const why = lost.length === 0 ? undefined : notAllowed(service, context, lost);
  if (why !== undefined) {
    const message = `current IP for "${keyOf(service)}" not allowed by config, will attempt for new IP assignment: ${why}`;
    events.push({ type: "Normal", reason: "ClearAssignment", message });
  }
  const gained = (held?.addresses ?? []).filter((address) => !includes(shown, address));
  const [additional] = gained;
  if (held !== undefined && additional !== undefined) {
    const added = gained.length < held.addresses.length;
    const message = added ? `Assigned additional IP ${JSON.stringify(formatIpAddress(additional))}` : `Assigned IP ${quoteList(held.addresses)}`;
    events.push({ type: "Normal", reason: "IPAllocated", message });
  }
  return events;
}

/** Why the Service may not keep an address that it shows; undefined when it gives it up at its own request. */
function notAllowed(service: Service, context: PlanContext, lost: readonly IpAddress[]): string | undefined {
  const [outside] = lost.filter((address) => context.allocator.poolOf(address) === undefined);
  if (outside !== undefined) return `${quoteList([outside])} is not allowed in config`;
  const excluding = lost.map((address) => context.allocator.pool(context.allocator.poolOf(address) ?? "")).find((pool) => pool !== undefined && !poolAdmits(pool, clientOf(service, context)));
  if (excluding !== undefined) return `pool ${excluding.name} not compatible for ip assignment`;
  const request = readServiceRequest(service, context.lbClass);
  const sharing = request.kind === "wanted" || request.kind === "malformed" ? request.sharing : undefined;
  return lost.map((address) => context.allocator.refusalAt(address, keyOf(service), sharing)?.message).find((message) => message !== undefined);
}

/** One event when the reason or its words change, none for a retry. */
function problemEvents(service: Service, condition: Verdict, problem: Problem | undefined): EventBody[] {
  if (problem === undefined) return [];
  const before = conditionOf(service.status?.conditions, ADDRESS_ASSIGNED);
  if (before?.reason === condition.reason && before.message === condition.message) return [];
  const message = problem.event === "AllocationFailed" ? `Failed to allocate IP for "${keyOf(service)}": ${problem.message}` : problem.message;
  return [{ type: "Warning", reason: problem.event, message }];
}

function deprecations(service: Service): EventBody[] {
  const { legacyKeys } = readServiceAnnotations(service.metadata);
  return legacyKeys.map((key) => ({ type: "Warning", reason: "deprecatedAnnotation", message: `Service uses deprecated annotation ${key}` }));
}
