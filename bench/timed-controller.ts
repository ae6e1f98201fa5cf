/**
 * A controller that tells its parent when it saw what, for `assign-latency.ts`: Herald's own, from source, leading at once,
 * over a client that notes the times. Needs an IPC channel.
 */
import { Controller } from "../controller/controller.ts";
import type { KubeClient, ListOptions, ObjectName, PatchOptions, WatchEvent, WatchOptions } from "../kube/client.ts";
import { EventRecorder } from "../kube/event-recorder.ts";
import { createKubeClient, loadKubeConfig } from "../kube/http-client.ts";
import { createSharedMetrics } from "../kube/metrics.ts";
import type { KubeObject, ResourceType } from "../kube/objects.ts";
import { systemClock as clock } from "../sys/clock.ts";
import { silentLogger as log } from "../sys/log.ts";
import { systemRandom as random } from "../sys/random.ts";
import "../sys/young-generation.ts";
import { monotonicMs } from "./monotonic.ts";

/** A step of the controller's on a Service; `atMs` as `monotonicMs` has it. */
export interface Step {
  readonly name: string;
  /** The watch brought it for the first time, its patch is handed to the client, its patch was answered. */
  readonly step: "seen" | "patching" | "patched";
  readonly atMs: number;
}

/** The real client; what it passes on about Services is noted. */
class TimedClient implements KubeClient {
  readonly #inner: KubeClient;
  readonly get: KubeClient["get"];
  readonly create: KubeClient["create"];
  readonly replace: KubeClient["replace"];
  readonly delete: KubeClient["delete"];
  readonly probe: KubeClient["probe"];

  constructor(inner: KubeClient) {
    this.#inner = inner;
    this.get = inner.get.bind(inner);
    this.create = inner.create.bind(inner);
    this.replace = inner.replace.bind(inner);
    this.delete = inner.delete.bind(inner);
    this.probe = inner.probe.bind(inner);
  }

  list<T extends KubeObject>(type: ResourceType<T>, options?: ListOptions): Promise<{ items: T[]; resourceVersion: string }> {
    return this.#inner.list(type, options);
  }

  async *watch<T extends KubeObject>(type: ResourceType<T>, options: WatchOptions): AsyncGenerator<WatchEvent<T>> {
    for await (const event of this.#inner.watch(type, options)) {
      if (type.plural === "services" && event.type === "ADDED") tell({ name: event.object.metadata.name, step: "seen", atMs: monotonicMs() });
      yield event;
    }
  }

  async patch<T extends KubeObject>(type: ResourceType<T>, name: ObjectName, patch: object, options?: PatchOptions): Promise<T> {
    if (type.plural !== "services") return this.#inner.patch(type, name, patch, options);
    tell({ name: name.name, step: "patching", atMs: monotonicMs() });
    const answer = await this.#inner.patch(type, name, patch, options);
    tell({ name: name.name, step: "patched", atMs: monotonicMs() });
    return answer;
  }
}

/** After the turn that is being timed, for sending takes time too. */
function tell(step: Step): void {
  setImmediate(() => process.send?.(step));
}

const client = new TimedClient(createKubeClient({ kubeConfig: loadKubeConfig(), userAgent: "herald-controller/bench", clock, maxInFlight: 48 }));
const recorder = new EventRecorder({ client, clock, random, log, component: "metallb-controller" });
const controller = new Controller({ client, clock, random, log, recorder, metrics: createSharedMetrics(), namespace: "metallb-system", lbClass: "", podName: "" });
process.once("disconnect", () => process.exit(0));
controller.start();
await controller.lead();
