/** A cluster in which sequences of steps are carried out, for tests. */
import { KubeError, type ObjectName, type PatchOptions } from "../../kube/client.ts";
import { ipAddressPools, type KubeObject, namespaces, type ResourceType, type Service, services } from "../../kube/objects.ts";
import type { Controller } from "../../controller/controller.ts";
import { mayShare, poolMembers } from "../../controller/end-state-judge.ts";
import { ANNOTATION, CONDITION, NAMESPACE, World } from "../../controller/fake-world.ts";
import { LateClient } from "../../controller/late-client.ts";
import { LAYOUTS, type PoolShape, type Shape, type Step } from "./sequence-steps.ts";

const PREFIX = "metallb.io/";
const FORMER = "metallb.universe.tf/";
const DUAL: Partial<Service["spec"]> = { clusterIPs: ["10.96.0.9", "fd01::9"], ipFamilies: ["IPv4", "IPv6"] };
const STACKS: Readonly<Record<Shape["stack"], Partial<Service["spec"]>>> = {
  v4: { clusterIPs: ["10.96.0.9"], ipFamilies: ["IPv4"], ipFamilyPolicy: "SingleStack" },
  v6: { clusterIPs: ["fd01::9"], ipFamilies: ["IPv6"], ipFamilyPolicy: "SingleStack" },
  prefer: { ...DUAL, ipFamilyPolicy: "PreferDualStack" },
  sixFirst: { clusterIPs: ["fd01::9", "10.96.0.9"], ipFamilies: ["IPv6", "IPv4"], ipFamilyPolicy: "PreferDualStack" },
  preferOne: { clusterIPs: ["fd01::9"], ipFamilies: ["IPv6"], ipFamilyPolicy: "PreferDualStack" },
  require: { ...DUAL, ipFamilyPolicy: "RequireDualStack" },
  requireOne: { clusterIPs: ["10.96.0.9"], ipFamilies: ["IPv4"], ipFamilyPolicy: "RequireDualStack" },
  headless: { clusterIPs: ["None"], ipFamilies: ["IPv4"], ipFamilyPolicy: "SingleStack" },
};

/** An API server as one controller sees it: late, and, once the controller was killed, gone. */
class SceneClient extends LateClient {
  isDead = false;

  override async patch<T extends KubeObject>(type: ResourceType<T>, name: ObjectName, patch: object, options: PatchOptions = {}): Promise<T> {
    return super.patch(type, name, patch, { ...options, maySend: () => !this.isDead && options.maySend?.() !== false });
  }
}

/** A cluster, the shape that each of its Services was given, and the controller that leads. */
export class Scene {
  readonly world = new World();
  readonly #shapes = new Map<string, Shape>();
  #client: SceneClient | undefined;
  #controller: Controller | undefined;
  /** Called after each patch of a Service, before its answer. */
  onPatched: (name: string) => void = () => {};

  /** A cluster with the pool "p", and a controller that leads. */
  static async begin(): Promise<Scene> {
    const scene = new Scene();
    scene.world.pool("p", [...(LAYOUTS["p"]?.[0] ?? [])]);
    await scene.takeOver();
    return scene;
  }

  /** Starts a controller that leads. */
  async takeOver(): Promise<void> {
    this.#client = new SceneClient(this.world.client);
    this.#client.onPatched = ({ name }, plural) => (plural === "services" ? this.onPatched(name) : undefined);
    this.#controller = await this.world.lead({ client: this.#client });
  }

  /** Stops the controller as it should be, and starts another. */
  async restart(): Promise<void> {
    this.calm();
    await this.#controller?.stop();
    await this.takeOver();
  }

  /** The controller is gone from one moment to the next; what it had sent is carried out. */
  async kill(): Promise<void> {
    if (this.#client !== undefined) this.#client.isDead = true;
    const stopped = this.#controller?.stop();
    this.calm();
    await this.world.settle(100);
    await stopped;
    await this.takeOver();
  }

  /** Nothing is late any more. */
  calm(): void {
    this.#client?.release();
    if (this.#client !== undefined) this.#client.answersToLose = 0;
  }

  /** What the leader thinks. */
  snapshot(): ReturnType<Controller["snapshot"]> | undefined {
    return this.#controller?.snapshot();
  }

  /** Lets the step happen; returns at once, but for `wait`, `restart` and `kill`. */
  async perform(each: Step): Promise<void> {
    const { world } = this;
    if ("name" in each) return this.#performOn(each.name, each);
    switch (each.kind) {
      case "pool":
        return this.#pool(each.pool, each.spec);
      case "rename":
        if (!this.#hasPool("p")) return;
        this.#pool("r", each.spec);
        return world.dropPool("p");
      case "split":
        if (!this.#hasPool("p")) return;
        world.pool("p", ["10.0.0.1/32"]);
        return this.#pool("s", { ...each.spec, layout: 0 });
      case "dropPool":
        return this.#hasPool(each.pool) ? world.dropPool(each.pool) : undefined;
      case "counters":
        return this.#forgeCounters(each.pool);
      case "relabel":
        return void world.client.put(namespaces, { metadata: { name: "default", labels: { team: each.team } } });
      case "fail":
        return world.client.failNext({ verb: "patch", plural: "services", times: each.times, error: injected(each.code) });
      case "failPools":
        return world.client.failNext({ verb: "patch", plural: "ipaddresspools", times: each.times, error: injected(each.code) });
      case "loseAnswers":
        if (this.#client === undefined) return;
        this.#client.lostAnswer = each.code === 504 ? new KubeError({ code: 504, reason: "Timeout", message: "injected" }) : new KubeError({ code: 0, reason: "Unreachable", message: "injected" });
        this.#client.answersToLose = each.times;
        return;
      case "hold":
        return this.#client?.hold(each.verb, each.plural);
      case "release":
        return this.#client?.release();
      case "relist":
        world.client.compact();
        return world.client.endWatches();
      case "wait":
        return world.clock.advance(each.ms);
      case "restart":
        return this.restart();
      case "kill":
        return this.kill();
    }
  }

  /** Whether these two may be on one address, as they are now. */
  mayShare(name: string, other: string): boolean {
    return mayShare(this.world.get(name), this.world.get(other));
  }

  /** Of pools that overlap the later ones by name go, so that what is configured is what runs. */
  mendPools(): void {
    const taken = new Set<string>();
    for (const { metadata: { name }, spec } of this.world.client.peekAll(ipAddressPools).sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1))) {
      const members = poolMembers((spec as { addresses: string[] }).addresses);
      if (members.some((address) => taken.has(address))) this.world.dropPool(name);
      else for (const address of members) taken.add(address);
    }
  }

  /** Who shows which addresses of which pool, and who goes without, and why. */
  state(): string[] {
    const { world } = this;
    return world.client.peekAll<Service>(services).map(({ metadata: { name, annotations }, status }) => {
      const condition = status?.conditions?.find(({ type }) => type === CONDITION);
      return `${name}: ${world.ip(name)} of ${annotations?.[ANNOTATION]}, ${condition?.status} ${condition?.reason}: ${condition?.message}`;
    });
  }

  #performOn(name: string, each: Step & { readonly name: string }): void {
    const { world } = this;
    const exists = world.client.peek(services, { namespace: "default", name }) !== undefined;
    switch (each.kind) {
      case "replace":
        if (exists) world.drop(name);
        world.service(name);
        return this.#reshape(name, each.shape);
      case "create":
        if (exists) return;
        world.service(name);
        return this.#reshape(name, each.shape);
    }
    if (!exists) return;
    switch (each.kind) {
      case "change": {
        const before = this.#shapes.get(name);
        return before === undefined ? undefined : this.#reshape(name, { ...before, [each.field]: each.shape[each.field] });
      }
      case "delete":
        return world.drop(name);
      case "type":
        return this.#changeType(name, each.to);
      case "edit":
        // The API server takes an ingress of no other type; and what others of a class of their own write is theirs.
        if (isLoadBalancer(world.get(name))) world.change(name, (service) => void (service.status = { ...service.status, loadBalancer: { ingress: each.ingress.map((text) => (/^[a-z.]+$/.test(text) ? { hostname: text } : { ip: text, ipMode: "VIP" as const })) } }));
        return;
      case "mark":
        return world.change(name, (service) => mark(service, each.what));
    }
  }

  #reshape(name: string, given: Shape): void {
    this.#shapes.set(name, given);
    this.world.change(name, (service) => apply(service, given));
  }

  #changeType(name: string, to: "ClusterIP" | "LoadBalancer" | "foreign"): void {
    this.world.change(name, (service) => {
      service.spec.type = to === "ClusterIP" ? "ClusterIP" : "LoadBalancer";
      delete service.spec.loadBalancerClass;
      if (to !== "foreign") return;
      // The way to another class leads through another type, and who made it has cleaned up.
      service.spec.loadBalancerClass = "example.com/other";
      service.status = {};
      delete service.metadata.annotations?.[ANNOTATION];
    });
  }

  #pool(name: string, { layout, serviceAllocation, ...switches }: PoolShape): void {
    const layouts = LAYOUTS[name] ?? [];
    this.world.pool(name, [...(layouts[layout % layouts.length] ?? [])], { ...switches, ...(serviceAllocation === undefined ? {} : { serviceAllocation }) });
  }

  #forgeCounters(name: string): void {
    const pool = this.world.client.peek(ipAddressPools, { namespace: NAMESPACE, name });
    if (pool !== undefined) this.world.client.put(ipAddressPools, { ...pool, status: { assignedIPv4: 7, assignedIPv6: 7, availableIPv4: 7, availableIPv6: 7 } });
  }

  #hasPool(name: string): boolean {
    return this.world.client.peek(ipAddressPools, { namespace: NAMESPACE, name }) !== undefined;
  }
}

function apply(service: Service, given: Shape): void {
  const { stack, ports, protocol, local, app, front, specIp } = given;
  Object.assign(service.spec, STACKS[stack], { selector: { app }, externalTrafficPolicy: local ? "Local" : "Cluster", ports: ports.map((port) => ({ protocol, port })) });
  if (specIp === undefined) delete service.spec.loadBalancerIP;
  else service.spec.loadBalancerIP = specIp;
  service.metadata.labels = front ? { tier: "front" } : {};
  const today = (value: string): string | undefined => (value === "" && !given.presentThoughEmpty ? undefined : value);
  const asked = {
    [`${PREFIX}allow-shared-ip`]: today(given.key), [`${PREFIX}address-pool`]: today(given.pool), [`${PREFIX}loadBalancerIPs`]: today(given.ips),
    [`${FORMER}allow-shared-ip`]: given.formerKey, [`${FORMER}address-pool`]: given.formerPool, [`${FORMER}loadBalancerIPs`]: given.formerIps,
  };
  service.metadata.annotations = { ...service.metadata.annotations };
  for (const [annotation, value] of Object.entries(asked)) {
    if (value === undefined) delete service.metadata.annotations[annotation];
    else service.metadata.annotations[annotation] = value;
  }
}

/** What others do to the marks that the controller leaves. */
function mark(service: Service, what: "noAnnotation" | "otherPool" | "othersCondition" | "otherReason"): void {
  const conditions = service.status?.conditions ?? [];
  const own = conditions.find(({ type }) => type === CONDITION);
  switch (what) {
    case "noAnnotation":
      return void delete service.metadata.annotations?.[ANNOTATION];
    case "otherPool":
      // On a Service of others it would be the mark of another installation.
      if (isLoadBalancer(service)) service.metadata.annotations = { ...service.metadata.annotations, [ANNOTATION]: "q" };
      return;
    case "othersCondition":
      if (!conditions.some(({ type }) => type === "Other")) service.status = { ...service.status, conditions: [...conditions, { type: "Other", status: "True", reason: "Other", message: "", lastTransitionTime: "2026-01-01T00:00:00Z" }] };
      return;
    case "otherReason":
      if (own !== undefined) service.status = { ...service.status, conditions: conditions.map((condition) => (condition === own ? { ...own, reason: "Forged", message: "by hand" } : condition)) };
  }
}

function isLoadBalancer({ spec }: Service): boolean {
  return spec.type === "LoadBalancer" && spec.loadBalancerClass === undefined;
}

function injected(code: number): KubeError {
  return new KubeError({ code, reason: "Injected", message: "injected" });
}
