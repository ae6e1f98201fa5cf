/**
 * Streams of memberlist's protocol: one message each way over TCP, as a rule; here any number of them. A message is
 * encrypted, with a length before it, or in the clear, where only its own structure tells its end; inside may be one
 * compression. We never compress. Left out: labels, protocol version 1.
 */

import { strict as assert } from "node:assert";

import { ByteReader } from "../../wire/byte-reader.ts";
import { ByteWriter } from "../../wire/byte-writer.ts";
import { DecodeError } from "../../wire/decode-error.ts";
import type { Random } from "../machine.ts";
import { decrypt, encrypt, ENCRYPTION_OVERHEAD } from "./encryption.ts";
import type { Keyring } from "./keyring.ts";
import { encodeMessage, encodeState, MessageType, readMapMessage, readState } from "./message-codec.ts";
import type { PushPullMessage, PushPullState, StreamMessage } from "./message.ts";
import { encodeFields, readFields } from "./msgpack.ts";
import { decompressFields } from "./packet-codec.ts";
import { asPacketError, PacketError } from "./packet-error.ts";

/** Most bytes of one message over a stream, on the wire and decompressed alike. memberlist itself stops at 20 MiB. */
export const MAX_STREAM_MESSAGE = 4 * 1024 * 1024;
/** Most members in one push-pull. */
export const MAX_PUSH_PULL_STATES = 10_000;

/** Type and length of an encrypted message, which are sealed with it. */
const FRAME_HEADER = 5;
const CLAUSE = "memberlist stream";

/** One message for a stream; encrypted when the ring has keys. @throws AddressError, RangeError for values that cannot be sent: mistakes of ours. */
export function encodeStreamMessage(message: StreamMessage, keyring: Keyring, random: Random): Uint8Array {
  const plain = encodeClear(message);
  const [key] = keyring.keys;
  if (key === undefined) return plain.slice();
  const length = ENCRYPTION_OVERHEAD + plain.length;
  assert(length <= MAX_STREAM_MESSAGE, `${length} bytes for a stream`);
  const header = new ByteWriter(FRAME_HEADER).u8(MessageType.encrypt).u32(length).finish();
  const sealed = encrypt(plain, { key, authenticated: header, random });
  return new ByteWriter(FRAME_HEADER + length).bytes(header).bytes(sealed).finish();
}

function encodeClear(message: StreamMessage): Uint8Array {
  switch (message.kind) {
    case "pushPull": {
      assert(message.states.length <= MAX_PUSH_PULL_STATES, `${message.states.length} members in a push-pull`);
      const header = encodeFields({ Nodes: message.states.length, UserStateLen: message.userState.length, Join: message.join });
      return concatenate([Uint8Array.of(MessageType.pushPull), header, ...message.states.map(encodeState), message.userState]);
    }
    case "user":
      return concatenate([Uint8Array.of(MessageType.user), encodeFields({ UserMsgLen: message.bytes.length }), message.bytes]);
    default:
      return encodeMessage(message);
  }
}

function concatenate(pieces: readonly Uint8Array[]): Uint8Array {
  const writer = new ByteWriter(pieces.reduce((sum, piece) => sum + piece.length, 0));
  for (const piece of pieces) writer.bytes(piece);
  return writer.finish();
}

/**
 * Takes the messages out of one direction of one stream, however it is cut. After the first failure the stream is of no
 * use, and `next` fails the same way again.
 */
export class StreamDecoder {
  readonly #keyring: Keyring;
  readonly #received = new Received();
  readonly #clear = new ClearDecoder();
  #failure: PacketError | undefined;

  constructor(keyring: Keyring) {
    this.#keyring = keyring;
  }

  /** Whether bytes of a message not yet complete are waiting: then the end of the stream cuts it short. */
  get isInMessage(): boolean {
    return this.#received.unread.length > 0 || this.#clear.isInMessage;
  }

  /** Adds what arrived; the bytes are copied. Call `next` between, until it has nothing: only the largest message fits. */
  push(bytes: Uint8Array): void {
    if (this.#failure === undefined) this.#received.append(bytes);
  }

  /** The next complete message; undefined when more bytes are needed. @throws PacketError when the stream is refused. */
  next(): StreamMessage | undefined {
    if (this.#failure !== undefined) throw this.#failure;
    try {
      const message = this.#decode();
      if (message === undefined && this.#received.isFull) throw new PacketError(`a message of more than ${MAX_STREAM_MESSAGE} bytes`, { reason: "tooLong", clause: CLAUSE });
      return message;
    } catch (error) {
      this.#failure = asPacketError(error);
      this.#received.clear();
      throw this.#failure;
    }
  }

  #decode(): StreamMessage | undefined {
    const unread = this.#received.unread;
    const [type] = unread;
    if (type === undefined) return undefined;
    if (this.#clear.isInMessage) return this.#decodeClear();
    if (type === MessageType.label) throw new PacketError("a labelled stream", { reason: "unexpectedLabel", clause: CLAUSE });
    if (type === MessageType.encrypt) return this.#decodeEncrypted(unread);
    if (this.#keyring.keys.length > 0) throw new PacketError("a stream in the clear", { reason: "notEncrypted", clause: CLAUSE });
    return this.#decodeClear();
  }

  #decodeEncrypted(unread: Uint8Array): StreamMessage | undefined {
    if (this.#keyring.keys.length === 0) throw new PacketError("an encrypted stream", { reason: "unexpectedEncryption", clause: CLAUSE });
    if (unread.length < FRAME_HEADER) return undefined;
    const reader = new ByteReader(unread, { clause: CLAUSE });
    reader.skip(1);
    const length = reader.u32();
    if (length > MAX_STREAM_MESSAGE) throw new PacketError(`an encrypted message of ${length} bytes`, { reason: "tooLong", clause: CLAUSE });
    if (reader.remaining < length) return undefined;
    const plain = decrypt(reader.bytes(length), this.#keyring, unread.slice(0, FRAME_HEADER));
    this.#received.consume(FRAME_HEADER + length);
    return decodeWhole(plain);
  }

  #decodeClear(): StreamMessage | undefined {
    return this.#clear.next(this.#received);
  }
}

/** A message of which all bytes are there; what follows it is ignored. @throws PacketError, DecodeError. */
function decodeWhole(plain: Uint8Array, isDecompressed = false): StreamMessage {
  const received = new Received();
  received.append(plain);
  const message = new ClearDecoder(isDecompressed).next(received);
  if (message === undefined) throw new PacketError("a message cut short", { reason: "malformed", offset: plain.length, clause: CLAUSE });
  return message;
}

/** What has come and is not yet decoded: at most one message of the largest size. */
class Received {
  #bytes = new Uint8Array(0);
  #start = 0;
  #end = 0;
  #isFull = false;

  get unread(): Uint8Array {
    return this.#bytes.subarray(this.#start, this.#end);
  }

  /** Whether bytes came that did not fit; they and all later ones are lost. */
  get isFull(): boolean {
    return this.#isFull;
  }

  append(added: Uint8Array): void {
    const unread = this.unread;
    this.#isFull ||= unread.length + added.length > MAX_STREAM_MESSAGE + FRAME_HEADER;
    if (this.#isFull) return;
    if (this.#end + added.length > this.#bytes.length) {
      const bytes = new Uint8Array(Math.max(unread.length + added.length, 2 * unread.length));
      bytes.set(unread);
      this.#bytes = bytes;
      this.#start = 0;
      this.#end = unread.length;
    }
    this.#bytes.set(added, this.#end);
    this.#end += added.length;
  }

  consume(length: number): void {
    this.#start += length;
  }

  clear(): void {
    this.#bytes = new Uint8Array(0);
    this.#start = 0;
    this.#end = 0;
  }
}

/** A push-pull of which the header has come. */
interface PushPullInProgress {
  readonly join: boolean;
  readonly count: number;
  readonly userStateLength: number;
  readonly states: PushPullState[];
  /** Bytes of it so far. */
  length: number;
}

/** Messages in the clear. A push-pull is decoded member by member, so that nothing is decoded twice however slowly it comes. */
class ClearDecoder {
  readonly #isDecompressed: boolean;
  #pushPull: PushPullInProgress | undefined;

  /** @param isDecompressed whether the bytes came out of a compression: inside there is no second one. */
  constructor(isDecompressed = false) {
    this.#isDecompressed = isDecompressed;
  }

  get isInMessage(): boolean {
    return this.#pushPull !== undefined;
  }

  /** The next message, taken out of `received`; undefined when it is not complete. @throws PacketError. */
  next(received: Received): StreamMessage | undefined {
    if (this.#pushPull !== undefined) return this.#continue(received, this.#pushPull);
    const begun = take(received, (reader) => this.#begin(reader));
    if (begun === undefined || !("count" in begun)) return begun;
    this.#pushPull = begun;
    return this.#continue(received, begun);
  }

  #begin(reader: ByteReader): StreamMessage | PushPullInProgress {
    const type = reader.u8();
    switch (type) {
      case MessageType.pushPull: {
        const header = readFields(reader);
        const count = bounded(header.integer("Nodes", Number.MAX_SAFE_INTEGER), MAX_PUSH_PULL_STATES, "members");
        const userStateLength = bounded(header.integer("UserStateLen", Number.MAX_SAFE_INTEGER), MAX_STREAM_MESSAGE, "bytes of user state");
        return { join: header.flag("Join"), count, userStateLength, states: [], length: 0 };
      }
      case MessageType.user: {
        const length = readFields(reader).integer("UserMsgLen", Number.MAX_SAFE_INTEGER);
        return { kind: "user", bytes: reader.bytes(bounded(length, MAX_STREAM_MESSAGE, "bytes of a user message")) };
      }
      case MessageType.compress:
        if (this.#isDecompressed) throw new PacketError("a compression inside another", { reason: "malformed", clause: CLAUSE });
        return decodeWhole(decompressFields(reader, MAX_STREAM_MESSAGE, MAX_STREAM_MESSAGE), true);
      case MessageType.ping:
      case MessageType.ack:
      case MessageType.error: {
        const message = readMapMessage(type, reader);
        if (message.kind === "ping" || message.kind === "ack" || message.kind === "error") return message;
        break;
      }
      default:
        break;
    }
    throw new PacketError(`message type ${type} over a stream`, { reason: "unknownMessage", clause: CLAUSE });
  }

  #continue(received: Received, pushPull: PushPullInProgress): PushPullMessage | undefined {
    while (pushPull.states.length < pushPull.count) {
      const before = received.unread.length;
      const state = take(received, readState);
      if (state === undefined) return undefined;
      pushPull.length += before - received.unread.length;
      bounded(pushPull.length + pushPull.userStateLength, MAX_STREAM_MESSAGE, "bytes of a push-pull");
      pushPull.states.push(state);
    }
    const userState = take(received, (reader) => reader.bytes(pushPull.userStateLength));
    if (userState === undefined) return undefined;
    this.#pushPull = undefined;
    return { kind: "pushPull", join: pushPull.join, states: pushPull.states, userState };
  }
}

/** Reads one thing and takes it out of what was received, or nothing when it is not complete. @throws PacketError. */
function take<T>(received: Received, read: (reader: ByteReader) => T): T | undefined {
  const reader = new ByteReader(received.unread, { clause: CLAUSE });
  try {
    const value = read(reader);
    received.consume(reader.offset);
    return value;
  } catch (error) {
    // A plain DecodeError is the reader's own: the bytes end too early.
    if (error instanceof DecodeError && !(error instanceof PacketError)) return undefined;
    throw error;
  }
}

function bounded(value: number, max: number, what: string): number {
  if (value > max) throw new PacketError(`${value} ${what}, more than ${max}`, { reason: "tooLong", clause: CLAUSE });
  return value;
}
