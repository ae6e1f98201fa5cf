/**
 * Whether MetalLB runs in this cluster. Two controllers would hand out the same addresses and take each other's back, two
 * speakers would both answer for one address; so Herald takes up its work only when it is alone. What counts:
 * - a Pod with MetalLB's labels in Herald's namespace, or where MetalLB's webhooks point to, whose image is MetalLB's;
 * - MetalLB's webhook configuration, of which a cluster has one, that points to another namespace whose Pods may not be read,
 *   unless its Service is gone.
 * Looked at before the first work only: what runs is never stopped by what the API server says later, or does not say.
 */
import { type Clock, sleep } from "../sys/clock.ts";
import type { Logger } from "../sys/log.ts";
import { KubeError, type KubeClient } from "./client.ts";
import { type EventRecorder, referenceTo } from "./event-recorder.ts";
import { type Pod, pods, services, validatingWebhooks } from "./objects.ts";

/** Labels of MetalLB's Pods: as its chart has them, and as its manifests have them. */
const POD_LABELS = ["app.kubernetes.io/name=metallb", "app=metallb"] as const;
const WEBHOOKS = "metallb-webhook-configuration";
/** Wait between two looks (milliseconds). */
const LOOK_MS = 5_000;
/** A Pod that is deleted and still there so long after its time (milliseconds) is on a node that does not answer, and stays until somebody removes that. */
const OVERDUE_MS = 60_000;

export interface LookOptions {
  readonly client: Pick<KubeClient, "get" | "list">;
  /** Herald's own. */
  readonly namespace: string;
  /** Milliseconds since 1970. */
  readonly wallMs: number;
}

/** One look: a sentence that says where MetalLB is, undefined when it is nowhere. @throws KubeError when the API server does not answer */
export async function findMetalLb(options: LookOptions): Promise<string | undefined> {
  const { client, namespace } = options;
  const [here, webhooks] = await Promise.all([lookForPod(options), webhookService(client)]);
  if (here.kind === "found") return here.sentence;
  if (webhooks === undefined || webhooks.namespace === namespace) return undefined;
  const there = await lookForPod({ ...options, namespace: webhooks.namespace });
  if (there.kind === "found") return there.sentence;
  if (there.kind === "none" || !(await mayExist(client, webhooks))) return undefined;
  return `MetalLB is installed in the namespace ${webhooks.namespace}: the ValidatingWebhookConfiguration ${WEBHOOKS} points there.`;
}

export interface AloneOptions {
  readonly client: Pick<KubeClient, "get" | "list">;
  readonly clock: Clock;
  readonly log: Logger;
  readonly namespace: string;
  /** Told each new sentence about where MetalLB is. */
  readonly onFound?: (sentence: string) => void;
}

/** What to give an AloneCheck as `onFound`, so that `kubectl describe` of our own Pod says why it does nothing. */
export function warnOnPod(options: { readonly client: Pick<KubeClient, "get">; readonly recorder: Pick<EventRecorder, "event">; readonly namespace: string; readonly podName: string }): (sentence: string) => void {
  const { client, recorder, namespace, podName: name } = options;
  return (message) => {
    if (name === "") return;
    const tell = (pod: Pod): void => recorder.event(referenceTo(pods, pod), { type: "Warning", reason: "MetalLBRuns", message });
    // Without the right to read it, the event lacks the Pod's uid only.
    client.get(pods, { namespace, name }).then(tell, () => tell({ metadata: { namespace, name } }));
  };
}

/** Waits until Herald is alone. */
export class AloneCheck {
  readonly #options: AloneOptions;
  #problem: string | undefined = "it is not known yet whether MetalLB runs in this cluster";
  #told: string | undefined;

  constructor(options: AloneOptions) {
    this.#options = options;
  }

  /** Why Herald does not work, for a readiness probe; undefined once it is alone. */
  get problem(): string | undefined {
    return this.#problem;
  }

  /** One look. "unknown" when the API server does not say. Never rejects. */
  async look(): Promise<"alone" | "found" | "unknown"> {
    const { client, clock, log, namespace, onFound } = this.#options;
    try {
      const sentence = await findMetalLb({ client, namespace, wallMs: clock.wallMs() });
      if (sentence === undefined) {
        if (this.#told !== undefined) log.info("metalLbGone");
        this.#problem = undefined;
        return "alone";
      }
      this.#problem = `${sentence} Herald does nothing beside it: uninstall MetalLB, and Herald goes on by itself.`;
      if (sentence !== this.#told) {
        this.#told = sentence;
        log.error("metalLbRuns", { reason: this.#problem });
        onFound?.(this.#problem);
      }
      return "found";
    } catch (error) {
      log.warn("metalLbUnknown", { error });
      return "unknown";
    }
  }

  /** Resolves when a look finds Herald alone; looks again every few seconds until then, or until the signal. */
  async whenAlone(signal?: AbortSignal): Promise<void> {
    for (;;) {
      if (signal?.aborted === true || (await this.look()) === "alone") return;
      await sleep(this.#options.clock, LOOK_MS, signal);
    }
  }
}

type PodLook = { readonly kind: "found"; readonly sentence: string } | { readonly kind: "none" | "forbidden" };

/** Looks for a Pod of MetalLB in this namespace. @throws KubeError */
async function lookForPod({ client, namespace, wallMs }: LookOptions): Promise<PodLook> {
  try {
    const lists = await Promise.all(POD_LABELS.map((labelSelector) => client.list(pods, { namespace, labelSelector })));
    const pod = lists.flatMap(({ items }) => items).find((candidate) => isMetalLb(candidate, wallMs));
    if (pod === undefined) return { kind: "none" };
    const image = pod.spec?.containers?.find(({ image }) => /metallb/i.test(image ?? ""))?.image ?? "";
    return { kind: "found", sentence: `MetalLB runs in this cluster: the Pod ${namespace}/${pod.metadata.name} has the image ${image}.` };
  } catch (error) {
    if (error instanceof KubeError && error.code === 403) return { kind: "forbidden" };
    throw error;
  }
}

interface ServiceName {
  readonly namespace: string;
  readonly name: string;
}

/** The Service that MetalLB's webhooks are served by; undefined when there are none, or they may not be read. @throws KubeError */
async function webhookService(client: Pick<KubeClient, "get">): Promise<ServiceName | undefined> {
  try {
    const { webhooks } = await client.get(validatingWebhooks, { name: WEBHOOKS });
    const service = webhooks?.map(({ clientConfig }) => clientConfig?.service).find((candidate) => candidate?.namespace !== undefined);
    return service?.namespace === undefined ? undefined : { namespace: service.namespace, name: service.name ?? "" };
  } catch (error) {
    if (error instanceof KubeError && (error.code === 403 || error.code === 404)) return undefined;
    throw error;
  }
}

/** False when the Service is known to be gone: what is deleted with its namespace leaves a configuration behind that calls nobody. @throws KubeError */
async function mayExist(client: Pick<KubeClient, "list">, { namespace, name }: ServiceName): Promise<boolean> {
  try {
    return (await client.list(services, { namespace, fieldSelector: `metadata.name=${name}` })).items.length > 0;
  } catch (error) {
    if (error instanceof KubeError && error.code === 403) return true;
    throw error;
  }
}

/** Whether a Pod is one of MetalLB's and may still do something. Herald's own carry the same labels. @param wallMs milliseconds since 1970 */
export function isMetalLb({ metadata, spec, status }: Pod, wallMs: number): boolean {
  if (status?.phase === "Succeeded" || status?.phase === "Failed") return false;
  if (metadata.deletionTimestamp !== undefined && Date.parse(metadata.deletionTimestamp) + OVERDUE_MS < wallMs) return false;
  const containers = spec?.containers ?? [];
  const isHerald = containers.some(({ command = [], args = [] }) => [...command, ...args].some((word) => word.endsWith(".mjs")));
  // quay.io/metallb/speaker, and mirrors such as example.com/mirrored-metallb-speaker:v0.15.
  return !isHerald && containers.some(({ name, image = "" }) => (name === "speaker" || name === "controller" || name.startsWith("metallb")) && /metallb/i.test(image.replace(/@.*$/, "")));
}
