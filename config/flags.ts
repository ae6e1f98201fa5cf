/**
 * Command-line flags as Go's `flag` package reads them, from a table: `-port 1`, `--port=1`, `--quiet`, `--quiet=false`.
 * A table's keys are the flags' own names ("log-level"), and so are the keys of the values. Pure: arguments and
 * environment come in, a verdict comes out.
 */

interface FlagBase {
  /** One sentence for `--help`. */
  readonly help: string;
  /** Name of an environment variable that gives the default. An empty variable counts as absent. */
  readonly env?: string;
  /** Accepted so that a MetalLB manifest works unchanged, but its capability is missing: reported in `ignored` when set. */
  readonly notInEffect?: boolean;
  /** The flag must end up with a non-empty value. */
  readonly required?: boolean;
}

export interface StringFlag extends FlagBase {
  readonly kind: "string";
  readonly default: string;
}

/** Decimal integer; `min` and `max` are inclusive. */
export interface IntFlag extends FlagBase {
  readonly kind: "int";
  readonly default: number;
  readonly min?: number;
  readonly max?: number;
}

export interface BoolFlag extends FlagBase {
  readonly kind: "bool";
  readonly default: boolean;
}

export interface EnumFlag<Choice extends string = string> extends FlagBase {
  readonly kind: "enum";
  readonly default: Choice;
  readonly choices: readonly Choice[];
}

/** A duration as Go writes it ("1.5s", "1m30s", "200ms"); the value is in milliseconds. */
export interface DurationFlag extends FlagBase {
  readonly kind: "durationMs";
  readonly default: number;
}

export type Flag = StringFlag | IntFlag | BoolFlag | EnumFlag | DurationFlag;
export type FlagTable = Readonly<Record<string, Flag>>;

/** The type of one flag's value. */
export type FlagValue<F extends Flag> = F extends { kind: "enum"; choices: readonly (infer C)[] }
  ? C
  : F extends { kind: "string" }
    ? string
    : F extends { kind: "bool" }
      ? boolean
      : number;

/** The values of a table, by the flags' own names. */
export type FlagValues<T extends FlagTable> = { readonly [Name in keyof T]: FlagValue<T[Name]> };

export type ParsedFlags<T extends FlagTable> =
  | {
      readonly kind: "run";
      readonly values: FlagValues<T>;
      /** Flags "not in effect" that were set, by command line or environment; in the table's order. */
      readonly ignored: readonly string[];
    }
  | { readonly kind: "help"; readonly text: string }
  | { readonly kind: "version" }
  | { readonly kind: "error"; readonly message: string };

/** Keeps the exact type of a table, so that its values are typed by it. */
export function defineFlags<const T extends FlagTable>(table: T): T {
  return table;
}

/**
 * Reads a command line. The last setting of a flag wins; the environment comes after the command line, the default last.
 * Never throws.
 */
export function parseFlags<T extends FlagTable>(
  table: T,
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): ParsedFlags<T> {
  const given = readArguments(table, argv);
  if (given.kind !== "given") return given;
  const values: Record<string, string | number | boolean> = {};
  const ignored: string[] = [];
  for (const [name, flag] of Object.entries(table)) {
    const source = sourceOf({ name, flag, given: given.texts.get(name), env });
    const value = source === undefined ? { ok: true as const, value: flag.default } : readValue(flag, source.text);
    if (!value.ok) return error(`${source?.label ?? `--${name}`}: ${value.problem}`);
    if (flag.required === true && value.value === "") {
      return error(`--${name} is needed${flag.env === undefined ? "" : ` (or the environment variable ${flag.env})`}`);
    }
    if (source !== undefined && flag.notInEffect === true) ignored.push(name);
    values[name] = value.value;
  }
  // The loop has filled every name of the table with a value of its flag's kind.
  return { kind: "run", values: values as FlagValues<T>, ignored };
}

type Given = { readonly kind: "given"; readonly texts: ReadonlyMap<string, string> };

function readArguments(
  table: FlagTable,
  argv: readonly string[],
): Given | { kind: "help"; text: string } | { kind: "version" } | { kind: "error"; message: string } {
  const texts = new Map<string, string>();
  for (let index = 0; index < argv.length; index += 1) {
    const argument = argv[index] ?? "";
    if (argument === "--") {
      const rest = argv[index + 1];
      if (rest !== undefined) return error(`unexpected argument ${JSON.stringify(rest)}`);
      break;
    }
    const match = /^--?([^-=][^=]*)(?:=(.*))?$/s.exec(argument);
    const name = match?.[1];
    if (name === undefined) return error(argument.startsWith("-") ? `bad flag syntax: ${argument}` : `unexpected argument ${JSON.stringify(argument)}`);
    const flag = Object.hasOwn(table, name) ? table[name] : undefined;
    if (flag === undefined) {
      if (name === "help" || name === "h") return { kind: "help", text: helpText(table) };
      if (name === "version") return { kind: "version" };
      const near = nearest(name, Object.keys(table));
      return error(`unknown flag --${name}${near === undefined ? "" : ` (did you mean --${near}?)`}`);
    }
    const inline = match?.[2];
    if (inline !== undefined) texts.set(name, inline);
    else if (flag.kind === "bool") texts.set(name, "true");
    else {
      index += 1;
      const next = argv[index];
      if (next === undefined) return error(`--${name} needs a value`);
      texts.set(name, next);
    }
  }
  return { kind: "given", texts };
}

function sourceOf(options: {
  name: string;
  flag: Flag;
  given: string | undefined;
  env: Readonly<Record<string, string | undefined>>;
}): { text: string; label: string } | undefined {
  const { name, flag, given, env } = options;
  if (given !== undefined) return { text: given, label: `--${name}` };
  const fromEnv = flag.env === undefined ? undefined : env[flag.env];
  if (fromEnv === undefined || fromEnv === "") return undefined;
  return { text: fromEnv, label: `--${name} (from the environment variable ${flag.env})` };
}

type Read = { ok: true; value: string | number | boolean } | { ok: false; problem: string };

function readValue(flag: Flag, text: string): Read {
  const quoted = JSON.stringify(text);
  switch (flag.kind) {
    case "string":
      return { ok: true, value: text };
    case "enum":
      return flag.choices.includes(text) ? { ok: true, value: text } : { ok: false, problem: `${quoted} is none of ${flag.choices.join(", ")}` };
    case "bool": {
      if (["1", "t", "T", "true", "TRUE", "True"].includes(text)) return { ok: true, value: true };
      if (["0", "f", "F", "false", "FALSE", "False"].includes(text)) return { ok: true, value: false };
      return { ok: false, problem: `${quoted} is neither true nor false` };
    }
    case "int": {
      const value = /^[+-]?\d+$/.test(text) ? Number(text) : Number.NaN;
      if (!Number.isSafeInteger(value)) return { ok: false, problem: `${quoted} is not an integer` };
      if (flag.min !== undefined && value < flag.min) return { ok: false, problem: `${value} is less than ${flag.min}` };
      if (flag.max !== undefined && value > flag.max) return { ok: false, problem: `${value} is more than ${flag.max}` };
      return { ok: true, value };
    }
    case "durationMs": {
      const value = parseGoDuration(text);
      return value === undefined ? { ok: false, problem: `${quoted} is not a duration such as 300ms, 1.5s or 1m30s` } : { ok: true, value };
    }
  }
}

const unitMs: Readonly<Record<string, number>> = { ns: 1e-6, us: 1e-3, "µs": 1e-3, ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** Milliseconds of a duration as Go writes it ("1m30s", "-0.5s", "0"); undefined when it is none. */
export function parseGoDuration(text: string): number | undefined {
  if (/^[+-]?0$/.test(text)) return 0;
  if (!/^[+-]?((\d+(\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h))+$/.test(text)) return undefined;
  let total = 0;
  for (const [, number = "", unit = ""] of text.matchAll(/([\d.]+)([a-zµ]+)/g)) total += Number(number) * (unitMs[unit] ?? 0);
  return text.startsWith("-") ? -total : total;
}

function error(message: string): { kind: "error"; message: string } {
  return { kind: "error", message };
}

/** The text of `--help`: one flag in two lines, in the table's order. */
export function helpText(table: FlagTable): string {
  const lines: string[] = [];
  for (const [name, flag] of Object.entries(table)) {
    const shape = flag.kind === "enum" ? flag.choices.join("|") : flag.kind === "durationMs" ? "duration" : flag.kind;
    const notes = [
      flag.kind === "durationMs" ? `default ${flag.default}ms` : flag.default === "" ? "" : `default ${String(flag.default)}`,
      flag.env === undefined ? "" : `environment ${flag.env}`,
      flag.required === true ? "needed" : "",
      flag.notInEffect === true ? "accepted, not in effect yet" : "",
    ].filter((note) => note !== "");
    lines.push(`  --${name} ${shape}`, `        ${flag.help}${notes.length === 0 ? "" : ` (${notes.join("; ")})`}`);
  }
  lines.push("  --help", "        Print this text and exit", "  --version", "        Print the version and exit");
  return `Flags:\n${lines.join("\n")}\n`;
}

/** The candidate within a third of its length in edits of `name`; undefined when none is that near. */
function nearest(name: string, candidates: readonly string[]): string | undefined {
  let best: string | undefined;
  let bestDistance = Number.POSITIVE_INFINITY;
  for (const candidate of candidates) {
    const distance = editDistance(name, candidate);
    if (distance < bestDistance && distance <= Math.max(2, Math.floor(candidate.length / 3))) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

/** Levenshtein distance: single-character insertions, deletions and substitutions. */
function editDistance(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, index) => index);
  for (let i = 1; i <= from.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= to.length; j += 1) {
      const substitution = (row[j - 1] ?? 0) + (from[i - 1] === to[j - 1] ? 0 : 1);
      next.push(Math.min(substitution, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[to.length] ?? 0;
}
