/**
 * memberlist's encryption: a version byte, a nonce, AES-GCM's output and its tag. Version 1 is the bare plaintext, version 0
 * pads it after PKCS #7 (RFC 5652 section 6.3) to 16 bytes; we send 1 and accept both.
 */

import { createCipheriv, createDecipheriv } from "node:crypto";
import type { CipherGCMTypes } from "node:crypto";

import { ByteWriter } from "../../wire/byte-writer.ts";
import type { Random } from "../machine.ts";
import type { Keyring } from "./keyring.ts";
import { PacketError } from "./packet-error.ts";

const PADDED = 0;
const UNPADDED = 1;
const NONCE_LENGTH = 12;
const TAG_LENGTH = 16;
const BLOCK_LENGTH = 16;

/** Bytes that encryption adds to what it encrypts. */
export const ENCRYPTION_OVERHEAD = 1 + NONCE_LENGTH + TAG_LENGTH;

const CLAUSE = "memberlist encryption";

/**
 * Encrypts under the ring's first key; `authenticated` is sealed with it but not sent. A nonce must not come twice under one
 * key: 96 bits from `random`, whose state must not be that of another process.
 */
export function encrypt(plain: Uint8Array, options: { readonly key: Uint8Array; readonly authenticated: Uint8Array; readonly random: Random }): Uint8Array {
  const nonce = new ByteWriter(NONCE_LENGTH);
  while (nonce.length < NONCE_LENGTH) nonce.u32(Math.floor(options.random.next() * 2 ** 32));
  const cipher = createCipheriv(algorithmOf(options.key), options.key, nonce.finish(), { authTagLength: TAG_LENGTH });
  cipher.setAAD(options.authenticated);
  const writer = new ByteWriter(ENCRYPTION_OVERHEAD + plain.length).u8(UNPADDED).bytes(nonce.finish());
  return writer.bytes(cipher.update(plain)).bytes(cipher.final()).bytes(cipher.getAuthTag()).finish();
}

/** Whether the first byte is one that encrypted bytes begin with. (So do pings in the clear.) */
export function mayBeEncrypted(bytes: Uint8Array): boolean {
  return bytes.length >= ENCRYPTION_OVERHEAD && (bytes[0] === PADDED || bytes[0] === UNPADDED);
}

/** Decrypts with whichever key fits. @throws PacketError `decryptionFailed` when none does. */
export function decrypt(bytes: Uint8Array, keyring: Keyring, authenticated: Uint8Array): Uint8Array {
  const version = bytes[0];
  if (!mayBeEncrypted(bytes)) throw new PacketError("not encrypted bytes of a version known", { reason: "decryptionFailed", clause: CLAUSE });
  for (const key of keyring.keys) {
    const plain = open(bytes, key, authenticated);
    if (plain !== undefined) return version === PADDED ? withoutPadding(plain) : plain;
  }
  throw new PacketError("no key fits", { reason: "decryptionFailed", clause: CLAUSE });
}

function open(bytes: Uint8Array, key: Uint8Array, authenticated: Uint8Array): Uint8Array | undefined {
  const sealed = bytes.subarray(1 + NONCE_LENGTH);
  const decipher = createDecipheriv(algorithmOf(key), key, bytes.subarray(1, 1 + NONCE_LENGTH), { authTagLength: TAG_LENGTH });
  decipher.setAAD(authenticated);
  decipher.setAuthTag(sealed.subarray(sealed.length - TAG_LENGTH));
  const plain = decipher.update(sealed.subarray(0, sealed.length - TAG_LENGTH));
  try {
    decipher.final();
  } catch {
    // The tag does not match: other key, other authenticated bytes, or damage.
    return undefined;
  }
  // A Buffer's slice is a view, a Uint8Array's a copy; readers rely on the copy.
  return new Uint8Array(plain.buffer, plain.byteOffset, plain.length);
}

function withoutPadding(plain: Uint8Array): Uint8Array {
  const padding = plain.at(-1) ?? 0;
  if (padding < 1 || padding > BLOCK_LENGTH || padding > plain.length) {
    throw new PacketError(`padding of ${padding} bytes`, { reason: "malformed", clause: CLAUSE });
  }
  return plain.subarray(0, plain.length - padding);
}

function algorithmOf(key: Uint8Array): CipherGCMTypes {
  switch (key.length) {
    case 16:
      return "aes-128-gcm";
    case 24:
      return "aes-192-gcm";
    case 32:
      return "aes-256-gcm";
    default:
      throw new RangeError(`a key has 16, 24 or 32 bytes, not ${key.length}`);
  }
}
