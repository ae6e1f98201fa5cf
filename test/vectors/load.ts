/**
 * Test vectors: a text file per case with `key: value` lines. `origin` says where the bytes come from, `hex` are the bytes
 * (spaces allowed), and either `json` is what they decode to or `error` the clause that refuses them. `padding` counts
 * bytes at the end that carry nothing and are not encoded again.
 */

import { readdirSync, readFileSync } from "node:fs";

export interface Vector {
  readonly name: string;
  readonly origin: string;
  readonly bytes: Uint8Array;
  readonly padding: number;
  /** Parsed JSON of the decoded value; undefined for bytes that must be refused. */
  readonly decoded: unknown;
  readonly clause: string | undefined;
}

/** All vectors of a folder beside this file. @throws Error when there is none, or one is incomplete. */
export function loadVectors(folder: string): Vector[] {
  const url = new URL(`${folder}/`, import.meta.url);
  const vectors = readdirSync(url)
    .filter((file) => file.endsWith(".txt"))
    .map((file) => parseVector(file.slice(0, -".txt".length), readFileSync(new URL(file, url), "utf8")));
  if (vectors.length === 0) throw new Error(`no vectors in ${folder}`);
  return vectors;
}

function parseVector(name: string, text: string): Vector {
  const fields = new Map<string, string>();
  for (const line of text.split("\n")) {
    const match = /^(\w+):\s*(.*)$/.exec(line);
    if (match !== null) fields.set(match[1] ?? "", match[2] ?? "");
  }
  const [origin, hex, json, clause] = ["origin", "hex", "json", "error"].map((key) => fields.get(key));
  if (origin === undefined || hex === undefined || (json === undefined) === (clause === undefined)) {
    throw new Error(`vector ${name} wants origin, hex, and either json or error`);
  }
  const digits = hex.replaceAll(" ", "");
  if (!/^(?:[0-9a-f]{2})*$/.test(digits)) throw new Error(`vector ${name}: not hexadecimal`);
  return {
    name,
    origin,
    bytes: Uint8Array.from(digits.match(/../g) ?? [], (octet) => Number.parseInt(octet, 16)),
    padding: Number(fields.get("padding") ?? "0"),
    decoded: json === undefined ? undefined : JSON.parse(json),
    clause,
  };
}
