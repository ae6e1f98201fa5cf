/**
 * One simulated speaker: the machine under test, its loop, and what can happen to them: pauses of the process and of
 * the whole machine, a crash, a loss of power, an orderly stop, a new start.
 *
 * The loop does as the packet thread's does: after a wait it says how much too late it is, reads its membership
 * sockets, runs what is due, then looks at frames.
 */

import type { AgreementInput, AgreementOutput } from "../../speaker/agreement/agreement-protocol.ts";
import type { Instant, Machine } from "../../speaker/machine.ts";
import type { InterfaceFact } from "../../speaker/packet-protocol.ts";
import { nodeName } from "./events.ts";
import type { NodeId, SimEvent } from "./events.ts";
import type { LocalClock } from "./local-clock.ts";
import { SEGMENT_INTERFACE } from "./network.ts";
import type { NetworkInput } from "./network.ts";

/** Lag that the loop reports. */
export const WOKE_FROM_MS = 20;
/** Longest wait of the loop. */
const MAX_WAIT_MS = 500;
/** Datagrams that a socket holds for a process that does not read. */
const SOCKET_DATAGRAMS = 512;
/** Frames nearer to each other than this count once. */
const FRAME_INTERVAL_MS = 20;

/** `gone`: no process, but the kernel runs. */
export type NodeState = "running" | "paused" | "frozen" | "gone" | "off";

export type AgreementMachine = Machine<AgreementInput, AgreementOutput>;

export interface NodePorts {
  network(input: NetworkInput): void;
  /** Calls `wake` at that time, if no earlier call is due already. */
  wakeAt(at: Instant): void;
  event(event: SimEvent): void;
  /** A new process: the machine as it starts, with its boot id and the version of its workload's template. */
  start(bootUnixMs: number, template: string): AgreementMachine;
  /** Sees each datagram and stream chunk on its way out. */
  tap(bytes: Uint8Array, isStream: boolean): void;
}

export class SimNode {
  readonly id: NodeId;
  readonly name: string;
  readonly address: string;
  readonly clock: LocalClock;
  /** Addresses that its process owns. */
  readonly owned = new Set<string>();
  state: NodeState = "off";
  isSilent = false;
  /** Since when the present state holds. */
  since: Instant = 0;
  /** When something last came in from another host. */
  lastHeardAt: Instant = Number.NEGATIVE_INFINITY;
  bootUnixMs = 0;
  /** Version of the workload's template that its next process gets. */
  template = "1";
  /** Its process can do its part: what `/readyz` says. */
  isSettled = false;
  dropped = 0;
  /** What it sent, all its processes together: UDP payloads, and bytes of streams. */
  readonly sent = { datagrams: 0, datagramBytes: 0, streamBytes: 0 };
  readonly #ports: NodePorts;
  #machine: AgreementMachine | undefined;
  #inbox: AgreementInput[] = [];
  /** When the loop last meant to wake up. */
  #plannedAt: Instant = 0;
  #lastFrameAt: Instant = Number.NEGATIVE_INFINITY;
  #lastAnnouncedAt: Instant = Number.NEGATIVE_INFINITY;
  #interfaceUsable = true;
  #carriesIpv6 = true;

  constructor(identity: { readonly id: NodeId; readonly address: string; readonly clock: LocalClock }, ports: NodePorts) {
    this.id = identity.id;
    this.name = nodeName(identity.id);
    this.address = identity.address;
    this.clock = identity.clock;
    this.#ports = ports;
  }

  /** There is a process, running or not. */
  get hasProcess(): boolean {
    return this.state === "running" || this.state === "paused" || this.state === "frozen";
  }

  /** It answers who asks for the address. */
  answers(address: string): boolean {
    return this.state === "running" && !this.isSilent && this.owned.has(address);
  }

  /** The process's machine, for those who look inside. */
  get machine(): AgreementMachine | undefined {
    return this.#machine;
  }

  /** Starts the process; on a node that was off, the kernel first. */
  boot(now: Instant): void {
    if (this.hasProcess) throw new Error(`${this.name} runs already`);
    if (this.state === "off") this.#ports.network({ kind: "kernel", host: this.id, state: "on" });
    this.#set("running", now);
    this.#ports.network({ kind: "process", host: this.id, isRunning: true });
    // A process that starts within the same millisecond of the same clock would be taken for the one before.
    this.bootUnixMs = Math.max(this.clock.wallMs(this.clock.local(now)), 0);
    this.#machine = this.#ports.start(this.bootUnixMs, this.template);
    this.#plannedAt = now;
    this.#ports.event({ kind: "booted", at: now, node: this.id });
    this.#handle({ kind: "interfaces", interfaces: [this.#interfaceFact()] }, now);
    this.#plan(now);
  }

  /** Something from the network, the gateway's watcher or the main thread. A frame that answers a question is never left out. */
  receive(input: AgreementInput, now: Instant, isAnswer = false): void {
    if (!this.hasProcess) return;
    if (this.state === "running") {
      if (input.kind === "frame" && !this.#frameCounts(now) && !isAnswer) return;
      this.#handle(input, now);
      this.#plan(now);
    } else if (this.#inbox.length < SOCKET_DATAGRAMS || input.kind !== "datagram") {
      this.#inbox.push(input);
    } else {
      this.dropped += 1;
    }
  }

  /** The time for which the loop asked. */
  wake(now: Instant): void {
    if (this.state !== "running") return;
    if (now >= this.#plannedAt) this.#handle({ kind: "timeout" }, now);
    this.#plan(now);
  }

  pause(now: Instant): void {
    if (this.state === "running") this.#set("paused", now);
  }

  /** The whole machine stands still, kernel and all. */
  freeze(now: Instant): void {
    if (this.state !== "running") return;
    this.#ports.network({ kind: "kernel", host: this.id, state: "frozen" });
    this.#set("frozen", now);
  }

  resume(now: Instant): void {
    if (this.state !== "paused" && this.state !== "frozen") return;
    // The kernel takes what waits in the card's ring before the process runs.
    if (this.state === "frozen") this.#ports.network({ kind: "kernel", host: this.id, state: "on" });
    const lagMs = now - Math.min(this.#plannedAt, this.since + MAX_WAIT_MS);
    this.#set("running", now);
    if (lagMs >= WOKE_FROM_MS) this.#handle({ kind: "woke", lagMs }, now);
    const waiting = this.#inbox;
    this.#inbox = [];
    for (const input of waiting) if (input.kind !== "frame") this.#handle(input, now);
    if (this.#isDue(now)) this.#handle({ kind: "timeout" }, now);
    if (waiting.some(({ kind }) => kind === "frame") && this.#frameCounts(now)) this.#handle({ kind: "frame", interfaceIndex: SEGMENT_INTERFACE }, now);
    this.#plan(now);
  }

  /** SIGTERM: the process ends by itself once the machine says so. */
  stop(now: Instant): void {
    this.receive({ kind: "stop" }, now);
  }

  /** The process is killed. */
  kill(now: Instant): void {
    if (this.hasProcess) this.#end("gone", now);
  }

  powerOff(now: Instant): void {
    if (this.state === "off") return;
    this.#end("off", now);
    this.#ports.network({ kind: "kernel", host: this.id, state: "off" });
  }

  /** Carrier of the node's interface comes or goes, as its kernel tells the process. */
  setInterfaceUsable(isUsable: boolean, now: Instant): void {
    this.#interfaceUsable = isUsable;
    this.receive({ kind: "interfaces", interfaces: [this.#interfaceFact()] }, now);
  }

  /** Its interface gets an IPv6 link-local address, or loses it. */
  setCarriesIpv6(carriesIpv6: boolean, now: Instant): void {
    this.#carriesIpv6 = carriesIpv6;
    this.receive({ kind: "interfaces", interfaces: [this.#interfaceFact()] }, now);
  }

  #end(state: "gone" | "off", now: Instant): void {
    this.#machine = undefined;
    this.isSettled = false;
    this.#inbox = [];
    this.owned.clear();
    this.isSilent = false;
    this.#set(state, now);
    this.#ports.network({ kind: "process", host: this.id, isRunning: false });
    this.#ports.event({ kind: "gone", at: now, node: this.id });
  }

  #set(state: NodeState, now: Instant): void {
    this.state = state;
    this.since = now;
  }

  #frameCounts(now: Instant): boolean {
    if (now - this.#lastFrameAt < FRAME_INTERVAL_MS) return false;
    this.#lastFrameAt = now;
    return true;
  }

  #isDue(now: Instant): boolean {
    const next = this.#machine?.nextTimeout();
    return next !== undefined && next <= this.clock.local(now);
  }

  /** poll(2) takes whole milliseconds, so the loop is up to one too late. */
  #plan(now: Instant): void {
    if (this.state !== "running") return;
    const next = this.#machine?.nextTimeout();
    if (next === undefined) {
      this.#plannedAt = Number.POSITIVE_INFINITY;
      return;
    }
    const local = this.clock.local(now);
    const at = this.clock.real(local + Math.max(0, Math.ceil(next - local)));
    // Rounding must not lead to a wake-up just before the deadline, again and again.
    this.#plannedAt = Math.max(now, at) + 1e-6;
    this.#ports.wakeAt(this.#plannedAt);
  }

  #handle(input: AgreementInput, now: Instant): void {
    const outputs = this.#machine?.handle(input, this.clock.local(now)) ?? [];
    for (const output of outputs) this.#perform(output, now);
  }

  #perform(output: AgreementOutput, now: Instant): void {
    const from = this.id;
    switch (output.kind) {
      case "datagram":
        this.sent.datagrams += 1;
        this.sent.datagramBytes += output.bytes.length;
        this.#ports.tap(output.bytes, false);
        return this.#ports.network({ kind: "datagram", from, to: output.to, bytes: output.bytes });
      case "connect":
        return this.#ports.network({ kind: "connect", from, stream: output.stream, to: output.to });
      case "streamSend":
        this.sent.streamBytes += output.bytes.length;
        this.#ports.tap(output.bytes, true);
        return this.#ports.network({ kind: "streamSend", from, stream: output.stream, bytes: output.bytes });
      case "streamEnd":
      case "streamClose":
        return this.#ports.network({ kind: output.kind, from, stream: output.stream });
      case "ask":
        return this.#ports.network({ kind: "ask", from, address: output.address, questions: output.questions });
      case "askSegment":
        return this.#ports.network({ kind: "broadcast", from, addresses: output.addresses });
      default:
        return this.#tell(output, now);
    }
  }

  #tell(output: Exclude<AgreementOutput, { kind: "datagram" | "connect" | "streamSend" | "streamEnd" | "streamClose" | "ask" | "askSegment" }>, now: Instant): void {
    const node = this.id;
    switch (output.kind) {
      case "owned":
        this.owned.add(output.address);
        this.#ports.event({ kind: "owned", at: now, node, address: output.address, reason: output.reason, taken: output.taken });
        return this.#announce(now);
      case "reannounce":
        return this.#announce(now);
      case "lost":
        this.owned.delete(output.address);
        return this.#ports.event({ kind: "lost", at: now, node, address: output.address, reason: output.reason });
      case "handingOver":
        return this.#ports.event({ kind: "handingOver", at: now, node, address: output.address, to: output.to });
      case "silence":
      case "speak":
        this.isSilent = output.kind === "silence";
        return this.#ports.event({ kind: output.kind, at: now, node });
      case "member":
        return this.#ports.event({ kind: "member", at: now, node, about: output.node, state: output.state, before: output.before });
      case "verdict":
        return this.#ports.event({ kind: "verdict", at: now, node, about: output.node, class: output.class, silentForMs: output.silentForMs });
      case "dropped":
        return this.#ports.event({ kind: "dropped", at: now, node, reason: output.reason });
      case "stopped":
        this.#ports.event({ kind: "stopped", at: now, node });
        return this.kill(now);
      case "settled":
        this.isSettled = true;
        return;
      case "blocked":
        return;
    }
  }

  /** A gratuitous announcement: everybody hears a frame. Those that come close together count once for a hearer. */
  #announce(now: Instant): void {
    if (now - this.#lastAnnouncedAt < FRAME_INTERVAL_MS) return;
    this.#lastAnnouncedAt = now;
    this.#ports.network({ kind: "broadcast", from: this.id, addresses: [] });
  }

  #interfaceFact(): InterfaceFact {
    const mac = `02:00:00:00:${(this.id >> 8).toString(16).padStart(2, "0")}:${(this.id & 255).toString(16).padStart(2, "0")}`;
    const linkLocal = this.#carriesIpv6 ? { linkLocal: `fe80::${(this.id + 1).toString(16)}` } : {};
    const fact = { name: "eth0", index: SEGMENT_INTERFACE, mac, usable: this.#interfaceUsable, isNodeInterface: true as const, ...linkLocal };
    return this.#interfaceUsable ? fact : { ...fact, reason: "noCarrier" };
  }
}
