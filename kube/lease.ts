/**
 * Takes part in an election by a coordination.k8s.io Lease: performs what `lease-machine.ts` decides. The Lease has no
 * owner: one that the garbage collector deletes while its holder still runs would be free at once, and there would be two.
 * So after an uninstallation that takes the holder's rights before it could release it, it stays held for its duration.
 */
import { type Clock, rfc3339Micros, sleep, type Timer } from "../sys/clock.ts";
import type { Logger } from "../sys/log.ts";
import type { Random } from "../sys/random.ts";
import { KubeError, type KubeClient } from "./client.ts";
import { LEASE_TIMINGS, LeaseMachine, type LeaseInput, type LeaseOutput, type LeaseWrite, type ObservedLease } from "./lease-machine.ts";
import { leases, type Lease } from "./objects.ts";

export interface LeaderElectorOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly namespace: string;
  /** Name of the Lease object. */
  readonly name: string;
  /** Who we are: unique per process. */
  readonly identity: string;
  /** 15 s, 10 s and 2 s by default; see `LeaseTimings`. */
  readonly leaseDurationMs?: number;
  readonly renewDeadlineMs?: number;
  readonly retryPeriodMs?: number;
  readonly onStartedLeading: () => void;
  /** Leadership is gone, by loss or by a clean stop: act no more. Called once per onStartedLeading. After a loss it stays a candidate. */
  readonly onStoppedLeading: (reason: "lost" | "released") => void;
  /** Somebody (perhaps us) holds the Lease now. */
  readonly onNewLeader?: (identity: string) => void;
}

/** A clean stop waits at most this long for the Lease to be released (milliseconds). */
const stopTimeoutMs = 3_000;

/** Takes part in the election; compatible with client-go's candidates. */
export class LeaderElector {
  readonly #options: LeaderElectorOptions;
  readonly #machine: LeaseMachine;
  #timer: Timer | undefined;
  #started = false;
  #resolveStopped: () => void = () => {};
  readonly #stopped: Promise<void>;

  constructor(options: LeaderElectorOptions) {
    this.#options = options;
    const { leaseDurationMs, renewDeadlineMs, retryPeriodMs, identity, random } = { ...LEASE_TIMINGS, ...options };
    this.#machine = new LeaseMachine({ identity, random, timings: { leaseDurationMs, renewDeadlineMs, retryPeriodMs } });
    this.#stopped = new Promise((resolve) => {
      this.#resolveStopped = resolve;
    });
  }

  /** Becomes a candidate. Call once. */
  start(): void {
    this.#started = true;
    this.#input({ kind: "start" });
  }

  /** Calls onStoppedLeading when we lead, then releases the Lease. Stop the work first. Never rejects; takes at most 3 s. */
  async stop(): Promise<void> {
    if (!this.#started) return;
    this.#input({ kind: "stop" });
    const waiting = new AbortController();
    await Promise.race([this.#stopped, sleep(this.#options.clock, stopTimeoutMs, waiting.signal)]);
    waiting.abort();
    this.#timer?.cancel();
  }

  get isLeader(): boolean {
    return this.#machine.isLeader;
  }

  /** Whether we lead, and still will in `ms` milliseconds even if no renewal succeeds. */
  leadsFor(ms: number): boolean {
    return this.#machine.leadsFor(ms, this.#options.clock.now());
  }

  #input(input: LeaseInput): void {
    const { clock } = this.#options;
    for (const output of this.#machine.handle(input, clock.now())) this.#perform(output);
    this.#timer?.cancel();
    const next = this.#machine.nextTimeout();
    this.#timer = next === undefined ? undefined : clock.after(next - clock.now(), () => this.#input({ kind: "timeout" }));
  }

  #perform(output: LeaseOutput): void {
    const { log, identity, name, onStartedLeading, onStoppedLeading, onNewLeader } = this.#options;
    switch (output.kind) {
      case "read":
        void this.#ask(output.request, this.#read());
        return;
      case "write":
        void this.#ask(output.request, this.#write(output.write, output.resourceVersion));
        return;
      case "startedLeading":
        log.info("startedLeading", { lease: name, identity });
        onStartedLeading();
        return;
      case "stoppedLeading":
        log.info("stoppedLeading", { lease: name, identity, reason: output.reason });
        onStoppedLeading(output.reason);
        return;
      case "newLeader":
        log.info("newLeader", { lease: name, leader: output.identity });
        onNewLeader?.(output.identity);
        return;
      case "stopped":
        this.#resolveStopped();
        return;
    }
  }

  async #ask(request: number, answer: Promise<Lease | undefined>): Promise<void> {
    let input: LeaseInput;
    try {
      const lease = await answer;
      input = { kind: "answered", request, lease: lease === undefined ? undefined : observed(lease) };
    } catch (error) {
      this.#options.log.debug("leaseRequestFailed", { lease: this.#options.name, error });
      // 404: the Lease was deleted between read and write; reading again will tell.
      input = { kind: "failed", request, conflict: error instanceof KubeError && (error.code === 409 || error.code === 404) };
    }
    this.#input(input);
  }

  async #read(): Promise<Lease | undefined> {
    const { client, namespace, name } = this.#options;
    try {
      return await client.get(leases, { namespace, name });
    } catch (error) {
      if (error instanceof KubeError && error.code === 404) return undefined;
      throw error;
    }
  }

  #write(write: LeaseWrite, resourceVersion: string | undefined): Promise<Lease> {
    const { client, clock, namespace, name } = this.#options;
    const now = rfc3339Micros(clock.wallMs());
    const spec = {
      holderIdentity: write.holder,
      leaseDurationSeconds: Math.max(1, Math.round(write.durationMs / 1000)),
      renewTime: now,
      leaseTransitions: write.transitions,
      ...(write.acquired ? { acquireTime: now } : {}),
    };
    if (resourceVersion === undefined) {
      return client.create(leases, { apiVersion: "coordination.k8s.io/v1", kind: "Lease", metadata: { namespace, name }, spec });
    }
    return client.patch(leases, { namespace, name }, { metadata: { resourceVersion }, spec });
  }
}

function observed(lease: Lease): ObservedLease {
  const { spec = {}, metadata } = lease;
  return {
    holder: spec.holderIdentity ?? "",
    durationMs: (spec.leaseDurationSeconds ?? 0) * 1000,
    transitions: spec.leaseTransitions ?? 0,
    resourceVersion: metadata.resourceVersion ?? "",
    fingerprint: JSON.stringify([metadata.uid, spec.holderIdentity, spec.renewTime, spec.acquireTime, spec.leaseDurationSeconds, spec.leaseTransitions]),
  };
}
