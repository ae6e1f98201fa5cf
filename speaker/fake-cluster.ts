/**
 * Speakers on an API server in memory, with packet threads that elect and send nothing: for tests.
 */
import { FakeKubeClient } from "../kube/fake-client.ts";
import { createSharedMetrics } from "../kube/metrics.ts";
import { endpointSlices, events, ipAddressPools, l2Advertisements, nodes, pods, serviceL2Statuses, services } from "../kube/objects.ts";
import type { Service } from "../kube/objects.ts";
import { FakeClock } from "../sys/fake-clock.ts";
import { silentLogger } from "../sys/log.ts";
import type { LogFields } from "../sys/log.ts";
import { seededRandom } from "../sys/random.ts";
import type { DefaultGateway } from "../sys/routes.ts";
import { rank } from "./election/rank.ts";
import type { AddressRow, FromPacketThread, ToPacketThread } from "./packet-protocol.ts";
import { Speaker } from "./speaker.ts";

/** Herald's own namespace. */
export const namespace = "metallb-system";

/** Elects by rank and tells, as the packet thread does, without packets. */
export class FakePacketThread {
  readonly tables: Extract<ToPacketThread, { kind: "table" }>[] = [];
  /** Lists of peers and freshness, as they came. */
  readonly told: Extract<ToPacketThread, { kind: "peers" | "fresh" }>[] = [];
  readonly rows = new Map<string, AddressRow>();
  readonly owned = new Set<string>();
  silentMs = 0;
  stopped = false;
  readonly #node: string;
  readonly #onFact: (fact: FromPacketThread) => void;

  constructor(node: string, onFact: (fact: FromPacketThread) => void) {
    this.#node = node;
    this.#onFact = onFact;
  }

  send(message: ToPacketThread): void {
    if (message.kind === "collect") {
      const addresses = [...this.owned].map((address) => ({ address, requestsReceived: 3, responsesSent: 2, gratuitousSent: 5 }));
      queueMicrotask(() => this.#onFact({ kind: "counters", addresses, dropped: { notOwner: 7 }, loopLagMaxMs: 12 }));
    }
    if (message.kind === "peers" || message.kind === "fresh") this.told.push(message);
    if (message.kind !== "table") return;
    const expected = (this.tables.at(-1)?.version ?? 0) + 1;
    if (message.version !== expected) throw new Error(`table version ${message.version}, expected ${expected}`);
    this.tables.push(message);
    for (const address of message.remove) this.rows.delete(address);
    for (const row of message.upsert) this.rows.set(row.address, row);
    queueMicrotask(() => {
      for (const address of [...message.remove, ...message.upsert.map((row) => row.address)]) this.#elect(address);
      this.#onFact({ kind: "tableApplied", version: message.version });
    });
  }

  #elect(address: string): void {
    const row = this.rows.get(address);
    const mine = row !== undefined && rank(row.group, row.candidates)[0] === this.#node;
    if (mine && row.interfaces !== "all" && !row.interfaces.includes("eth0")) {
      this.#onFact({ kind: "blocked", address, wanted: row.interfaces });
    } else if (mine && !this.owned.has(address)) {
      this.owned.add(address);
      const interfaces = [{ name: "eth0", index: 2, mac: "02:00:00:00:00:01", usable: true }];
      this.#onFact({ kind: "owned", address, sinceUnixMs: Date.UTC(2026, 0, 1), reason: "FirstInRank", interfaces });
    } else if (!mine && this.owned.delete(address)) {
      this.#onFact({ kind: "lost", address, reason: row === undefined ? "Removed" : "NotFirstInRank" });
    }
  }

  /** Tells the main thread something of the test's making. */
  tell(fact: FromPacketThread): void {
    this.#onFact(fact);
  }

  lastTurnAgoMs(): number {
    return this.silentMs;
  }

  async stop(): Promise<void> {
    this.stopped = true;
  }
}

/** A Service with an address and one endpoint, on node2. */
export function addService(api: FakeKubeClient, name: string, ip: string, spec: Partial<Service["spec"]> = {}): void {
  api.put(services, {
    metadata: { name, namespace: "default" },
    spec: { type: "LoadBalancer", externalTrafficPolicy: "Cluster", ...spec },
    status: { loadBalancer: { ingress: [{ ip, ipMode: "VIP" }] } },
  });
  api.put(endpointSlices, {
    metadata: { name: `${name}-1`, namespace: "default", labels: { "kubernetes.io/service-name": name } },
    addressType: "IPv4",
    endpoints: [{ addresses: ["10.1.1.1"], nodeName: "node2", conditions: { ready: true } }],
  });
}

/** The one pool. `addresses` may be nonsense. */
export function setPool(api: FakeKubeClient, addresses: unknown): void {
  api.put(ipAddressPools, { metadata: { name: "my-ippool", namespace }, spec: { addresses } });
}

/** Three Nodes with a Pod each, a pool and an advertisement; speakers as they are started. */
export class Cluster {
  readonly api = new FakeKubeClient();
  readonly clock = new FakeClock();
  readonly threads = new Map<string, FakePacketThread>();
  readonly metrics = new Map<string, ReturnType<typeof createSharedMetrics>>();
  readonly speakers = new Map<string, Speaker>();
  /** Lines of level info and above, of all speakers: events with their fields. */
  readonly logged: { readonly event: string; readonly fields: LogFields | undefined }[] = [];
  /** Whether speakers started from now on take part in the membership protocol. */
  membership = false;
  /** Default gateways that the nodes' tables show at every look; throws what reading them throws. */
  defaultGateways: (node: string) => readonly DefaultGateway[] = () => [];

  constructor() {
    for (const name of ["node1", "node2", "node3"]) {
      this.api.put(nodes, { metadata: { name } });
      const labels = { "app.kubernetes.io/name": "metallb", "app.kubernetes.io/component": "speaker" };
      this.api.put(pods, { metadata: { name: `speaker-${name}`, namespace, labels }, spec: { nodeName: name }, status: { podIP: `172.20.0.1${name.slice(-1)}` } });
    }
    setPool(this.api, ["172.20.255.200-172.20.255.250"]);
    this.api.put(l2Advertisements, { metadata: { name: "my-l2-advertise", namespace }, spec: { ipAddressPools: ["my-ippool"] } });
  }

  async start(...names: string[]): Promise<void> {
    const note = (event: string, fields?: LogFields): void => void this.logged.push({ event, fields });
    for (const node of names) {
      const metrics = createSharedMetrics();
      const speaker = new Speaker({
        node,
        namespace,
        podName: `speaker-${node}`,
        loadBalancerClass: undefined,
        ignoreExcludeLb: false,
        membership: this.membership ? { labels: "app=metallb,component=speaker", family: "IPv4" } : undefined,
        client: this.api,
        clock: this.clock,
        // The seed tells the speakers apart: names of events come from it.
        random: seededRandom(this.threads.size + 1),
        log: { ...silentLogger, info: note, warn: note, error: note },
        metrics,
        defaultGateways: (family) => this.defaultGateways(node).filter(({ address }) => address.includes(":") === (family === "IPv6")),
        startPacketThread: (onFact) => {
          const thread = new FakePacketThread(node, onFact);
          this.threads.set(node, thread);
          return thread;
        },
      });
      this.speakers.set(node, speaker);
      this.metrics.set(node, metrics);
      void speaker.start();
    }
    await this.clock.advance(3_000);
  }

  /** Nodes that announce the address now. */
  owners(address: string): string[] {
    return [...this.threads].filter(([, thread]) => thread.owned.has(address)).map(([node]) => node);
  }

  theOwner(address: string): string {
    const [owner, ...others] = this.owners(address);
    if (others.length > 0) throw new Error(`${address} is announced by ${others.join(", ")} as well as ${owner}`);
    if (owner === undefined) throw new Error(`nobody announces ${address}`);
    return owner;
  }

  statusNodes(): unknown[] {
    return this.api.peekAll(serviceL2Statuses).map((object) => (object.status as { node?: string } | undefined)?.node);
  }

  eventsOf(reason: string): { name: string; message: string }[] {
    return this.api.peekAll(events).filter((event) => event.reason === reason).map((event) => ({ name: event.involvedObject.name, message: event.message }));
  }
}
