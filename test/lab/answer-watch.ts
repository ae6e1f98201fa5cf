import { type ChildProcess, spawn } from "node:child_process";
import { type Capture, CLIENT, type Lab } from "./lab.ts";
import { nsenterArgv } from "./processes.ts";
import { programPath } from "./programs.ts";

/** Pause between two questions, in seconds, as arping takes it. */
const QUESTION_INTERVAL = "0.1";

/**
 * Where two nodes claim an address at the same time (in a planned move the next one answers before the last one stops), both
 * answer until one has heard the other: whoever answered for no longer than this did not have it in between. Milliseconds; a question and a half.
 */
export const CONTEST_MS = 150;

/** An answer as the client's interface saw it. */
export interface AnswerSeen {
  readonly atMs: number;
  readonly mac: string;
}

/** What the client saw while it asked for an address all the time. */
export interface AnswersSeen {
  readonly answers: number;
  /** Every MAC that answered. */
  readonly macs: readonly string[];
  /** Each first answer after another MAC's. */
  readonly begun: readonly AnswerSeen[];
  /** Longest time from a question that nobody answered to the next answer, milliseconds. A client that had to wait for the processor asked nothing meanwhile. */
  readonly longestGapMs: number;
}

/** Asks for an address ten times a second from the client, and captures who answers when. */
export class AnswerWatch {
  readonly #asker: ChildProcess;
  readonly #capture: Capture;

  private constructor(asker: ChildProcess, capture: Capture) {
    this.#asker = asker;
    this.#capture = capture;
  }

  /** Starts to ask; the capture listens by then. */
  static async start(lab: Lab, address: string): Promise<AnswerWatch> {
    const capture = await lab.capture(CLIENT, `(arp[6:2] = 2 and arp src host ${address}) or (arp[6:2] = 1 and arp dst host ${address} and not arp src host ${address})`);
    const argv = [programPath("arping"), "-i", "eth0", "-W", QUESTION_INTERVAL, "-r", address];
    const asker = spawn("nsenter", nsenterArgv(lab.namespace(CLIENT), argv), { stdio: "ignore" });
    return new AnswerWatch(asker, capture);
  }

  /** Stops asking. */
  async stop(): Promise<AnswersSeen> {
    this.#asker.kill("SIGKILL");
    const frames = (await this.#capture.stop()).map((line) => {
      const [seconds = "", mac = ""] = line.split(" ");
      return { atMs: Number(seconds) * 1000, mac, isQuestion: line.includes(" Request who-has ") };
    });
    const answers = frames.filter(({ isQuestion }) => !isQuestion);
    const begun = answers.filter(({ mac }, index) => mac !== answers[index - 1]?.mac);
    return { answers: answers.length, begun, macs: [...new Set(begun.map(({ mac }) => mac))], longestGapMs: longestGapMs(frames) };
  }
}

/** Longest time from a question to the next answer; the questions after the last answer do not count. */
export function longestGapMs(frames: readonly { readonly atMs: number; readonly isQuestion: boolean }[]): number {
  let longest = 0;
  let asked: number | undefined;
  for (const { atMs, isQuestion } of frames) {
    if (isQuestion) asked ??= atMs;
    else if (asked !== undefined) {
      longest = Math.max(longest, atMs - asked);
      asked = undefined;
    }
  }
  return longest;
}

/** Who had the address, in turn: who answered first, those who answered for longer than a contest before another one did, and who answered last. */
export function turnsOf(begun: readonly AnswerSeen[], contestMs = CONTEST_MS): string[] {
  const had = begun.filter(({ atMs }, index) => index === 0 || (begun[index + 1]?.atMs ?? Infinity) - atMs > contestMs).map(({ mac }) => mac);
  return had.filter((mac, index) => mac !== had[index - 1]);
}

/** How long answers of several nodes alternated faster than this, at the longest; milliseconds. */
export function longestContestMs(begun: readonly AnswerSeen[], contestMs = CONTEST_MS): number {
  let longest = 0;
  let since: number | undefined;
  for (const [index, { atMs }] of begun.entries()) {
    const next = begun[index + 1];
    if (index > 0 && next !== undefined && next.atMs - atMs <= contestMs) since ??= atMs;
    else {
      longest = Math.max(longest, atMs - (since ?? atMs));
      since = undefined;
    }
  }
  return longest;
}
