import { type ChildProcess, spawn } from "node:child_process";
import { type Capture, CLIENT, type Lab } from "./lab.ts";
import { nsenterArgv } from "./processes.ts";
import { programPath } from "./programs.ts";

/** Pause between two questions, in seconds, as arping takes it. */
const QUESTION_INTERVAL = "0.1";

/** What the client saw while it asked for an address all the time. */
export interface AnswersSeen {
  readonly answers: number;
  /** Every MAC that answered. */
  readonly macs: readonly string[];
  /** MACs in the order in which they answered, one after several of the same left out: one for an address that did not move. */
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
    return { answers: frames.length, overlapMs, macs: [...new Set(macs)], turns: macs.filter((mac, index) => mac !== macs[index - 1]), longestGapMs: Math.max(0, ...gaps) };
  }
}
