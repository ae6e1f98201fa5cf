/**
 * The speaker's events on Services, worded as MetalLB's: its users and their scripts find the announcing node by them.
 */
import { referenceTo } from "../../kube/event-recorder.ts";
import type { EventRecorder } from "../../kube/event-recorder.ts";
import { services } from "../../kube/objects.ts";
import type { Service } from "../../kube/objects.ts";

/** Writes events about Services on behalf of one node. */
export class ServiceEvents {
  readonly #recorder: Pick<EventRecorder, "event">;
  readonly #node: string;

  constructor(recorder: Pick<EventRecorder, "event">, node: string) {
    this.#recorder = recorder;
    this.#node = node;
  }

  /** The node began to announce the Service. */
  nodeAssigned(service: Service): void {
    this.#recorder.event(referenceTo(services, service), {
      type: "Normal",
      reason: "nodeAssigned",
      message: `announcing from node ${JSON.stringify(this.#node)} with protocol "layer2"`,
    });
  }

  /** The node should announce the Service and has no interface to do so. */
  announceFailed(service: Service, wanted: readonly string[] | "all"): void {
    const which = wanted === "all" ? "no interface can announce" : `none of the interfaces ${JSON.stringify(wanted)} can announce`;
    this.#recorder.event(referenceTo(services, service), {
      type: "Warning",
      reason: "announceFailed",
      message: `cannot announce from node ${JSON.stringify(this.#node)} with protocol "layer2": ${which} there`,
    });
  }
}
