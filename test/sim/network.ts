/**
 * The simulated segment, itself a machine: what hosts send goes in, what reaches them comes out, later or never. It
 * knows of each host whether its kernel runs, is frozen (a paused virtual machine) or is off, and whether a process
 * listens on the membership port. A kernel that runs answers ARP, echo requests and connection attempts by itself,
 * whatever its processes do.
 *
 * A frozen host's packets wait in its network card's ring, as far as there is room. What a paused process has not read
 * waits with the process (`node.ts`).
 */

import type { AgreementInput } from "../../speaker/agreement/agreement-protocol.ts";
import type { Question } from "../../speaker/detection/detection-protocol.ts";
import type { Instant, Machine, Random } from "../../speaker/machine.ts";
import type { StreamId } from "../../speaker/membership/membership-protocol.ts";
import type { Endpoint } from "../../speaker/membership/message.ts";
import { EventHeap } from "./event-heap.ts";
import { Links } from "./links.ts";
import type { HostId, LinkQuality } from "./links.ts";
import { Streams } from "./streams.ts";
import type { StreamFlight } from "./streams.ts";

/** Packets that a frozen host's network card holds. */
export const RING_PACKETS = 256;
/** The segment's interface, the same on each host. */
export const SEGMENT_INTERFACE = 2;
/** memberlist's port. */
export const MEMBERSHIP_PORT = 7946;

export type KernelState = "on" | "frozen" | "off";

export type NetworkInput =
  | { readonly kind: "datagram"; readonly from: HostId; readonly to: Endpoint; readonly bytes: Uint8Array }
  | { readonly kind: "connect"; readonly from: HostId; readonly stream: StreamId; readonly to: Endpoint }
  | { readonly kind: "streamSend"; readonly from: HostId; readonly stream: StreamId; readonly bytes: Uint8Array }
  | { readonly kind: "streamEnd"; readonly from: HostId; readonly stream: StreamId }
  | { readonly kind: "streamClose"; readonly from: HostId; readonly stream: StreamId }
  | { readonly kind: "ask"; readonly from: HostId; readonly address: string; readonly questions: readonly Question[] }
  /** A broadcast frame that asks for these addresses: all hosts hear it, those that have one of them in their kernel answer. */
  | { readonly kind: "broadcast"; readonly from: HostId; readonly addresses: readonly string[] }
  | { readonly kind: "cut" | "mend"; readonly from: HostId; readonly to: HostId }
  | { readonly kind: "quality"; readonly quality: LinkQuality }
  | { readonly kind: "kernel"; readonly host: HostId; readonly state: KernelState }
  | { readonly kind: "process"; readonly host: HostId; readonly isRunning: boolean }
  | { readonly kind: "timeout" };

/** Something reaches a host's process. */
export interface NetworkOutput {
  readonly host: HostId;
  readonly input: AgreementInput;
  /** Whose doing it is, where one host is: checkers ask who was heard. */
  readonly from: HostId | undefined;
  /** A frame that answers a question of this host's: it always counts as heard. */
  readonly isAnswer?: true;
}

interface Host {
  readonly address: string;
  kernel: KernelState;
  isListening: boolean;
  readonly ring: Flight[];
}

type Flight =
  | { readonly kind: "datagram"; readonly from: HostId; readonly to: HostId; readonly bytes: Uint8Array }
  | { readonly kind: "frame"; readonly from: HostId; readonly to: HostId; readonly addresses: readonly string[]; readonly isAnswer?: true }
  | { readonly kind: "question"; readonly from: HostId; readonly to: HostId; readonly question: Question }
  | { readonly kind: "answer"; readonly from: HostId; readonly to: HostId; readonly question: Question; readonly result: "answered" | "refused" }
  | StreamFlight;

const FRAME: AgreementInput = { kind: "frame", interfaceIndex: SEGMENT_INTERFACE };

export class Network implements Machine<NetworkInput, NetworkOutput> {
  readonly links: Links;
  /** Packets that found a frozen host's ring full, or a host that was off or had no process. */
  unread = 0;
  readonly #hosts: readonly Host[];
  readonly #byAddress: ReadonlyMap<string, HostId>;
  readonly #flights = new EventHeap<Flight>();
  readonly #streams: Streams;
  #outputs: NetworkOutput[] = [];
  #now: Instant = 0;

  /** @param addresses node address of each host, in the order of their numbers. All kernels are on, no process listens. */
  constructor(addresses: readonly string[], random: Random) {
    this.links = new Links(addresses.length, random);
    this.#hosts = addresses.map((address) => ({ address, kernel: "on", isListening: false, ring: [] }));
    this.#byAddress = new Map(addresses.map((address, host) => [address, host]));
    this.#streams = new Streams({
      links: this.links,
      random,
      hostOf: (address) => this.#byAddress.get(address),
      addressOf: (host) => this.#host(host).address,
      kernel: (host) => this.#host(host).kernel,
      isListening: (host) => this.#host(host).isListening,
      later: (delayMs, flight) => this.#flights.push(this.#now + delayMs, flight),
      deliver: (host, input) => this.#outputs.push({ host, input, from: undefined }),
    });
  }

  nextTimeout(): Instant | undefined {
    return this.#flights.next();
  }

  handle(input: NetworkInput, now: Instant): NetworkOutput[] {
    if (now < this.#now) throw new Error(`time went back from ${this.#now} to ${now}`);
    this.#now = now;
    this.#take(input);
    if (this.#outputs.length === 0) return [];
    const outputs = this.#outputs;
    this.#outputs = [];
    return outputs;
  }

  #take(input: NetworkInput): void {
    switch (input.kind) {
      case "timeout":
        for (let flight = this.#flights.takeDue(this.#now); flight !== undefined; flight = this.#flights.takeDue(this.#now)) this.#land(flight);
        return;
      case "datagram":
        return this.#datagram(input.from, input.to, input.bytes);
      case "connect":
        return this.#streams.connect({ from: input.from, id: input.stream, to: input.to });
      case "streamSend":
        return this.#streams.send(input.from, input.stream, input.bytes);
      case "streamEnd":
        return this.#streams.end(input.from, input.stream);
      case "streamClose":
        return this.#streams.close(input.from, input.stream);
      case "ask":
        return this.#ask(input.from, input.address, input.questions);
      case "broadcast":
        return this.#broadcast(input.from, input.addresses);
      case "cut":
        return this.links.cut(input.from, input.to);
      case "mend":
        return this.links.mend(input.from, input.to);
      case "quality":
        this.links.quality = input.quality;
        return;
      case "kernel":
        return this.#setKernel(input.host, input.state);
      case "process":
        this.#host(input.host).isListening = input.isRunning;
        if (!input.isRunning) this.#streams.drop(input.host, this.#host(input.host).kernel === "on");
        return;
    }
  }

  #datagram(from: HostId, { address }: Endpoint, bytes: Uint8Array): void {
    const to = this.#byAddress.get(address);
    if (to === undefined) return;
    const transit = this.links.transit(from, to);
    if (transit === undefined) return;
    const flight: Flight = { kind: "datagram", from, to, bytes };
    this.#flights.push(this.#now + transit, flight);
    const again = this.links.duplicate();
    if (again !== undefined) this.#flights.push(this.#now + again, flight);
  }

  #ask(from: HostId, address: string, questions: readonly Question[]): void {
    const to = this.#byAddress.get(address);
    if (to === undefined) return;
    for (const question of questions) {
      const transit = this.links.transit(from, to);
      if (transit !== undefined) this.#flights.push(this.#now + transit, { kind: "question", from, to, question });
    }
  }

  #broadcast(from: HostId, addresses: readonly string[]): void {
    for (let to = 0; to < this.#hosts.length; to++) {
      if (to === from) continue;
      const transit = this.links.transit(from, to);
      if (transit !== undefined) this.#flights.push(this.#now + transit, { kind: "frame", from, to, addresses });
    }
  }

  #setKernel(id: HostId, state: KernelState): void {
    const host = this.#host(id);
    host.kernel = state;
    if (state === "off") {
      host.isListening = false;
      host.ring.length = 0;
      this.#streams.drop(id, false);
    } else if (state === "on") {
      for (const flight of host.ring.splice(0)) this.#land(flight);
    }
  }

  #land(flight: Flight): void {
    switch (flight.kind) {
      case "datagram":
      case "frame":
      case "question":
      case "answer":
        return this.#packet(flight, this.#host(flight.to));
      default:
        return this.#streams.handle(flight);
    }
  }

  #packet(flight: Exclude<Flight, StreamFlight>, host: Host): void {
    if (host.kernel === "off" || (host.kernel === "frozen" && host.ring.length >= RING_PACKETS)) {
      this.unread += 1;
      return;
    }
    if (host.kernel === "frozen") {
      host.ring.push(flight);
      return;
    }
    const { from, to } = flight;
    switch (flight.kind) {
      case "datagram":
        if (host.isListening) this.#outputs.push({ host: to, input: { kind: "datagram", from: { address: this.#host(from).address, port: MEMBERSHIP_PORT }, bytes: flight.bytes }, from });
        else this.unread += 1;
        return;
      case "frame":
        this.#heard(host, from, to, flight.isAnswer);
        if (flight.addresses.includes(host.address)) this.#reply({ kind: "frame", from: to, to: from, addresses: [], isAnswer: true });
        return;
      case "question":
        if (flight.question === "arp") this.#heard(host, from, to);
        this.#reply({ kind: "answer", from: to, to: from, question: flight.question, result: flight.question === "tcp" && !host.isListening ? "refused" : "answered" });
        return;
      case "answer":
        if (flight.question === "arp") this.#heard(host, from, to, true);
        if (host.isListening) this.#outputs.push({ host: to, input: { kind: "answer", address: this.#host(from).address, question: flight.question, result: flight.result }, from });
        return;
    }
  }

  #heard(host: Host, from: HostId, to: HostId, isAnswer?: true): void {
    if (host.isListening) this.#outputs.push({ host: to, input: FRAME, from, ...(isAnswer && { isAnswer }) });
  }

  #reply(flight: Extract<Flight, { kind: "frame" | "answer" }>): void {
    const transit = this.links.transit(flight.from, flight.to);
    if (transit !== undefined) this.#flights.push(this.#now + transit, flight);
  }

  #host(id: HostId): Host {
    const host = this.#hosts[id];
    if (host === undefined) throw new Error(`no host ${id}`);
    return host;
  }
}
