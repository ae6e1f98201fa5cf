/**
 * People who create, delete, re-type and annotate Services as fast as the API server lets them, by a seeded generator.
 * Each change is tried until it is made, or is found to be impossible by now.
 */
import { type KubeClient, KubeError } from "../../../../kube/client.ts";
import { type Service, services } from "../../../../kube/objects.ts";
import type { Random } from "../../../../sys/random.ts";
import { pause } from "../../poll.ts";

/** Changes on their way at once. */
const IN_FLIGHT = 6;
/** Keys that Services share addresses by. */
const KEYS = 20;
const RETRY_MS = 200;

export class Users {
  /** Changes made, by kind. */
  readonly counts = new Map<string, number>();
  readonly #client: KubeClient;
  readonly #random: Random;
  /** "namespace/name". */
  readonly #names: readonly string[];
  readonly #busy = new Set<string>();

  constructor({ client, random, services: count, namespaces }: { readonly client: KubeClient; readonly random: Random; readonly services: number; readonly namespaces: readonly string[] }) {
    this.#client = client;
    this.#random = random;
    // A fifth more names than Services, so that as many come as go.
    this.#names = Array.from({ length: Math.ceil(count * 1.2) }, (_, index) => `${namespaces[index % namespaces.length]}/churn-${index}`);
  }

  /** Creates the first Services. */
  async begin(count: number): Promise<void> {
    await this.#atOnce(this.#names.slice(0, count).map((name) => () => this.#create(name)));
  }

  /** Changes Services until `until` says so. */
  async churn(until: () => boolean): Promise<void> {
    await Promise.all(Array.from({ length: IN_FLIGHT }, async () => {
      while (!until()) {
        const name = this.#pick(this.#names);
        if (this.#busy.has(name)) continue;
        this.#busy.add(name);
        await this.#change(name, until);
        this.#busy.delete(name);
      }
    }));
  }

  async #change(name: string, until: () => boolean): Promise<void> {
    // What to do is drawn once, so that an API server that is away changes nothing in the order of things.
    const draw = this.#random.next();
    while (!until()) {
      try {
        const service = await this.#read(name);
        if (service === undefined) await this.#create(name);
        else if (draw < 0.2) await this.#delete(service);
        else await this.#edit(service, draw);
        return;
      } catch (error) {
        if (!(error instanceof KubeError)) throw error;
        // Another's write came between, or the server is away. What can't be (a port taken) is left alone.
        if (error.code !== 0 && error.code !== 409 && error.code !== 429 && error.code < 500) return this.#count(`refused ${error.code}`);
        await pause(RETRY_MS);
      }
    }
  }

  async #read(name: string): Promise<Service | undefined> {
    try {
      return await this.#client.get(services, placeOf(name));
    } catch (error) {
      if (error instanceof KubeError && error.code === 404) return undefined;
      throw error;
    }
  }

  async #create(name: string): Promise<void> {
    const { next } = this.#random;
    const draw = next();
    const annotations = { ...(next() < 0.3 ? this.#sharing() : {}), ...(draw < 0.05 ? this.#request() : {}) };
    const isDual = draw > 0.7;
    try {
      await this.#client.create(services, {
        metadata: { ...placeOf(name), annotations },
        spec: { type: "LoadBalancer", allocateLoadBalancerNodePorts: false, ipFamilyPolicy: isDual ? "PreferDualStack" : "SingleStack", selector: { app: next() < 0.5 ? "a" : "b" }, ports: this.#ports() } as Service["spec"],
      });
      this.#count("create");
    } catch (error) {
      // An earlier attempt whose answer was lost has made it.
      if (!(error instanceof KubeError && error.reason === "AlreadyExists")) throw error;
    }
  }

  async #delete({ metadata }: Service): Promise<void> {
    await this.#client.delete(services, { namespace: metadata.namespace ?? "", name: metadata.name }, { uid: metadata.uid ?? "" });
    this.#count("delete");
  }

  async #edit({ metadata, spec }: Service, draw: number): Promise<void> {
    const isLoadBalancer = spec.type === "LoadBalancer";
    const isDual = spec.ipFamilyPolicy !== "SingleStack";
    const [what, patch] = ((): readonly [string, object] => {
      if (!isLoadBalancer) return ["type", { spec: { type: "LoadBalancer" } }];
      if (draw < 0.3) return ["type", { spec: { type: "ClusterIP" } }];
      if (draw < 0.45) return ["share", { metadata: { annotations: this.#sharing() } }];
      if (draw < 0.55) return ["share no more", { metadata: { annotations: { "metallb.io/allow-shared-ip": null } } }];
      if (draw < 0.65) return ["ports", { spec: { ports: this.#ports() } }];
      if (draw < 0.75) return ["traffic policy", { spec: { externalTrafficPolicy: spec.externalTrafficPolicy === "Local" ? "Cluster" : "Local" } }];
      if (draw < 0.85) return ["families", { metadata: { annotations: { "metallb.io/loadBalancerIPs": null } }, spec: { ipFamilyPolicy: isDual ? "SingleStack" : "PreferDualStack" } }];
      if (draw < 0.92) return ["pool", { metadata: { annotations: { "metallb.io/address-pool": this.#pick(["named", "main", null]), "metallb.io/loadBalancerIPs": null } } }];
      // One family has one address to ask for.
      return ["request", { metadata: { annotations: { "metallb.io/address-pool": null, ...(isDual || draw > 0.97 ? { "metallb.io/loadBalancerIPs": null } : this.#request()) } } }];
    })();
    await this.#client.patch(services, { namespace: metadata.namespace ?? "", name: metadata.name }, { ...patch, metadata: { ...Reflect.get(patch, "metadata"), resourceVersion: metadata.resourceVersion } });
    this.#count(what);
  }

  #sharing(): Record<string, string> {
    return { "metallb.io/allow-shared-ip": `key-${Math.floor(this.#random.next() * KEYS)}` };
  }

  /** One of few addresses, which several will want; never given automatically, being the pool's last. */
  #request(): Record<string, string> {
    return { "metallb.io/loadBalancerIPs": `172.30.3.${200 + Math.floor(this.#random.next() * 40)}` };
  }

  #ports(): { name: string; port: number }[] {
    const all = [80, 443, 8080].filter(() => this.#random.next() < 0.5);
    return (all.length === 0 ? [80] : all).map((port) => ({ name: `p${port}`, port }));
  }

  #pick<T>(from: readonly T[]): T {
    const picked = from[Math.floor(this.#random.next() * from.length)];
    if (picked === undefined) throw new Error("nothing to pick from");
    return picked;
  }

  async #atOnce(work: readonly (() => Promise<void>)[]): Promise<void> {
    const left = [...work];
    await Promise.all(Array.from({ length: IN_FLIGHT }, async () => {
      for (let next = left.shift(); next !== undefined; next = left.shift()) await next();
    }));
  }

  #count(what: string): void {
    this.counts.set(what, (this.counts.get(what) ?? 0) + 1);
  }
}

function placeOf(key: string): { namespace: string; name: string } {
  const [namespace = "", name = ""] = key.split("/");
  return { namespace, name };
}
