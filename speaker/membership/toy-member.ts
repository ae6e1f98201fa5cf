/**
 * One membership for tests, with everybody else played by the test: messages go in and come out as values.
 */

import type { Instant } from "../machine.ts";
import { OUR_VERSIONS } from "./context.ts";
import { CLEAR_KEYRING } from "./keyring.ts";
import { Membership } from "./membership.ts";
import { LAN_TIMING } from "./membership-protocol.ts";
import type { MembershipInput, MembershipOutput, MembershipTiming, StreamId } from "./membership-protocol.ts";
import type { AliveMessage, Endpoint, PacketMessage, StreamMessage } from "./message.ts";
import { decodePacket, encodePacket } from "./packet-codec.ts";
import { encodeStreamMessage, StreamDecoder } from "./stream-codec.ts";

export const SELF = "self";
export const SELF_ENDPOINT: Endpoint = { address: "192.0.2.250", port: 7946 };
export const SELF_INCARNATION = 100;

/** The endpoint of the member of that number. */
export function endpointOf(number: number): Endpoint {
  return { address: `192.0.2.${number}`, port: 7946 };
}

/** What the member of that number says of itself. */
export function alive(number: number, incarnation = 1, more: Partial<AliveMessage> = {}): AliveMessage {
  return { kind: "alive", node: `node-${number}`, endpoint: endpointOf(number), incarnation, meta: new Uint8Array(), versions: OUR_VERSIONS, ...more };
}

export interface Sent {
  readonly at: Instant;
  readonly to: Endpoint;
  readonly messages: readonly PacketMessage[];
  /** Length of the datagram. */
  readonly bytes: number;
}

export class ToyMember {
  readonly machine: Membership;
  now: Instant = 0;
  /** Datagrams that left. */
  sent: Sent[] = [];
  /** All other outputs. */
  told: MembershipOutput[] = [];
  /** Members that this node takes to be alive. */
  readonly vouchedFor = new Set<string>();

  /** Every random number is the half: what is random is in the middle of its range. */
  constructor(timing: MembershipTiming = LAN_TIMING) {
    this.machine = new Membership(
      { node: SELF, endpoint: SELF_ENDPOINT, keyring: CLEAR_KEYRING, incarnation: SELF_INCARNATION, meta: Uint8Array.of(7), timing, vouchesFor: (node) => this.vouchedFor.has(node) },
      { next: () => 0.5 },
    );
    this.handle({ kind: "timeout" });
  }

  handle(input: MembershipInput): void {
    for (const output of this.machine.handle(input, this.now)) {
      if (output.kind === "datagram") this.sent.push({ at: this.now, to: output.to, messages: decodePacket(output.bytes, CLEAR_KEYRING), bytes: output.bytes.length });
      else this.told.push(output);
    }
  }

  /** A packet from that endpoint. */
  feed(from: Endpoint, ...messages: readonly PacketMessage[]): void {
    this.handle({ kind: "datagram", from, bytes: encodePacket(messages, CLEAR_KEYRING, { next: () => 0.5 }) });
  }

  /** Bytes of a message on a stream. */
  feedStream(stream: StreamId, message: StreamMessage): void {
    this.handle({ kind: "streamBytes", stream, bytes: encodeStreamMessage(message, CLEAR_KEYRING, { next: () => 0.5 }) });
  }

  /** Lets time pass, waking the machine as it asks. */
  run(milliseconds: number): void {
    const end = this.now + milliseconds;
    for (let next = this.machine.nextTimeout(); next !== undefined && next <= end; next = this.machine.nextTimeout()) {
      this.now = Math.max(this.now, next);
      this.handle({ kind: "timeout" });
    }
    this.now = end;
  }

  /** Lets time pass until the news that wait have been said, and forgets what was sent. */
  settle(): void {
    for (let rounds = 0; rounds < 100 && this.machine.snapshot().queuedNews > 0; rounds += 1) this.run(100);
    this.sent = [];
    this.told = [];
  }

  /** Messages of that kind that left, with where to and when. */
  sentOf<Kind extends PacketMessage["kind"]>(kind: Kind): { readonly at: Instant; readonly to: Endpoint; readonly message: Extract<PacketMessage, { kind: Kind }> }[] {
    return this.sent.flatMap(({ at, to, messages }) => messages.filter((message): message is Extract<PacketMessage, { kind: Kind }> => message.kind === kind).map((message) => ({ at, to, message })));
  }

  toldOf<Kind extends MembershipOutput["kind"]>(kind: Kind): Extract<MembershipOutput, { kind: Kind }>[] {
    return this.told.filter((output): output is Extract<MembershipOutput, { kind: Kind }> => output.kind === kind);
  }

  drops(): string[] {
    return this.toldOf("dropped").map(({ reason }) => reason);
  }

  /** What was written to that stream. */
  written(stream: StreamId): StreamMessage[] {
    const decoder = new StreamDecoder(CLEAR_KEYRING);
    for (const output of this.toldOf("streamSend")) if (output.stream === stream) decoder.push(output.bytes);
    const messages: StreamMessage[] = [];
    for (let message = decoder.next(); message !== undefined; message = decoder.next()) messages.push(message);
    return messages;
  }
}
