/**
 * The keys that members share. One secret text makes one key, the way MetalLB makes it, so that both can live in one cluster.
 */

import { createHash } from "node:crypto";

/** Keys of 16, 24 or 32 bytes (AES). The first one encrypts, all decrypt; without any, members talk in the clear. */
export interface Keyring {
  readonly keys: readonly Uint8Array[];
}

/** No key: everything in the clear, and nothing encrypted accepted. */
export const CLEAR_KEYRING: Keyring = { keys: [] };

const KEY_LENGTH = 32;

/** The ring of one secret; no or an empty text means no encryption. */
export function keyringOf(secretText: string | undefined): Keyring {
  return secretText === undefined || secretText === "" ? CLEAR_KEYRING : { keys: [deriveKey(secretText)] };
}

/**
 * MetalLB's key: the first 32 bytes of the text followed by the hash of nothing. (It calls Go's Hash.Sum, which appends the
 * hash of what was written, which is nothing, to its argument.) A text of 32 bytes or more is cut.
 */
export function deriveKey(secretText: string): Uint8Array {
  const text = new TextEncoder().encode(secretText);
  const key = new Uint8Array(KEY_LENGTH);
  key.set(text.subarray(0, KEY_LENGTH));
  if (text.length < KEY_LENGTH) key.set(createHash("sha256").digest().subarray(0, KEY_LENGTH - text.length), text.length);
  return key;
}
