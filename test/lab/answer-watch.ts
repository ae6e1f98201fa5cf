import { type ChildProcess, spawn } from "node:child_process";
import { type Capture, CLIENT, type Lab } from "./lab.ts";
import { nsenterArgv } from "./processes.ts";
import { programPath } from "./programs.ts";

/** Pause between two questions, in seconds, as arping takes it. */
const QUESTION_INTERVAL = "0.1";

/**
 * In a planned move the next node answers before the last one stops, so that both may answer a question: what the old one
 * says so soon after the new one's first answer is no move back. Milliseconds; a question and a half.
 */
export const HANDOVER_OVERLAP_MS = 150;

/** What the client saw while it asked for an address all the time. */
export interface AnswersSeen {
  readonly answers: number;
  /** Every MAC that answered. */
  readonly macs: readonly string[];
  /** MACs in the order in which they answered, without repetitions and without the overlap of a planned move: one for an address that did not move. */
  readonly turns: readonly string[];
  /** How long two answered: from the first answer of another to its last one, once the MAC that is last had begun; milliseconds. */
  readonly overlapMs: number;
  /** Longest time between two answers, milliseconds. */
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
    const capture = await lab.capture(CLIENT, `arp[6:2] = 2 and arp src host ${address}`);
    const argv = [programPath("arping"), "-i", "eth0", "-W", QUESTION_INTERVAL, "-r", address];
    const asker = spawn("nsenter", nsenterArgv(lab.namespace(CLIENT), argv), { stdio: "ignore" });
    return new AnswerWatch(asker, capture);
  }

  /** Stops asking. */
  async stop(): Promise<AnswersSeen> {
    this.#asker.kill("SIGKILL");
    const frames = (await this.#capture.stop()).map((line) => {
      const [seconds = "", mac = ""] = line.split(" ");
      return { atMs: Number(seconds) * 1000, mac };
    });
    const gaps = frames.slice(1).map(({ atMs }, index) => atMs - (frames[index]?.atMs ?? atMs));
    const macs = frames.map(({ mac }) => mac);
    const others = frames.slice(macs.indexOf(macs.at(-1) ?? "")).filter(({ mac }) => mac !== macs.at(-1));
    const overlapMs = (others.at(-1)?.atMs ?? 0) - (others[0]?.atMs ?? 0);
    return { answers: frames.length, overlapMs, macs: [...new Set(macs)], turns: turnsOf(frames), longestGapMs: Math.max(0, ...gaps) };
  }
}

/** An answer as the client's interface saw it. */
export interface AnswerSeen {
  readonly atMs: number;
  readonly mac: string;
}

/** Who answered in turn: each change of the MAC, but for the last words of the one before within the overlap of a planned move. */
export function turnsOf(answers: readonly AnswerSeen[]): string[] {
  const turns: { readonly mac: string; readonly sinceMs: number }[] = [];
  for (const { atMs, mac } of answers) {
    const [before, now] = [turns.at(-2), turns.at(-1)];
    if (mac === now?.mac) continue;
    if (now !== undefined && mac === before?.mac && atMs - now.sinceMs <= HANDOVER_OVERLAP_MS) continue;
    turns.push({ mac, sinceMs: atMs });
  }
  return turns.map(({ mac }) => mac);
}
