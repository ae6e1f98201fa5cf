/**
 * Writes tar archives in the ustar format (POSIX.1-1988) whose bytes depend on nothing but their entries: sorted by path,
 * owner and group 0, one modification time. No archive needs more: paths are short and files smaller than 8 GiB.
 */
import assert from "node:assert/strict";

export type TarEntry =
  /** `mode` in Unix' bits, e.g. 0o755. */
  | { readonly kind: "file"; readonly path: string; readonly mode: number; readonly content: Uint8Array }
  | { readonly kind: "directory"; readonly path: string; readonly mode: number }
  /** `target` as readlink(2) gives it. */
  | { readonly kind: "symlink"; readonly path: string; readonly target: string };

const BLOCK = 512;
const NAME_LENGTH = 100;
const PREFIX_LENGTH = 155;
const TYPE = { file: "0", symlink: "2", directory: "5" } as const;

/**
 * The archive as pieces to be written one after the other. Folders that lead to an entry are added with mode 755.
 * @param mtimeSeconds modification time of every entry, seconds since 1970.
 * @throws RangeError for a path or a link target that ustar can't hold, Error for a path named twice.
 */
export function tarArchive(entries: readonly TarEntry[], mtimeSeconds: number): Uint8Array[] {
  const byPath = new Map<string, TarEntry>();
  for (const entry of entries) {
    const known = byPath.get(entry.path);
    if (known !== undefined && !(known.kind === "directory" && entry.kind === "directory")) throw new Error(`${entry.path} is in the archive twice`);
    byPath.set(entry.path, entry);
  }
  for (const { path } of entries) {
    for (const folder of foldersAbove(path)) if (!byPath.has(folder)) byPath.set(folder, { kind: "directory", path: folder, mode: 0o755 });
  }
  const pieces: Uint8Array[] = [];
  for (const entry of [...byPath.values()].toSorted((a, b) => compareBytes(a.path, b.path))) {
    pieces.push(header(entry, mtimeSeconds));
    if (entry.kind !== "file") continue;
    pieces.push(entry.content);
    const rest = entry.content.length % BLOCK;
    if (rest !== 0) pieces.push(new Uint8Array(BLOCK - rest));
  }
  pieces.push(new Uint8Array(2 * BLOCK));
  return pieces;
}

function header(entry: TarEntry, mtimeSeconds: number): Uint8Array {
  const block = new Uint8Array(BLOCK);
  const text = (offset: number, length: number, value: string): void => {
    const bytes = Buffer.from(value);
    if (bytes.length > length) throw new RangeError(`${entry.path}: "${value}" does not fit a tar header`);
    block.set(bytes, offset);
  };
  const octal = (offset: number, length: number, value: number): void => text(offset, length, value.toString(8).padStart(length - 1, "0"));
  const { name, prefix } = splitPath(entry.kind === "directory" ? `${entry.path}/` : entry.path);
  text(0, NAME_LENGTH, name);
  octal(100, 8, entry.kind === "symlink" ? 0o777 : entry.mode);
  octal(108, 8, 0);
  octal(116, 8, 0);
  octal(124, 12, entry.kind === "file" ? entry.content.length : 0);
  octal(136, 12, mtimeSeconds);
  text(148, 8, " ".repeat(8));
  text(156, 1, TYPE[entry.kind]);
  if (entry.kind === "symlink") text(157, NAME_LENGTH, entry.target);
  text(257, 8, "ustar\u000000");
  text(345, PREFIX_LENGTH, prefix);
  const sum = block.reduce((total, byte) => total + byte, 0);
  text(148, 8, `${sum.toString(8).padStart(6, "0")}\0 `);
  return block;
}

/** A path longer than the name field is split at a slash: the prefix takes what comes before it. */
function splitPath(path: string): { name: string; prefix: string } {
  assert(path !== "" && !path.startsWith("/") && !path.startsWith("./"), `"${path}" is not a path inside an archive`);
  if (Buffer.byteLength(path) <= NAME_LENGTH) return { name: path, prefix: "" };
  for (let slash = path.indexOf("/"); slash !== -1 && slash < path.length - 1; slash = path.indexOf("/", slash + 1)) {
    const name = path.slice(slash + 1);
    if (Buffer.byteLength(name) <= NAME_LENGTH) return { name, prefix: path.slice(0, slash) };
  }
  throw new RangeError(`${path}: too long for a tar header`);
}

function foldersAbove(path: string): string[] {
  const parts = path.split("/").slice(0, -1);
  return parts.map((_, index) => parts.slice(0, index + 1).join("/"));
}

function compareBytes(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}
