/** A segment for tests: nodes that run Detection, whose kernels answer or not, whose processes run or not, and links that lose messages. Latency is 1 ms. */

import type { Instant } from "../machine.ts";
import { Detection } from "./detection.ts";
import type { DetectionInput, DetectionOutput, DetectionProfile, VerdictClass } from "./detection-protocol.ts";

interface Host {
  readonly name: string;
  readonly detection: Detection;
  boot: number;
  /** off: neither kernel nor process; gone: no process; paused: the process sleeps; frozen: the whole machine sleeps. */
  state: "on" | "off" | "gone" | "paused" | "frozen";
  /** What waits for a sleeping process, or machine. */
  readonly waiting: DetectionInput[];
  sleepsSince: Instant;
}

interface Delivery {
  readonly at: Instant;
  readonly to: string;
  readonly input: DetectionInput;
}

export interface SeenVerdict {
  readonly at: Instant;
  readonly by: string;
  readonly about: string;
  readonly class: VerdictClass;
}

const LATENCY_MS = 1;

export class FakeSegment {
  now: Instant = 0;
  readonly verdicts: SeenVerdict[] = [];
  /** Everything but beats and questions, by node: [time, output]. */
  readonly log: { readonly at: Instant; readonly by: string; readonly output: DetectionOutput }[] = [];
  beats = 0;
  asked = 0;
  /** Whether a message gets lost. */
  loses: (from: string, to: string) => boolean = () => false;
  readonly #hosts = new Map<string, Host>();
  #deliveries: Delivery[] = [];
  readonly #events: { readonly at: Instant; readonly run: () => void }[] = [];

  /** @param offsets when each node starts, ms: beats are not in step. */
  constructor(names: readonly string[], profile: DetectionProfile, offsets: readonly number[] = []) {
    for (const [index, name] of names.entries()) {
      const detection = new Detection({ node: name, profile });
      this.#hosts.set(name, { name, detection, boot: 1, state: "on", waiting: [], sleepsSince: 0 });
      const peers = names.filter((other) => other !== name).map((node) => ({ node, address: `address of ${node}` }));
      this.at(offsets[index] ?? 0, () => this.#handle(this.#host(name), { kind: "peers", peers }));
    }
  }

  at(at: Instant, run: () => void): void {
    this.#events.push({ at, run });
    this.#events.sort((a, b) => a.at - b.at);
  }

  detection(name: string): Detection {
    return this.#host(name).detection;
  }

  set(name: string, state: Host["state"]): void {
    const host = this.#host(name);
    const slept = host.state === "paused" || host.state === "frozen";
    host.state = state;
    if (state === "paused" || state === "frozen") host.sleepsSince = this.now;
    if (state === "off" || state === "gone") host.waiting.length = 0;
    if (state !== "on" || !slept) return;
    this.#handle(host, { kind: "woke", lagMs: this.now - host.sleepsSince });
    for (const input of host.waiting.splice(0)) this.#take(host, input);
    this.#handle(host, { kind: "timeout" });
  }

  /** An input to one node, out of the ordinary. */
  input(name: string, input: DetectionInput): void {
    this.#handle(this.#host(name), input);
  }

  runUntil(end: Instant): void {
    for (;;) {
      const next = this.#nextTime();
      if (next > end) break;
      this.now = Math.max(this.now, next);
      while ((this.#events[0]?.at ?? Infinity) <= this.now) this.#events.shift()?.run();
      const due = this.#deliveries.filter(({ at }) => at <= this.now);
      this.#deliveries = this.#deliveries.filter(({ at }) => at > this.now);
      for (const { to, input } of due) this.#take(this.#host(to), input);
      for (const host of this.#hosts.values()) {
        if (host.state === "on" && (host.detection.nextTimeout() ?? Infinity) <= this.now) this.#handle(host, { kind: "timeout" });
      }
    }
    this.now = end;
  }

  #nextTime(): Instant {
    let next = this.#events[0]?.at ?? Infinity;
    for (const { at } of this.#deliveries) next = Math.min(next, at);
    for (const host of this.#hosts.values()) if (host.state === "on") next = Math.min(next, host.detection.nextTimeout() ?? Infinity);
    return next;
  }

  #take(host: Host, input: DetectionInput): void {
    if (host.state === "on") this.#handle(host, input);
    else if (host.state !== "off" && host.state !== "gone") host.waiting.push(input);
  }

  #handle(host: Host, input: DetectionInput): void {
    for (const output of host.detection.handle(input, this.now)) this.#perform(host, output);
  }

  #perform(host: Host, output: DetectionOutput): void {
    switch (output.kind) {
      case "heartbeat":
        this.beats += 1;
        this.#send(host, output.to, []);
        return;
      case "ask":
        this.asked += 1;
        this.#ask(host, output.node);
        return;
      case "report":
        for (const to of this.#hosts.keys()) if (to !== host.name) this.#send(host, to, [{ kind: "report", from: host.name, about: output.about, boot: output.boot, class: output.class }]);
        break;
      case "verdict":
        this.verdicts.push({ at: this.now, by: host.name, about: output.node, class: output.class });
        break;
      default:
    }
    this.log.push({ at: this.now, by: host.name, output });
  }

  #send(from: Host, to: string, inputs: readonly DetectionInput[]): void {
    if (!this.#hosts.has(to) || this.loses(from.name, to)) return;
    const heard: DetectionInput = { kind: "heard", node: from.name, boot: from.boot };
    for (const input of [heard, ...inputs]) this.#deliveries.push({ at: this.now + LATENCY_MS, to, input });
  }

  #ask(host: Host, node: string): void {
    const asked = this.#host(node);
    if (asked.state === "off" || asked.state === "frozen") return;
    for (const question of ["arp", "icmp", "tcp"] as const) {
      if (this.loses(host.name, node) || this.loses(node, host.name)) continue;
      const result = question === "tcp" && asked.state === "gone" ? "refused" : "answered";
      this.#deliveries.push({ at: this.now + 2 * LATENCY_MS, to: host.name, input: { kind: "answer", node, question, result } });
    }
  }

  #host(name: string): Host {
    const host = this.#hosts.get(name);
    if (host === undefined) throw new Error(`no node ${name}`);
    return host;
  }
}
