/** Child processes that do not outlive the test that started them. */
import { spawn, type ChildProcess } from "node:child_process";
import { existsSync, openSync, closeSync, readFileSync, readdirSync } from "node:fs";

/** setpriv (util-linux) has the kernel kill the child when its parent dies, even by SIGKILL. Used where it exists. */
const SETPRIV = "/usr/bin/setpriv";
/** Time that a program gets to end by itself, ms. */
const STOP_GRACE_MS = 5_000;
const PAUSE_POLL_MS = 5;
/** Lines of a program's log that an error quotes. */
const QUOTED_LOG_LINES = 12;

/** A running program. Its output goes to a file, so that nothing blocks on a full pipe. */
export class Child {
  readonly #process: ChildProcess;
  readonly #name: string;
  readonly #logFile: string;
  readonly #ended: Promise<void>;
  readonly #killAtExit = (): void => void this.#process.kill("SIGKILL");

  /** Starts `program`; stdout and stderr are appended to `logFile`. */
  constructor(options: { name: string; program: string; args: readonly string[]; logFile: string }) {
    this.#name = options.name;
    this.#logFile = options.logFile;
    const command = existsSync(SETPRIV) ? [SETPRIV, "--pdeathsig", "KILL", options.program] : [options.program];
    const log = openSync(options.logFile, "a");
    this.#process = spawn(command[0] ?? options.program, [...command.slice(1), ...options.args], { stdio: ["ignore", log, log] });
    closeSync(log);
    this.#ended = new Promise((resolve) => {
      this.#process.once("exit", () => resolve());
      this.#process.once("error", () => resolve());
    });
    process.once("exit", this.#killAtExit);
  }

  get running(): boolean {
    return this.#process.pid !== undefined && this.#process.exitCode === null && this.#process.signalCode === null;
  }

  /** An error that tells what the program last said. */
  failure(what: string): Error {
    const log = readFileSync(this.#logFile, "utf8").trimEnd().split("\n").slice(-QUOTED_LOG_LINES).join("\n");
    return new Error(`${this.#name} ${what}; the end of its log:\n${log}`);
  }

  /** SIGSTOP: resolves when all its threads stand still. What is sent to it waits. `stop` ends it all the same, when it kills. */
  async pause(): Promise<void> {
    this.#process.kill("SIGSTOP");
    const tasks = `/proc/${this.#process.pid}/task`;
    const isStill = (task: string): boolean => /^State:\s+T/m.test(readFileSync(`${tasks}/${task}/status`, "utf8"));
    while (this.running && !readdirSync(tasks).every(isStill)) await new Promise((resolve) => setTimeout(resolve, PAUSE_POLL_MS));
  }

  /** SIGCONT. */
  resume(): void {
    this.#process.kill("SIGCONT");
  }

  /** SIGTERM (or SIGKILL at once), then SIGKILL after the grace. Resolves when the program is gone. */
  async stop(options: { kill?: boolean } = {}): Promise<void> {
    if (this.running) this.#process.kill(options.kill === true ? "SIGKILL" : "SIGTERM");
    const timer = setTimeout(() => this.#process.kill("SIGKILL"), STOP_GRACE_MS);
    await this.#ended;
    clearTimeout(timer);
    process.off("exit", this.#killAtExit);
  }
}
