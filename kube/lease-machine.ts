/**
 * Leader election by a Lease, as a value that reacts to inputs. Compatible with client-go's: a holder that renews keeps the
 * Lease; another candidate takes it only when the record has not changed for its whole duration, measured by the
 * candidate's own monotonic clock since it saw the record. Server and wall clocks decide nothing.
 *
 * Why there are never two leaders: a leader's deadline (10 s) runs from the moment it *sent* its last successful write, a
 * candidate's (15 s) from the moment it *saw* that write, which is later. Only clocks that run at rates more than 1.5 times
 * apart break it. Writes are conditional on the version read, so of two candidates one wins.
 *
 * What the leader writes elsewhere is another matter: a write takes effect later than it is sent, and may hang in between.
 * `client-fence.ts` tells how it is kept within the leader's time.
 */

/** Monotonic milliseconds. */
type Instant = number;

export interface LeaseTimings {
  /** What a candidate waits for before it takes a Lease that isn't renewed. 15,000 by default. */
  readonly leaseDurationMs: number;
  /** What a leader that can't renew waits for before it steps down. 10,000 by default; less than `leaseDurationMs`. */
  readonly renewDeadlineMs: number;
  /** Between renewals. A candidate looks twice as often, so that a released Lease is taken within about a second. 2,000 by default. */
  readonly retryPeriodMs: number;
}

/** What client-go's candidates have too. */
export const LEASE_TIMINGS: LeaseTimings = { leaseDurationMs: 15_000, renewDeadlineMs: 10_000, retryPeriodMs: 2_000 };

/** A Lease as the machine sees it. */
export interface ObservedLease {
  /** Empty when nobody holds it. */
  readonly holder: string;
  readonly durationMs: number;
  readonly transitions: number;
  readonly resourceVersion: string;
  /** Differs whenever the holder has written: any text made of the record's content. */
  readonly fingerprint: string;
}

/** What to write. The driver adds the time of day as renewTime, and as acquireTime when `acquired`. */
export interface LeaseWrite {
  readonly holder: string;
  readonly durationMs: number;
  readonly transitions: number;
  readonly acquired: boolean;
}

/** `request` is the number that the output carried; answers to forgotten requests are ignored. */
export type LeaseInput =
  | { readonly kind: "start" }
  | { readonly kind: "timeout" }
  /** The answer to a read or write; undefined: there is no such Lease. */
  | { readonly kind: "answered"; readonly request: number; readonly lease: ObservedLease | undefined }
  /** `conflict`: somebody else wrote in between. */
  | { readonly kind: "failed"; readonly request: number; readonly conflict: boolean }
  | { readonly kind: "stop" };

export type LeaseOutput =
  | { readonly kind: "read"; readonly request: number }
  /** Creates the Lease when `resourceVersion` is undefined, else changes that version of it. */
  | { readonly kind: "write"; readonly request: number; readonly write: LeaseWrite; readonly resourceVersion: string | undefined }
  | { readonly kind: "startedLeading" }
  | { readonly kind: "stoppedLeading"; readonly reason: "lost" | "released" }
  | { readonly kind: "newLeader"; readonly identity: string }
  /** After `stop`: nothing more will come. */
  | { readonly kind: "stopped" };

type Pending =
  | { readonly kind: "read"; readonly request: number; readonly sentAt: Instant }
  | { readonly kind: "write"; readonly request: number; readonly sentAt: Instant }
  | { readonly kind: "release"; readonly request: number; readonly sentAt: Instant };

/** A candidate's wait is up to this much longer, at random, so that candidates don't move in step. */
const jitter = 0.2;
/** Tries to release the Lease on stop. */
const releaseAttempts = 3;

/** The election of one candidate. */
export class LeaseMachine {
  readonly #identity: string;
  readonly #timings: LeaseTimings;
  readonly #random: { next(): number };
  #pending: Pending | undefined;
  #requests = 0;
  #observed: ObservedLease | undefined;
  #observedAt: Instant = 0;
  #leading = false;
  /** When the last successful write was sent. */
  #renewedAt: Instant = 0;
  #nextAttemptAt: Instant | undefined;
  #reported = "";
  #stopping = false;
  #stopped = false;
  #releasesLeft = releaseAttempts;

  constructor(options: { readonly identity: string; readonly timings: LeaseTimings; readonly random: { next(): number } }) {
    this.#identity = options.identity;
    this.#timings = options.timings;
    this.#random = options.random;
  }

  get isLeader(): boolean {
    return this.#leading;
  }

  /**
   * Whether we lead, and still will in `ms` milliseconds even if no renewal succeeds. It asks the time rather than whether
   * a timer has fired: in a process that stood still (paused, starved) work goes on before the timers do.
   */
  leadsFor(ms: number, now: Instant): boolean {
    return this.#leading && now + ms < this.#renewedAt + this.#timings.renewDeadlineMs;
  }

  /** Runs to completion; never throws. `now` never goes back. */
  handle(input: LeaseInput, now: Instant): LeaseOutput[] {
    const out: LeaseOutput[] = [];
    if (this.#stopped) return out;
    // First of all: a leader whose time is up is none, whatever has come in late.
    if (this.#leading && now >= this.#renewedAt + this.#timings.renewDeadlineMs) this.#stepDown("lost", out);
    switch (input.kind) {
      case "start":
        this.#nextAttemptAt = now;
        break;
      case "timeout":
        break;
      case "answered":
        this.#answered(input, now, out);
        break;
      case "failed":
        this.#failed(input, now, out);
        break;
      case "stop":
        this.#stop(now, out);
        break;
    }
    if (this.#pending !== undefined && now >= this.#pending.sentAt + this.#requestTimeoutMs) {
      this.#failed({ request: this.#pending.request, conflict: false }, now, out);
    }
    if (!this.#stopping && this.#pending === undefined && this.#nextAttemptAt !== undefined && now >= this.#nextAttemptAt) this.#attempt(now, out);
    return out;
  }

  nextTimeout(): Instant | undefined {
    if (this.#stopped) return undefined;
    const deadlines: Instant[] = [];
    if (this.#leading) deadlines.push(this.#renewedAt + this.#timings.renewDeadlineMs);
    if (this.#pending !== undefined) deadlines.push(this.#pending.sentAt + this.#requestTimeoutMs);
    else if (!this.#stopping && this.#nextAttemptAt !== undefined) deadlines.push(this.#nextAttemptAt);
    return deadlines.length === 0 ? undefined : Math.min(...deadlines);
  }

  /** An answer later than this counts as none: time for a second try before the renew deadline. */
  get #requestTimeoutMs(): number {
    return this.#timings.renewDeadlineMs / 2;
  }

  #attempt(now: Instant, out: LeaseOutput[]): void {
    // A leader knows the version that it wrote itself; only a conflict makes it read again.
    if (this.#leading && this.#observed !== undefined) this.#write(now, out);
    else this.#read(now, out);
  }

  #read(now: Instant, out: LeaseOutput[]): void {
    this.#requests += 1;
    this.#pending = { kind: "read", request: this.#requests, sentAt: now };
    out.push({ kind: "read", request: this.#requests });
  }

  #write(now: Instant, out: LeaseOutput[]): void {
    const observed = this.#observed;
    const ours = observed?.holder === this.#identity;
    this.#requests += 1;
    this.#pending = { kind: "write", request: this.#requests, sentAt: now };
    out.push({
      kind: "write",
      request: this.#requests,
      write: {
        holder: this.#identity,
        durationMs: this.#timings.leaseDurationMs,
        transitions: observed === undefined ? 0 : observed.transitions + (ours ? 0 : 1),
        acquired: !ours,
      },
      resourceVersion: observed?.resourceVersion,
    });
  }

  #release(now: Instant, out: LeaseOutput[]): void {
    const observed = this.#observed;
    if (observed === undefined || this.#releasesLeft === 0) {
      this.#end(out);
      return;
    }
    this.#releasesLeft -= 1;
    this.#requests += 1;
    this.#pending = { kind: "release", request: this.#requests, sentAt: now };
    out.push({
      kind: "write",
      request: this.#requests,
      // One second, as client-go writes it: even a candidate that minds only the duration takes it soon.
      write: { holder: "", durationMs: 1_000, transitions: observed.transitions, acquired: true },
      resourceVersion: observed.resourceVersion,
    });
  }

  #answered(input: { request: number; lease: ObservedLease | undefined }, now: Instant, out: LeaseOutput[]): void {
    const pending = this.#pending;
    if (pending?.request !== input.request) return;
    this.#pending = undefined;
    this.#observe(input.lease, now, out);
    if (this.#stopping) {
      if (pending.kind !== "release" && this.#observed?.holder === this.#identity) this.#release(now, out);
      else this.#end(out);
      return;
    }
    if (pending.kind === "write") {
      this.#wrote(pending.sentAt, now, out);
      return;
    }
    if (this.#leading && this.#observed !== undefined && this.#observed.holder !== this.#identity) this.#stepDown("lost", out);
    if (this.#mayTake(now)) this.#write(now, out);
    else this.#schedule(now);
  }

  #wrote(sentAt: Instant, now: Instant, out: LeaseOutput[]): void {
    // An answer that took as long as the whole deadline proves nothing any more.
    if (now < sentAt + this.#timings.renewDeadlineMs) {
      this.#renewedAt = sentAt;
      if (!this.#leading) {
        this.#leading = true;
        out.push({ kind: "startedLeading" });
      }
    }
    this.#schedule(now);
  }

  #failed(input: { request: number; conflict: boolean }, now: Instant, out: LeaseOutput[]): void {
    const pending = this.#pending;
    if (pending?.request !== input.request) return;
    this.#pending = undefined;
    if (this.#stopping) {
      // The write in hand may have been done all the same, so that our version is old: look before releasing.
      if (pending.kind === "read" || this.#releasesLeft === 0) this.#end(out);
      else this.#read(now, out);
      return;
    }
    if (pending.kind === "write") {
      // Done or not, we no longer know the Lease's version. A leader goes on leading until its deadline.
      if (this.#leading || input.conflict) {
        this.#read(now, out);
        return;
      }
    }
    this.#schedule(now);
  }

  #observe(lease: ObservedLease | undefined, now: Instant, out: LeaseOutput[]): void {
    if (lease?.fingerprint !== this.#observed?.fingerprint) this.#observedAt = now;
    this.#observed = lease;
    if (lease === undefined || lease.holder === "" || lease.holder === this.#reported) return;
    this.#reported = lease.holder;
    out.push({ kind: "newLeader", identity: lease.holder });
  }

  #mayTake(now: Instant): boolean {
    const lease = this.#observed;
    if (lease === undefined || lease.holder === "" || lease.holder === this.#identity) return true;
    return now >= this.#observedAt + lease.durationMs;
  }

  #schedule(now: Instant): void {
    const { retryPeriodMs } = this.#timings;
    this.#nextAttemptAt = now + (this.#leading ? retryPeriodMs : (retryPeriodMs / 2) * (1 + jitter * this.#random.next()));
  }

  #stepDown(reason: "lost" | "released", out: LeaseOutput[]): void {
    this.#leading = false;
    out.push({ kind: "stoppedLeading", reason });
  }

  #stop(now: Instant, out: LeaseOutput[]): void {
    if (this.#stopping) return;
    this.#stopping = true;
    if (this.#leading) this.#stepDown("released", out);
    if (this.#pending !== undefined) return;
    if (this.#observed?.holder === this.#identity) this.#release(now, out);
    else this.#end(out);
  }

  #end(out: LeaseOutput[]): void {
    this.#stopped = true;
    this.#pending = undefined;
    out.push({ kind: "stopped" });
  }
}
