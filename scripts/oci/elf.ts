/**
 * Reads and strips 64-bit little-endian ELF files, which is what every program and library for amd64 and arm64 on Linux is.
 * Structures and names are those of the System V ABI, chapters 4 and 5 (elf(5) lists them too).
 */
import type { ImageArchitecture } from "./image-archive.ts";

/** What the dynamic linker reads of a file. */
export interface ElfFacts {
  /** `e_machine` as an architecture, undefined for all others. */
  readonly architecture: ImageArchitecture | undefined;
  /** PT_INTERP: path of the dynamic linker; a library has none. */
  readonly interpreter: string | undefined;
  /** DT_NEEDED: names of the libraries that it wants, in its order. */
  readonly needed: readonly string[];
}

const MACHINES: Readonly<Record<number, ImageArchitecture>> = { 62: "amd64", 183: "arm64" };
const HEADER_LENGTH = 64;
const SEGMENT_LENGTH = 56;
const SECTION_LENGTH = 64;
const PT_LOAD = 1;
const PT_DYNAMIC = 2;
const PT_INTERP = 3;
const DT_NEEDED = 1;
const DT_STRTAB = 5;
const SHT_NOBITS = 8;
const SHT_STRTAB = 3;
const SHF_ALLOC = 2;

interface Segment {
  readonly type: number;
  readonly offset: number;
  readonly address: number;
  readonly length: number;
}

interface Section {
  readonly name: string;
  readonly type: number;
  readonly flags: number;
  readonly offset: number;
  readonly length: number;
  /** The 64 bytes of its header. */
  readonly header: Buffer;
}

/** @throws Error when the bytes are no 64-bit little-endian ELF file. */
export function readElf(bytes: Uint8Array): ElfFacts {
  const file = asElf(bytes);
  const segments = readSegments(file);
  const interpreter = segments.find(({ type }) => type === PT_INTERP);
  return {
    architecture: MACHINES[file.readUInt16LE(18)],
    interpreter: interpreter === undefined ? undefined : textAt(file, interpreter.offset),
    needed: readNeeded(file, segments),
  };
}

/**
 * The file without symbol table and debugging information: what strip(1) leaves of it, for any architecture and without binutils.
 * Everything that is loaded keeps its place and its bytes.
 * @throws Error when a section that is loaded comes after one that is not.
 */
export function stripElf(bytes: Uint8Array): Uint8Array {
  const file = asElf(bytes);
  const sections = readSections(file);
  const kept = sections.filter(({ flags }, index) => index === 0 || (flags & SHF_ALLOC) !== 0);
  // Symbols name sections by number, so the numbers must stay as they are.
  if (kept.some((section, index) => section !== sections[index])) throw new Error("sections that are loaded and others alternate; this strips only files that load the first ones");
  const loadedEnd = Math.max(
    ...readSegments(file).map(({ offset, length }) => offset + length),
    ...kept.filter(({ type }) => type !== SHT_NOBITS).map(({ offset, length }) => offset + length),
  );
  const names = [...kept.map(({ name }) => name), ".shstrtab"];
  const nameTable = Buffer.from(names.map((name) => `${name}\0`).join(""));
  const nameOffsets = names.map((_, index) => Buffer.byteLength(names.slice(0, index).map((name) => `${name}\0`).join("")));
  const tableOffset = align8(loadedEnd + nameTable.length);
  const out = Buffer.alloc(tableOffset + names.length * SECTION_LENGTH);
  file.copy(out, 0, 0, loadedEnd);
  nameTable.copy(out, loadedEnd);
  for (const [index, { header }] of kept.entries()) {
    header.copy(out, tableOffset + index * SECTION_LENGTH);
    out.writeUInt32LE(nameOffsets[index] ?? 0, tableOffset + index * SECTION_LENGTH);
  }
  writeNameSection(out, { at: tableOffset + kept.length * SECTION_LENGTH, name: nameOffsets.at(-1) ?? 0, offset: loadedEnd, length: nameTable.length });
  out.writeBigUInt64LE(BigInt(tableOffset), 40);
  out.writeUInt16LE(names.length, 60);
  out.writeUInt16LE(names.length - 1, 62);
  return out;
}

function writeNameSection(out: Buffer, { at, name, offset, length }: { at: number; name: number; offset: number; length: number }): void {
  out.writeUInt32LE(name, at);
  out.writeUInt32LE(SHT_STRTAB, at + 4);
  out.writeBigUInt64LE(BigInt(offset), at + 24);
  out.writeBigUInt64LE(BigInt(length), at + 32);
  out.writeBigUInt64LE(1n, at + 48);
}

function asElf(bytes: Uint8Array): Buffer {
  const file = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const isElf = file.length >= HEADER_LENGTH && file.readUInt32BE(0) === 0x7f454c46 && file[4] === 2 && file[5] === 1;
  if (!isElf) throw new Error("not a 64-bit little-endian ELF file");
  return file;
}

function readSegments(file: Buffer): Segment[] {
  const table = Number(file.readBigUInt64LE(32));
  return Array.from({ length: file.readUInt16LE(56) }, (_, index) => {
    const at = table + index * SEGMENT_LENGTH;
    return { type: file.readUInt32LE(at), offset: Number(file.readBigUInt64LE(at + 8)), address: Number(file.readBigUInt64LE(at + 16)), length: Number(file.readBigUInt64LE(at + 32)) };
  });
}

function readSections(file: Buffer): Section[] {
  const table = Number(file.readBigUInt64LE(40));
  const headers = Array.from({ length: file.readUInt16LE(60) }, (_, index) => file.subarray(table + index * SECTION_LENGTH, table + (index + 1) * SECTION_LENGTH));
  const names = headers[file.readUInt16LE(62)];
  if (names === undefined) throw new Error("the file has no section names");
  const namesOffset = Number(names.readBigUInt64LE(24));
  return headers.map((header) => ({
    name: textAt(file, namesOffset + header.readUInt32LE(0)),
    type: header.readUInt32LE(4),
    flags: Number(header.readBigUInt64LE(8)),
    offset: Number(header.readBigUInt64LE(24)),
    length: Number(header.readBigUInt64LE(32)),
    header,
  }));
}

function readNeeded(file: Buffer, segments: readonly Segment[]): string[] {
  const dynamic = segments.find(({ type }) => type === PT_DYNAMIC);
  if (dynamic === undefined) return [];
  const entries = Array.from({ length: Math.floor(dynamic.length / 16) }, (_, index) => {
    const at = dynamic.offset + index * 16;
    return { tag: Number(file.readBigUInt64LE(at)), value: Number(file.readBigUInt64LE(at + 8)) };
  });
  const strings = entries.find(({ tag }) => tag === DT_STRTAB)?.value ?? 0;
  const load = segments.find(({ type, address, length }) => type === PT_LOAD && strings >= address && strings < address + length);
  if (load === undefined) throw new Error("the names of its libraries are in no segment");
  const namesOffset = strings - load.address + load.offset;
  return entries.filter(({ tag }) => tag === DT_NEEDED).map(({ value }) => textAt(file, namesOffset + value));
}

function textAt(file: Buffer, offset: number): string {
  return file.toString("utf8", offset, file.indexOf(0, offset));
}

function align8(offset: number): number {
  return Math.ceil(offset / 8) * 8;
}
