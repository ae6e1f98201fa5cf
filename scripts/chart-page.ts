/**
 * Writes the table of values in docs/chart.md from charts/herald/values.yaml, so that the page says what the chart takes.
 * Run `node scripts/chart-page.ts` after changing the values; a test compares the two.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { CHART } from "./chart-render.ts";

const root = resolve(import.meta.dirname, "..");
export const CHART_PAGE = join(root, "docs/chart.md");
export const VALUES_FILE = join(CHART, "values.yaml");

const BEGIN = "<!-- values: written by scripts/chart-page.ts from charts/herald/values.yaml -->";
const END = "<!-- end of values -->";

/** One line of the table. */
export interface ValueRow {
  /** e.g. "speaker.layer2.election" */
  readonly path: string;
  /** As the file writes it; "..." for a list that follows. */
  readonly default: string;
  /** The comment above it; empty when there is none. */
  readonly text: string;
}

/**
 * The values with a default of their own, in the file's order. A comment above a section goes to the section's first value.
 * @param yaml block mappings, two blanks to a level, comments on lines of their own.
 */
export function valueRows(yaml: string): ValueRow[] {
  const rows: ValueRow[] = [];
  const path: string[] = [];
  let comment: string[] = [];
  const lines = yaml.split("\n");
  for (const [index, line] of lines.entries()) {
    const note = /^ *# ?(.*)$/.exec(line)?.[1];
    if (note !== undefined) comment.push(note);
    // A blank line ends what is said of the file as a whole.
    else if (line.trim() === "") comment = [];
    const entry = /^( *)([\w-]+):(?: (.*))?$/.exec(line);
    if (entry === null || isInList(lines, index)) continue;
    const [, indent = "", key = "", value] = entry;
    path.length = indent.length / 2;
    path.push(key);
    const listFollows = /^ *- /.test(lines[index + 1] ?? "");
    if (value === undefined && !listFollows) continue;
    rows.push({ path: path.join("."), default: value ?? "...", text: comment.join(" ") });
    comment = [];
  }
  return rows;
}

/** Whether the line is part of a list's entry. */
function isInList(lines: readonly string[], index: number): boolean {
  const indentOf = (line: string): number => /^ */.exec(line)?.[0].length ?? 0;
  let indent = indentOf(lines[index] ?? "");
  for (let above = index; above >= 0 && indent > 0; above -= 1) {
    const line = lines[above] ?? "";
    if (line.trim() === "" || line.trim().startsWith("#") || (above < index && indentOf(line) >= indent)) continue;
    if (line.trim().startsWith("- ")) return true;
    indent = indentOf(line);
  }
  return false;
}

/** The table, without a line break at its end. */
export function valuesTable(yaml: string): string {
  const rows = valueRows(yaml).map(({ path, default: value, text }) => `| \`${path}\` | \`${value}\` | ${text.replaceAll("|", "\\|")} |`);
  return ["| value | default | |", "|---|---|---|", ...rows].join("\n");
}

/** The page with the table that belongs into it. @throws Error when its marks are missing. */
export function withTable(page: string, yaml: string): string {
  const begin = page.indexOf(BEGIN);
  const end = page.indexOf(END);
  if (begin < 0 || end < begin) throw new Error(`docs/chart.md lacks its marks ${BEGIN} and ${END}`);
  return `${page.slice(0, begin)}${BEGIN}\n${valuesTable(yaml)}\n${page.slice(end)}`;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  writeFileSync(CHART_PAGE, withTable(readFileSync(CHART_PAGE, "utf8"), readFileSync(VALUES_FILE, "utf8")));
}
