import assert from "node:assert/strict";
import { createCipheriv } from "node:crypto";

import fc from "fast-check";
import { describe, test } from "vitest";

import { seededRandom } from "../../sys/random.ts";
import { decrypt, encrypt, ENCRYPTION_OVERHEAD } from "./encryption.ts";
import { deriveKey, keyringOf } from "./keyring.ts";
import { PacketError } from "./packet-error.ts";

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
const ascii = (text: string): Uint8Array => new TextEncoder().encode(text);
const NONE = new Uint8Array(0);
const key = deriveKey("a secret");
const keyring = { keys: [key] };

function reasonOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    assert(error instanceof PacketError, String(error));
    return error.reason;
  }
  return "none";
}

describe("deriveKey", () => {
  test("appends the hash of nothing and cuts at 32 bytes", () => {
    assert.equal(hex(deriveKey("")), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert.equal(hex(deriveKey("0123456789abcdefghijkl")), `${hex(ascii("0123456789abcdefghijkl"))}e3b0c44298fc1c149afb`);
    assert.equal(hex(deriveKey("x".repeat(40))), "78".repeat(32));
  });

  test("an empty secret is no key", () => {
    assert.deepEqual(keyringOf("").keys, []);
    assert.deepEqual(keyringOf(undefined).keys, []);
    assert.deepEqual(keyringOf("abc").keys, [deriveKey("abc")]);
  });
});

describe("encryption", () => {
  test("round trip with every size of key; nonces differ", () => {
    const random = seededRandom(1);
    for (const length of [16, 24, 32]) {
      const ring = { keys: [new Uint8Array(length).fill(7)] };
      fc.assert(
        fc.property(fc.uint8Array(), fc.uint8Array({ maxLength: 10 }), (plain, authenticated) => {
          const sealed = encrypt(plain, { key: ring.keys[0] ?? NONE, authenticated, random });
          assert.equal(sealed.length, plain.length + ENCRYPTION_OVERHEAD);
          assert.deepEqual(decrypt(sealed, ring, authenticated), plain);
          assert.notDeepEqual(encrypt(plain, { key: ring.keys[0] ?? NONE, authenticated, random }), sealed);
        }),
      );
    }
  });

  test("any key of the ring decrypts, a key outside does not", () => {
    const sealed = encrypt(ascii("hello"), { key, authenticated: NONE, random: seededRandom(1) });
    assert.deepEqual(decrypt(sealed, { keys: [deriveKey("other"), key] }, NONE), ascii("hello"));
    assert.equal(reasonOf(() => decrypt(sealed, { keys: [deriveKey("other")] }, NONE)), "decryptionFailed");
  });

  test("a changed bit anywhere, other authenticated bytes or a missing end are found out", () => {
    const sealed = encrypt(ascii("hello"), { key, authenticated: NONE, random: seededRandom(1) });
    for (let bit = 8; bit < sealed.length * 8; bit++) {
      const damaged = sealed.slice();
      damaged[bit >> 3] = (damaged[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      assert.equal(reasonOf(() => decrypt(damaged, keyring, NONE)), "decryptionFailed", `bit ${bit}`);
    }
    assert.equal(reasonOf(() => decrypt(sealed, keyring, Uint8Array.of(1))), "decryptionFailed");
    for (let length = 0; length < sealed.length; length++) assert.equal(reasonOf(() => decrypt(sealed.subarray(0, length), keyring, NONE)), "decryptionFailed");
    assert.equal(reasonOf(() => decrypt(Uint8Array.of(2, ...sealed.subarray(1)), keyring, NONE)), "decryptionFailed");
  });

  test("version 0: padding is taken off, and refused when it cannot be one", () => {
    assert.deepEqual(decrypt(sealPadded(Uint8Array.of(1, 2, 3, ...Array.from({ length: 13 }, () => 13))), keyring, NONE), Uint8Array.of(1, 2, 3));
    for (const last of [0, 17, 255]) assert.equal(reasonOf(() => decrypt(sealPadded(new Uint8Array(16).fill(last)), keyring, NONE)), "malformed");
    assert.equal(reasonOf(() => decrypt(sealPadded(Uint8Array.of(5)), keyring, NONE)), "malformed");
    assert.equal(reasonOf(() => decrypt(sealPadded(NONE), keyring, NONE)), "malformed");
  });
});

function sealPadded(padded: Uint8Array): Uint8Array {
  const nonce = new Uint8Array(12).fill(9);
  const cipher = createCipheriv("aes-256-gcm", key, nonce);
  cipher.setAAD(NONE);
  const body = [...cipher.update(padded), ...cipher.final()];
  return Uint8Array.of(0, ...nonce, ...body, ...cipher.getAuthTag());
}
