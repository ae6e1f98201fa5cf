import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { CLIENT, type Lab, poll } from "./lab.ts";
import { nsenterArgv } from "./processes.ts";
import { NODE } from "./programs.ts";

/** What became of one request; times of day in milliseconds, null for what did not happen within a second. */
export interface RequestSeen {
  readonly sentAtMs: number;
  readonly connectedAtMs: number | null;
  readonly answeredAtMs: number | null;
}

/** What the client saw while it used a Service all the time. */
export interface RequestsSeen {
  readonly requests: number;
  /** Requests that got no connection. */
  readonly unconnected: number;
  /** Requests whose connection stood and then broke, or brought nothing. */
  readonly broken: number;
  /** Longest time between two answers, milliseconds. */
  readonly longestGapMs: number;
}

/** Uses a Service ten times a second from the client, each time over a connection of its own. */
export class RequestWatch {
  readonly #program: ChildProcess;
  readonly #seen: RequestSeen[];

  private constructor(program: ChildProcess, seen: RequestSeen[]) {
    this.#program = program;
    this.#seen = seen;
  }

  /** Starts, and returns when requests are answered. @throws Error when none is for ten seconds */
  static async start(lab: Lab, url: string): Promise<RequestWatch> {
    const argv = [NODE, join(import.meta.dirname, "request-program.ts"), url];
    const program = spawn("nsenter", nsenterArgv(lab.namespace(CLIENT), argv), { stdio: ["ignore", "pipe", "inherit"] });
    const seen: RequestSeen[] = [];
    createInterface({ input: program.stdout }).on("line", (line) => seen.push(JSON.parse(line) as RequestSeen));
    const watch = new RequestWatch(program, seen);
    await watch.answered(5);
    return watch;
  }

  /** Waits for so many more requests in a row that were answered. @throws Error when they are not within ten seconds */
  async answered(count: number): Promise<void> {
    const from = this.#seen.length;
    await poll(() => {
      const recent = this.#seen.slice(from).slice(-count);
      return recent.length === count && recent.every(({ answeredAtMs }) => answeredAtMs !== null);
    }, { timeoutMs: 10_000, intervalMs: 20, what: `${count} requests in a row to be answered` });
  }

  /** Stops asking. */
  async stop(): Promise<RequestsSeen> {
    const gone = new Promise((resolve) => this.#program.once("close", resolve));
    this.#program.kill("SIGTERM");
    await gone;
    const answers = this.#seen.flatMap(({ answeredAtMs }) => answeredAtMs ?? []).toSorted((a, b) => a - b);
    return {
      requests: this.#seen.length,
      unconnected: this.#seen.filter(({ connectedAtMs }) => connectedAtMs === null).length,
      broken: this.#seen.filter(({ connectedAtMs, answeredAtMs }) => connectedAtMs !== null && answeredAtMs === null).length,
      longestGapMs: Math.max(0, ...answers.slice(1).map((at, index) => at - (answers[index] ?? at))),
    };
  }
}
