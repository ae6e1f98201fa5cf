/**
 * What is fuzzed of memberlist's wire format: datagrams in the clear and sealed, streams, decompression.
 */

import { isDeepStrictEqual } from "node:util";

import { decompress } from "../../speaker/membership/compression.ts";
import { CLEAR_KEYRING, keyringOf } from "../../speaker/membership/keyring.ts";
import type { StreamMessage } from "../../speaker/membership/message.ts";
import { decodePacket, encodePacket, MAX_COMPOUND_PARTS } from "../../speaker/membership/packet-codec.ts";
import { encodeStreamMessage, StreamDecoder } from "../../speaker/membership/stream-codec.ts";
import { seededRandom } from "../../sys/random.ts";
import { compress, compressedMessage } from "../membership/lzw.ts";
import { PACKET_MESSAGES, STREAM_MESSAGES } from "../membership/messages.ts";
import { loadVectors } from "../vectors/load.ts";
import type { FuzzTarget } from "./targets.ts";

const secret = keyringOf("a secret");
const random = seededRandom(1);
const MOST_DECOMPRESSED = 4096;
/** A length that ends pieces in the middle of everything. */
const PIECE = 29;

function check(holds: boolean, what: string): void {
  if (!holds) throw new Error(what);
}

/** What memberlist itself sent, not sealed. */
function recorded(kind: "packet" | "stream"): Uint8Array[] {
  return loadVectors("memberlist")
    .filter(({ name }) => name.startsWith(`${kind}-clear-`) || name.startsWith(`${kind}-compressed-`))
    .map(({ bytes }) => bytes);
}

function clearPackets(): Uint8Array[] {
  const lone = PACKET_MESSAGES.map((message) => encodePacket([message], CLEAR_KEYRING, random));
  const compound = encodePacket(PACKET_MESSAGES, CLEAR_KEYRING, random);
  return [...lone, compound, compressedMessage(compound), Uint8Array.of(7, 1, 0, compound.length, ...compound)];
}

const packet: FuzzTarget = {
  name: "memberlist-packet",
  seeds: () => [...clearPackets(), ...recorded("packet")],
  run(bytes) {
    const messages = decodePacket(bytes, CLEAR_KEYRING);
    if (messages.length === 0 || messages.length > MAX_COMPOUND_PARTS) return;
    check(isDeepStrictEqual(decodePacket(encodePacket(messages, CLEAR_KEYRING, random), CLEAR_KEYRING), messages), "encoding what was decoded gives other messages");
  },
};

const sealed: FuzzTarget = {
  name: "memberlist-packet-sealed",
  seeds: () => [encodePacket(PACKET_MESSAGES, secret, random)],
  run(bytes) {
    check(isDeepStrictEqual(decodePacket(bytes, secret), PACKET_MESSAGES), "a damaged seal was accepted");
  },
};

/** What comes of a stream: messages, then perhaps a failure. */
function decodeStream(pieces: readonly Uint8Array[]): { messages: StreamMessage[]; failure: unknown } {
  const decoder = new StreamDecoder(CLEAR_KEYRING);
  const messages: StreamMessage[] = [];
  try {
    for (const piece of pieces) {
      decoder.push(piece);
      for (let message = decoder.next(); message !== undefined; message = decoder.next()) messages.push(message);
    }
  } catch (failure) {
    return { messages, failure };
  }
  return { messages, failure: undefined };
}

const stream: FuzzTarget = {
  name: "memberlist-stream",
  seeds() {
    const clear = STREAM_MESSAGES.map((message) => encodeStreamMessage(message, CLEAR_KEYRING, random));
    return [...clear, Uint8Array.from(clear.flatMap((bytes) => [...bytes])), ...clear.map(compressedMessage), ...recorded("stream")];
  },
  run(bytes) {
    const whole = decodeStream([bytes]);
    const inPieces = decodeStream(Array.from({ length: Math.ceil(bytes.length / PIECE) }, (_, index) => bytes.subarray(index * PIECE, (index + 1) * PIECE)));
    check(isDeepStrictEqual(whole.messages, inPieces.messages), "cut otherwise, the stream has other messages");
    check((whole.failure === undefined) === (inPieces.failure === undefined), "cut otherwise, the stream ends otherwise");
    if (whole.failure !== undefined) throw whole.failure;
  },
};

const decompression: FuzzTarget = {
  name: "memberlist-decompression",
  seeds: () => [...clearPackets().map(compress), compress(new Uint8Array(3000)), compress(Uint8Array.from({ length: 300 }, (_, index) => index * index))],
  run(bytes) {
    check(decompress(bytes, MOST_DECOMPRESSED).length <= MOST_DECOMPRESSED, "more than the limit");
  },
};

export const membershipTargets: readonly FuzzTarget[] = [packet, sealed, stream, decompression];
