/**
 * The speaker's metrics: MetalLB's under MetalLB's names, and a few of Herald's own. The packet thread counts; its numbers
 * are fetched when somebody scrapes, so that counting costs no message per packet.
 */
import { Counter, Gauge } from "prom-client";
import type { Registry } from "prom-client";
import type { AnnouncedService } from "./announced-services.ts";
import type { FromPacketThread } from "./packet-protocol.ts";

/** What the packet thread has counted. */
export type PacketCounters = Extract<FromPacketThread, { kind: "counters" }>;

export interface SpeakerMetricsOptions {
  readonly registry: Registry;
  readonly node: string;
  readonly announced: () => readonly AnnouncedService[];
  /** Asks the packet thread; the last known numbers when it does not answer in time, undefined before it ever did. */
  readonly counters: () => Promise<PacketCounters | undefined>;
  /** Milliseconds since the packet thread's last turn. */
  readonly lastTurnAgoMs: () => number;
}

/** Registers the speaker's metrics; see docs/metrics.md. */
export function registerSpeakerMetrics(options: SpeakerMetricsOptions): void {
  const { registry, node, announced, lastTurnAgoMs } = options;
  registry.registerMetric(new Gauge({
    name: "metallb_speaker_announced",
    help: "Services that this node announces, one series per address. Absent when it does not.",
    labelNames: ["service", "protocol", "node", "ip"],
    registers: [],
    collect() {
      this.reset();
      for (const { service, ip } of announced()) this.set({ service, protocol: "layer2", node, ip }, 1);
    },
  }));
  registerAddressCounters(options);
  registry.registerMetric(new Counter({
    name: "herald_packets_dropped_total",
    help: "Frames that were not answered, by reason.",
    labelNames: ["reason"],
    registers: [],
    async collect() {
      const counters = await options.counters();
      this.reset();
      for (const [reason, count] of Object.entries(counters?.dropped ?? {})) this.inc({ reason }, count);
    },
  }));
  registry.registerMetric(new Gauge({
    name: "herald_packet_thread_lag_max_seconds",
    help: "Longest turn of the packet thread since the last scrape: by so much an answer may have come late.",
    registers: [],
    async collect() {
      this.set(((await options.counters())?.loopLagMaxMs ?? 0) / 1000);
    },
  }));
  registry.registerMetric(new Gauge({
    name: "herald_packet_thread_last_turn_seconds",
    help: "Time since the packet thread's last sign of life.",
    registers: [],
    collect() {
      this.set(lastTurnAgoMs() / 1000);
    },
  }));
}

function registerAddressCounters(options: SpeakerMetricsOptions): void {
  const rows = [
    { name: "metallb_layer2_requests_received", help: "Requests received for an address that this node announces.", field: "requestsReceived" },
    { name: "metallb_layer2_responses_sent", help: "Answers sent to such requests.", field: "responsesSent" },
    { name: "metallb_layer2_gratuitous_sent", help: "Unasked announcements sent, counted in frames.", field: "gratuitousSent" },
  ] as const;
  for (const { name, help, field } of rows) {
    options.registry.registerMetric(new Counter({
      name,
      help,
      labelNames: ["ip"],
      registers: [],
      async collect() {
        const counters = await options.counters();
        this.reset();
        for (const each of counters?.addresses ?? []) this.inc({ ip: each.address }, each[field]);
      },
    }));
  }
}
