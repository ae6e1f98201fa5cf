import assert from "node:assert/strict";

import fc from "fast-check";
import { describe, test } from "vitest";

import { compress, compressedMessage } from "../../test/membership/lzw.ts";
import { STREAM_MESSAGES, streamMessage } from "../../test/membership/messages.ts";
import { seededRandom } from "../../sys/random.ts";
import { encrypt, ENCRYPTION_OVERHEAD } from "./encryption.ts";
import { CLEAR_KEYRING, keyringOf } from "./keyring.ts";
import type { Keyring } from "./keyring.ts";
import type { PushPullMessage, StreamMessage } from "./message.ts";
import { encodeFields } from "./msgpack.ts";
import { PacketError } from "./packet-error.ts";
import { encodeStreamMessage, MAX_PUSH_PULL_STATES, MAX_STREAM_MESSAGE, StreamDecoder } from "./stream-codec.ts";

const random = seededRandom(1);
const secret = keyringOf("a secret");
const RINGS: readonly (readonly [string, Keyring])[] = [["in the clear", CLEAR_KEYRING], ["encrypted", secret]];
const ack: StreamMessage = { kind: "ack", sequence: 1, payload: new Uint8Array(0) };

/** All messages of a stream that arrives in these pieces. */
function decodeAll(pieces: readonly Uint8Array[], keyring: Keyring): StreamMessage[] {
  const decoder = new StreamDecoder(keyring);
  const messages: StreamMessage[] = [];
  for (const piece of pieces) {
    decoder.push(piece);
    for (let message = decoder.next(); message !== undefined; message = decoder.next()) messages.push(message);
  }
  return messages;
}

function reasonOf(bytes: Uint8Array, keyring: Keyring = CLEAR_KEYRING): string {
  try {
    return decodeAll([bytes], keyring).length === 0 ? "incomplete" : "none";
  } catch (error) {
    assert(error instanceof PacketError, String(error));
    return error.reason;
  }
}

/** A frame with anything in it, sealed with the right key. */
function frame(plain: Uint8Array, keyring: Keyring = secret): Uint8Array {
  const [key] = keyring.keys;
  assert(key !== undefined);
  const length = ENCRYPTION_OVERHEAD + plain.length;
  const header = Uint8Array.of(10, length >>> 24, (length >>> 16) & 0xff, (length >>> 8) & 0xff, length & 0xff);
  return Uint8Array.from([...header, ...encrypt(plain, { key, authenticated: header, random })]);
}

function split(bytes: Uint8Array, cuts: readonly number[]): Uint8Array[] {
  const places = [0, ...cuts.map((cut) => cut % (bytes.length + 1)).toSorted((a, b) => a - b), bytes.length];
  return places.slice(1).map((end, index) => bytes.subarray(places[index], end));
}

describe("round trip", () => {
  test.each(RINGS)("%s, whatever the pieces", (_, keyring) => {
    fc.assert(
      fc.property(fc.array(streamMessage, { maxLength: 3 }), fc.array(fc.nat(), { maxLength: 8 }), (messages, cuts) => {
        const bytes = Uint8Array.from(messages.flatMap((message) => [...encodeStreamMessage(message, keyring, random)]));
        assert.deepEqual(decodeAll(split(bytes, cuts), keyring), messages);
      }),
    );
  });

  test.each(RINGS)("%s, every cut in two, and byte by byte; no message before its last byte", (_, keyring) => {
    for (const message of STREAM_MESSAGES) {
      const bytes = encodeStreamMessage(message, keyring, random);
      for (let cut = 0; cut <= bytes.length; cut++) {
        assert.deepEqual(decodeAll([bytes.subarray(0, cut)], keyring), cut === bytes.length ? [message] : [], `${message.kind} at ${cut}`);
        assert.deepEqual(decodeAll(split(bytes, [cut]), keyring), [message]);
      }
      assert.deepEqual(decodeAll([...bytes].map((byte) => Uint8Array.of(byte)), keyring), [message]);
    }
  });

  test("compressed, alone and encrypted, byte by byte", () => {
    for (const message of STREAM_MESSAGES) {
      const packed = compressedMessage(encodeStreamMessage(message, CLEAR_KEYRING, random));
      for (const [bytes, keyring] of [[packed, CLEAR_KEYRING], [frame(packed), secret]] as const) {
        assert.deepEqual(decodeAll([...bytes].map((byte) => Uint8Array.of(byte)), keyring), [message]);
        assert.deepEqual(decodeAll([bytes, bytes], keyring), [message, message]);
      }
    }
  });

  test("isInMessage tells a stream that ended too early", () => {
    const bytes = encodeStreamMessage(STREAM_MESSAGES[0] ?? ack, CLEAR_KEYRING, random);
    for (let length = 0; length <= bytes.length; length++) {
      const decoder = new StreamDecoder(CLEAR_KEYRING);
      decoder.push(bytes.subarray(0, length));
      decoder.next();
      assert.equal(decoder.isInMessage, length > 0 && length < bytes.length, `${length} bytes`);
    }
  });

  test("what was decoded does not change with the receive buffer", () => {
    for (const [, keyring] of RINGS) {
      const buffer = Buffer.from(encodeStreamMessage(STREAM_MESSAGES[0] ?? ack, keyring, random));
      const decoder = new StreamDecoder(keyring);
      decoder.push(buffer);
      buffer.fill(0xff);
      assert.deepEqual(decoder.next(), STREAM_MESSAGES[0]);
    }
  });

  test("a thousand members, with full meta", () => {
    const states = Array.from({ length: 1000 }, (_, index) => ({
      node: `node-${index}`, endpoint: { address: `10.0.${index >> 8}.${index & 255}`, port: 7946 }, incarnation: index, state: "alive" as const, meta: new Uint8Array(512).fill(index), versions: Uint8Array.of(1, 5, 2, 0, 0, 0),
    }));
    const message: PushPullMessage = { kind: "pushPull", join: false, states, userState: new Uint8Array(0) };
    for (const [, keyring] of RINGS) {
      const bytes = encodeStreamMessage(message, keyring, random);
      const pieces = Array.from({ length: Math.ceil(bytes.length / 1448) }, (_, index) => bytes.subarray(index * 1448, (index + 1) * 1448));
      assert.deepEqual(decodeAll(pieces, keyring), [message]);
    }
  });
});

describe("keys", () => {
  test.each(STREAM_MESSAGES)("$kind: wrong key, no key where one is needed, a key where none is", (message) => {
    assert.equal(reasonOf(encodeStreamMessage(message, keyringOf("another"), random), secret), "decryptionFailed");
    assert.equal(reasonOf(encodeStreamMessage(message, CLEAR_KEYRING, random), secret), "notEncrypted");
    assert.equal(reasonOf(encodeStreamMessage(message, secret, random)), "unexpectedEncryption");
  });

  test("they are refused at their first byte", () => {
    assert.equal(reasonOf(Uint8Array.of(10)), "unexpectedEncryption");
    assert.equal(reasonOf(Uint8Array.of(6), secret), "notEncrypted");
    assert.equal(reasonOf(Uint8Array.of(244)), "unexpectedLabel");
    assert.equal(reasonOf(Uint8Array.of(244), secret), "unexpectedLabel");
  });

  test("the length is sealed with the message", () => {
    const bytes = encodeStreamMessage(ack, secret, random);
    // One byte less, cut to fit: without the seal over the header the tag alone would not tell which byte is wrong.
    const shorter = bytes.slice(0, -1).with(4, (bytes[4] ?? 0) - 1);
    assert.equal(reasonOf(shorter, secret), "decryptionFailed");
    const datagram = encrypt(Uint8Array.of(2, 0x80), { key: secret.keys[0] ?? bytes, authenticated: new Uint8Array(0), random });
    assert.equal(reasonOf(Uint8Array.of(10, 0, 0, 0, datagram.length, ...datagram), secret), "decryptionFailed");
  });

  test("a stream that failed stays failed, and takes nothing more in", () => {
    const decoder = new StreamDecoder(secret);
    decoder.push(Uint8Array.of(6));
    assert.throws(() => decoder.next(), { reason: "notEncrypted" });
    decoder.push(encodeStreamMessage(ack, secret, random));
    assert.throws(() => decoder.next(), { reason: "notEncrypted" });
  });
});

describe("bounds", () => {
  const pushPull = (fields: Parameters<typeof encodeFields>[0], ...rest: readonly Uint8Array[]): Uint8Array => Uint8Array.from([6, ...encodeFields(fields), ...rest.flatMap((piece) => [...piece])]);

  test("lengths that are too large are refused as soon as they are read", () => {
    assert.equal(reasonOf(Uint8Array.of(10, 0xff, 0xff, 0xff, 0xff), secret), "tooLong");
    assert.equal(reasonOf(pushPull({ Nodes: MAX_PUSH_PULL_STATES + 1 })), "tooLong");
    assert.equal(reasonOf(pushPull({ Nodes: MAX_PUSH_PULL_STATES })), "incomplete");
    assert.equal(reasonOf(pushPull({ UserStateLen: MAX_STREAM_MESSAGE + 1 })), "tooLong");
    assert.equal(reasonOf(Uint8Array.of(8, ...encodeFields({ UserMsgLen: MAX_STREAM_MESSAGE + 1 }))), "tooLong");
    assert.equal(reasonOf(pushPull({ Nodes: "x" })), "malformed");
  });

  test("a negative number of members, as Go's signed integers can say it", () => {
    assert.equal(reasonOf(Uint8Array.of(6, 0x81, 0xa5, ...new TextEncoder().encode("Nodes"), 0xff)), "malformed");
  });

  test("a message that never ends is given up at the bound", () => {
    const decoder = new StreamDecoder(CLEAR_KEYRING);
    decoder.push(Uint8Array.of(2, 0x81, 0xa7, ...new TextEncoder().encode("Payload"), 0xdb, 0xff, 0xff, 0xff, 0xff));
    const piece = new Uint8Array(1 << 20);
    let pushes = 0;
    assert.throws(
      () => {
        for (; pushes < 10; pushes++) {
          decoder.push(piece);
          assert.equal(decoder.next(), undefined);
        }
      },
      { reason: "tooLong" },
    );
    assert.equal(pushes, 3);
  });

  test("decompression has its bound too", () => {
    const bomb = Uint8Array.of(9, ...encodeFields({ Algo: 0, Buf: compress(new Uint8Array(MAX_STREAM_MESSAGE + 1)) }));
    assert.equal(reasonOf(bomb), "decompressionBomb");
    assert.equal(reasonOf(frame(bomb), secret), "decompressionBomb");
  });

  test("a compression inside a compression is refused: memberlist has one", () => {
    assert.equal(reasonOf(compressedMessage(compressedMessage(encodeStreamMessage(ack, CLEAR_KEYRING, random)))), "malformed");
  });

  test("what is cut short inside an encryption or a compression will not get longer", () => {
    const bytes = encodeStreamMessage(STREAM_MESSAGES[0] ?? ack, CLEAR_KEYRING, random);
    for (let length = 0; length < bytes.length; length++) {
      assert.equal(reasonOf(frame(bytes.subarray(0, length)), secret), "malformed", `${length} bytes`);
      assert.equal(reasonOf(compressedMessage(bytes.subarray(0, length))), "malformed", `${length} bytes`);
    }
  });

  test("a frame too short to be encrypted", () => {
    assert.equal(reasonOf(Uint8Array.of(10, 0, 0, 0, 3, 1, 2, 3), secret), "decryptionFailed");
    assert.equal(reasonOf(Uint8Array.of(10, 0, 0, 0, 0), secret), "decryptionFailed");
  });

  test.each([1, 3, 4, 5, 7, 11, 12, 14, 255])("message type %d does not belong in a stream", (type) => {
    assert.equal(reasonOf(Uint8Array.of(type, 0x80)), "unknownMessage");
  });

  test("an error's text is cut, not refused", () => {
    const [error] = decodeAll([Uint8Array.of(13, ...encodeFields({ Error: "x".repeat(5000) }))], CLEAR_KEYRING);
    assert(error?.kind === "error");
    assert.equal(error.text, "x".repeat(512));
  });
});

test("any bytes give messages or a PacketError, the same in one piece and byte by byte", () => {
  const outcome = (pieces: readonly Uint8Array[], keyring: Keyring): unknown => {
    try {
      return decodeAll(pieces, keyring);
    } catch (error) {
      assert(error instanceof PacketError, String(error));
      return error.reason;
    }
  };
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 120 }), fc.constantFrom(0, 2, 6, 8, 9, 10, 13), (bytes, type) => {
      const stream = Uint8Array.of(type, ...bytes);
      for (const [, keyring] of RINGS) assert.deepEqual(outcome([...stream].map((byte) => Uint8Array.of(byte)), keyring), outcome([stream], keyring));
      outcome([frame(stream)], secret);
    }),
    { numRuns: 1000 },
  );
});
