/**
 * The controller without its process: caches that are warm from the start, and, once it leads, the work. Pools and
 * Services are read as one configuration before anything is assigned; a configuration with an error never replaces
 * one that runs, and where none runs yet, nothing is given and nothing taken.
 */
import type { ConfigResult, FieldError, Pool } from "../config/config.ts";
import { parseConfig } from "../config/parse-config.ts";
import type { KubeClient } from "../kube/client.ts";
import type { EventRecorder } from "../kube/event-recorder.ts";
import { type Change, Informer } from "../kube/informer.ts";
import { countVerdicts, type SharedMetrics } from "../kube/metrics.ts";
import { configurationStates, type CustomResource, ipAddressPools, type KubeObject, type Namespace, namespaces, type Node, nodes, type Service, services } from "../kube/objects.ts";
import { stripFor } from "../kube/strip.ts";
import { type Verdict, WorkQueue } from "../kube/work-queue.ts";
import { type Clock, sleep, type Timer } from "../sys/clock.ts";
import type { Logger } from "../sys/log.ts";
import type { Random } from "../sys/random.ts";
import { Allocator } from "./allocator/allocator.ts";
import { PoolTable } from "./allocator/pool-table.ts";
import { registerAllocatorMetrics } from "./metrics.ts";
import { PoolWriter } from "./pool-writer.ts";
import { CONFIGURATION_STATE, stripConfigurationState } from "./reconcile/configuration-state.ts";
import { DelayedStates } from "./reconcile/pool-neighbours-delay.ts";
import { PoolNeighbours } from "./reconcile/pool-neighbours.ts";
import { describeError } from "./reconcile/pool-status.ts";
import { ServiceWorker } from "./service-worker.ts";

/** Wait between attempts to read the Services afresh when taking over (milliseconds). */
const REREAD_MS = 500;
/** Longest wait for the caches that the pools' conditions need besides: a right or a kind may be missing (milliseconds). */
const NEIGHBOURS_MS = 5000;
/** How long pools that would take an address away wait for the rest of what is being applied: a split comes one pool after the other (milliseconds). */
const REST_MS = 500;
const CONFIGURATION_KEY = "configuration";

export interface ControllerOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly recorder: EventRecorder;
  readonly metrics: SharedMetrics;
  /** Herald's own namespace, where its resources are. */
  readonly namespace: string;
  /** The loadBalancerClass served; empty means Services without one. */
  readonly lbClass: string;
  /** Name of our own Pod, which owns what we create; empty when it is not known. */
  readonly podName: string;
}

export class Controller {
  readonly #options: ControllerOptions;
  readonly #allocator = new Allocator();
  readonly #services: Informer<Service>;
  readonly #pools: Informer<CustomResource>;
  readonly #namespaces: Informer<Namespace>;
  readonly #states: Informer<CustomResource>;
  readonly #nodes: Informer<Node>;
  readonly #neighbours = new PoolNeighbours();
  readonly #delayedStates = new DelayedStates();
  #delay: { readonly timer: Timer; readonly at: number } | undefined;
  readonly #serviceWorker: ServiceWorker;
  readonly #poolWriter: PoolWriter;
  readonly #configurationQueue: WorkQueue;
  #leading = false;
  #writesPools = false;
  #stopped = false;
  /** Canonical text of the pools that run; undefined while no valid configuration was seen. */
  #running: string | undefined;
  /** Until when pools that would take an address away are kept waiting (the clock's `now`). */
  #restUntil: number | undefined;

  constructor(options: ControllerOptions) {
    this.#options = options;
    const { client, clock, random, log, namespace, metrics } = options;
    const common = { client, clock, random, log };
    this.#services = new Informer({ ...common, type: services, onChange: (change) => this.#onServiceChange(change) });
    this.#pools = new Informer({ ...common, type: ipAddressPools, namespace, onChange: (change) => this.#onPoolChange(change) });
    this.#namespaces = new Informer({ ...common, type: namespaces, onChange: (change) => this.#onNamespaceChange(change) });
    this.#states = new Informer({ ...common, type: configurationStates, namespace, transform: stripConfigurationState, onChange: (change) => this.#onStateChange(change) });
    this.#nodes = new Informer({ ...common, type: nodes, onChange: (change) => this.#onNodeChange(change) });
    const shared = { ...common, allocator: this.#allocator, onVerdict: countVerdicts(metrics) };
    this.#poolWriter = new PoolWriter({ ...shared, namespace, pools: this.#pools, states: this.#states, podName: options.podName, neighbours: (pool) => this.#neighbours.within(pool) });
    this.#serviceWorker = new ServiceWorker({
      ...shared,
      recorder: options.recorder,
      services: this.#services,
      namespaceLabels: (name) => {
        const object = this.#namespaces.get(name);
        return object === undefined ? undefined : (object.metadata.labels ?? {});
      },
      lbClass: options.lbClass,
      onPoolUse: (pool) => this.#poolWriter.markPool(pool),
    });
    this.#configurationQueue = new WorkQueue({ ...common, name: CONFIGURATION_KEY });
    registerAllocatorMetrics(metrics.registry, this.#allocator);
  }

  /** Starts following the API server and judging the configuration, leader or not. Call once. */
  start(): void {
    for (const informer of this.#informers()) informer.start();
    this.#configurationQueue.run(() => this.#configure());
    void this.#pools.whenSynced().then(() => this.#configurationQueue.add(CONFIGURATION_KEY));
  }

  /** Whether the caches that the work needs are filled. */
  get isWarm(): boolean {
    return this.#services.isSynced && this.#pools.isSynced && this.#namespaces.isSynced;
  }

  /** Starts to act. Call once, as soon as this process leads. Resolves when the first pass is queued. */
  async lead(): Promise<void> {
    await Promise.all([this.#services.whenSynced(), this.#pools.whenSynced(), this.#namespaces.whenSynced()]);
    if (this.#stopped) return;
    this.#leading = true;
    this.#configurationQueue.add(CONFIGURATION_KEY);
    void this.#writePools();
  }

  /** Takes up nothing new and resolves when what is on its way has ended. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#leading = false;
    this.#delay?.timer.cancel();
    const informers = this.#informers().map((informer) => informer.stop());
    await Promise.all([this.#serviceWorker.stop(), this.#poolWriter.stop(), this.#configurationQueue.stop(), ...informers]);
  }

  /** Plain facts for tests and logs. */
  snapshot(): { readonly leading: boolean; readonly holders: number; readonly waiting: number; readonly pools: number } {
    return { leading: this.#leading, holders: this.#allocator.holdings().size, waiting: this.#serviceWorker.waiting, pools: this.#allocator.poolCount };
  }

  #informers(): readonly { start(): void; stop(): Promise<void> }[] {
    return [this.#services, this.#pools, this.#namespaces, this.#states, this.#nodes];
  }

  /** The Services as the API server has them now; tried until it answers. */
  async #readServices(): Promise<Service[]> {
    const { client, clock, log } = this.#options;
    while (!this.#stopped) {
      try {
        const { items } = await client.list(services, { transform: stripService });
        return items;
      } catch (error) {
        log.warn("servicesUnreadable", { error });
        await sleep(clock, REREAD_MS);
      }
    }
    return [];
  }

  /** With half of the neighbours known, a warning would be taken back for a moment. */
  async #writePools(): Promise<void> {
    const known = Promise.all([this.#nodes.whenSynced(), this.#states.whenSynced()]);
    const enough = new AbortController();
    await Promise.race([known, sleep(this.#options.clock, NEIGHBOURS_MS, enough.signal)]);
    enough.abort();
    if (this.#stopped) return;
    this.#writesPools = true;
    this.#poolWriter.run();
  }

  async #configure(): Promise<Verdict> {
    if (!this.#leading) {
      this.#note(this.#parse());
      return "done";
    }
    // What the leader before us wrote last may be missing in a cache that was filled before we led.
    const isFirst = this.#running === undefined && this.#parse().kind === "valid";
    const newer = isFirst ? await this.#readServices() : [];
    if (this.#stopped) return "done";
    const result = this.#parse();
    this.#note(result);
    if (result.kind !== "valid") {
      this.#restUntil = undefined;
      this.#refuse(result.errors);
      return "done";
    }
    const { pools } = result.config;
    const now = this.#options.clock.now();
    this.#restUntil = this.#takeAway(pools) ? (this.#restUntil ?? now + REST_MS) : now;
    if (this.#restUntil > now) return { kind: "retryAfter", ms: this.#restUntil - now };
    this.#restUntil = undefined;
    this.#apply(pools, newer);
    return "done";
  }

  /** Whether a holder would lose an address by these pools. */
  #takeAway(pools: ReadonlyMap<string, Pool>): boolean {
    const table = new PoolTable(pools);
    for (const { addresses } of this.#allocator.holdings().values()) {
      const owners = new Set(addresses.map((address) => table.find(address)?.state));
      if (owners.size > 1 || owners.has(undefined)) return true;
    }
    return false;
  }

  #parse(): ConfigResult {
    return parseConfig({ pools: this.#pools.list(), l2Advertisements: [] });
  }

  /** What a standby thinks of the configuration shows in its metrics too: it is what it would run. */
  #note(result: ConfigResult): void {
    const { configLoaded, configStale } = this.#options.metrics;
    if (result.kind === "valid") configLoaded.set(1);
    configStale.set(result.kind === "valid" ? 0 : 1);
  }

  #apply(pools: ReadonlyMap<string, Pool>, newer: readonly Service[]): void {
    const { log } = this.#options;
    const text = textOf(pools);
    if (text !== this.#running) {
      const first = this.#running === undefined;
      this.#running = text;
      const lost = this.#allocator.setPools(pools);
      log.info("configurationLoaded", { pools: [...pools.keys()], lost: lost.length });
      this.#serviceWorker.adoptAll(newer);
      this.#serviceWorker.reprocessAll();
      if (first) this.#serviceWorker.run();
    }
    this.#poolWriter.setErrors([]);
  }

  #refuse(errors: readonly FieldError[]): void {
    this.#options.log.error("configurationRefused", { errors: errors.map(describeError), lastGoodRuns: this.#running !== undefined });
    this.#poolWriter.setErrors(errors);
  }

  #onServiceChange(change: Change<Service>): void {
    if (this.#leading && this.#running !== undefined) this.#serviceWorker.onChange(change);
  }

  #onPoolChange(change: Change<CustomResource>): void {
    // A new status has no new generation: somebody (mostly us) wrote counters or conditions.
    if (change.kind === "updated" && change.object.metadata.generation === change.previous.metadata.generation) {
      if (this.#leading) this.#poolWriter.markPool(change.object.metadata.name);
    } else this.#configurationQueue.add(CONFIGURATION_KEY);
  }

  #onNamespaceChange(change: Change<Namespace>): void {
    if (!this.#leading || this.#running === undefined || change.kind === "deleted") return;
    if (change.kind === "added" || JSON.stringify(change.previous.metadata.labels) !== JSON.stringify(change.object.metadata.labels)) this.#serviceWorker.reprocessNamespace(change.object.metadata.name);
  }

  #onNodeChange(change: Change<Node>): void {
    if (this.#neighbours.takeNode(change) && this.#leading) this.#poolWriter.markAllPools();
  }

  #onStateChange(change: Change<CustomResource>): void {
    if (change.object.metadata.name === CONFIGURATION_STATE) {
      if (this.#leading) this.#poolWriter.markState();
    } else if (this.#writesPools) {
      this.#takeStatesAt(this.#delayedStates.hold(change, this.#options.clock.now()));
    } else this.#neighbours.takeState(change);
  }

  #takeStatesAt(at: number): void {
    if (this.#stopped || at === Infinity || at >= (this.#delay?.at ?? Infinity)) return;
    this.#delay?.timer.cancel();
    const { clock } = this.#options;
    const timer = clock.after(at - clock.now(), () => {
      this.#delay = undefined;
      const news = this.#delayedStates.due(clock.now()).filter((change) => this.#neighbours.takeState(change));
      if (news.length > 0) this.#poolWriter.markAllPools();
      this.#takeStatesAt(this.#delayedStates.nextDue);
    });
    this.#delay = { timer, at };
  }
}

const strip = stripFor(services);

function stripService(object: KubeObject): KubeObject {
  // The list is of Services.
  return strip(object as Service);
}

function textOf(pools: ReadonlyMap<string, Pool>): string {
  return JSON.stringify([...pools.values()], (_key, value: unknown) => (typeof value === "bigint" ? String(value) : value));
}
