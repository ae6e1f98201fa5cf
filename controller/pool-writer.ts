/**
 * Writes what the controller thinks of the configuration: the status of every IPAddressPool, and the ConfigurationState
 * object `controller`. Many changes in a row make one write.
 */
import type { FieldError, Pool } from "../config/config.ts";
import { KubeError, type KubeClient } from "../kube/client.ts";
import type { Informer } from "../kube/informer.ts";
import { configurationStates, type CustomResource, ipAddressPools, type OwnerReference, pods } from "../kube/objects.ts";
import { type Verdict, WorkQueue } from "../kube/work-queue.ts";
import { type Clock, rfc3339Seconds } from "../sys/clock.ts";
import type { Logger } from "../sys/log.ts";
import type { Random } from "../sys/random.ts";
import type { Allocator } from "./allocator/allocator.ts";
import { CONFIGURATION_STATE, configurationStatePatch, newConfigurationState } from "./reconcile/configuration-state.ts";
import type { Neighbour } from "./reconcile/pool-neighbours.ts";
import { poolStatusPatch } from "./reconcile/pool-status.ts";

/** Changes within this time make one write (milliseconds). */
const GATHER_MS = 200;
/** How long until we look again whether the kind ConfigurationState can be listed. */
const STATE_RETRY_MS = 2000;

const STATE_KEY = "state";
const POOL_PREFIX = "pool/";

export interface PoolWriterOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly allocator: Allocator;
  readonly namespace: string;
  readonly pools: Informer<CustomResource>;
  readonly states: Informer<CustomResource>;
  /** Name of our own Pod, which owns the ConfigurationState; empty when it is not known. */
  readonly podName: string;
  readonly onVerdict: (key: string, verdict: Verdict, error?: unknown) => void;
  /** Nodes' addresses and gateways in the pool. */
  readonly neighbours: (pool: Pool) => readonly Neighbour[];
}

export class PoolWriter {
  readonly #options: PoolWriterOptions;
  readonly #queue: WorkQueue;
  #errors: readonly FieldError[] = [];

  constructor(options: PoolWriterOptions) {
    this.#options = options;
    const { clock, random, log, onVerdict } = options;
    this.#queue = new WorkQueue({ name: "pools", clock, random, log, onVerdict });
  }

  run(): void {
    this.#queue.run((key) => (key === STATE_KEY ? this.#writeState() : this.#writePool(key.slice(POOL_PREFIX.length))), { concurrency: 2 });
  }

  stop(): Promise<void> {
    return this.#queue.stop();
  }

  /** What is wrong with the newest configuration; empty when it runs. */
  setErrors(errors: readonly FieldError[]): void {
    this.#errors = errors;
    this.markAllPools();
    this.markState();
  }

  /** As `markPool`, of each. */
  markAllPools(): void {
    for (const pool of this.#options.pools.list()) this.markPool(pool.metadata.name);
  }

  /** The pool's counters, conditions, or its status as the API shows it, may have changed. */
  markPool(name: string): void {
    this.#queue.addAfter(POOL_PREFIX + name, GATHER_MS);
  }

  /** The ConfigurationState may have changed. */
  markState(): void {
    this.#queue.addAfter(STATE_KEY, 0);
  }

  get #now(): string {
    return rfc3339Seconds(this.#options.clock.wallMs());
  }

  async #writePool(name: string): Promise<Verdict> {
    const { client, allocator, namespace, neighbours, pools } = this.#options;
    const object = pools.get(`${namespace}/${name}`);
    const patch = object === undefined ? undefined : poolStatusPatch(object, { allocator, errors: this.#errors, neighbours }, this.#now);
    if (patch === undefined) return "done";
    try {
      await client.patch(ipAddressPools, { namespace, name }, patch, { subresource: "status" });
      return "done";
    } catch (error) {
      return this.#failed(name, error);
    }
  }

  async #writeState(): Promise<Verdict> {
    const { client, namespace, states } = this.#options;
    if (!states.isSynced) return { kind: "retryAfter", ms: STATE_RETRY_MS };
    try {
      const known = states.get(`${namespace}/${CONFIGURATION_STATE}`);
      const object = known ?? (await client.create(configurationStates, newConfigurationState(namespace, await this.#findOwner())));
      const patch = configurationStatePatch(object, this.#errors, this.#now);
      if (patch !== undefined) await client.patch(configurationStates, { namespace, name: CONFIGURATION_STATE }, patch, { subresource: "status" });
      return "done";
    } catch (error) {
      return this.#failed(CONFIGURATION_STATE, error);
    }
  }

  /**
   * The Pod that we run in; undefined when we may not read it, or there is none of that name, which is logged. Looked up
   * only when it is needed, so that an API server that is away delays nothing else.
   * @throws KubeError when asking again may help.
   */
  async #findOwner(): Promise<OwnerReference | undefined> {
    const { client, log, namespace, podName } = this.#options;
    if (podName === "") return undefined;
    try {
      const { uid } = (await client.get(pods, { namespace, name: podName })).metadata;
      return uid === undefined ? undefined : { apiVersion: "v1", kind: "Pod", name: podName, uid };
    } catch (error) {
      if (!(error instanceof KubeError) || error.code === 0 || error.code === 429 || error.code >= 500) throw error;
      log.warn("ownPodUnreadable", { podName, error });
      return undefined;
    }
  }

  /** @throws KubeError to be tried again after a while. */
  #failed(name: string, error: unknown): Verdict {
    // Gone meanwhile: the cache will tell what comes next.
    if (error instanceof KubeError && error.code === 404) return "done";
    this.#options.log.warn("statusUpdateFailed", { name, error });
    throw error;
  }
}
