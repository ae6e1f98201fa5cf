/**
 * Carries the plans for Services out: one patch each, many in flight, events behind them. It never acts on a cache older
 * than its own writes, and the allocator knows of an assignment before anything is written.
 */
import type { Labels } from "../config/config.ts";
import { KubeError, type KubeClient } from "../kube/client.ts";
import { type EventBody, type EventRecorder, referenceTo } from "../kube/event-recorder.ts";
import { type Change, type Informer, keyOf } from "../kube/informer.ts";
import { type Service, services } from "../kube/objects.ts";
import { stripFor } from "../kube/strip.ts";
import { type Verdict, WorkQueue } from "../kube/work-queue.ts";
import { type Clock, rfc3339Seconds, type Timer } from "../sys/clock.ts";
import type { Logger } from "../sys/log.ts";
import type { Random } from "../sys/random.ts";
import { formatIpAddress, type IpAddress } from "../wire/ip-address.ts";
import type { Allocator } from "./allocator/allocator.ts";
import { ADDRESS_ASSIGNED, conditionOf } from "./reconcile/conditions.ts";
import { planService, type ServicePlan } from "./reconcile/service-plan.ts";
import { shownAsRecorded, shownByRecord } from "./reconcile/service-record.ts";
import { readServiceRequest } from "./reconcile/service-request.ts";
import { isMarkedOurs, statusAddresses } from "./reconcile/service-status.ts";
import { ReasonBook } from "./reason-book.ts";
import { compareByAge, WaitingList } from "./waiting-list.ts";
import { WritePace } from "./write-pace.ts";

/** How long until we look again for a namespace, or a Service, that the caches don't have yet (milliseconds). */
const UNSEEN_MS = 500;

/** Longest wait between attempts at one Service: after an outage nobody should wait longer for its address (milliseconds). */
const MAX_BACKOFF_MS = 10_000;

/** Patches on their way at once. The API server takes some 750 a second, whatever the number beyond this. */
const MAX_IN_FLIGHT = 32;

/** How long after a change the reasons of those that wait are looked at, and between two looks (milliseconds). */
const LOOK_MS = 1_000;

/** Reasons looked at in one look, and those of them that may be put right: what nobody asked for must not keep the API server busy. */
const LOOKS = 500;
const CORRECTIONS = 10;

export interface ServiceWorkerOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly recorder: EventRecorder;
  readonly allocator: Allocator;
  readonly services: Informer<Service>;
  readonly namespaceLabels: (namespace: string) => Labels | undefined;
  readonly lbClass: string;
  readonly onVerdict: (key: string, verdict: Verdict, error?: unknown) => void;
  /** The number of addresses in use of this pool has changed. */
  readonly onPoolUse: (pool: string) => void;
}

export class ServiceWorker {
  readonly #options: ServiceWorkerOptions;
  readonly #queue: WorkQueue;
  readonly #waiting = new WaitingList();
  readonly #reasons = new ReasonBook();
  readonly #pace = new WritePace();
  #look: Timer | undefined;
  #stopped = false;
  /** What our own writes and reads returned, until the cache shows it or something newer; also what only we have seen so far. */
  readonly #fresher = new Map<string, Service>();
  /** Events of patches whose outcome is not known; to be told when it turns out that they were carried out. */
  readonly #untold = new Map<string, ServicePlan>();
  readonly #strip = stripFor(services);
  /** Addresses whose holders changed the terms on which they share; others may fit there now. */
  #renewed: IpAddress[] = [];

  constructor(options: ServiceWorkerOptions) {
    this.#options = options;
    const { clock, random, log, onVerdict } = options;
    this.#queue = new WorkQueue({ name: "services", clock, random, log, onVerdict, maxBackoffMs: MAX_BACKOFF_MS });
  }

  /** Starts working on the queue. Call once, after the first adoption. */
  run(): void {
    this.#queue.run((key) => this.#process(key), { concurrency: MAX_IN_FLIGHT });
  }

  /** Resolves when the patches on their way have ended. */
  stop(): Promise<void> {
    this.#stopped = true;
    this.#look?.cancel();
    return this.#queue.stop();
  }

  /** Resolves when nothing is queued or on its way. */
  idle(): Promise<void> {
    return this.#queue.idle();
  }

  /** Number of Services that wait for an address. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /**
   * Gives every Service of ours the addresses that its status shows: first to each what it shows as it was given, then to
   * those that have none of that what they show all the same. Either way the longest-lived Service comes first, so that of
   * two that show the same address the older one keeps it. To be called before anything is assigned.
   * @param newer objects read from the API server that may be newer than the cache.
   */
  adoptAll(newer: readonly Service[] = []): void {
    const { allocator, lbClass } = this.#options;
    for (const service of newer) {
      const key = keyOf(service);
      const isUnseen = this.#options.services.get(key) === undefined;
      if (isUnseen || this.#isNewer(service)) this.#fresher.set(key, service);
      // The cache may have seen it deleted meanwhile, in which case it will never tell again.
      if (isUnseen) this.#queue.add(key);
    }
    const known = new Map(this.#fresher);
    for (const cached of this.#options.services.list()) known.set(keyOf(cached), this.#freshest(cached));
    const sorted = [...known.values()].filter((service) => (service.status?.loadBalancer?.ingress ?? []).length > 0).sort(compareByAge);
    const requests = sorted.map((service) => ({ service, request: readServiceRequest(service, lbClass) }));
    const poolOf = (address: IpAddress): string | undefined => allocator.poolOf(address);
    for (const shown of [shownAsRecorded, shownByRecord]) {
      for (const { service, request } of requests) {
        if (request.kind === "foreign" || request.kind === "none" || allocator.holding(keyOf(service)) !== undefined) continue;
        allocator.adopt(keyOf(service), shown(service, poolOf), "sharing" in request ? request.sharing : undefined);
      }
    }
    // What a Service shows without being able to hold it is not free before it is cleared.
    for (const { service, request: { kind } } of requests) {
      const key = keyOf(service);
      if (kind === "none" && allocator.holding(key) === undefined) allocator.guard(key, statusAddresses(service).filter((address) => allocator.poolOf(address) !== undefined));
      if (kind !== "none" && kind !== "foreign") allocator.guard(key, statusAddresses(service));
    }
  }

  /** Looks at every Service again: first those that hold an address, then the others, each group by age. */
  reprocessAll(): void {
    const { allocator } = this.#options;
    const all = this.#options.services.list().filter((service) => this.#concerns(service)).sort(compareByAge);
    for (const service of all) if (allocator.holding(keyOf(service)) !== undefined) this.#queue.add(keyOf(service));
    for (const service of all) if (allocator.holding(keyOf(service)) === undefined) this.#queue.add(keyOf(service));
  }

  /** Looks at the Services of one namespace again. */
  reprocessNamespace(namespace: string): void {
    const all = this.#options.services.list().filter((service) => service.metadata.namespace === namespace && this.#concerns(service));
    for (const service of all.sort(compareByAge)) this.#queue.add(keyOf(service));
  }

  /** To be told every change of the cache once work has begun. */
  onChange(change: Change<Service>): void {
    const key = keyOf(change.object);
    if (change.kind === "deleted") {
      const own = this.#fresher.get(key);
      // A new incarnation under the same name, which the cache is about to tell of, keeps what we know it to have.
      if (own === undefined || own.metadata.uid === change.object.metadata.uid) this.#forget(key);
    } else if (this.#concerns(change.object)) this.#queue.add(key);
    // Nobody will look at it, so that our own copy would stay for ever.
    else this.#freshest(change.object);
  }

  #concerns(service: Service): boolean {
    const { allocator } = this.#options;
    const key = keyOf(service);
    const hasIngress = (service.status?.loadBalancer?.ingress ?? []).length > 0;
    return service.spec.type === "LoadBalancer" || hasIngress || allocator.holding(key) !== undefined || allocator.leaving(key).length > 0 || isMarkedOurs(service);
  }

  async #process(key: string): Promise<Verdict> {
    const { client, clock, allocator, log } = this.#options;
    const cached = this.#options.services.get(key);
    if (cached === undefined) return this.#processUnseen(key);
    const service = this.#freshest(cached);
    if (this.#lacksNamespace(service)) return { kind: "retryAfter", ms: UNSEEN_MS };
    const plan = this.#plan(service);
    if (plan.waiting) this.#reasons.note(key, allocator.revision);
    this.#afterRenewals();
    this.#lookLater();
    if (plan.patch === undefined) {
      const untold = this.#untold.get(key);
      this.#tell(service, untold !== undefined && shows(service, untold) ? untold.events : []);
      this.#settle(service);
      return "done";
    }
    const waitMs = this.#pace.waitMs(key, clock.now());
    if (waitMs > 0) {
      this.#contested(service);
      return { kind: "retryAfter", ms: waitMs };
    }
    try {
      const { namespace, name } = service.metadata;
      const target = namespace === undefined ? { name } : { namespace, name };
      const updated = this.#strip(await client.patch(services, target, plan.patch, { subresource: "status" }));
      this.#pace.note(key, clock.now());
      if (this.#isNewer(updated)) this.#fresher.set(key, updated);
      this.#settle(updated);
    } catch (error) {
      if (isUncertain(error)) this.#untold.set(key, plan);
      return this.#afterFailure(service, error);
    }
    const addresses = plan.patch.status.loadBalancer?.ingress?.map(({ ip }) => ip);
    log.info("serviceUpdated", { key, pool: allocator.holding(key)?.pool, ...(addresses === undefined ? {} : { addresses }), reasons: plan.events.map(({ reason }) => reason) });
    this.#tell(service, plan.events);
    return "done";
  }

  #tell(service: Service, events: readonly EventBody[]): void {
    this.#untold.delete(keyOf(service));
    for (const event of events) this.#options.recorder.event(referenceTo(services, { ...service, kind: "Service" }), event);
  }

  /** It was written so often in so short a time that something else must be changing it. */
  #contested(service: Service): void {
    const key = keyOf(service);
    if (!this.#pace.isNews(key)) return;
    this.#options.log.warn("statusContested", { key, shown: statusAddresses(service).map(formatIpAddress) });
    const message = "something else changes the Service or its status again and again, and is answered less often from now on: does another load balancer (the ServiceLB of k3s, say) serve it too?";
    this.#options.recorder.event(referenceTo(services, { ...service, kind: "Service" }), { type: "Warning", reason: "StatusContested", message });
  }

  /** The cache does not have it: it is gone, unless we have read of it what the cache has yet to bring. */
  async #processUnseen(key: string): Promise<Verdict> {
    if (this.#fresher.has(key)) {
      const { client } = this.#options;
      try {
        await client.get(services, nameOf(key));
        return { kind: "retryAfter", ms: UNSEEN_MS };
      } catch (error) {
        if (!(error instanceof KubeError && error.code === 404)) throw error;
      }
      // Asking took time, in which the cache may have brought it.
      if (this.#options.services.get(key) !== undefined) return { kind: "retryAfter", ms: 0 };
    }
    this.#forget(key);
    return "done";
  }

  /**
   * Whether a pool may be meant for the Service's namespace, of which we know nothing yet: its watch may come later than
   * the Service's.
   */
  #lacksNamespace(service: Service): boolean {
    const { allocator, namespaceLabels } = this.#options;
    if (service.spec.type !== "LoadBalancer" || namespaceLabels(service.metadata.namespace ?? "") !== undefined) return false;
    return allocator.poolNames().some((name) => (allocator.pool(name)?.serviceAllocation?.namespaceSelectors ?? []).length > 0);
  }

  /**
   * What to do after a patch has failed. A 404 frees nothing: the cache tells when the Service is gone.
   * @throws KubeError to be tried again after a while.
   */
  async #afterFailure(service: Service, error: unknown): Promise<Verdict> {
    const { client, log } = this.#options;
    const key = keyOf(service);
    const code = error instanceof KubeError ? error.code : -1;
    if (code !== 409) {
      const isWithheld = error instanceof KubeError && error.reason === "NotSent";
      if (code !== 404 && !isWithheld) log.warn("serviceUpdateFailed", { key, error });
      throw error;
    }
    const current = this.#strip(await client.get(services, nameOf(key)));
    // Another incarnation is for the cache to bring, after the end of this one.
    if (current.metadata.uid !== service.metadata.uid) throw error;
    if (version(current) <= version(service)) {
      // It was not the version that was refused; or etcd was restored from a backup, and our copy is of a time that never was.
      this.#fresher.delete(key);
      throw error;
    }
    if (this.#isNewer(current)) this.#fresher.set(key, current);
    return { kind: "retryAfter", ms: 0 };
  }

  #plan(service: Service): ServicePlan {
    const { allocator, clock, lbClass, namespaceLabels, onPoolUse } = this.#options;
    const key = keyOf(service);
    const { revision } = allocator;
    const before = allocator.holding(key);
    const plan = planService(service, { allocator, lbClass, now: rfc3339Seconds(clock.wallMs()), namespaceLabels });
    if (plan.waiting) this.#waiting.add(service, plan.sharing);
    else this.#awaitNothing(key);
    const after = allocator.holding(key);
    if (before !== undefined && after !== undefined && before.sharing !== after.sharing) this.#renewed.push(...after.addresses);
    if (allocator.revision !== revision) for (const pool of new Set([before?.pool, after?.pool])) if (pool !== undefined) onPoolUse(pool);
    return plan;
  }

  /** What the Service gave up and, as the API has it now, shows no more is free. */
  #settle(service: Service): void {
    const freed = this.#options.allocator.settle(keyOf(service), statusAddresses(service));
    if (freed.length > 0) this.#afterFreeing(freed);
  }

  /** The Service is gone. */
  #forget(key: string): void {
    this.#fresher.delete(key);
    this.#untold.delete(key);
    this.#pace.forget(key);
    this.#awaitNothing(key);
    const freed = this.#options.allocator.release(key);
    if (freed.length > 0) this.#afterFreeing(freed);
  }

  #awaitNothing(key: string): void {
    this.#waiting.delete(key);
    this.#reasons.forget(key);
  }

  #afterRenewals(): void {
    const renewed = this.#renewed;
    this.#renewed = [];
    if (renewed.length > 0) this.#afterFreeing(renewed);
  }

  /** Serves the waiting Services at once, so that no younger one comes first; the writing is left to the queue. */
  #afterFreeing(freed: readonly IpAddress[]): void {
    const { allocator, onPoolUse } = this.#options;
    for (const pool of new Set(freed.map((address) => allocator.poolOf(address)))) if (pool !== undefined) onPoolUse(pool);
    if (this.#waiting.size === 0) return;
    for (const { key, sharing } of this.#waiting.inOrder()) {
      // What else is free was free before, and of no use to them.
      if (!freed.some((address) => allocator.isOpen(address, undefined) || allocator.isShared(address))) break;
      if (!freed.some((address) => allocator.isOpen(address, sharing))) continue;
      const cached = this.#options.services.get(key);
      if (cached === undefined) continue;
      const { revision } = allocator;
      this.#plan(this.#freshest(cached));
      if (allocator.revision !== revision) this.#queue.add(key);
    }
    this.#afterRenewals();
    this.#lookLater();
  }

  /** Those that wait may name who is gone. */
  #lookLater(): void {
    const { allocator, clock } = this.#options;
    if (this.#look !== undefined || this.#stopped || this.#reasons.stale(allocator.revision, 1).length === 0) return;
    this.#look = clock.after(LOOK_MS, () => {
      this.#look = undefined;
      this.#lookAtReasons();
      this.#lookLater();
    });
  }

  #lookAtReasons(): void {
    const { allocator } = this.#options;
    let corrections = 0;
    for (const key of this.#reasons.stale(allocator.revision, LOOKS)) {
      const cached = this.#options.services.get(key);
      this.#reasons.note(key, allocator.revision);
      // What can't be looked at now is in the queue.
      if (cached === undefined || this.#lacksNamespace(cached) || this.#plan(this.#freshest(cached)).patch === undefined) continue;
      this.#queue.add(key);
      corrections += 1;
      if (corrections >= CORRECTIONS) break;
    }
    this.#afterRenewals();
  }

  #freshest(cached: Service): Service {
    const key = keyOf(cached);
    const own = this.#fresher.get(key);
    if (own === undefined) return cached;
    if (version(own) > version(cached)) return own;
    this.#fresher.delete(key);
    return cached;
  }

  /** Whether the object is newer than what the cache has; the cache deletes what it has no more. */
  #isNewer(service: Service): boolean {
    const cached = this.#options.services.get(keyOf(service));
    return cached !== undefined && version(service) > version(cached);
  }
}

/** Whether the Service is as the plan's patch makes it: it was carried out, for all that can be told. */
function shows({ status }: Service, { patch }: ServicePlan): boolean {
  const { loadBalancer, conditions } = patch?.status ?? {};
  const ips = (ingress: readonly { readonly ip?: string }[] | null | undefined): string => (ingress ?? []).map(({ ip }) => ip).join(",");
  if (loadBalancer !== undefined && ips(loadBalancer.ingress) !== ips(status?.loadBalancer?.ingress)) return false;
  const wanted = conditionOf(conditions, ADDRESS_ASSIGNED);
  const shown = conditionOf(status?.conditions, ADDRESS_ASSIGNED);
  return conditions === undefined || (wanted?.reason === shown?.reason && wanted?.message === shown?.message);
}

/** Whether the write may have been carried out, or still be: no answer came, or only that its time is over. */
function isUncertain(error: unknown): boolean {
  return error instanceof KubeError && (error.reason === "Unreachable" || error.code === 504);
}

function nameOf(key: string): { namespace: string; name: string } {
  const [namespace = "", name = ""] = key.split("/");
  return { namespace, name };
}

/** Resource versions of one kind are comparable as numbers, which Kubernetes guarantees since 1.35 and etcd always did. */
function version(service: Service): bigint {
  const text = service.metadata.resourceVersion ?? "0";
  return /^[0-9]+$/.test(text) ? BigInt(text) : 0n;
}
