/**
 * Keeps one ServiceL2Status per Service and leader. The leader writes its own object and deletes what other nodes left
 * behind; who is not the leader deletes its own. Objects of an earlier life of this speaker are adopted, not doubled.
 * What can't be written is tried again for ever, at a bounded pace.
 */
import { KubeError } from "../../kube/client.ts";
import type { KubeClient } from "../../kube/client.ts";
import { keyOf } from "../../kube/informer.ts";
import type { Change } from "../../kube/informer.ts";
import { serviceL2Statuses } from "../../kube/objects.ts";
import type { CustomResource, OwnerReference } from "../../kube/objects.ts";
import type { Verdict, WorkQueue } from "../../kube/work-queue.ts";
import type { Logger } from "../../sys/log.ts";
import { isOfNode, newL2StatusObject, saysAlready, serviceKeyOfStatus } from "./l2-status-object.ts";
import type { L2Status } from "./l2-status-object.ts";

/** Services written at the same time. */
const concurrency = 8;
/**
 * How long to leave an object alone that another speaker wrote or deleted while this one leads (milliseconds). Its view
 * and ours differ for a moment; answering at once would be a fight at full speed if the difference lasts.
 */
export const foreignChangeDelayMs = 1_000;

export interface L2StatusWriterOptions {
  readonly client: KubeClient;
  readonly queue: WorkQueue;
  readonly log: Logger;
  /** Herald's own namespace, where the objects live. */
  readonly namespace: string;
  readonly node: string;
  readonly owner: () => OwnerReference | undefined;
  /** What this node has to say about a Service ("namespace/name"); undefined when it does not announce it. */
  readonly wanted: (key: string) => L2Status | undefined;
  /** Whether the API has a Node of that name: what a vanished one left behind has no one else to delete it. */
  readonly knowsNode: (name: string) => boolean;
}

/** See the head of the file. Feed it with an informer's changes; nothing is written before `start`. */
export class L2StatusWriter {
  readonly #options: L2StatusWriterOptions;
  /** By Service, then by object key, as the informer and our own calls tell. */
  readonly #objects = new Map<string, Map<string, CustomResource>>();
  #started = false;

  constructor(options: L2StatusWriterOptions) {
    this.#options = options;
  }

  /** Starts writing: call when it is known what this node announces, or an adopted object would be deleted first. */
  start(): void {
    this.#started = true;
    for (const key of this.#objects.keys()) this.#options.queue.add(key);
    this.#options.queue.run((key) => this.#reconcile(key), { concurrency });
  }

  /** Looks at a Service again. Cheap when nothing is to do. */
  touch(key: string): void {
    if (this.#objects.has(key) || this.#options.wanted(key) !== undefined) this.#options.queue.add(key);
  }

  /** Takes a difference from the informer on ServiceL2Status. */
  changed(change: Change<CustomResource>): void {
    const { object, previous } = change;
    const before = previous === undefined ? undefined : serviceKeyOfStatus(previous);
    const key = serviceKeyOfStatus(object);
    // Labels can be edited: the object may have been another Service's.
    if (before !== undefined && previous !== undefined) this.#forget(before, previous);
    if (key !== undefined && change.kind !== "deleted") this.#remember(key, object);
    if (!this.#started) return;
    for (const each of new Set([before, key])) {
      if (each !== undefined && this.#isNews(each, each === key && change.kind !== "deleted" ? object : undefined)) this.#options.queue.addAfter(each, foreignChangeDelayMs);
    }
  }

  /** Whether there may be something to do about a Service whose object is there now, or (undefined) is not any more. */
  #isNews(key: string, object: CustomResource | undefined): boolean {
    const { node, knowsNode } = this.#options;
    const wanted = this.#options.wanted(key);
    if (wanted === undefined) return object !== undefined && (isOfNode(object, node) || isLeftBehind(object, knowsNode));
    return object === undefined || !isOfNode(object, node) || !this.#isAsWanted(object, wanted);
  }

  #isAsWanted(object: CustomResource, wanted: L2Status): boolean {
    return saysAlready(object, wanted) && isOwnedBy(object, this.#options.owner());
  }

  async #reconcile(key: string): Promise<Verdict> {
    const { node, knowsNode } = this.#options;
    const objects = [...(this.#objects.get(key)?.values() ?? [])];
    const own = objects.filter((object) => isOfNode(object, node)).sort((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1));
    const wanted = this.#options.wanted(key);
    const foreign = objects.filter((object) => !isOfNode(object, node));
    const doomed = wanted === undefined ? [...own, ...foreign.filter((object) => isLeftBehind(object, knowsNode))] : [...own.slice(1), ...foreign];
    try {
      if (wanted !== undefined) await this.#write(key, own[0], wanted);
      for (const object of doomed) await this.#delete(key, object);
      return "done";
    } catch (error) {
      if (!(error instanceof KubeError)) throw error;
      this.#options.log.debug("statusNotWritten", { key, reason: error.message });
      return "retry";
    }
  }

  async #write(key: string, existing: CustomResource | undefined, wanted: L2Status): Promise<void> {
    const { client, namespace, node, owner } = this.#options;
    if (existing !== undefined && this.#isAsWanted(existing, wanted)) return;
    let object = existing;
    if (object === undefined) {
      object = await client.create(serviceL2Statuses, newL2StatusObject({ namespace, key, node, owner: owner() }));
      // The informer tells of it later; until then a second pass would create another.
      this.#remember(key, object);
    }
    try {
      const { name } = object.metadata;
      const pod = owner();
      // Adopted from an earlier Pod, with which the garbage collector would take it away.
      if (!isOwnedBy(object, pod)) await client.patch(serviceL2Statuses, { namespace, name }, { metadata: { ownerReferences: [pod] } });
      this.#remember(key, await client.patch(serviceL2Statuses, { namespace, name }, { status: wanted }, { subresource: "status" }));
    } catch (error) {
      if (isGone(error)) this.#forget(key, object);
      // Its names were edited, and names can't be changed: the next try makes another.
      if (error instanceof KubeError && error.code === 422) await this.#delete(key, object);
      throw error;
    }
  }

  async #delete(key: string, object: CustomResource): Promise<void> {
    const { name, uid } = object.metadata;
    try {
      await this.#options.client.delete(serviceL2Statuses, { namespace: this.#options.namespace, name }, uid === undefined ? {} : { uid });
    } catch (error) {
      if (!isGone(error)) throw error;
    }
    this.#forget(key, object);
  }

  #remember(key: string, object: CustomResource): void {
    const objects = this.#objects.get(key) ?? new Map<string, CustomResource>();
    objects.set(keyOf(object), object);
    this.#objects.set(key, objects);
  }

  #forget(key: string, object: CustomResource): void {
    const objects = this.#objects.get(key);
    objects?.delete(keyOf(object));
    if (objects?.size === 0) this.#objects.delete(key);
  }
}

/** Whether the object goes when the Pod goes; true as well when no Pod is known. */
function isOwnedBy(object: CustomResource, pod: OwnerReference | undefined): boolean {
  return pod === undefined || (object.metadata.ownerReferences ?? []).some(({ uid }) => uid === pod.uid);
}

/** Not there any more, or another object under the same name. */
function isGone(error: unknown): boolean {
  return error instanceof KubeError && (error.code === 404 || error.reason === "Conflict");
}

function isLeftBehind(object: CustomResource, knowsNode: (name: string) => boolean): boolean {
  const status = object.status;
  if (typeof status !== "object" || status === null || !("node" in status)) return false;
  return typeof status.node === "string" && !knowsNode(status.node);
}
