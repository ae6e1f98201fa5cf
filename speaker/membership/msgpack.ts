/**
 * The part of MessagePack that memberlist's messages are made of: one map per message, from field names to integers,
 * booleans, texts and bytes. Texts and bytes are both written in the raw (str) family without its 8-bit form, which is the
 * only one that the decoders of all memberlist versions in use read; every form is accepted. See docs/adr/0009.
 *
 * Reading past the end fails as ByteReader's plain DecodeError, everything else as PacketError: a stream tells by that
 * whether to wait for more.
 */

import type { ByteReader } from "../../wire/byte-reader.ts";
import { ByteWriter } from "../../wire/byte-writer.ts";
import { PacketError } from "./packet-error.ts";

/** What may be written. Numbers are integers of 0..2^32-1; empty bytes become nil, as Go writes a nil slice. */
export type FieldValue = number | boolean | string | Uint8Array;

/** A value read. Raw bytes are a reader over the original bytes, not yet copied; what no message of ours has is "other". */
type ReadValue = number | boolean | null | ByteReader | "other";

/** Most fields of a map; memberlist's largest has eight. */
export const MAX_MAP_FIELDS = 32;
/** Most values, nested ones included, that one map may hold in fields unknown to us. */
export const MAX_UNKNOWN_VALUES = 256;
/** Longest name of a field that can be one of ours; longer ones are unknown. */
const MAX_FIELD_NAME = 32;

const CLAUSE = "MessagePack";
const encoder = new TextEncoder();
const strictDecoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const lenientDecoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** A map with its keys in byte order, as memberlist sorts them. @throws RangeError for a number that is no unsigned 32-bit integer. */
export function encodeFields(fields: Readonly<Record<string, FieldValue>>): Uint8Array {
  const names = Object.keys(fields).sort();
  if (names.length > 15) throw new RangeError(`${names.length} fields do not fit a small map`);
  const values = names.map((name) => {
    const value = fields[name] ?? 0;
    return typeof value === "string" ? encoder.encode(value) : value;
  });
  let size = 1;
  for (const [index, name] of names.entries()) size += rawSize(nameBytes(name)) + sizeOf(values[index] ?? 0);
  const writer = new ByteWriter(size).u8(0x80 | names.length);
  for (const [index, name] of names.entries()) {
    writeRaw(writer, nameBytes(name));
    writeValue(writer, values[index] ?? 0, typeof fields[name] === "string");
  }
  return writer.finish();
}

/** Bytes of the fields' names: a few dozen of ours. */
const knownNames = new Map<string, Uint8Array>();

function nameBytes(name: string): Uint8Array {
  let bytes = knownNames.get(name);
  if (bytes === undefined) {
    bytes = encoder.encode(name);
    knownNames.set(name, bytes);
  }
  return bytes;
}

type EncodedValue = number | boolean | Uint8Array;

/** Bytes that a value takes. */
function sizeOf(value: EncodedValue): number {
  if (typeof value === "number") return integerSize(value);
  return typeof value === "boolean" ? 1 : rawSize(value);
}

function integerSize(value: number): number {
  return value <= 0x7f ? 1 : value <= 0xff ? 2 : value <= 0xffff ? 3 : 5;
}

function rawSize({ length }: Uint8Array): number {
  return length + (length <= 31 ? 1 : length <= 0xffff ? 3 : 5);
}

function writeValue(writer: ByteWriter, value: EncodedValue, isText: boolean): void {
  if (typeof value === "number") writeInteger(writer, value);
  else if (typeof value === "boolean") writer.u8(value ? 0xc3 : 0xc2);
  else if (value.length === 0 && !isText) writer.u8(0xc0);
  else writeRaw(writer, value);
}

function writeInteger(writer: ByteWriter, value: number): void {
  if (value <= 0x7f) writer.u8(value);
  else if (value <= 0xff) writer.u8(0xcc).u8(value);
  else if (value <= 0xffff) writer.u8(0xcd).u16(value);
  else writer.u8(0xce).u32(value);
}

function writeRaw(writer: ByteWriter, bytes: Uint8Array): void {
  if (bytes.length <= 31) writer.u8(0xa0 | bytes.length);
  else if (bytes.length <= 0xffff) writer.u8(0xda).u16(bytes.length);
  else writer.u8(0xdb).u32(bytes.length);
  writer.bytes(bytes);
}

/**
 * Reads the map that starts at the reader's next byte. Its raw bytes are not copied until they are asked for.
 * @throws DecodeError when the bytes end too early. @throws PacketError `malformed`, `tooLong`.
 */
export function readFields(reader: ByteReader): Fields {
  const offset = reader.offset;
  const values = new Map<string, ReadValue>();
  const budget = { values: MAX_UNKNOWN_VALUES };
  const count = readMapHead(reader);
  if (count > MAX_MAP_FIELDS) throw refusal(reader, `${count} fields in one map`, "tooLong");
  for (let index = 0; index < count; index++) {
    const name = readValue(reader, budget);
    if (name === null || typeof name !== "object") throw refusal(reader, "a field's name is no text");
    const text = name.remaining > MAX_FIELD_NAME ? undefined : name.text(name.remaining, lenientDecoder);
    const value = readValue(reader, budget);
    if (text !== undefined) values.set(text, value);
  }
  return new Fields(values, offset);
}

/** Whether a map may begin with this byte. */
export function startsMap(head: number): boolean {
  return (head >= 0x80 && head <= 0x8f) || head === 0xde || head === 0xdf;
}

function readMapHead(reader: ByteReader): number {
  const head = reader.u8();
  if (head >= 0x80 && head <= 0x8f) return head & 0x0f;
  if (head === 0xde) return reader.u16();
  if (head === 0xdf) return reader.u32();
  throw refusal(reader, `0x${head.toString(16)} starts no map`);
}

/** One value; arrays, maps, extensions and floats are passed over, at the cost of the budget. */
function readValue(reader: ByteReader, budget: { values: number }): ReadValue {
  const head = reader.u8();
  if (head <= 0x7f) return head;
  if (head >= 0xe0) return head - 0x100;
  if (head >= 0xa0 && head <= 0xbf) return reader.within(head & 0x1f);
  if (head <= 0x8f) return skip(reader, 2 * (head & 0x0f), budget);
  if (head <= 0x9f) return skip(reader, head & 0x0f, budget);
  switch (head) {
    case 0xc0:
      return null;
    case 0xc2:
      return false;
    case 0xc3:
      return true;
    case 0xc4:
    case 0xd9:
      return reader.within(reader.u8());
    case 0xc5:
    case 0xda:
      return reader.within(reader.u16());
    case 0xc6:
    case 0xdb:
      return reader.within(reader.u32());
    case 0xcc:
      return reader.u8();
    case 0xcd:
      return reader.u16();
    case 0xce:
      return reader.u32();
    // Past 2^53 the sum is not exact, and out of every field's range all the same.
    case 0xcf:
      return reader.u32() * 2 ** 32 + reader.u32();
    case 0xd0:
      return (reader.u8() << 24) >> 24;
    case 0xd1:
      return (reader.u16() << 16) >> 16;
    case 0xd2:
      return reader.u32() | 0;
    case 0xd3:
      return (reader.u32() | 0) * 2 ** 32 + reader.u32();
    default:
      return readOther(reader, head, budget);
  }
}

function readOther(reader: ByteReader, head: number, budget: { values: number }): "other" {
  switch (head) {
    case 0xdc:
      return skip(reader, reader.u16(), budget);
    case 0xdd:
      return skip(reader, reader.u32(), budget);
    case 0xde:
      return skip(reader, 2 * reader.u16(), budget);
    case 0xdf:
      return skip(reader, 2 * reader.u32(), budget);
    case 0xca:
      return passOver(reader, 4);
    case 0xcb:
      return passOver(reader, 8);
    case 0xc7:
      return passOver(reader, 1 + reader.u8());
    case 0xc8:
      return passOver(reader, 1 + reader.u16());
    case 0xc9:
      return passOver(reader, 1 + reader.u32());
    case 0xd4:
    case 0xd5:
    case 0xd6:
    case 0xd7:
    case 0xd8:
      return passOver(reader, 1 + 2 ** (head - 0xd4));
    default:
      throw refusal(reader, `0x${head.toString(16)} starts no value`);
  }
}

function passOver(reader: ByteReader, length: number): "other" {
  reader.skip(length);
  return "other";
}

/** Passes over `count` values. The budget is spent before going deeper, so it bounds the depth too. */
function skip(reader: ByteReader, count: number, budget: { values: number }): "other" {
  budget.values -= count;
  if (budget.values < 0) throw refusal(reader, `more than ${MAX_UNKNOWN_VALUES} nested values`, "tooLong");
  for (let index = 0; index < count; index++) readValue(reader, budget);
  return "other";
}

function refusal(reader: ByteReader, message: string, reason: "malformed" | "tooLong" = "malformed"): PacketError {
  return new PacketError(message, { reason, offset: reader.offset, clause: CLAUSE });
}

/**
 * A map that was read. A field that is absent or nil has its type's zero value, as Go gives it; one of another type or out
 * of range fails as PacketError. Each field is to be read once, while the bytes it was read from do not change.
 */
export class Fields {
  readonly #values: ReadonlyMap<string, ReadValue>;
  readonly #offset: number;

  constructor(values: ReadonlyMap<string, ReadValue>, offset: number) {
    this.#values = values;
    this.#offset = offset;
  }

  /** An integer of 0..max. @throws PacketError `malformed`. */
  integer(name: string, max: number): number {
    const value = this.#values.get(name) ?? 0;
    if (typeof value !== "number" || value < 0 || value > max) throw this.#error(`${name} is no integer of 0..${max}`);
    return value;
  }

  /** @throws PacketError `malformed`. */
  flag(name: string): boolean {
    const value = this.#values.get(name) ?? false;
    if (typeof value !== "boolean") throw this.#error(`${name} is no boolean`);
    return value;
  }

  /** A copy of at most `max` bytes. @throws PacketError `tooLong`, `malformed`. */
  bytes(name: string, max: number): Uint8Array {
    const value = this.#raw(name);
    if (value === undefined) return new Uint8Array(0);
    if (value.remaining > max) throw this.#error(`${name} has ${value.remaining} bytes, more than ${max}`, "tooLong");
    return value.bytes(value.remaining);
  }

  /** UTF-8 text of at most `max` bytes. @throws PacketError `tooLong`, `malformed`. */
  text(name: string, max: number): string {
    const value = this.#raw(name);
    if (value === undefined) return "";
    if (value.remaining > max) throw this.#error(`${name} has ${value.remaining} bytes, more than ${max}`, "tooLong");
    try {
      return value.text(value.remaining, strictDecoder);
    } catch {
      throw this.#error(`${name} is no UTF-8`);
    }
  }

  /** The first `max` bytes of a text, whatever they are. @throws PacketError `malformed`. */
  beginning(name: string, max: number): string {
    const value = this.#raw(name);
    return value === undefined ? "" : value.text(Math.min(value.remaining, max), lenientDecoder);
  }

  #raw(name: string): ByteReader | undefined {
    const value = this.#values.get(name) ?? null;
    if (value === null) return undefined;
    if (typeof value !== "object") throw this.#error(`${name} is no text or bytes`);
    return value;
  }

  #error(message: string, reason: "malformed" | "tooLong" = "malformed"): PacketError {
    return new PacketError(message, { reason, offset: this.#offset, clause: CLAUSE });
  }
}
