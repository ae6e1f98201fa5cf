/**
 * The process itself: signals, exit, environment. Only this file and the main.ts files touch `process`.
 */

/** The signals that ask for a clean stop. */
export type StopSignal = "SIGTERM" | "SIGINT";

/**
 * Resolves with the first SIGTERM or SIGINT. A second signal ends the process at once with the customary code
 * (128 + signal number), for an operator whose clean stop hangs.
 */
export function stopSignal(): Promise<StopSignal> {
  return new Promise((resolve) => {
    let seen = false;
    const onSignal = (signal: NodeJS.Signals): void => {
      if (seen) process.exit(signal === "SIGINT" ? 130 : 143);
      seen = true;
      resolve(signal === "SIGINT" ? "SIGINT" : "SIGTERM");
    };
    process.on("SIGTERM", onSignal);
    process.on("SIGINT", onSignal);
  });
}

/** Ends the process now. */
export function exit(code: number): never {
  process.exit(code);
}

/** Command-line arguments after the script's name. */
export function commandLineArguments(): readonly string[] {
  return process.argv.slice(2);
}

/** The environment. */
export function environment(): Readonly<Record<string, string | undefined>> {
  return process.env;
}

/** Writes text to stdout, as it is (`--help`, `--version`). */
export function printOut(text: string): void {
  process.stdout.write(text);
}

/** Writes text to stderr, as it is (what is wrong with the command line). */
export function printError(text: string): void {
  process.stderr.write(text);
}

/** Runs `report` when an exception or rejection that nobody caught is about to end the process; exits with 1 afterwards. */
export function onFatal(report: (error: unknown) => void): void {
  const die = (error: unknown): void => {
    try {
      report(error);
    } finally {
      process.exit(1);
    }
  };
  process.on("uncaughtException", die);
  process.on("unhandledRejection", die);
}

/** What this process has used so far. */
export interface ProcessUsage {
  /** Resident memory in bytes. */
  readonly residentBytes: number;
  /** User and system time of all threads, in seconds. */
  readonly cpuSeconds: number;
  /** When it started, in seconds since 1970. */
  readonly startedSeconds: number;
}

/** Reads it now; cheap enough for every scrape. */
export function processUsage(): ProcessUsage {
  const { user, system } = process.cpuUsage();
  return {
    residentBytes: process.memoryUsage.rss(),
    cpuSeconds: (user + system) / 1e6,
    startedSeconds: performance.timeOrigin / 1000,
  };
}
