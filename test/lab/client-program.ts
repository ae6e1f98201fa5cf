import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { CLIENT, type Lab } from "./lab.ts";
import { nsenterArgv } from "./processes.ts";
import { NODE } from "./programs.ts";

/**
 * A program of ours that runs on the lab's client, in a process of its own so that nothing else delays it. It
 * prints a line of JSON per observation, and ends by itself when its standard input does.
 */
export class ClientProgram<Line> {
  /** What it has printed so far. */
  readonly lines: Line[] = [];
  readonly #child: ChildProcess;
  readonly #ended: Promise<unknown>;

  private constructor(child: ChildProcess) {
    this.#child = child;
    const { stdout } = child;
    if (stdout === null) throw new Error("the program has no output to read");
    const read = createInterface({ input: stdout });
    read.on("line", (line) => this.lines.push(JSON.parse(line) as Line));
    this.#ended = once(read, "close");
  }

  /** Starts the program (a file with its full path) and returns when it has printed something. */
  static async start<Line>(lab: Lab, file: string, args: readonly string[]): Promise<ClientProgram<Line>> {
    const argv = nsenterArgv(lab.namespace(CLIENT), [NODE, file, ...args]);
    const program = new ClientProgram<Line>(spawn("nsenter", argv, { stdio: ["pipe", "pipe", "inherit"] }));
    await program.until(({ length }) => length > 0, 60_000);
    return program;
  }

  /** Waits until what it printed says so. @throws Error after so many milliseconds */
  async until(done: (lines: readonly Line[]) => boolean, timeoutMs: number): Promise<void> {
    const end = performance.now() + timeoutMs;
    for (let begin = performance.now(); !done(this.lines); begin = performance.now()) {
      if (this.#child.exitCode !== null) throw new Error(`the program on the client ended with ${this.#child.exitCode}`);
      if (begin > end) throw new Error(`waited ${timeoutMs / 1000} s for the program on the client, in vain; it said last: ${this.lines.slice(-5).map((line) => JSON.stringify(line)).join(" ")}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  /** Ends it, and returns all that it printed. */
  async stop(): Promise<readonly Line[]> {
    this.#child.stdin?.end();
    await this.#ended;
    return this.lines;
  }
}
