/**
 * What Herald speakers tell each other, as bytes in memberlist user messages: heartbeats, reports about silent peers,
 * lists of claims, and requests for such lists. memberlist's encryption covers them.
 *
 * Layout, big-endian: "H" 0x02, type, hops; sender: name, boot (48 bits), sequence (32 bits); then the body by type.
 * A name is a length byte and UTF-8. Sequences count all messages of one boot, so that a replay shows.
 */

import type { ReportClass } from "../detection/detection-protocol.ts";
import type { ClaimEntry, ClaimsDigest, ClaimsUpdate } from "../election/claims-protocol.ts";
import { ByteReader } from "../../wire/byte-reader.ts";
import { ByteWriter } from "../../wire/byte-writer.ts";
import { formatIpAddress, ipAddressFromBytes, ipAddressToBytes, parseIpAddress } from "../../wire/ip-address.ts";

export type HeraldBody =
  /** The sender's own digest first; in large clusters some others' that it knows. */
  | { readonly kind: "heartbeat"; readonly digests: readonly ClaimsDigest[] }
  | { readonly kind: "report"; readonly about: string; readonly boot: number; readonly class: ReportClass }
  | { readonly kind: "update"; readonly update: ClaimsUpdate }
  /** Asks for the whole list of `owner`. */
  | { readonly kind: "pull"; readonly owner: string };

export interface HeraldMessage {
  readonly sender: string;
  /** Unix ms at which the sender's process started. */
  readonly boot: number;
  /** Counts the sender's messages of this boot, 32 bits. */
  readonly sequence: number;
  /** How often it was passed on: 0 from the sender itself. */
  readonly hops: number;
  readonly body: HeraldBody;
}

const MAGIC = 0x48;
/** Raised when the layout changes in a way that older speakers cannot read: they drop it. */
const LAYOUT_VERSION = 2;
const CLAUSE = "Herald message";
/** Longest node name in bytes: that of a DNS subdomain, which Node names are. */
export const MAX_NODE_NAME_BYTES = 253;
/** Entries in one update, and in a whole list. */
export const MAX_UPDATE_ENTRIES = 20_000;
/** Digests on one heartbeat. */
export const MAX_DIGESTS = 16;
/** Bytes that a whole list may take over a stream. */
export const MAX_HERALD_MESSAGE_BYTES = 1 << 20;
const MAX_48_BITS = 2 ** 48 - 1;

const TYPES = ["heartbeat", "report", "update", "pull"] as const;
const REPORT_CLASSES: readonly ReportClass[] = ["silent", "refused", "paused", "heard"];
const ENTRY_STATES = ["claim", "releasing", "released", "veto"] as const;

/** Bytes of a message. @throws RangeError when a name, number or list is longer than the layout has room for: a mistake of ours. */
export function encodeHeraldMessage(message: HeraldMessage): Uint8Array {
  const writer = new ByteWriter(sizeBound(message));
  writer.u8(MAGIC).u8(LAYOUT_VERSION).u8(TYPES.indexOf(message.body.kind)).u8(message.hops);
  name(writer, message.sender);
  u48(writer, message.boot);
  writer.u32(message.sequence);
  switch (message.body.kind) {
    case "heartbeat":
      writer.u8(message.body.digests.length);
      for (const digest of message.body.digests) {
        name(writer, digest.owner);
        u48(writer, digest.boot);
        writer.u32(digest.version);
        u48(writer, digest.hash);
      }
      break;
    case "report":
      name(writer, message.body.about);
      u48(writer, message.body.boot);
      writer.u8(REPORT_CLASSES.indexOf(message.body.class));
      break;
    case "update":
      update(writer, message.body.update);
      break;
    case "pull":
      name(writer, message.body.owner);
      break;
  }
  return writer.finish();
}

/**
 * Reads a message. Nothing of `bytes` is kept.
 * @throws DecodeError for whatever no Herald speaker sends, bytes left over included
 */
export function decodeHeraldMessage(bytes: Uint8Array): HeraldMessage {
  const reader = new ByteReader(bytes, { clause: CLAUSE });
  if (bytes.length > MAX_HERALD_MESSAGE_BYTES) throw reader.error(`${bytes.length} bytes, at most ${MAX_HERALD_MESSAGE_BYTES}`);
  if (reader.u8() !== MAGIC) throw reader.error("no Herald message");
  const version = reader.u8();
  if (version !== LAYOUT_VERSION) throw reader.error(`layout ${version}, not ${LAYOUT_VERSION}`);
  const type = TYPES[reader.u8()];
  const hops = reader.u8();
  const sender = readName(reader);
  const boot = readU48(reader);
  const sequence = reader.u32();
  if (type === undefined) throw reader.error("unknown type");
  const body = readBody(reader, type);
  if (reader.remaining > 0) throw reader.error(`${reader.remaining} bytes left over`);
  return { sender, boot, sequence, hops, body };
}

/** The same message, passed on once more; the bytes are copied. `bytes` must have been decoded before. */
export function passedOn(bytes: Uint8Array, hops: number): Uint8Array {
  const copy = bytes.slice();
  copy[3] = hops;
  return copy;
}

function readBody(reader: ByteReader, type: (typeof TYPES)[number]): HeraldBody {
  switch (type) {
    case "heartbeat": {
      const count = reader.u8();
      if (count > MAX_DIGESTS) throw reader.error(`${count} digests, at most ${MAX_DIGESTS}`);
      const digests: ClaimsDigest[] = [];
      for (let at = 0; at < count; at++) {
        digests.push({ owner: readName(reader), boot: readU48(reader), version: reader.u32(), hash: readU48(reader) });
      }
      return { kind: "heartbeat", digests };
    }
    case "report": {
      const about = readName(reader);
      const boot = readU48(reader);
      const reportClass = REPORT_CLASSES[reader.u8()];
      if (reportClass === undefined) throw reader.error("unknown class");
      return { kind: "report", about, boot, class: reportClass };
    }
    case "update":
      return { kind: "update", update: readUpdate(reader) };
    case "pull":
      return { kind: "pull", owner: readName(reader) };
  }
}

/** owner, boot, fact flags (1 ready, 2 fresh, 4 settled, 8 whole list), template, base, version, hash, successors' names, entries, removed addresses. */
function update(writer: ByteWriter, { owner, boot, facts, base, version, hash, entries, removed }: ClaimsUpdate): void {
  name(writer, owner);
  u48(writer, boot);
  writer.u8((facts.ready ? 1 : 0) | (facts.fresh ? 2 : 0) | (facts.settled ? 4 : 0) | (base === undefined ? 8 : 0));
  name(writer, facts.template);
  writer.u32(base ?? 0).u32(version);
  u48(writer, hash);
  const successors = [...new Set(entries.map(({ successor }) => successor))].filter((successor) => successor !== "");
  writer.u16(successors.length);
  for (const successor of successors) name(writer, successor);
  const indexOf = new Map(successors.map((successor, index) => [successor, index]));
  writer.u16(entries.length);
  for (const entry of entries) {
    const successor = indexOf.get(entry.successor);
    writer.u8(ENTRY_STATES.indexOf(entry.state) | (entry.witnessed ? 4 : 0) | (successor === undefined ? 0 : 8));
    address(writer, entry.address);
    u48(writer, entry.term);
    if (successor !== undefined) writer.u16(successor);
  }
  writer.u16(removed.length);
  for (const one of removed) address(writer, one);
}

function readUpdate(reader: ByteReader): ClaimsUpdate {
  const owner = readName(reader);
  const boot = readU48(reader);
  const flags = reader.u8();
  if (flags > 15) throw reader.error("unknown fact flag");
  const template = readName(reader, 0);
  const base = reader.u32();
  const version = reader.u32();
  const hash = readU48(reader);
  const successors: string[] = [];
  for (let left = readCount(reader); left > 0; left--) successors.push(readName(reader));
  const entries: ClaimEntry[] = [];
  for (let left = readCount(reader); left > 0; left--) entries.push(readEntry(reader, successors));
  const removed: string[] = [];
  for (let left = readCount(reader); left > 0; left--) removed.push(readAddress(reader));
  const facts = { ready: (flags & 1) !== 0, fresh: (flags & 2) !== 0, settled: (flags & 4) !== 0, template };
  return { owner, boot, facts, base: (flags & 8) !== 0 ? undefined : base, version, hash, entries, removed };
}

function readEntry(reader: ByteReader, successors: readonly string[]): ClaimEntry {
  const flags = reader.u8();
  const state = ENTRY_STATES[flags & 3];
  if (flags > 15 || state === undefined) throw reader.error("unknown entry flag");
  const entryAddress = readAddress(reader);
  const term = readU48(reader);
  const successor = (flags & 8) === 0 ? "" : successors[reader.u16()];
  if (successor === undefined) throw reader.error("successor without a name");
  return { address: entryAddress, state, term, witnessed: (flags & 4) !== 0, successor };
}

function readCount(reader: ByteReader): number {
  const count = reader.u16();
  if (count > MAX_UPDATE_ENTRIES) throw reader.error(`${count} entries, at most ${MAX_UPDATE_ENTRIES}`);
  return count;
}

const encoder = new TextEncoder();
// A byte order mark is kept: without it two names on the wire would be one, and the mark alone an empty one.
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function name(writer: ByteWriter, text: string): void {
  const bytes = encoder.encode(text);
  writer.u8(bytes.length).bytes(bytes);
}

function readName(reader: ByteReader, min = 1): string {
  const length = reader.u8();
  if (length < min || length > MAX_NODE_NAME_BYTES) throw reader.error(`name of ${length} bytes`);
  try {
    return reader.text(length, decoder);
  } catch (error) {
    if (error instanceof TypeError) throw reader.error("name is not UTF-8");
    throw error;
  }
}

function address(writer: ByteWriter, text: string): void {
  const bytes = ipAddressToBytes(parseIpAddress(text));
  writer.u8(bytes.length).bytes(bytes);
}

function readAddress(reader: ByteReader): string {
  const length = reader.u8();
  if (length !== 4 && length !== 16) throw reader.error(`address of ${length} bytes`);
  return formatIpAddress(ipAddressFromBytes(reader.bytes(length)));
}

function u48(writer: ByteWriter, value: number): void {
  if (!Number.isInteger(value) || value < 0 || value > MAX_48_BITS) throw new RangeError(`${value} is not an integer of 48 bits`);
  writer.u16(Math.floor(value / 2 ** 32)).u32(value % 2 ** 32);
}

function readU48(reader: ByteReader): number {
  return reader.u16() * 2 ** 32 + reader.u32();
}

/** Most bytes that the message can take. */
function sizeBound({ body }: HeraldMessage): number {
  const longName = 1 + MAX_NODE_NAME_BYTES + 2;
  const header = 4 + longName + 10;
  switch (body.kind) {
    case "heartbeat":
      return header + 1 + body.digests.length * (longName + 16);
    case "report":
      return header + longName + 7;
    case "pull":
      return header + longName;
    case "update":
      return header + 2 * longName + 27 + body.update.entries.length * 26 + body.update.removed.length * 17 + new Set(body.update.entries.map(({ successor }) => successor)).size * longName;
  }
}
