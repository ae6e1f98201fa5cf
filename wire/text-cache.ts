/**
 * Short texts that come again and again, such as the names of nodes: the bytes are compared with the text that was made of
 * such bytes last, so that no new string is made, and looking it up in a map needs no new hash.
 */

/** Texts kept; a power of two. */
const SLOTS = 1024;
/** Longest text that is worth it, in bytes. */
export const MAX_CACHED_BYTES = 64;

const slots: string[] = Array.from({ length: SLOTS }, () => "");

/** The ASCII text in `bytes` from `start` on; undefined when a byte is no ASCII, or there are more than MAX_CACHED_BYTES. */
export function cachedAscii(bytes: Uint8Array, start: number, length: number): string | undefined {
  if (length > MAX_CACHED_BYTES) return undefined;
  let hash = length;
  for (let at = start; at < start + length; at++) {
    const byte = bytes[at] ?? 0x80;
    if (byte >= 0x80) return undefined;
    hash = (Math.imul(hash, 31) + byte) | 0;
  }
  const slot = (hash ^ (hash >>> 10)) & (SLOTS - 1);
  const known = slots[slot] ?? "";
  if (isText(known, bytes, start, length)) return known;
  const text = String.fromCharCode(...bytes.subarray(start, start + length));
  slots[slot] = text;
  return text;
}

function isText(text: string, bytes: Uint8Array, start: number, length: number): boolean {
  if (text.length !== length) return false;
  for (let at = 0; at < length; at++) if (text.charCodeAt(at) !== bytes[start + at]) return false;
  return true;
}
