/**
 * Files read whole.
 */

import { readFileSync } from "node:fs";

/** Most bytes of a configuration file; a ConfigMap holds no more than 1 MiB either. */
const MAX_FILE_BYTES = 1024 * 1024;

/** Text of a UTF-8 file, undefined when there is none. @throws Error when it can't be read or is longer than 1 MiB. */
export function readTextFileIfPresent(path: string): string | undefined {
  let bytes: Uint8Array;
  try {
    bytes = readFileSync(path);
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  }
  if (bytes.length > MAX_FILE_BYTES) throw new Error(`${path} has ${bytes.length} bytes, more than ${MAX_FILE_BYTES}`);
  return new TextDecoder().decode(bytes);
}
