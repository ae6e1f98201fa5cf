/**
 * Messages of members for tests: any that may be sent, as fast-check arbitraries, and a plain one of each kind.
 */

import fc from "fast-check";

import type { Endpoint, PacketMessage, PushPullState, StreamMessage } from "../../speaker/membership/message.ts";
import { formatIpAddress, ipAddressFromBytes } from "../../wire/ip-address.ts";

/** Decoders make plain objects. */
const PLAIN = { noNullPrototype: true } as const;
const u32 = fc.integer({ min: 0, max: 0xffff_ffff });
/** At most 80 characters of up to three UTF-8 bytes: past a length of 31, and never past the 255 bytes of a name. */
const name = fc.oneof(fc.stringMatching(/^[a-z0-9.-]{1,80}$/), fc.string({ minLength: 1, maxLength: 60, unit: "grapheme" }).filter((text) => new TextEncoder().encode(text).length <= 255));
const bytes = (maxLength: number): fc.Arbitrary<Uint8Array> => fc.uint8Array({ maxLength });
/** Never IPv4 in 16 bytes: that is decoded as IPv4. */
const address = fc
  .oneof(fc.uint8Array({ minLength: 4, maxLength: 4 }), fc.uint8Array({ minLength: 16, maxLength: 16 }).filter((value) => value[0] !== 0))
  .map((value) => formatIpAddress(ipAddressFromBytes(value)));
const endpoint: fc.Arbitrary<Endpoint> = fc.record({ address, port: fc.integer({ min: 1, max: 0xffff }) }, PLAIN);
const versions = fc.uint8Array({ minLength: 6, maxLength: 6 });
const source = { source: fc.option(endpoint, { nil: undefined }), sourceNode: fc.oneof(fc.constant(""), name) };

const ping = fc.record({ kind: fc.constant("ping" as const), sequence: u32, node: name, ...source }, PLAIN);
const ack = fc.record({ kind: fc.constant("ack" as const), sequence: u32, payload: bytes(1024) }, PLAIN);
const user = fc.record({ kind: fc.constant("user" as const), bytes: bytes(300) }, PLAIN);
const member = { node: name, endpoint, incarnation: u32, meta: bytes(512), versions };

/** Any message that a datagram may have. */
export const packetMessage: fc.Arbitrary<PacketMessage> = fc.oneof(
  ping,
  ack,
  user,
  fc.record({ kind: fc.constant("indirectPing" as const), sequence: u32, node: name, target: endpoint, nack: fc.boolean(), ...source }, PLAIN),
  fc.record({ kind: fc.constant("nack" as const), sequence: u32 }, PLAIN),
  fc.record({ kind: fc.constant("alive" as const), ...member }, PLAIN),
  fc.record({ kind: fc.constantFrom("suspect" as const, "dead" as const), node: name, incarnation: u32, from: name }, PLAIN),
);

const state: fc.Arbitrary<PushPullState> = fc.record({ ...member, state: fc.constantFrom("alive", "suspect", "dead", "left") }, PLAIN);

/** Any message that a stream may have. */
export const streamMessage: fc.Arbitrary<StreamMessage> = fc.oneof(
  ping,
  ack,
  user,
  fc.record({ kind: fc.constant("pushPull" as const), join: fc.boolean(), states: fc.array(state, { maxLength: 5 }), userState: bytes(300) }, PLAIN),
  fc.record({ kind: fc.constant("error" as const), text: fc.string({ maxLength: 100 }) }, PLAIN),
);

const here: Endpoint = { address: "192.0.2.1", port: 7946 };
const there: Endpoint = { address: "2001:db8::2", port: 7946 };

/** One message of each kind that a datagram may have. */
export const PACKET_MESSAGES: readonly PacketMessage[] = [
  { kind: "ping", sequence: 7, node: "node-b", source: here, sourceNode: "node-a" },
  { kind: "indirectPing", sequence: 8, node: "node-b", target: there, nack: true, source: here, sourceNode: "node-a" },
  { kind: "ack", sequence: 7, payload: new Uint8Array(0) },
  { kind: "nack", sequence: 8 },
  { kind: "alive", node: "node-b", endpoint: there, incarnation: 70_000, meta: Uint8Array.of(1, 2), versions: Uint8Array.of(1, 5, 2, 0, 0, 0) },
  { kind: "suspect", node: "node-b", incarnation: 3, from: "node-a" },
  { kind: "dead", node: "node-b", incarnation: 3, from: "node-a" },
  { kind: "user", bytes: Uint8Array.of(0, 1, 2, 0xff) },
];

/** One message of each kind that a stream may have. */
export const STREAM_MESSAGES: readonly StreamMessage[] = [
  {
    kind: "pushPull",
    join: true,
    states: [
      { node: "node-a", endpoint: here, incarnation: 1, state: "alive", meta: new Uint8Array(0), versions: Uint8Array.of(1, 5, 2, 0, 0, 0) },
      { node: "node-b", endpoint: there, incarnation: 9, state: "left", meta: Uint8Array.of(1), versions: Uint8Array.of(1, 5, 2, 0, 0, 0) },
    ],
    userState: Uint8Array.of(5, 6),
  },
  { kind: "ping", sequence: 7, node: "node-b", source: here, sourceNode: "node-a" },
  { kind: "ack", sequence: 7, payload: new Uint8Array(0) },
  { kind: "user", bytes: Uint8Array.of(0, 1, 2, 0xff) },
  { kind: "error", text: "remote state is encrypted" },
];
