import { execFile, spawn } from "node:child_process";
import { closeSync, mkdirSync, openSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

/**
 * Who a process is. A pid alone is reused by the kernel; with its start time it never is.
 * `startTime` is field 22 of /proc/PID/stat, in clock ticks since boot.
 */
export interface ProcessIdentity {
  readonly pid: number;
  readonly startTime: string;
}

/** A long-running program of a lab, as remembered in the lab's folder. */
export interface ProcessRecord extends ProcessIdentity {
  readonly name: string;
  readonly argv: readonly string[];
}

/** How to start a program of a lab. */
export interface ProcessOptions {
  readonly name: string;
  readonly argv: readonly string[];
  /** Network namespace, by its full name. */
  readonly namespace: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Told when the program ends, as long as the process that started it lives. */
  readonly onExit?: (code: number | null, signal: NodeJS.Signals | null) => void;
}

/**
 * The programs that a lab has started, one record file each, so that another process can end
 * them later. Nothing is ever ended before its start time showed that it is still the same process.
 */
export class ProcessTable {
  readonly #records: string;
  readonly #logs: string;

  /** @param folder the lab's folder; records go to `processes/` and output to `logs/` in it. */
  constructor(folder: string) {
    this.#records = join(folder, "processes");
    this.#logs = join(folder, "logs");
    mkdirSync(this.#records, { recursive: true });
    mkdirSync(this.#logs, { recursive: true });
  }

  /** Path of a program's log, appended to by every start. */
  logPath(name: string): string {
    return join(this.#logs, `${name}.log`);
  }

  /**
   * Starts a program that outlives this process and remembers it.
   * @throws Error when it could not be started.
   */
  start(options: ProcessOptions): ProcessRecord {
    const log = openSync(this.logPath(options.name), "a");
    try {
      const child = spawn("nsenter", nsenterArgv(options.namespace, options.argv), {
        detached: true,
        stdio: ["ignore", log, log],
        env: { ...process.env, ...options.env },
      });
      // A failure to spawn is seen by the missing pid; without a listener it would end us too.
      child.on("error", () => undefined);
      if (options.onExit) child.on("exit", options.onExit);
      else child.unref();
      const record = child.pid === undefined ? undefined : this.remember(options.name, child.pid, options.argv);
      if (!record) throw new Error(`${options.name} could not be started`);
      return record;
    } finally {
      closeSync(log);
    }
  }

  /** Remembers a running process. Undefined when it is gone already. */
  remember(name: string, pid: number, argv: readonly string[]): ProcessRecord | undefined {
    const startTime = startTimeOf(pid);
    if (startTime === undefined) return undefined;
    const record: ProcessRecord = { name, pid, startTime, argv };
    writeFileSync(join(this.#records, `${name}.json`), JSON.stringify(record));
    return record;
  }

  /** Forgets a process without ending it. */
  forget(name: string): void {
    rmSync(join(this.#records, `${name}.json`), { force: true });
  }

  /** Every record, running or not. */
  list(): ProcessRecord[] {
    return readdirSync(this.#records).filter((file) => file.endsWith(".json")).flatMap((file) => {
      const record = this.find(file.slice(0, -".json".length));
      return record ? [record] : [];
    });
  }

  /** The record of that name, running or not. */
  find(name: string): ProcessRecord | undefined {
    try {
      return JSON.parse(readFileSync(join(this.#records, `${name}.json`), "utf8")) as ProcessRecord;
    } catch {
      // Not there, or cut off by a crash while it was written: the namespaces tell the rest.
      return undefined;
    }
  }

  isRunning(name: string): boolean {
    const record = this.find(name);
    return record !== undefined && isSameProcess(record);
  }

  /** Ends a program: SIGTERM, and SIGKILL when it has not gone by then. */
  async stop(name: string, graceMs: number): Promise<void> {
    const record = this.find(name);
    if (record) await endProcess(record, graceMs);
    this.forget(name);
  }
}

/** The arguments of nsenter that run a program in a network namespace, with the pid of nsenter. */
export function nsenterArgv(namespace: string, argv: readonly string[]): string[] {
  return [`--net=/run/netns/${namespace}`, "--", ...argv];
}

/** Start time of a process that runs; undefined when there is none, or only its remains. */
export function startTimeOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    // The second field is the program's name in brackets and may hold spaces and brackets.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return fields[0] === "Z" ? undefined : fields[19];
  } catch {
    return undefined;
  }
}

/** This process. @throws Error when /proc does not show it. */
export function ownIdentity(): ProcessIdentity {
  const startTime = startTimeOf(process.pid);
  if (startTime === undefined) throw new Error("/proc does not show this process");
  return { pid: process.pid, startTime };
}

/** Whether that very process still runs. */
export function isSameProcess(identity: ProcessIdentity): boolean {
  return startTimeOf(identity.pid) === identity.startTime;
}

/** Sends a signal to that very process. False when it no longer runs. */
export function signalProcess(identity: ProcessIdentity, signal: NodeJS.Signals): boolean {
  if (!isSameProcess(identity)) return false;
  try {
    process.kill(identity.pid, signal);
    return true;
  } catch {
    return false;
  }
}

/** SIGTERM, and SIGKILL to what is left after the grace; returns when the process is gone. */
export async function endProcess(identity: ProcessIdentity, graceMs: number): Promise<void> {
  if (graceMs > 0 && signalProcess(identity, "SIGTERM") && (await isGoneWithin(identity, graceMs))) return;
  signalProcess(identity, "SIGKILL");
  await isGoneWithin(identity, KILL_BUDGET_MS);
}

/** Kills everything that runs in a network namespace; only labs have processes in theirs. */
export async function killNamespace(namespace: string): Promise<void> {
  for (let round = 0; round < MAX_KILL_ROUNDS; round += 1) {
    const { stdout } = await run("ip", ["netns", "pids", namespace]).catch(() => ({ stdout: "" }));
    const found = stdout.split("\n").filter((line) => line !== "").flatMap((line) => {
      const pid = Number(line);
      const startTime = startTimeOf(pid);
      return startTime === undefined || pid === process.pid ? [] : [{ pid, startTime }];
    });
    if (found.length === 0) return;
    for (const identity of found) signalProcess(identity, "SIGKILL");
    for (const identity of found) await isGoneWithin(identity, KILL_BUDGET_MS);
  }
}

/** A killed process ends at once unless the kernel is busy on its behalf. */
const KILL_BUDGET_MS = 20_000;
/** A process may start another one while the list is read. */
const MAX_KILL_ROUNDS = 5;

async function isGoneWithin(identity: ProcessIdentity, budgetMs: number): Promise<boolean> {
  const end = performance.now() + budgetMs;
  while (isSameProcess(identity)) {
    if (performance.now() > end) return false;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  return true;
}
