/**
 * What hashicorp/memberlist itself sent: understood, and where Herald would send the same, byte for byte the same.
 */

import assert from "node:assert/strict";

import { describe, test } from "vitest";

import { readable, RECORDED_SECRET } from "../../test/membership/readable.ts";
import { loadVectors } from "../../test/vectors/load.ts";
import { seededRandom } from "../../sys/random.ts";
import { CLEAR_KEYRING, keyringOf } from "./keyring.ts";
import type { StreamMessage } from "./message.ts";
import { decodePacket, encodePacket } from "./packet-codec.ts";
import { encodeStreamMessage, StreamDecoder } from "./stream-codec.ts";

const vectors = loadVectors("memberlist");
const secret = keyringOf(RECORDED_SECRET);
const random = seededRandom(1);
const ringOf = (name: string): typeof secret => (/-(sealed|padded)-/.test(name) ? secret : CLEAR_KEYRING);
/** A checksum's type byte and its four bytes. */
const CHECKSUM_HEADER = 5;

function decodeStream(bytes: Uint8Array, name: string): StreamMessage {
  const decoder = new StreamDecoder(ringOf(name));
  decoder.push(bytes);
  const message = decoder.next();
  assert(message !== undefined && !decoder.isInMessage);
  return message;
}

/** The bytes that Herald would send for the same messages; undefined when it would send others: compressed or sealed with another nonce. */
function comparable(name: string, bytes: Uint8Array): Uint8Array | undefined {
  if (!name.includes("-clear-")) return undefined;
  return name.includes("-checksummed-") ? bytes.subarray(CHECKSUM_HEADER) : bytes;
}

describe("datagrams", () => {
  const packets = vectors.filter(({ name }) => name.startsWith("packet-"));

  test("every kind of message is there, in every wrapping", () => {
    for (const round of ["clear", "compressed", "sealed", "padded"]) {
      const kinds = new Set(packets.filter(({ name }) => name.startsWith(`packet-${round}-`)).flatMap(({ decoded }) => (decoded as { kind: string }[]).map(({ kind }) => kind)));
      assert.deepEqual([...kinds].toSorted(), ["ack", "alive", "dead", "indirectPing", "nack", "ping", "suspect", "user"], round);
    }
    assert(packets.some(({ name }) => name.includes("checksummed")) && packets.some(({ name }) => name.includes("compound")));
  });

  test.each(packets)("$name", ({ name, bytes, decoded }) => {
    const messages = decodePacket(bytes, ringOf(name), assert.ifError);
    assert.deepEqual(messages.map(readable), decoded);
    const encoded = encodePacket(messages, ringOf(name), random);
    assert.deepEqual(decodePacket(encoded, ringOf(name)), messages);
    const expected = comparable(name, bytes);
    if (expected !== undefined) assert.deepEqual(encoded, expected);
  });
});

describe("streams", () => {
  const streams = vectors.filter(({ name }) => name.startsWith("stream-"));

  test("every kind of message is there, in every wrapping", () => {
    for (const round of ["clear", "compressed", "sealed", "padded"]) {
      const kinds = new Set(streams.filter(({ name }) => name.startsWith(`stream-${round}-`)).flatMap(({ decoded }) => (decoded as { kind: string }[]).map(({ kind }) => kind)));
      for (const kind of ["ack", "ping", "pushPull", "user"]) assert(kinds.has(kind), `${round} ${kind}`);
    }
    assert(streams.some(({ name }) => name.endsWith("-error")));
  });

  test.each(streams)("$name", ({ name, bytes, decoded }) => {
    const message = decodeStream(bytes, name);
    assert.deepEqual([readable(message)], decoded);
    const encoded = encodeStreamMessage(message, ringOf(name), random);
    assert.deepEqual(decodeStream(encoded, name), message);
    const expected = comparable(name, bytes);
    if (expected !== undefined) assert.deepEqual(encoded, expected);
  });
});
