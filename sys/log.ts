/**
 * Logs: one JSON object per line on stdout, with `ts` (RFC 3339), `level` (text), `event` (one name per kind of event) and
 * the event's fields. Written by drivers, never by machines.
 */
import { pino } from "pino";

/** The levels of `--log-level`, from everything to nothing. */
export const logLevels = ["all", "debug", "info", "warn", "error", "none"] as const;
export type LogLevel = (typeof logLevels)[number];

/** Fields of a line. An Error is written as its message. Secrets never become fields. */
export type LogFields = Readonly<Record<string, unknown>>;

export interface Logger {
  debug(event: string, fields?: LogFields): void;
  info(event: string, fields?: LogFields): void;
  warn(event: string, fields?: LogFields): void;
  error(event: string, fields?: LogFields): void;
}

/** Where the lines go; each call of `write` brings one line with its newline. */
export interface LogDestination {
  write(line: string): void;
}

const pinoLevels = { all: "trace", debug: "debug", info: "info", warn: "warn", error: "error", none: "silent" } as const;

/**
 * Makes a logger. Lines are written synchronously: nothing is lost when the process ends, and no buffer grows.
 * @param destination stdout unless a test gives its own.
 */
export function createLogger(level: LogLevel, destination: LogDestination = pino.destination({ fd: 1, sync: true })): Logger {
  const sink = pino(
    {
      level: pinoLevels[level],
      base: null,
      timestamp: () => `,"ts":"${new Date().toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
    },
    destination,
  );
  return {
    debug: (event, fields) => sink.debug(line(event, fields)),
    info: (event, fields) => sink.info(line(event, fields)),
    warn: (event, fields) => sink.warn(line(event, fields)),
    error: (event, fields) => sink.error(line(event, fields)),
  };
}

/** A logger that drops everything. */
export const silentLogger: Logger = { debug() {}, info() {}, warn() {}, error() {} };

function line(event: string, fields: LogFields | undefined): Record<string, unknown> {
  const out: Record<string, unknown> = { event };
  for (const [key, value] of Object.entries(fields ?? {})) {
    // The three reserved keys belong to the line itself; a field of that name would appear twice in the JSON.
    const name = key === "ts" || key === "level" || key === "event" ? `${key}_` : key;
    out[name] = value instanceof Error ? value.message : value;
  }
  return out;
}
