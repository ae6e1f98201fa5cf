import assert from "node:assert/strict";
import { crc32 } from "node:zlib";

import fc from "fast-check";
import { describe, test } from "vitest";

import { compress, compressedMessage } from "../../test/membership/lzw.ts";
import { PACKET_MESSAGES, packetMessage } from "../../test/membership/messages.ts";
import { seededRandom } from "../../sys/random.ts";
import { encrypt } from "./encryption.ts";
import { CLEAR_KEYRING, keyringOf } from "./keyring.ts";
import type { Keyring } from "./keyring.ts";
import { encodeMessage } from "./message-codec.ts";
import type { PacketMessage } from "./message.ts";
import { encodeFields } from "./msgpack.ts";
import { decodePacket, encodedSize, encodePacket, MAX_DECOMPRESSED_PACKET, MAX_PACKET_PARTS, packetOverhead } from "./packet-codec.ts";
import { PacketError } from "./packet-error.ts";

const random = seededRandom(1);
const secret = keyringOf("a secret");
const ping: PacketMessage = { kind: "ping", sequence: 7, node: "node-b", source: undefined, sourceNode: "" };
const alive: PacketMessage = { kind: "alive", node: "node-b", endpoint: { address: "192.0.2.2", port: 7946 }, incarnation: 1, meta: new Uint8Array(0), versions: Uint8Array.of(1, 5, 2, 0, 0, 0) };
const user: PacketMessage = { kind: "user", bytes: Uint8Array.of(0xab) };

function reasonOf(bytes: Uint8Array, keyring: Keyring = CLEAR_KEYRING): string {
  try {
    decodePacket(bytes, keyring);
  } catch (error) {
    assert(error instanceof PacketError, String(error));
    return error.reason;
  }
  return "none";
}

/** What comes out of a datagram, refused parts by their reasons. */
function decodeParts(bytes: Uint8Array): { messages: PacketMessage[]; refused: string[] } {
  const refused: string[] = [];
  const messages = decodePacket(bytes, CLEAR_KEYRING, ({ reason }) => refused.push(reason));
  return { messages, refused };
}

function compound(parts: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.of(7, parts.length, ...parts.flatMap(({ length }) => [length >> 8, length & 0xff]), ...parts.flatMap((part) => [...part]));
}

function checksummed(message: Uint8Array): Uint8Array {
  const checksum = crc32(message);
  return Uint8Array.of(12, checksum >>> 24, (checksum >>> 16) & 0xff, (checksum >>> 8) & 0xff, checksum & 0xff, ...message);
}

/** A message of this type with these fields in place of its own. */
function withFields(type: number, fields: Parameters<typeof encodeFields>[0]): Uint8Array {
  return Uint8Array.of(type, ...encodeFields(fields));
}

describe("round trip", () => {
  test.each([["in the clear", CLEAR_KEYRING] as const, ["encrypted", secret] as const])("%s; the sizes foretold are kept to", (_, keyring) => {
    fc.assert(
      fc.property(fc.array(packetMessage, { minLength: 1, maxLength: 6 }), (messages) => {
        const bytes = encodePacket(messages, keyring, random);
        assert.deepEqual(decodePacket(bytes, keyring), messages);
        const foretold = messages.reduce((sum, message) => sum + encodedSize(message), packetOverhead(keyring));
        assert.equal(bytes.length, messages.length === 1 ? foretold - 4 : foretold);
      }),
    );
  });

  test("255 messages in one compound, not 256, not none", () => {
    const many = Array.from({ length: 255 }, (_, sequence): PacketMessage => ({ kind: "nack", sequence }));
    assert.deepEqual(decodePacket(encodePacket(many, CLEAR_KEYRING, random), CLEAR_KEYRING), many);
    assert.throws(() => encodePacket([...many, ping], CLEAR_KEYRING, random), /256 messages/);
    assert.throws(() => encodePacket([], CLEAR_KEYRING, random), /0 messages/);
  });

  test("one message is not wrapped", () => {
    assert.equal(encodePacket([ping], CLEAR_KEYRING, random)[0], 0);
    assert.equal(encodePacket([user], CLEAR_KEYRING, random).length, 2);
  });

  test("what was decoded does not change with the receive buffer", () => {
    for (const keyring of [CLEAR_KEYRING, secret]) {
      const buffer = Buffer.from(encodePacket(PACKET_MESSAGES, keyring, random));
      const messages = decodePacket(buffer, keyring);
      buffer.fill(0xff);
      assert.deepEqual(messages, PACKET_MESSAGES);
    }
  });
});

describe("wrappings", () => {
  const plain = encodePacket([ping, alive], CLEAR_KEYRING, random);

  test("compressed, checksummed, both, and inside encryption", () => {
    for (const bytes of [compressedMessage(plain), checksummed(plain), checksummed(compressedMessage(plain)), compound([compressedMessage(plain)])]) {
      assert.deepEqual(decodePacket(bytes, CLEAR_KEYRING), [ping, alive]);
      const sealed = encrypt(bytes, { key: secret.keys[0] ?? plain, authenticated: new Uint8Array(0), random });
      assert.deepEqual(decodePacket(sealed, secret), [ping, alive]);
    }
  });

  test("a wrong checksum, and a checksum cut short", () => {
    const bytes = checksummed(plain);
    assert.equal(reasonOf(bytes.with(bytes.length - 1, 0xee)), "checksumMismatch");
    assert.equal(reasonOf(bytes.subarray(0, 4)), "malformed");
    assert.equal(reasonOf(checksummed(new Uint8Array(0))), "malformed");
  });

  test("a compound inside a compound, down to the bound", () => {
    let bytes = encodeMessage(ping);
    for (let depth = 0; depth < 4; depth++) bytes = compound([bytes]);
    assert.deepEqual(decodeParts(bytes), { messages: [ping], refused: [] });
    assert.deepEqual(decodeParts(compound([bytes])), { messages: [], refused: ["tooLong"] });
    assert.deepEqual(decodeParts(compound([encodeMessage(user), compound([bytes])])), { messages: [user], refused: ["tooLong"] });
  });

  test("a compression inside a compression, down to the bound", () => {
    let bytes = encodeMessage(ping);
    for (let depth = 0; depth < 4; depth++) bytes = compressedMessage(bytes);
    assert.equal(reasonOf(bytes), "none");
    assert.equal(reasonOf(compressedMessage(bytes)), "tooLong");
  });

  test("a refused part costs only itself", () => {
    const parts = [encodeMessage(alive), Uint8Array.of(99, 0x80), new Uint8Array(0), Uint8Array.of(4, 0x81), Uint8Array.of(12, 0, 0, 0, 0), encodeMessage(user)];
    assert.deepEqual(decodeParts(compound(parts)), { messages: [alive, user], refused: ["unknownMessage", "malformed", "malformed", "unknownMessage"] });
  });

  test("a compound cut short gives its whole parts", () => {
    const bytes = compound([encodeMessage(alive), encodeMessage(user), encodeMessage(ping)]);
    assert.deepEqual(decodeParts(bytes.subarray(0, -1)), { messages: [alive, user], refused: ["malformed"] });
    assert.equal(reasonOf(Uint8Array.of(7)), "malformed");
    assert.equal(reasonOf(Uint8Array.of(7, 2, 0, 1, 0)), "malformed");
  });

  test("parts are counted over all nestings", () => {
    const nacks = compound(Array.from({ length: 255 }, () => encodeMessage({ kind: "nack", sequence: 1 })));
    assert.equal(decodeParts(compound([nacks, nacks, nacks])).messages.length, 3 * 255);
    assert.equal(reasonOf(compound([nacks, nacks, nacks, nacks, nacks, nacks])), "tooLong");
    let refusals = 0;
    const empty = compound(Array.from({ length: 255 }, () => new Uint8Array(0)));
    assert.throws(() => decodePacket(compound(Array.from({ length: 100 }, () => empty)), CLEAR_KEYRING, () => (refusals += 1)), PacketError);
    assert(refusals <= MAX_PACKET_PARTS + 2, `${refusals} refusals`);
  });
});

describe("bombs", () => {
  const zeros = (length: number): Uint8Array => Uint8Array.of(8, ...new Uint8Array(length - 1));

  test("one that is too large alone", () => {
    assert.equal(reasonOf(compressedMessage(zeros(MAX_DECOMPRESSED_PACKET))), "none");
    assert.equal(reasonOf(compressedMessage(zeros(MAX_DECOMPRESSED_PACKET + 1))), "decompressionBomb");
  });

  test("several that are too large together", () => {
    const part = compressedMessage(zeros(30_000));
    assert.equal(decodeParts(compound([part, part])).messages.length, 2);
    assert.deepEqual(decodeParts(compound([part, part, part])).refused, ["decompressionBomb"]);
  });

  test("what fails to decompress counts as well: one bomb ends all compression in its datagram", () => {
    const bomb = compressedMessage(new Uint8Array(MAX_DECOMPRESSED_PACKET + 1));
    const { messages, refused } = decodeParts(compound([bomb, encodeMessage(user), bomb, compressedMessage(encodeMessage(user))]));
    assert.deepEqual(messages, [user]);
    assert.deepEqual(refused, ["decompressionBomb", "decompressionBomb", "decompressionBomb"]);
  });

  test("nor does leaving out the end codes buy more work", () => {
    const whole = compress(new Uint8Array(MAX_DECOMPRESSED_PACKET));
    const endless = Uint8Array.of(9, ...encodeFields({ Algo: 0, Buf: whole.subarray(0, whole.length - 3) }));
    const { messages, refused } = decodeParts(compound([endless, compressedMessage(encodeMessage(user)), encodeMessage(ping)]));
    assert.deepEqual(messages, [ping]);
    assert.deepEqual(refused, ["malformed", "decompressionBomb"]);
  });

  test("an algorithm not known, and compressed bytes that are none", () => {
    assert.equal(reasonOf(withFields(9, { Algo: 1, Buf: compress(encodeMessage(ping)) })), "malformed");
    assert.equal(reasonOf(withFields(9, { Algo: 0, Buf: Uint8Array.of(1, 2, 3) })), "malformed");
    assert.equal(reasonOf(compressedMessage(new Uint8Array(0))), "malformed");
  });
});

describe("keys", () => {
  test.each(PACKET_MESSAGES)("$kind: wrong key, no key where one is needed, a key where none is", (message) => {
    assert.equal(reasonOf(encodePacket([message, message], keyringOf("another"), random), secret), "decryptionFailed");
    assert.equal(reasonOf(encodePacket([message], CLEAR_KEYRING, random), secret), "notEncrypted");
    assert.equal(reasonOf(encodePacket([message, message], CLEAR_KEYRING, random), secret), "notEncrypted");
    assert.equal(reasonOf(encodePacket([message], secret, seededRandom(1)), CLEAR_KEYRING), "unexpectedEncryption");
  });

  test("the same message twice is not the same datagram, and both are accepted: sequence and incarnation tell repeats apart", () => {
    const [first, second] = [encodePacket([ping], secret, random), encodePacket([ping], secret, random)];
    assert.notDeepEqual(first, second);
    assert.deepEqual(decodePacket(first, secret), decodePacket(first, secret));
  });

  test("a label is refused, with and without keys", () => {
    const labelled = Uint8Array.of(244, 1, 0x61, ...encodePacket([ping], CLEAR_KEYRING, random));
    assert.equal(reasonOf(labelled), "unexpectedLabel");
    assert.equal(reasonOf(labelled, secret), "unexpectedLabel");
  });

  test("nothing at all", () => {
    assert.equal(reasonOf(new Uint8Array(0)), "malformed");
    assert.equal(reasonOf(new Uint8Array(0), secret), "notEncrypted");
  });
});

describe("fields", () => {
  const member = { Node: "n", Addr: Uint8Array.of(192, 0, 2, 1), Port: 7946, Incarnation: 1, Meta: new Uint8Array(0), Vsn: Uint8Array.of(1, 5, 2, 0, 0, 0) };

  test("IPv4 in 16 bytes is IPv4; what Herald sends is 4 bytes", () => {
    const mapped = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 1);
    const [message] = decodePacket(withFields(4, { ...member, Addr: mapped }), CLEAR_KEYRING);
    assert(message?.kind === "alive");
    assert.equal(message.endpoint.address, "192.0.2.1");
    assert.deepEqual(encodeMessage(message), withFields(4, member));
  });

  test.each([
    ["no name", { Node: "" }, "malformed"],
    ["a name of 256 bytes", { Node: "x".repeat(256) }, "tooLong"],
    ["a name that is no UTF-8", { Node: Uint8Array.of(0xff) }, "malformed"],
    ["an address of 5 bytes", { Addr: new Uint8Array(5) }, "malformed"],
    ["no address", { Addr: new Uint8Array(0) }, "malformed"],
    ["an address of 17 bytes", { Addr: new Uint8Array(17) }, "tooLong"],
    ["no port", { Port: 0 }, "malformed"],
    ["a port past 65535", { Port: 65_536 }, "malformed"],
    ["a text for a number", { Incarnation: "1" }, "malformed"],
    ["513 bytes of meta", { Meta: new Uint8Array(513) }, "tooLong"],
    ["5 versions", { Vsn: new Uint8Array(5) }, "malformed"],
    ["7 versions", { Vsn: new Uint8Array(7) }, "tooLong"],
    ["no versions at all", { Vsn: new Uint8Array(0) }, "none"],
    ["512 bytes of meta", { Meta: new Uint8Array(512).fill(1) }, "none"],
    ["a name of 255 bytes", { Node: "x".repeat(255) }, "none"],
    ["a field nobody knows", { Zone: "a" }, "none"],
  ])("alive with %s", (_, fields, reason) => {
    assert.equal(reasonOf(withFields(4, { ...member, ...fields })), reason);
  });

  test("a ping may leave out everything but its number, or give half a source", () => {
    assert.deepEqual(decodePacket(withFields(0, { SeqNo: 5 }), CLEAR_KEYRING), [{ kind: "ping", sequence: 5, node: "", source: undefined, sourceNode: "" }]);
    const [half] = decodePacket(withFields(0, { SeqNo: 5, SourceAddr: Uint8Array.of(192, 0, 2, 1) }), CLEAR_KEYRING);
    assert(half?.kind === "ping" && half.source === undefined);
    assert.equal(reasonOf(withFields(0, { SeqNo: 5, SourceAddr: Uint8Array.of(1, 2), SourcePort: 1 })), "malformed");
  });

  test.each([6, 10, 13, 14, 200, 255])("message type %d does not belong in a datagram", (type) => {
    assert.equal(reasonOf(withFields(type, { Error: "x" })), "unknownMessage");
  });

  test("every message cut short anywhere is malformed", () => {
    for (const message of PACKET_MESSAGES.filter(({ kind }) => kind !== "user")) {
      const bytes = encodeMessage(message);
      for (let length = 0; length < bytes.length; length++) assert.equal(reasonOf(bytes.subarray(0, length)), "malformed", `${message.kind}, ${length} bytes`);
    }
  });
});

test("any bytes give messages or a PacketError, in the clear and behind the right key", () => {
  const [key] = secret.keys;
  assert(key !== undefined);
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.constantFrom(0, 1, 2, 3, 4, 5, 7, 8, 9, 11, 12), (bytes, type) => {
      const datagram = Uint8Array.of(type, ...bytes);
      reasonOf(datagram);
      reasonOf(datagram, secret);
      reasonOf(encrypt(datagram, { key, authenticated: new Uint8Array(0), random }), secret);
    }),
    { numRuns: 2000 },
  );
});
