/** gzip (RFC 1952) whose bytes depend on the content and on zlib's version only, not on the machine. */
import { gzipSync } from "node:zlib";

const OPERATING_SYSTEM = 9;
const UNKNOWN = 255;

/** The pieces as one, compressed. zlib leaves out file name and time; the operating system's byte is set to "unknown" (§2.3.1). */
export function gzipTar(pieces: readonly Uint8Array[]): Buffer {
  const compressed = gzipSync(Buffer.concat(pieces), { level: 6 });
  compressed[OPERATING_SYSTEM] = UNKNOWN;
  return compressed;
}
