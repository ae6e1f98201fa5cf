/** An API server whose watches, answers and changes are late, for the controller's tests. */
import { KubeError, notSent } from "../kube/client.ts";
import type { KubeClient, ListOptions, ObjectName, PatchOptions, WatchEvent, WatchOptions } from "../kube/client.ts";
import type { FakeKubeClient } from "../kube/fake-client.ts";
import { type KubeObject, type ResourceType, services } from "../kube/objects.ts";
import { type Clock, sleep } from "../sys/clock.ts";
import type { World } from "./fake-world.ts";

/** Holds back what `hold` names until `release`; everything else passes at once. Requests are carried out at once unless told otherwise. */
export class LateClient implements KubeClient {
  readonly #inner: FakeKubeClient;
  readonly get: KubeClient["get"];
  readonly create: KubeClient["create"];
  readonly replace: KubeClient["replace"];
  readonly delete: KubeClient["delete"];
  readonly probe: KubeClient["probe"];
  /** Called after each patch, before its answer. */
  onPatched: (name: ObjectName, plural: string) => void = () => {};
  /** What is heard of a patch whose answer gets lost. */
  lostAnswer = new KubeError({ code: 0, reason: "Unreachable", message: "the answer got lost" });
  /** How many answers to patches of Services get lost from now on; the patches are carried out. */
  answersToLose = 0;
  /** What `hold("change")` has caught is refused (504) after so many milliseconds instead: the `timeout` of writes. */
  timeout: { readonly clock: Clock; readonly ms: number } | undefined;
  readonly #held = new Set<string>();
  #release: (() => void)[] = [];

  constructor(inner: FakeKubeClient) {
    this.#inner = inner;
    this.get = inner.get.bind(inner);
    this.create = inner.create.bind(inner);
    this.replace = inner.replace.bind(inner);
    this.delete = inner.delete.bind(inner);
    this.probe = inner.probe.bind(inner);
  }

  /**
   * From now on the watch's events, or the answers of lists or patches, of this kind wait; with "change" patches wait in the
   * API server before they are carried out.
   */
  hold(verb: "watch" | "list" | "patch" | "change", plural = "services"): void {
    this.#held.add(`${verb} ${plural}`);
  }

  /** Lets everything through. */
  release(): void {
    this.#held.clear();
    for (const release of this.#release.splice(0)) release();
  }

  async list<T extends KubeObject>(type: ResourceType<T>, options?: ListOptions): Promise<{ items: T[]; resourceVersion: string }> {
    const answer = await this.#inner.list(type, options);
    await this.#wait(`list ${type.plural}`);
    return answer;
  }

  async patch<T extends KubeObject>(type: ResourceType<T>, name: ObjectName, patch: object, options?: PatchOptions): Promise<T> {
    // What may be sent leaves now.
    if (options?.maySend?.() === false) throw notSent();
    await this.#change(type.plural);
    const answer = await this.#inner.patch(type, name, patch, { ...options, maySend: () => true });
    this.onPatched(name, type.plural);
    if (type.plural === "services" && this.answersToLose-- > 0) throw this.lostAnswer;
    await this.#wait(`patch ${type.plural}`);
    return answer;
  }

  async *watch<T extends KubeObject>(type: ResourceType<T>, options: WatchOptions): AsyncGenerator<WatchEvent<T>> {
    for await (const event of this.#inner.watch(type, options)) {
      await this.#wait(`watch ${type.plural}`);
      yield event;
    }
  }

  async #change(plural: string): Promise<void> {
    const timer = new AbortController();
    const { timeout } = this;
    if (timeout === undefined) return this.#wait(`change ${plural}`);
    const late = sleep(timeout.clock, timeout.ms, timer.signal).then(() => true);
    const isLate = await Promise.race([late, this.#wait(`change ${plural}`).then(() => false)]);
    timer.abort();
    if (isLate) throw new KubeError({ code: 504, reason: "Timeout", message: "the request did not complete within the requested timeout" });
  }

  async #wait(what: string): Promise<void> {
    if (this.#held.has(what)) await new Promise<void>((resolve) => this.#release.push(resolve));
  }
}

/** A late client that notes what Services show whenever, after a patch, two of them show one address. */
export class WatchfulClient extends LateClient {
  readonly doubled: string[] = [];

  constructor(world: World) {
    super(world.client);
    this.onPatched = () => {
      const shown = world.client.peekAll(services).flatMap(({ status }) => (status?.loadBalancer?.ingress ?? []).map(({ ip }) => ip));
      if (new Set(shown).size < shown.length) this.doubled.push(shown.join(","));
    };
  }
}
