/**
 * How vectors of memberlist's messages are written down.
 */

/** The secret whose derived key seals the recorded vectors that are named sealed. */
export const RECORDED_SECRET = "herald-vectors";

/** A message as JSON: bytes in hexadecimal, what is undefined as null. */
export function readable(message: object): unknown {
  return JSON.parse(JSON.stringify(message, (_, value: unknown) => (value instanceof Uint8Array ? Buffer.from(value).toString("hex") : value === undefined ? null : value)));
}
