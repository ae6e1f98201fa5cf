/**
 * The ConfigurationState of this speaker: whether it runs the configuration as it is now, and if not, why; and which
 * default gateways its node has, for the controller to see. It says so again when somebody deletes or edits the object.
 */
import { DEFAULT_GATEWAYS } from "../../config/default-gateways.ts";
import { KubeError } from "../../kube/client.ts";
import type { KubeClient } from "../../kube/client.ts";
import type { Change } from "../../kube/informer.ts";
import { configurationStates } from "../../kube/objects.ts";
import type { CustomResource, OwnerReference } from "../../kube/objects.ts";
import type { Verdict, WorkQueue } from "../../kube/work-queue.ts";
import type { Clock } from "../../sys/clock.ts";
import { rfc3339Seconds } from "../../sys/clock.ts";
import type { Logger } from "../../sys/log.ts";
import { nodeLabelValue } from "./node-label.ts";

const conditionType = "configReconcilerValid";
const fieldManager = "configReconciler";
/** Characters of a condition's message that the API takes. */
const maxMessageLength = 32_768;
/** How long to leave the object alone after somebody changed it, this speaker included (milliseconds). */
const foreignChangeDelayMs = 1_000;
/** Keys of the queue: write what is known, and look first whether the object says it already. */
const writeKey = "state";
const checkKey = "check";

export interface ConfigurationStateWriterOptions {
  readonly client: KubeClient;
  /** A queue of its own. */
  readonly queue: WorkQueue;
  readonly clock: Clock;
  readonly log: Logger;
  readonly namespace: string;
  readonly node: string;
  readonly owner: () => OwnerReference | undefined;
}

/** Name of a speaker's ConfigurationState. */
export function configurationStateName(node: string): string {
  return `speaker-${node}`;
}

/** Writes `speaker-<node>` in the background, by server-side apply; tries again until it is written. */
export class ConfigurationStateWriter {
  readonly #options: ConfigurationStateWriterOptions;
  #problems: readonly string[] | undefined;
  /** Text of the annotation; undefined until the routes were read. */
  #defaultGateways: string | undefined;
  #sinceWallMs = 0;
  /** The object as the informer told of it last. */
  #seen: CustomResource | undefined;

  constructor(options: ConfigurationStateWriterOptions) {
    this.#options = options;
  }

  /** Starts writing, once it is known who owns what this process creates. */
  start(): void {
    this.#options.queue.run(async (key) => (key === checkKey && this.#saysAlready() ? "done" : this.#write()));
  }

  /** The verdict on the newest resources; [] when they run. */
  report(problems: readonly string[]): void {
    if (this.#problems === undefined || (this.#problems.length === 0) !== (problems.length === 0)) this.#sinceWallMs = this.#options.clock.wallMs();
    this.#problems = problems;
    this.#options.queue.add(writeKey);
  }

  /** The node's default gateways, as the annotation has them. Told with the next verdict, as long as there was none. */
  tellDefaultGateways(text: string): void {
    this.#defaultGateways = text;
    this.#options.queue.add(writeKey);
  }

  /** Takes a difference from an informer on this one object. */
  changed(change: Change<CustomResource>): void {
    this.#seen = change.kind === "deleted" ? undefined : change.object;
    if (!this.#saysAlready()) this.#options.queue.addAfter(checkKey, foreignChangeDelayMs);
  }

  #saysAlready(): boolean {
    if (this.#problems === undefined) return true;
    const status: unknown = this.#seen?.status;
    if (typeof status !== "object" || status === null) return false;
    if (this.#seen?.metadata.annotations?.[DEFAULT_GATEWAYS] !== this.#defaultGateways) return false;
    const { result, errorSummary } = this.#status(this.#problems);
    return "result" in status && status.result === result && "errorSummary" in status && status.errorSummary === errorSummary;
  }

  async #write(): Promise<Verdict> {
    if (this.#problems === undefined) return "done";
    const { client, namespace, node, log } = this.#options;
    const name = configurationStateName(node);
    const kind = { apiVersion: "metallb.io/v1beta1", kind: "ConfigurationState" };
    const apply = { type: "apply", fieldManager, force: true } as const;
    const owner = this.#options.owner();
    try {
      await client.patch(
        configurationStates,
        { namespace, name },
        {
          ...kind,
          metadata: {
            name,
            namespace,
            labels: { "metallb.io/component-type": "speaker", "metallb.io/node-name": nodeLabelValue(node) },
            ...(this.#defaultGateways === undefined ? {} : { annotations: { [DEFAULT_GATEWAYS]: this.#defaultGateways } }),
            ...(owner === undefined ? {} : { ownerReferences: [owner] }),
          },
        },
        apply,
      );
      await client.patch(configurationStates, { namespace, name }, { ...kind, metadata: { name, namespace }, status: this.#status(this.#problems) }, { ...apply, subresource: "status" });
      return "done";
    } catch (error) {
      if (!(error instanceof KubeError)) throw error;
      log.debug("configurationStateNotWritten", { reason: error.message });
      return "retry";
    }
  }

  #status(problems: readonly string[]): { readonly result: string; readonly errorSummary: string; readonly conditions: readonly object[] } {
    const summary = problems.map((problem) => `configuration error: ${problem}`).join("\n").slice(0, maxMessageLength);
    const valid = problems.length === 0;
    const condition = {
      type: conditionType,
      status: valid ? "True" : "False",
      reason: valid ? "Reconciled" : "ConfigurationError",
      message: summary,
      lastTransitionTime: rfc3339Seconds(this.#sinceWallMs),
    };
    return { result: valid ? "Valid" : "Invalid", errorSummary: summary, conditions: [condition] };
  }
}
