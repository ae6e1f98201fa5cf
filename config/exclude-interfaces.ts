/**
 * The list of interfaces never to announce on: MetalLB's file `excludel2.yaml`, read once at start. Pure: text in,
 * sources of regular expressions out.
 *
 * The file's expressions are Go's (RE2). Those of JavaScript mean the same, but for: `\A` and `\z`, `(?P<name>`, flags
 * at the start like `(?i)`, and classes like `[[:alpha:]]`, which are translated; and look-around and back-references,
 * which RE2 does not have and which are refused here too, so that a file means the same to both.
 */

import { loadAll } from "js-yaml";

/** Most expressions in the list. */
export const MAX_EXCLUDE_ENTRIES = 1_000;
/** Longest expression, in characters. */
export const MAX_EXCLUDE_LENGTH = 1_000;

const FIELD = "announcedInterfacesToExclude";

/** A file that says something else than a list of regular expressions. The message names the entry. */
export class ExcludeError extends Error {
  override readonly name = "ExcludeError";
}

const POSIX_CLASSES: Readonly<Record<string, string>> = {
  alnum: "0-9A-Za-z",
  alpha: "A-Za-z",
  ascii: "\\x00-\\x7F",
  blank: "\\t ",
  cntrl: "\\x00-\\x1F\\x7F",
  digit: "0-9",
  graph: "!-~",
  lower: "a-z",
  print: " -~",
  punct: "!-\\/:-@\\[-`{-~",
  space: "\\t\\n\\v\\f\\r ",
  upper: "A-Z",
  word: "0-9A-Za-z_",
  xdigit: "0-9A-Fa-f",
};

/**
 * Reads the file's text. Shape of the answer: sources for `new RegExp`, unanchored, to be ORed; none when the list is
 * empty or missing.
 * @throws ExcludeError
 */
export function parseExcludeInterfaces(text: string): string[] {
  let document: unknown;
  try {
    // A file of comments only holds no document at all.
    document = loadAll(text)[0];
  } catch (error) {
    throw new ExcludeError(`not YAML: ${error instanceof Error ? error.message : String(error)}`);
  }
  if (document === null || document === undefined) return [];
  if (typeof document !== "object" || Array.isArray(document)) throw new ExcludeError(`a mapping with the key ${FIELD} is wanted`);
  const list: unknown = (document as Readonly<Record<string, unknown>>)[FIELD];
  if (list === null || list === undefined) return [];
  if (!Array.isArray(list)) throw new ExcludeError(`${FIELD} is not a list`);
  if (list.length > MAX_EXCLUDE_ENTRIES) throw new ExcludeError(`${FIELD} has ${list.length} entries, more than ${MAX_EXCLUDE_ENTRIES}`);
  return list.map((entry: unknown, index) => parseEntry(entry, `${FIELD}[${index}]`));
}

function parseEntry(entry: unknown, path: string): string {
  if (typeof entry !== "string") throw new ExcludeError(`${path} is not a string`);
  if (entry.length > MAX_EXCLUDE_LENGTH) throw new ExcludeError(`${path} has ${entry.length} characters, more than ${MAX_EXCLUDE_LENGTH}`);
  const quoted = `${path}: ${JSON.stringify(entry)}`;
  if (/\(\?(?:[=!]|<[=!])/.test(entry)) throw new ExcludeError(`${quoted} looks ahead or behind, which RE2 does not know`);
  if (/(?:^|[^\\])(?:\\\\)*\\(?:[1-9]|k<)/.test(entry)) throw new ExcludeError(`${quoted} refers back, which RE2 does not know`);
  const source = translate(entry);
  try {
    // Compiled to see whether it can be; where it is used, it is compiled again.
    RegExp(source);
    return source;
  } catch (error) {
    throw new ExcludeError(`${quoted} is no regular expression: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function translate(entry: string): string {
  const plain = entry
    .replaceAll(/\\[\s\S]/g, (escape) => (escape === "\\A" ? "^" : escape === "\\z" ? "$" : escape))
    .replaceAll("(?P<", "(?<")
    .replaceAll(/\[:([a-z]+):\]/g, (whole, name: string) => POSIX_CLASSES[name] ?? whole);
  // Flags at the start hold for the whole expression in RE2; in JavaScript they need a group.
  const flagged = /^\(\?([ims]+)\)([\s\S]*)$/.exec(plain);
  return flagged === null ? plain : `(?${flagged[1]}:${flagged[2]})`;
}
