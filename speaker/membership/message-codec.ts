/**
 * memberlist's messages, one type byte and one map each; what wraps them is in `packet-codec.ts` and `stream-codec.ts`.
 * Field names and numbers are those of memberlist's protocol versions 2 to 5.
 */

import type { ByteReader } from "../../wire/byte-reader.ts";
import { formatIpAddress, ipAddressFromBytes, ipAddressToBytes, parseIpAddress } from "../../wire/ip-address.ts";
import { ByteWriter } from "../../wire/byte-writer.ts";
import type { Endpoint, ErrorMessage, PacketMessage, PushPullState, ProtocolVersions } from "./message.ts";
import { encodeFields, readFields } from "./msgpack.ts";
import type { Fields, FieldValue } from "./msgpack.ts";
import { PacketError } from "./packet-error.ts";

/** The first byte of every message. */
export const MessageType = {
  ping: 0,
  indirectPing: 1,
  ack: 2,
  suspect: 3,
  alive: 4,
  dead: 5,
  pushPull: 6,
  compound: 7,
  user: 8,
  compress: 9,
  encrypt: 10,
  nack: 11,
  checksum: 12,
  error: 13,
  label: 244,
} as const;
export type MessageType = (typeof MessageType)[keyof typeof MessageType];

/** Longest name of a member, UTF-8 bytes. A Kubernetes node's has at most 253. */
export const MAX_NODE_NAME = 255;
/** Most bytes that the application may attach to a member. */
export const MAX_META = 512;
/** Most bytes in an ack; memberlist's own acks have none. */
export const MAX_ACK_PAYLOAD = 1024;
/** What is read of the text of an error. */
export const MAX_ERROR_TEXT = 512;

const U32 = 0xffff_ffff;
const PORT = 0xffff;
const VERSIONS_LENGTH = 6;
const IPV4_LENGTH = 4;
const IPV6_LENGTH = 16;
const CLAUSE = "memberlist message";

/** memberlist's node states, by their numbers. */
const STATES = ["alive", "suspect", "dead", "left"] as const;

/** Type byte and body. @throws AddressError, RangeError for values that cannot be sent: mistakes of ours. */
export function encodeMessage(message: PacketMessage | ErrorMessage): Uint8Array {
  switch (message.kind) {
    case "ping":
      return withType(MessageType.ping, { SeqNo: message.sequence, Node: message.node, ...sourceFields(message.source, message.sourceNode) });
    case "indirectPing": {
      const { address, port } = message.target;
      const target = { SeqNo: message.sequence, Target: addressBytes(address), Port: port, Node: message.node, Nack: message.nack };
      return withType(MessageType.indirectPing, { ...target, ...sourceFields(message.source, message.sourceNode) });
    }
    case "ack":
      return withType(MessageType.ack, { SeqNo: message.sequence, Payload: message.payload });
    case "nack":
      return withType(MessageType.nack, { SeqNo: message.sequence });
    case "suspect":
    case "dead":
      return withType(MessageType[message.kind], { Incarnation: message.incarnation, Node: message.node, From: message.from });
    case "alive":
      return withType(MessageType.alive, { Node: message.node, ...memberFields(message) });
    case "user":
      return new ByteWriter(1 + message.bytes.length).u8(MessageType.user).bytes(message.bytes).finish();
    case "error":
      return withType(MessageType.error, { Error: message.text });
  }
}

/** One member of a push-pull; no type byte. */
export function encodeState(state: PushPullState): Uint8Array {
  return encodeFields({ Name: state.node, ...memberFields(state), State: STATES.indexOf(state.state) });
}

function withType(type: MessageType, fields: Readonly<Record<string, FieldValue>>): Uint8Array {
  const body = encodeFields(fields);
  return new ByteWriter(1 + body.length).u8(type).bytes(body).finish();
}

function sourceFields(source: Endpoint | undefined, sourceNode: string): Record<string, FieldValue> {
  const fields: Record<string, FieldValue> = {};
  if (source !== undefined) {
    fields["SourceAddr"] = addressBytes(source.address);
    fields["SourcePort"] = source.port;
  }
  if (sourceNode !== "") fields["SourceNode"] = sourceNode;
  return fields;
}

function memberFields(member: Omit<PushPullState, "node" | "state">): Record<string, FieldValue> {
  const { endpoint, incarnation, meta, versions } = member;
  return { Addr: addressBytes(endpoint.address), Port: endpoint.port, Incarnation: incarnation, Meta: meta, Vsn: versions };
}

/** IPv4 in 4 bytes, IPv6 in 16. */
function addressBytes(text: string): Uint8Array {
  return ipAddressToBytes(parseIpAddress(text));
}

/**
 * Reads the body of a message that is one map; the reader stands behind the type byte. Bytes after the map are ignored, as
 * memberlist ignores them.
 * @throws PacketError `unknownMessage` for other types, `malformed`, `tooLong`. @throws DecodeError when the bytes end too early.
 */
export function readMapMessage(type: number, reader: ByteReader): Exclude<PacketMessage, { kind: "user" }> | ErrorMessage {
  switch (type) {
    case MessageType.ping: {
      const fields = readFields(reader);
      return { kind: "ping", sequence: fields.integer("SeqNo", U32), node: fields.text("Node", MAX_NODE_NAME), ...readSource(fields, reader) };
    }
    case MessageType.indirectPing: {
      const fields = readFields(reader);
      const target = readEndpoint(fields, "Target", reader);
      const node = fields.text("Node", MAX_NODE_NAME);
      return { kind: "indirectPing", sequence: fields.integer("SeqNo", U32), node, target, nack: fields.flag("Nack"), ...readSource(fields, reader) };
    }
    case MessageType.ack: {
      const fields = readFields(reader);
      return { kind: "ack", sequence: fields.integer("SeqNo", U32), payload: fields.bytes("Payload", MAX_ACK_PAYLOAD) };
    }
    case MessageType.nack:
      return { kind: "nack", sequence: readFields(reader).integer("SeqNo", U32) };
    case MessageType.suspect:
    case MessageType.dead: {
      const fields = readFields(reader);
      const node = readNode(fields, "Node", reader);
      return { kind: type === MessageType.dead ? "dead" : "suspect", node, incarnation: fields.integer("Incarnation", U32), from: fields.text("From", MAX_NODE_NAME) };
    }
    case MessageType.alive: {
      const fields = readFields(reader);
      return { kind: "alive", node: readNode(fields, "Node", reader), ...readMember(fields, reader) };
    }
    case MessageType.error:
      return { kind: "error", text: readFields(reader).beginning("Error", MAX_ERROR_TEXT) };
    default:
      throw new PacketError(`message type ${type}`, { reason: "unknownMessage", offset: reader.offset, clause: CLAUSE });
  }
}

/** One member of a push-pull. @throws as readMapMessage. */
export function readState(reader: ByteReader): PushPullState {
  const fields = readFields(reader);
  const state = STATES[fields.integer("State", STATES.length - 1)] ?? "dead";
  return { node: readNode(fields, "Name", reader), state, ...readMember(fields, reader) };
}

function readMember(fields: Fields, reader: ByteReader): { endpoint: Endpoint; incarnation: number; meta: Uint8Array; versions: ProtocolVersions } {
  const versions = fields.bytes("Vsn", VERSIONS_LENGTH);
  // Members of protocol 1 may leave them out.
  if (versions.length !== 0 && versions.length !== VERSIONS_LENGTH) throw malformed(reader, `${versions.length} protocol versions`);
  return {
    endpoint: readEndpoint(fields, "Addr", reader),
    incarnation: fields.integer("Incarnation", U32),
    meta: fields.bytes("Meta", MAX_META),
    versions,
  };
}

function readNode(fields: Fields, name: string, reader: ByteReader): string {
  const node = fields.text(name, MAX_NODE_NAME);
  if (node === "") throw malformed(reader, "a member without a name");
  return node;
}

/** The address under `name` and the port beside it. Protocol 1 had no ports; such members are not supported. */
function readEndpoint(fields: Fields, name: string, reader: ByteReader): Endpoint {
  const address = addressText(fields.bytes(name, IPV6_LENGTH), reader);
  const port = fields.integer("Port", PORT);
  if (port === 0) throw malformed(reader, "an endpoint without a port");
  return { address, port };
}

/** Where an answer shall go, if the sender says so; memberlist takes half an endpoint for none. */
function readSource(fields: Fields, reader: ByteReader): { source: Endpoint | undefined; sourceNode: string } {
  const bytes = fields.bytes("SourceAddr", IPV6_LENGTH);
  const port = fields.integer("SourcePort", PORT);
  const source = bytes.length === 0 || port === 0 ? undefined : { address: addressText(bytes, reader), port };
  return { source, sourceNode: fields.text("SourceNode", MAX_NODE_NAME) };
}

/** Canonical text; IPv4 in 16 bytes (::ffff:0:0/96) is IPv4. */
function addressText(bytes: Uint8Array, reader: ByteReader): string {
  if (bytes.length !== IPV4_LENGTH && bytes.length !== IPV6_LENGTH) throw malformed(reader, `an address of ${bytes.length} bytes`);
  const isMapped = bytes.length === IPV6_LENGTH && bytes.subarray(0, 12).every((byte, index) => byte === (index < 10 ? 0 : 0xff));
  return formatIpAddress(ipAddressFromBytes(isMapped ? bytes.subarray(12) : bytes));
}

function malformed(reader: ByteReader, message: string): PacketError {
  return new PacketError(message, { reason: "malformed", offset: reader.offset, clause: CLAUSE });
}
