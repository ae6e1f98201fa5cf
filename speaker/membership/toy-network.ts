/**
 * A network for tests: memberships that exchange encoded bytes on a virtual clock, with machines that can be switched off
 * and links that can be cut. Every packet takes a millisecond; a stream is a pair of numbers and loses nothing.
 */

import type { Instant, Random } from "../machine.ts";
import type { Keyring } from "./keyring.ts";
import { CLEAR_KEYRING } from "./keyring.ts";
import { Membership } from "./membership.ts";
import { LAN_TIMING } from "./membership-protocol.ts";
import type { MemberState, MembershipInput, MembershipOutput, MembershipTiming, StreamId } from "./membership-protocol.ts";
import type { Endpoint } from "./message.ts";

const LATENCY_MS = 1;
/** Every membership's port. */
export const PORT = 7946;

export interface StartOptions {
  readonly address?: string;
  readonly incarnation?: number;
  readonly keyring?: Keyring;
  readonly meta?: Uint8Array;
  readonly timing?: MembershipTiming;
}

/** An output that tells something, with who said it and when. */
export interface Told {
  readonly at: Instant;
  readonly node: string;
  readonly output: MembershipOutput;
}

interface Host {
  readonly name: string;
  readonly endpoint: Endpoint;
  readonly machine: Membership;
  /** Far ends of its streams, by its own numbers. */
  readonly streams: Map<StreamId, { readonly host: Host; readonly stream: StreamId }>;
  lastAccepted: StreamId;
  isRunning: boolean;
  next: Instant | undefined;
}

interface Delivery {
  readonly at: Instant;
  readonly deliver: () => void;
}

export class ToyNetwork {
  now: Instant = 0;
  readonly told: Told[] = [];
  /** Datagrams sent, to whatever end. */
  datagrams = 0;
  readonly #random: Random;
  readonly #byAddress = new Map<string, Host>();
  readonly #byName = new Map<string, Host>();
  #deliveries: Delivery[] = [];
  #isCut: (from: string, to: string) => boolean = () => false;
  #isDatagramLost: (from: string, to: string) => boolean = () => false;

  constructor(random: Random) {
    this.#random = random;
  }

  /** Starts a process; one of the same name that ran before is gone. */
  start(name: string, options: StartOptions = {}): Membership {
    const number = /\d+$/.exec(name)?.[0] ?? "250";
    const { address = `192.0.2.${number}`, incarnation = 1_000, keyring = CLEAR_KEYRING, meta = new Uint8Array(), timing = LAN_TIMING } = options;
    this.stop(name);
    const endpoint = { address, port: PORT };
    const machine = new Membership({ node: name, endpoint, keyring, incarnation, meta, timing }, this.#random);
    const host: Host = { name, endpoint, machine, streams: new Map(), lastAccepted: -1, isRunning: true, next: undefined };
    this.#byName.set(name, host);
    this.#byAddress.set(address, host);
    this.handle(name, { kind: "timeout" });
    return machine;
  }

  /** Ends the process; its kernel refuses connections from now on. */
  stop(name: string): void {
    const host = this.#byName.get(name);
    if (host === undefined) return;
    host.isRunning = false;
    if (this.#byAddress.get(host.endpoint.address) === host) this.#byAddress.delete(host.endpoint.address);
    this.#byName.delete(name);
    for (const { host: peer, stream } of host.streams.values()) this.#later(() => this.#handle(peer, { kind: "streamFailed", stream, reason: "connectionReset" }));
  }

  /** Cuts every link that `isCut` names by the two processes' names, until the next call. */
  cut(isCut: (from: string, to: string) => boolean): void {
    this.#isCut = isCut;
  }

  /** Loses datagrams that `isLost` names by sender and receiver, until the next call; streams get through. */
  lose(isLost: (from: string, to: string) => boolean): void {
    this.#isDatagramLost = isLost;
  }

  machine(name: string): Membership {
    return this.#host(name).machine;
  }

  /** What `node` believes of `about`; undefined if it knows nothing. */
  state(node: string, about: string): MemberState | undefined {
    return this.machine(node)
      .members()
      .find((member) => member.node === about)?.state;
  }

  /** The states of all that `node` knows, by name. */
  view(node: string): Record<string, MemberState> {
    return Object.fromEntries(
      this.machine(node)
        .members()
        .map(({ node, state }) => [node, state] as const)
        .toSorted(([a], [b]) => (a < b ? -1 : 1)),
    );
  }

  handle(name: string, input: MembershipInput): void {
    this.#handle(this.#host(name), input);
  }

  /** Every host expects every other. */
  expectAll(): void {
    const peers = [...this.#byName.values()].map(({ name, endpoint }) => ({ node: name, address: endpoint.address }));
    for (const { name } of this.#byName.values()) this.handle(name, { kind: "expected", peers: peers.filter(({ node }) => node !== name) });
  }

  /** Lets time pass. */
  run(milliseconds: number): void {
    const end = this.now + milliseconds;
    while (this.#step(end));
    this.now = end;
  }

  /** Lets time pass until it is so, for so long at most. Whether it is. */
  runUntil(isSo: () => boolean, milliseconds: number): boolean {
    const end = this.now + milliseconds;
    while (!isSo()) {
      if (this.#step(end)) continue;
      this.now = end;
      return isSo();
    }
    return true;
  }

  /** What was told of that kind, optionally by one node. */
  heard<Kind extends MembershipOutput["kind"]>(kind: Kind, node?: string): (Extract<MembershipOutput, { kind: Kind }> & { readonly at: Instant; readonly by: string })[] {
    return this.told.flatMap((told) =>
      told.output.kind === kind && (node === undefined || told.node === node) ? [{ ...(told.output as Extract<MembershipOutput, { kind: Kind }>), at: told.at, by: told.node }] : [],
    );
  }

  /** One delivery or one host's deadlines, whatever is due first. False when nothing is due until then. */
  #step(end: Instant): boolean {
    let host: Host | undefined;
    for (const candidate of this.#byName.values()) {
      if (candidate.next !== undefined && (host?.next === undefined || candidate.next < host.next)) host = candidate;
    }
    const [delivery] = this.#deliveries;
    // Packets that wait come before deadlines.
    if (delivery !== undefined && (host?.next === undefined || delivery.at <= host.next)) {
      if (delivery.at > end) return false;
      this.#deliveries.shift();
      this.now = Math.max(this.now, delivery.at);
      delivery.deliver();
      return true;
    }
    if (host?.next === undefined || host.next > end) return false;
    this.now = Math.max(this.now, host.next);
    this.#handle(host, { kind: "timeout" });
    return true;
  }

  #host(name: string): Host {
    const host = this.#byName.get(name);
    if (host === undefined) throw new Error(`no process ${name}`);
    return host;
  }

  #handle(host: Host, input: MembershipInput): void {
    if (!host.isRunning) return;
    const outputs = host.machine.handle(input, this.now);
    host.next = host.machine.nextTimeout();
    for (const output of outputs) this.#perform(host, output);
  }

  #perform(host: Host, output: MembershipOutput): void {
    switch (output.kind) {
      case "datagram":
        return this.#datagram(host, output.to, output.bytes);
      case "connect":
        return this.#connect(host, output.stream, output.to);
      case "streamSend":
        return this.#toPeer(host, output.stream, (stream) => ({ kind: "streamBytes", stream, bytes: output.bytes }));
      case "streamEnd":
        return this.#toPeer(host, output.stream, (stream) => ({ kind: "streamEnded", stream }));
      case "streamClose":
        this.#toPeer(host, output.stream, (stream) => ({ kind: "streamEnded", stream }));
        host.streams.delete(output.stream);
        return undefined;
      default:
        this.told.push({ at: this.now, node: host.name, output });
        return undefined;
    }
  }

  #datagram(from: Host, to: Endpoint, bytes: Uint8Array): void {
    this.datagrams += 1;
    this.#later(() => {
      const target = this.#byAddress.get(to.address);
      if (target !== undefined && !this.#isCut(from.name, target.name) && !this.#isDatagramLost(from.name, target.name)) this.#handle(target, { kind: "datagram", from: from.endpoint, bytes });
    });
  }

  #connect(from: Host, stream: StreamId, to: Endpoint): void {
    this.#later(() => {
      const target = this.#byAddress.get(to.address);
      if (target === undefined) return this.#handle(from, { kind: "streamFailed", stream, reason: "connectionRefused" });
      // A cut link answers nothing at all.
      if (this.#isCut(from.name, target.name) || this.#isCut(target.name, from.name)) return;
      target.lastAccepted += 2;
      const accepted = target.lastAccepted;
      target.streams.set(accepted, { host: from, stream });
      from.streams.set(stream, { host: target, stream: accepted });
      this.#handle(target, { kind: "streamAccepted", stream: accepted, from: { address: from.endpoint.address, port: 40_000 + stream } });
      this.#handle(from, { kind: "streamConnected", stream });
    });
  }

  #toPeer(host: Host, stream: StreamId, input: (stream: StreamId) => MembershipInput): void {
    const peer = host.streams.get(stream);
    if (peer === undefined) return;
    this.#later(() => {
      if (!this.#isCut(host.name, peer.host.name)) this.#handle(peer.host, input(peer.stream));
    });
  }

  #later(deliver: () => void): void {
    this.#deliveries.push({ at: this.now + LATENCY_MS, deliver });
  }
}
