/** A cluster in memory with controllers that come and go, for the controller's tests. */
import type { KubeClient } from "../kube/client.ts";
import { EventRecorder } from "../kube/event-recorder.ts";
import { FakeKubeClient } from "../kube/fake-client.ts";
import { createSharedMetrics } from "../kube/metrics.ts";
import { type CoreEvent, events, ipAddressPools, namespaces, type Service, services } from "../kube/objects.ts";
import { FakeClock } from "../sys/fake-clock.ts";
import { silentLogger } from "../sys/log.ts";
import { seededRandom } from "../sys/random.ts";
import { Controller } from "./controller.ts";

/** Herald's own namespace. */
export const NAMESPACE = "metallb-system";
/** The annotation that the controller writes. */
export const ANNOTATION = "metallb.io/ip-allocated-from-pool";
/** The condition that the controller writes on Services. */
export const CONDITION = "metallb.io/AddressAssigned";

/** The API server, a clock that stands still, and the controllers started on them. Services are in "default". */
export class World {
  readonly client = new FakeKubeClient();
  readonly clock = new FakeClock();
  readonly metrics = createSharedMetrics();
  #controllers: Controller[] = [];
  #seed = 1;
  #age = 0;

  constructor() {
    this.client.put(namespaces, { metadata: { name: "default" } });
  }

  /** Starts a standby. */
  start(options: { lbClass?: string; client?: KubeClient; podName?: string } = {}): Controller {
    const { clock } = this;
    const client = options.client ?? this.client;
    const random = seededRandom(this.#seed++);
    const metrics = this.#controllers.length === 0 ? this.metrics : createSharedMetrics();
    const recorder = new EventRecorder({ client, clock, random, log: silentLogger, component: "metallb-controller" });
    const controller = new Controller({ client, clock, random, log: silentLogger, recorder, metrics, namespace: NAMESPACE, lbClass: options.lbClass ?? "", podName: options.podName ?? "" });
    this.#controllers.push(controller);
    controller.start();
    return controller;
  }

  /** Starts a controller that leads. */
  async lead(options: { lbClass?: string; client?: KubeClient; podName?: string } = {}): Promise<Controller> {
    const controller = this.start(options);
    void controller.lead();
    await this.settle();
    return controller;
  }

  /** Lets `ms` milliseconds pass. */
  async settle(ms = 1000): Promise<void> {
    for (let round = 0; round < 4; round++) await this.clock.advance(ms / 4);
  }

  /** Creates a pool or gives it a new spec, as the next generation. */
  pool(name: string, addresses: string[], spec: object = {}): void {
    const old = this.client.peek(ipAddressPools, { namespace: NAMESPACE, name });
    const generation = (old?.metadata.generation ?? 0) + 1;
    this.client.put(ipAddressPools, { metadata: { namespace: NAMESPACE, name, generation }, spec: { addresses, ...spec }, ...(old?.status === undefined ? {} : { status: old.status }) });
  }

  /** Deletes a pool. */
  dropPool(name: string): void {
    this.client.remove(ipAddressPools, { namespace: NAMESPACE, name });
  }

  /** The status of a pool. */
  poolStatus(name: string): { assignedIPv4?: number; availableIPv4?: number; conditions?: { type: string; status: string; reason: string; message: string }[] } {
    return this.client.peek(ipAddressPools, { namespace: NAMESPACE, name })?.status ?? {};
  }

  /** Creates a Service one second younger than the one before. */
  service(name: string, rest: { spec?: Partial<Service["spec"]>; annotations?: Record<string, string>; ingress?: string[]; created?: number } = {}): void {
    const created = new Date(Date.UTC(2026, 0, 1) + (rest.created ?? this.#age++) * 1000).toISOString().replace(".000", "");
    this.client.put(services, {
      metadata: { namespace: "default", name, uid: `uid-${name}-${this.#age}`, creationTimestamp: created, ...(rest.annotations === undefined ? {} : { annotations: rest.annotations }) },
      spec: { type: "LoadBalancer", clusterIPs: ["10.96.0.1"], ipFamilies: ["IPv4"], ipFamilyPolicy: "SingleStack", ...rest.spec },
      status: { loadBalancer: rest.ingress === undefined ? {} : { ingress: rest.ingress.map((ip) => ({ ip, ipMode: "VIP" as const })) } },
    });
  }

  /** Edits a Service. */
  change(name: string, edit: (service: Service) => void): void {
    const service = this.get(name);
    edit(service);
    this.client.put(services, service);
  }

  /** Deletes a Service. */
  drop(name: string): void {
    this.client.remove(services, { namespace: "default", name });
  }

  /** The Service as it is stored. */
  get(name: string): Service {
    const service = this.client.peek(services, { namespace: "default", name });
    if (service === undefined) throw new Error(`no service ${name}`);
    return service;
  }

  /** Addresses that the Service shows, joined by commas; undefined without any. */
  ip(name: string): string | undefined {
    return this.get(name).status?.loadBalancer?.ingress?.map(({ ip }) => ip).join(",");
  }

  /** Status and reason of our condition. */
  condition(name: string): string | undefined {
    const found = this.get(name).status?.conditions?.find(({ type }) => type === CONDITION);
    return found === undefined ? undefined : `${found.status} ${found.reason}`;
  }

  /** Events about the Service, as "reason: message". */
  events(name: string): string[] {
    return this.client.peekAll<CoreEvent>(events).filter(({ involvedObject }) => involvedObject.name === name).map(({ reason, message }) => `${reason}: ${message}`);
  }

  /** How many patches were sent. */
  patches(plural = "services"): number {
    return this.client.calls.filter((call) => call.verb === "patch" && call.plural === plural).length;
  }
}

/** A pool "p" with one address, and Services that all want it, the first one the oldest. */
export function oneAddress(...names: string[]): World {
  const world = new World();
  world.pool("p", ["10.0.0.1/32"]);
  for (const name of names) world.service(name);
  return world;
}
