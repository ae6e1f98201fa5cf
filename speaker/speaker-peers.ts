/**
 * The other speakers' nodes and addresses, by the API's list of pods: who should be a member. What was listed last stays
 * while the API server is away.
 */
import type { KubeClient } from "../kube/client.ts";
import { Informer } from "../kube/informer.ts";
import { pods } from "../kube/objects.ts";
import type { Pod } from "../kube/objects.ts";
import type { Clock, Timer } from "../sys/clock.ts";
import type { Logger } from "../sys/log.ts";
import type { Random } from "../sys/random.ts";
import { formatIpAddress, parseIpAddress } from "../wire/ip-address.ts";
import type { IpFamily } from "../wire/ip-address.ts";
import { compareText } from "./election/eligibility.ts";

/** Speakers of MetalLB's chart and of Herald's, and those of MetalLB's plain manifests: a cluster may run both programs. */
export const KNOWN_SELECTORS: readonly string[] = ["app.kubernetes.io/component=speaker,app.kubernetes.io/name in (metallb,herald)", "app=metallb,component=speaker"];
/** What the first of them selects already, by its sorted requirements. */
const covered = new Set(["app.kubernetes.io/component=speaker,app.kubernetes.io/name=herald", "app.kubernetes.io/component=speaker,app.kubernetes.io/name=metallb", "app=metallb,component=speaker"]);

/** A list from half of the selectors is better than none after so long (milliseconds): one of them may be nonsense. */
const patienceMs = 5_000;

/** Another speaker. */
export interface SpeakerPeer {
  readonly node: string;
  /** Canonical text. */
  readonly address: string;
}

export interface SpeakerPeersOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly node: string;
  readonly namespace: string;
  /** Kubernetes label selector of the speakers' pods (`--ml-labels`); the known ones are looked for besides. */
  readonly labels: string;
  /** Family of the membership sockets. */
  readonly family: IpFamily;
  /** The whole list, sorted by node, whenever it has changed; the first one even if it is empty. */
  readonly onPeers: (peers: readonly SpeakerPeer[]) => void;
}

/** See the head of the file. */
export class SpeakerPeers {
  readonly #options: SpeakerPeersOptions;
  readonly #informers: readonly Informer<Pod>[];
  #patience: Timer | undefined;
  #patienceIsOver = false;
  #told: string | undefined;

  constructor(options: SpeakerPeersOptions) {
    this.#options = options;
    const { client, clock, random, log, namespace } = options;
    const changed = (): void => this.#review();
    this.#informers = selectorsFor(options.labels).map((labelSelector) =>
      new Informer({ client, clock, random, log, type: pods, namespace, labelSelector, onChange: changed }));
  }

  /** Begins to watch. Call once. */
  start(): void {
    for (const informer of this.#informers) {
      informer.start();
      // An empty list tells of no change.
      void informer.whenSynced().then(() => this.#review());
    }
    this.#patience = this.#options.clock.after(patienceMs, () => {
      this.#patienceIsOver = true;
      this.#review();
    });
  }

  async stop(): Promise<void> {
    this.#patience?.cancel();
    await Promise.all(this.#informers.map((informer) => informer.stop()));
  }

  #review(): void {
    const isWhole = this.#informers.every(({ isSynced }) => isSynced);
    if (!isWhole && !(this.#patienceIsOver && this.#informers.some(({ isSynced }) => isSynced))) return;
    const { node, family, onPeers, log } = this.#options;
    const peers = peersOf(this.#informers.flatMap((informer) => informer.list()), { node, family });
    const text = JSON.stringify(peers);
    if (text === this.#told) return;
    this.#told = text;
    log.info("peers", { peers: peers.map((peer) => `${peer.node} ${peer.address}`) });
    onPeers(peers);
  }
}

/** The selectors to watch: those that are always looked for, and the given one where it may select something else. */
export function selectorsFor(labels: string): readonly string[] {
  const sorted = labels.split(",").map((part) => part.trim().replace("==", "=")).sort().join(",");
  return covered.has(sorted) ? KNOWN_SELECTORS : [...KNOWN_SELECTORS, labels];
}

/**
 * The peers that pods tell of, sorted by node, `node` itself left out. A node may have two pods while one replaces the
 * other: the one that is not on its way out counts, else the newer one.
 */
export function peersOf(found: readonly Pod[], own: { readonly node: string; readonly family: IpFamily }): SpeakerPeer[] {
  const best = new Map<string, { readonly pod: Pod; readonly address: string }>();
  for (const pod of found) {
    const node = pod.spec?.nodeName;
    const address = addressOf(pod, own.family);
    if (node === undefined || node === "" || node === own.node || address === undefined) continue;
    if (pod.status?.phase === "Failed" || pod.status?.phase === "Succeeded") continue;
    const other = best.get(node);
    if (other === undefined || preference(pod) > preference(other.pod)) best.set(node, { pod, address });
  }
  return [...best].map(([node, { address }]) => ({ node, address })).sort((a, b) => compareText(a.node, b.node));
}

/** Comparable text: pods that stay before those that go, then the newer one. */
function preference({ metadata }: Pod): string {
  return `${metadata.deletionTimestamp === undefined ? 1 : 0} ${metadata.creationTimestamp ?? ""} ${metadata.uid ?? ""}`;
}

/** The pod's first address of the family; a pod on the host's network has its node's, even before it runs. */
function addressOf({ spec, status }: Pod, family: IpFamily): string | undefined {
  const hostIps = spec?.hostNetwork === true ? [status?.hostIP, ...(status?.hostIPs ?? []).map(({ ip }) => ip)] : [];
  for (const text of [status?.podIP, ...(status?.podIPs ?? []).map(({ ip }) => ip), ...hostIps]) {
    if (text === undefined || text === "") continue;
    try {
      const address = parseIpAddress(text);
      if (address.family === family) return formatIpAddress(address);
    } catch {
      // Not an address: the API server would have refused it.
    }
  }
  return undefined;
}
