/**
 * Datagrams of memberlist's protocol. A datagram is encrypted, or checksummed, or neither; inside is one message, several in
 * a compound, or one of both compressed. We send a lone message or a compound, never compressed or checksummed (the cipher
 * and UDP's own checksum do that), and take apart whatever members send. Left out: labels, protocol version 1.
 */

import { strict as assert } from "node:assert";
import { crc32 } from "node:zlib";

import { ByteReader } from "../../wire/byte-reader.ts";
import { ByteWriter } from "../../wire/byte-writer.ts";
import type { Random } from "../machine.ts";
import { decompress } from "./compression.ts";
import { decrypt, encrypt, ENCRYPTION_OVERHEAD, mayBeEncrypted } from "./encryption.ts";
import type { Keyring } from "./keyring.ts";
import { encodeMessage, MessageType, readMapMessage } from "./message-codec.ts";
import type { PacketMessage } from "./message.ts";
import { readFields, startsMap } from "./msgpack.ts";
import { asPacketError, PacketError } from "./packet-error.ts";

/** Messages that one compound can hold: their number is a byte. */
export const MAX_COMPOUND_PARTS = 255;
/** Compounds and compressions inside each other. memberlist makes two: a compressed compound. */
export const MAX_PACKET_DEPTH = 4;
/** Most bytes that the compressed parts of one datagram may have together, decompressed. A part that fails takes all that is left. */
export const MAX_DECOMPRESSED_PACKET = 65_536;
/** Most parts of one datagram, whatever they are nested in. */
export const MAX_PACKET_PARTS = 1024;

/** Type and number of parts. */
const COMPOUND_HEADER = 2;
/** The length of a part. */
const COMPOUND_ENTRY = 2;
/** The one algorithm of compressed messages. */
const LZW = 0;
const NOTHING = new Uint8Array(0);
const CLAUSE = "memberlist packet";

/** Messages are values, so each is encoded once, however often it is sent or measured. */
const encodings = new WeakMap<PacketMessage, Uint8Array>();

function encoded(message: PacketMessage): Uint8Array {
  const known = encodings.get(message);
  if (known !== undefined) return known;
  const bytes = encodeMessage(message);
  encodings.set(message, bytes);
  return bytes;
}

/** Bytes of a datagram that carry no message: the sum of this and of the messages' `encodedSize` is the datagram's length, or two to four less. */
export function packetOverhead(keyring: Keyring): number {
  return COMPOUND_HEADER + (keyring.keys.length === 0 ? 0 : ENCRYPTION_OVERHEAD);
}

/** Bytes that a message takes in a datagram, its length field in a compound included. The message must not change afterwards. */
export function encodedSize(message: PacketMessage): number {
  return COMPOUND_ENTRY + encoded(message).length;
}

/**
 * One datagram with 1 to 255 messages, in their order; encrypted when the ring has keys. Its length is the caller's affair.
 * The messages must not change afterwards.
 */
export function encodePacket(messages: readonly PacketMessage[], keyring: Keyring, random: Random): Uint8Array {
  const [only] = messages;
  assert(only !== undefined && messages.length <= MAX_COMPOUND_PARTS, `${messages.length} messages in a datagram`);
  const plain = messages.length === 1 ? encoded(only) : encodeCompound(messages.map(encoded));
  const [key] = keyring.keys;
  return key === undefined ? plain.slice() : encrypt(plain, { key, authenticated: NOTHING, random });
}

function encodeCompound(parts: readonly Uint8Array[]): Uint8Array {
  const length = parts.reduce((sum, part) => sum + COMPOUND_ENTRY + part.length, COMPOUND_HEADER);
  const writer = new ByteWriter(length).u8(MessageType.compound).u8(parts.length);
  for (const part of parts) writer.u16(part.length);
  for (const part of parts) writer.bytes(part);
  return writer.finish();
}

/**
 * The messages of a datagram, in their order; nothing of the buffer is kept. A part of a compound that is refused costs
 * only itself and is told to `onRefused` (at most MAX_PACKET_PARTS times and a few), for memberlist heeds the other parts.
 * @throws PacketError when the datagram as a whole is refused.
 */
export function decodePacket(bytes: Uint8Array, keyring: Keyring, onRefused: (error: PacketError) => void = ignore): PacketMessage[] {
  try {
    // Of a Buffer, slice would give views of the receive buffer instead of copies.
    const datagram = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);
    const plain = keyring.keys.length === 0 ? inTheClear(datagram) : decrypted(datagram, keyring);
    return new PacketDecoder(onRefused).decode(plain);
  } catch (error) {
    throw asPacketError(error);
  }
}

function ignore(): void {
  // A caller that does not count drops.
}

function decrypted(bytes: Uint8Array, keyring: Keyring): Uint8Array {
  refuseLabel(bytes);
  if (mayBeEncrypted(bytes)) {
    try {
      return decrypt(bytes, keyring, NOTHING);
    } catch (error) {
      // The two kinds of ping begin like encrypted bytes.
      if (!isPingInTheClear(bytes)) throw error;
    }
  }
  throw new PacketError("a datagram in the clear", { reason: "notEncrypted", clause: CLAUSE });
}

function inTheClear(bytes: Uint8Array): Uint8Array {
  refuseLabel(bytes);
  // A ping goes on with a map; a nonce begins like one in one of fourteen datagrams, which then count as malformed.
  if (mayBeEncrypted(bytes) && !startsMap(bytes[1] ?? 0)) throw new PacketError("an encrypted datagram", { reason: "unexpectedEncryption", clause: CLAUSE });
  return bytes;
}

function refuseLabel(bytes: Uint8Array): void {
  if (bytes[0] === MessageType.label) throw new PacketError("a labelled datagram", { reason: "unexpectedLabel", clause: CLAUSE });
}

function isPingInTheClear(bytes: Uint8Array): boolean {
  const reader = new ByteReader(bytes, { clause: CLAUSE });
  try {
    readMapMessage(reader.u8(), reader);
    return true;
  } catch (error) {
    asPacketError(error);
    return false;
  }
}

/** Takes one datagram apart, within bounds that hold for all of it. */
class PacketDecoder {
  readonly #onRefused: (error: PacketError) => void;
  readonly #messages: PacketMessage[] = [];
  #parts = 0;
  #decompressed = 0;

  constructor(onRefused: (error: PacketError) => void) {
    this.#onRefused = onRefused;
  }

  decode(plain: Uint8Array): PacketMessage[] {
    this.#decodePart(plain[0] === MessageType.checksum ? checked(plain) : plain, 0);
    return this.#messages;
  }

  #decodePart(bytes: Uint8Array, depth: number): void {
    if (depth > MAX_PACKET_DEPTH) throw new PacketError(`more than ${MAX_PACKET_DEPTH} wrappings`, { reason: "tooLong", clause: CLAUSE });
    const reader = new ByteReader(bytes, { clause: CLAUSE });
    const type = reader.u8();
    switch (type) {
      case MessageType.compound:
        this.#decodeCompound(bytes.subarray(1), depth);
        return;
      case MessageType.compress:
        this.#decodePart(this.#decompress(reader), depth + 1);
        return;
      case MessageType.user:
        this.#messages.push({ kind: "user", bytes: reader.bytes(reader.remaining) });
        return;
      default: {
        const message = readMapMessage(type, reader);
        if (message.kind === "error") throw new PacketError("an error in a datagram", { reason: "unknownMessage", clause: CLAUSE });
        this.#messages.push(message);
      }
    }
  }

  /** A compound cut short yields the parts that are whole. */
  #decodeCompound(bytes: Uint8Array, depth: number): void {
    const reader = new ByteReader(bytes, { clause: "memberlist compound" });
    const lengths = Array.from({ length: reader.u8() }, () => reader.u16());
    for (const length of lengths) {
      this.#parts += 1;
      if (this.#parts > MAX_PACKET_PARTS) throw new PacketError(`more than ${MAX_PACKET_PARTS} parts`, { reason: "tooLong", clause: CLAUSE });
      if (length > reader.remaining) {
        this.#onRefused(asPacketError(reader.error(`a part of ${length} bytes, ${reader.remaining} left`)));
        return;
      }
      const part = reader.bytes(length);
      try {
        this.#decodePart(part, depth + 1);
      } catch (error) {
        this.#onRefused(asPacketError(error));
      }
    }
  }

  #decompress(reader: ByteReader): Uint8Array {
    const before = this.#decompressed;
    // What fails may have cost all that was left: then nothing further is decompressed.
    this.#decompressed = MAX_DECOMPRESSED_PACKET;
    const bytes = decompressFields(reader, MAX_DECOMPRESSED_PACKET - before, MAX_DECOMPRESSED_PACKET);
    this.#decompressed = before + bytes.length;
    return bytes;
  }
}

/** The message behind a checksum. CRC-32 of ISO-HDLC, over all that follows it. */
function checked(bytes: Uint8Array): Uint8Array {
  const reader = new ByteReader(bytes, { clause: CLAUSE });
  reader.skip(1);
  const expected = reader.u32();
  const message = bytes.subarray(reader.offset);
  if (crc32(message) !== expected) throw new PacketError("the checksum does not match", { reason: "checksumMismatch", clause: CLAUSE });
  return message;
}

/** What a compressed message holds; the reader stands behind the type byte. `limit` is for the result, `inputLimit` for what is compressed. */
export function decompressFields(reader: ByteReader, limit: number, inputLimit: number): Uint8Array {
  const fields = readFields(reader);
  const algorithm = fields.integer("Algo", 0xff);
  if (algorithm !== LZW) throw new PacketError(`compression algorithm ${algorithm}`, { reason: "malformed", offset: reader.offset, clause: CLAUSE });
  return decompress(fields.bytes("Buf", inputLimit), limit);
}
