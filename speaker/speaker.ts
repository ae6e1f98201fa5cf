/**
 * The speaker's main thread, wired: watches and configuration in, tables to the packet thread, its facts back out as
 * status, events and metrics. It announces nothing itself, and nothing here is needed for what is already announced: with
 * the API server gone the watches retry and the packet thread goes on.
 */
import { ApiFreshness } from "../kube/api-freshness.ts";
import type { KubeClient } from "../kube/client.ts";
import { EventRecorder } from "../kube/event-recorder.ts";
import { Informer } from "../kube/informer.ts";
import type { InformerOptions } from "../kube/informer.ts";
import { countVerdicts } from "../kube/metrics.ts";
import type { SharedMetrics } from "../kube/metrics.ts";
import { configurationStates, endpointSlices, ipAddressPools, l2Advertisements, nodes, pods, serviceL2Statuses, services } from "../kube/objects.ts";
import type { CustomResource, EndpointSlice, KubeObject, Node, OwnerReference, Service } from "../kube/objects.ts";
import { WorkQueue } from "../kube/work-queue.ts";
import type { Clock } from "../sys/clock.ts";
import { sleep } from "../sys/clock.ts";
import type { Logger } from "../sys/log.ts";
import type { Random } from "../sys/random.ts";
import type { DefaultGateway } from "../sys/routes.ts";
import type { IpFamily } from "../wire/ip-address.ts";
import { AnnouncedServices } from "./announced-services.ts";
import { BurstGate } from "./burst-gate.ts";
import { ConfigKeeper } from "./config-keeper.ts";
import { CountersRequest } from "./counters-request.ts";
import { Members } from "./members.ts";
import { registerSpeakerMetrics } from "./metrics.ts";
import type { FromPacketThread, InterfaceFact, ToPacketThread } from "./packet-protocol.ts";
import { Reconciler } from "./reconciler.ts";
import { SpeakerPeers } from "./speaker-peers.ts";
import { ConfigurationStateWriter, configurationStateName } from "./status/configuration-state.ts";
import { DefaultGateways } from "./status/default-gateways.ts";
import { L2StatusWriter } from "./status/l2-status-writer.ts";
import { l2StatusOf } from "./status/l2-status-object.ts";
import { ServiceEvents } from "./status/service-events.ts";
import { stripConfigResource, stripEndpointSlice, stripNode, stripService, stripStatus } from "./views.ts";

/** A packet thread silent for longer than this is taken for stuck, and the process should be restarted (milliseconds). */
export const stuckThreadMs = 5_000;
/** First and longest wait before a status is written again (milliseconds). */
const statusBackoff = { baseBackoffMs: 100, maxBackoffMs: 10_000 } as const;
/** How often the own Pod is looked for, and how long to wait in between (milliseconds). */
const podAttempts = 3;
const podRetryMs = 500;

/** What the speaker needs of the packet thread. */
export interface PacketThread {
  send(message: ToPacketThread): void;
  lastTurnAgoMs(): number;
  stop(): Promise<void>;
}

export interface SpeakerOptions {
  readonly node: string;
  /** Herald's own namespace. */
  readonly namespace: string;
  /** The own Pod, owner of what the speaker creates; undefined outside of a cluster. */
  readonly podName: string | undefined;
  readonly loadBalancerClass: string | undefined;
  readonly ignoreExcludeLb: boolean;
  /** How to find the other speakers' pods; undefined without membership. */
  readonly membership: { readonly labels: string; readonly family: IpFamily } | undefined;
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly metrics: SharedMetrics;
  /** The node's default gateways, the best first. @throws SysError */
  readonly defaultGateways: (family: IpFamily) => readonly DefaultGateway[];
  readonly startPacketThread: (onFact: (fact: FromPacketThread) => void) => PacketThread;
}

/** See the head of the file. `start` begins, `stop` ends; once each. */
export class Speaker {
  readonly #options: SpeakerOptions;
  readonly #abort = new AbortController();
  readonly #thread: PacketThread;
  readonly #counters: CountersRequest;
  readonly #reconciler: Reconciler;
  readonly #announced: AnnouncedServices;
  readonly #keeper: ConfigKeeper;
  readonly #statuses: L2StatusWriter;
  /** Before what is written about Services that this node has begun to announce. */
  readonly #gate: BurstGate;
  readonly #queues: readonly WorkQueue[];
  readonly #informers: Informers;
  readonly #state: ConfigurationStateWriter;
  readonly #gateways: DefaultGateways;
  /** Apart from the others: nothing waits for it. */
  readonly #stateInformer: Informer<CustomResource>;
  /** With membership only: who should be there, and whether what is known is true now. */
  readonly #peers: SpeakerPeers | undefined;
  readonly #freshness: ApiFreshness | undefined;
  readonly #members: Members;
  readonly #firstTableApplied = Promise.withResolvers<void>();
  readonly #firstSettled = Promise.withResolvers<void>();
  /** The packet thread knows the others; without membership there is nothing to know. */
  #settled = false;
  #owner: OwnerReference | undefined;
  #usableInterfaces: string | undefined;

  constructor(options: SpeakerOptions) {
    this.#options = options;
    const { node, namespace, client, clock, random, log, metrics } = options;
    const queueOptions = { clock, random, log, onVerdict: countVerdicts(metrics) };
    const statusQueue = new WorkQueue({ name: "l2Status", ...queueOptions, ...statusBackoff });
    const stateQueue = new WorkQueue({ name: "configurationState", ...queueOptions, ...statusBackoff });
    this.#queues = [statusQueue, stateQueue];
    const written = { client, log, namespace, node, owner: () => this.#owner };
    const events = new ServiceEvents(new EventRecorder({ client, clock, random, log, component: "metallb-speaker", host: node }), node);
    this.#state = new ConfigurationStateWriter({ ...written, queue: stateQueue, clock });
    this.#gateways = new DefaultGateways({ clock, log, read: options.defaultGateways, onChange: (text) => this.#state.tellDefaultGateways(text) });
    this.#stateInformer = this.#informer({
      type: configurationStates,
      namespace,
      fieldSelector: `metadata.name=${configurationStateName(node)}`,
      transform: stripStatus,
      onChange: (change) => this.#state.changed(change),
    });
    const informers = this.#makeInformers();
    this.#informers = informers;
    this.#reconciler = new Reconciler({
      eligibility: { node, ignoreExcludeLb: options.ignoreExcludeLb, loadBalancerClass: options.loadBalancerClass },
      clock,
      log,
      service: (key) => informers.services.get(key),
      services: () => informers.services.list(),
      send: (message) => this.#thread.send(message),
      onJudged: (keys) => this.#announced.review(keys),
    });
    const tellService = (key: string, tell: (service: Service) => void): void => {
      const service = informers.services.get(key);
      if (service !== undefined) tell(service);
    };
    /** Services that this node has begun to announce, and written nothing of yet. */
    const untold = new Set<string>();
    this.#gate = new BurstGate(clock, (key) => {
      if (untold.delete(key)) tellService(key, (service) => events.nodeAssigned(service));
      this.#statuses.touch(key);
    });
    this.#announced = new AnnouncedServices({
      table: this.#reconciler.table,
      onGained: (key) => {
        log.info("serviceAnnounced", { key, ips: this.#reconciler.table.addressesOf(key), protocol: "layer2" });
        untold.add(key);
      },
      onLost: (key) => {
        log.info("serviceNotAnnouncedAnyMore", { key, protocol: "layer2" });
        untold.delete(key);
      },
      onBlocked: (key, wanted) => {
        log.warn("announceFailed", { key, reason: "noUsableInterface", interfaces: wanted });
        tellService(key, (service) => events.announceFailed(service, wanted));
      },
      onTouched: (key) => {
        if (untold.has(key)) this.#gate.add(key);
        else this.#statuses.touch(key);
      },
    });
    this.#statuses = new L2StatusWriter({
      ...written,
      queue: statusQueue,
      wanted: (key) => {
        const owned = this.#announced.ofService(key);
        const announcement = this.#reconciler.table.announcementOf(key);
        if (owned === undefined || announcement === undefined) return undefined;
        return l2StatusOf({ key, node, restricted: announcement.interfaces !== "all", owned });
      },
      knowsNode: (name) => this.#reconciler.knowsNode(name),
    });
    this.#keeper = new ConfigKeeper({
      clock,
      log,
      metrics,
      resources: () => ({ pools: informers.pools.list(), l2Advertisements: informers.advertisements.list() }),
      servicesOutside: (config) => this.#reconciler.servicesOutside(config),
      onConfig: (config) => this.#reconciler.setConfig(config),
      onVerdict: (problems) => this.#state.report(problems),
    });
    this.#members = new Members({ log, registry: metrics.registry, fresh: () => this.#freshness?.fresh ?? false });
    this.#thread = options.startPacketThread((fact) => this.#take(fact));
    this.#counters = new CountersRequest(clock, () => this.#thread.send({ kind: "collect" }));
    registerSpeakerMetrics({
      registry: metrics.registry,
      node,
      announced: () => this.#announced.announced(),
      counters: () => this.#counters.ask(),
      lastTurnAgoMs: () => this.#thread.lastTurnAgoMs(),
    });
    if (options.membership === undefined) {
      this.#settled = true;
      this.#firstSettled.resolve();
      return;
    }
    this.#peers = new SpeakerPeers({ client, clock, random, log, node, namespace, ...options.membership, onPeers: (peers) => this.#thread.send({ kind: "peers", peers }) });
    this.#freshness = new ApiFreshness({
      client, clock, random, log,
      // What the table is made of.
      followed: () => [informers.services, informers.slices, informers.nodes, informers.pools, informers.advertisements],
      onChange: (fresh) => this.#thread.send({ kind: "fresh", fresh }),
    });
  }

  /** Starts the watches; resolves when the first table was handed over, or `stop` was called. */
  async start(): Promise<void> {
    const all = Object.values(this.#informers);
    for (const informer of all) informer.start();
    this.#peers?.start();
    this.#freshness?.start();
    this.#gateways.start();
    // A table from half a view would have addresses announced by nodes that do not win them.
    const stopped = new Promise<void>((resolve) => this.#abort.signal.addEventListener("abort", () => resolve(), { once: true }));
    await Promise.race([Promise.all(all.map((informer) => informer.whenSynced())), stopped]);
    if (this.#abort.signal.aborted) return;
    this.#keeper.judge();
    this.#reconciler.start();
    void this.#startWriting();
    this.#options.log.info("tableHandedOver", { addresses: this.#reconciler.table.rows().length, services: this.#informers.services.list().length });
  }

  /** For /healthz: undefined, or what is wrong. */
  liveness(): string | undefined {
    const ago = this.#thread.lastTurnAgoMs();
    return ago > stuckThreadMs ? `the packet thread has been silent for ${Math.round(ago)} ms` : undefined;
  }

  /** For /readyz: undefined, or what is missing. */
  readiness(): string | undefined {
    if (!this.#reconciler.started) return "the first table was not handed over yet";
    // In a rolling update the next speaker stops as soon as this one is ready: it must be able to take what that one hands over.
    return this.#settled ? undefined : "the other speakers are not known yet";
  }

  /** Ends everything in order. Status objects stay: the next leader replaces them, and a restart of this node adopts them. */
  async stop(): Promise<void> {
    this.#abort.abort();
    this.#keeper.stop();
    this.#gate.stop();
    this.#gateways.stop();
    const informers = [this.#stateInformer, ...Object.values(this.#informers)];
    const work = [...this.#queues, ...informers, this.#peers, this.#freshness].map((each) => each?.stop());
    await this.#thread.stop();
    await Promise.race([Promise.all(work), sleep(this.#options.clock, 1_000)]);
  }

  #take(fact: FromPacketThread): void {
    const { log } = this.#options;
    switch (fact.kind) {
      case "owned":
        log.info("addressOwned", { address: fact.address, reason: fact.reason, interfaces: fact.interfaces.map(({ name }) => name) });
        this.#members.take(fact);
        this.#announced.take(fact);
        break;
      case "lost":
        this.#members.take(fact);
        log.info("addressLost", { address: fact.address, reason: fact.reason });
        // While the process ends, the addresses are not given to anyone: their status is the next leader's to write.
        if (!this.#abort.signal.aborted) this.#announced.take(fact);
        break;
      case "blocked":
        this.#announced.take(fact);
        break;
      case "member":
      case "verdict":
      case "handingOver":
        this.#members.take(fact);
        break;
      case "settled":
        this.#settled = true;
        this.#firstSettled.resolve();
        log.info("settled");
        break;
      case "tableApplied":
        // All facts about the first table have come before this one: what is announced is known, and nothing is deleted in error.
        this.#firstTableApplied.resolve();
        break;
      case "counters":
        this.#counters.take(fact);
        break;
      case "started":
      case "interfaces":
        this.#noteInterfaces(fact.interfaces);
        break;
      case "warning":
        log.warn(fact.event, fact.fields);
        break;
      case "stopped":
        log.info("packetThreadStopped");
        break;
    }
  }

  /** On a node where pods come and go, so do interfaces: only those that announce are worth a line at level info. */
  #noteInterfaces(facts: readonly InterfaceFact[]): void {
    const usable = facts.filter((fact) => fact.usable).map(({ name, mac }) => `${name} ${mac}`).join("\n");
    const fields = { interfaces: facts.map((fact) => (fact.usable ? fact.name : `${fact.name} (${fact.reason ?? "not usable"})`)) };
    if (usable === this.#usableInterfaces) this.#options.log.debug("interfaces", fields);
    else this.#options.log.info("interfaces", fields);
    this.#usableInterfaces = usable;
  }

  #makeInformers(): Informers {
    const { namespace } = this.#options;
    return {
      services: this.#informer({ type: services, transform: stripService, onChange: (change) => this.#reconciler.serviceChanged(change) }),
      slices: this.#informer({ type: endpointSlices, transform: stripEndpointSlice, onChange: (change) => this.#reconciler.endpointsChanged(change) }),
      nodes: this.#informer({ type: nodes, transform: stripNode, onChange: (change) => this.#reconciler.nodeChanged(change) }),
      pools: this.#informer({ type: ipAddressPools, namespace, transform: stripConfigResource, onChange: () => this.#configChanged() }),
      advertisements: this.#informer({ type: l2Advertisements, namespace, transform: stripConfigResource, onChange: () => this.#configChanged() }),
      statuses: this.#informer({ type: serviceL2Statuses, namespace, transform: stripStatus, onChange: (change) => this.#statuses.changed(change) }),
    };
  }

  #informer<T extends KubeObject>(own: Pick<InformerOptions<T>, "type" | "namespace" | "fieldSelector" | "transform" | "onChange">): Informer<T> {
    const { client, clock, random, log } = this.#options;
    return new Informer({ client, clock, random, log, onFollowing: () => this.#freshness?.review(), ...own });
  }

  /** The first judgement is `start`'s, when all resources are known. */
  #configChanged(): void {
    if (this.#reconciler.started) this.#keeper.changed();
  }

  /** Begins to write status objects; the first answer about the own Pod is waited for, since it is to own them. */
  async #startWriting(): Promise<void> {
    const { podName, clock, log, namespace } = this.#options;
    for (let attempt = 1; attempt <= podAttempts; attempt += 1) {
      const problem = podName === undefined ? undefined : await this.#findOwner(podName);
      if (problem === undefined) break;
      if (attempt === podAttempts) log.warn("ownPodNotFound", { key: `${namespace}/${podName}`, reason: problem });
      else await sleep(clock, podRetryMs, this.#abort.signal);
    }
    if (this.#abort.signal.aborted) return;
    this.#state.start();
    this.#stateInformer.start();
    await Promise.all([this.#firstTableApplied.promise, this.#firstSettled.promise]);
    this.#statuses.start();
  }

  /** Looks the own Pod up, so that what is created disappears with it. Gives what went wrong. */
  async #findOwner(podName: string): Promise<unknown> {
    const { client, namespace } = this.#options;
    try {
      const { metadata } = await client.get(pods, { namespace, name: podName });
      if (metadata.uid !== undefined) this.#owner = { apiVersion: "v1", kind: "Pod", name: podName, uid: metadata.uid };
      return undefined;
    } catch (error) {
      return error;
    }
  }
}

interface Informers {
  readonly services: Informer<Service>;
  readonly slices: Informer<EndpointSlice>;
  readonly nodes: Informer<Node>;
  readonly pools: Informer<CustomResource>;
  readonly advertisements: Informer<CustomResource>;
  readonly statuses: Informer<CustomResource>;
}
