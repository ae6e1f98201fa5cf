import { join } from "node:path";
import { ClientProgram } from "./client-program.ts";
import type { Lab } from "./lab.ts";

/** An attempt as `prober-program.ts` prints it: protocol, when it was sent, when the answer came (null: not in time), in Unix ms. A later line about the same one counts. */
export type Attempt = readonly ["udp" | "tcp", number, number | null];

/** What `prober-program.ts` prints: an attempt, or a time in which it stood still itself, from and to in Unix ms. */
export type Observation = Attempt | readonly ["stall", number, number];

export type Protocol = Attempt[0];

/** How many attempts of each protocol a second must have shown before it is called steady; on a quiet machine it has 100 and 50. */
const STEADY = { udp: 20, tcp: 10 } as const;

/** Somebody who uses the Service all the time. */
export class Prober {
  readonly #program: ClientProgram<Observation>;

  private constructor(program: ClientProgram<Observation>) {
    this.#program = program;
  }

  /** Starts to use the Service; returns after a second in which everything was answered. */
  static async start({ lab, address, tcpPort, udpPort }: { readonly lab: Lab; readonly address: string; readonly tcpPort: number; readonly udpPort: number }): Promise<Prober> {
    const prober = new Prober(await ClientProgram.start(lab, join(import.meta.dirname, "prober-program.ts"), [address, String(tcpPort), String(udpPort)]));
    await prober.untilSteady(Date.now());
    return prober;
  }

  /** Waits for a second, after that moment, in which everything was answered. */
  async untilSteady(since: number, timeoutMs = 60_000): Promise<void> {
    await this.#program.until((lines) => {
      const recent = lines.filter(isAttempt).filter(([, sent]) => sent > Math.max(since, Date.now() - 1000));
      const count = (protocol: Protocol): number => recent.filter(([each]) => each === protocol).length;
      return Date.now() > since + 1000 && count("udp") >= STEADY.udp && count("tcp") >= STEADY.tcp && recent.every(([, , answered]) => answered !== null);
    }, timeoutMs);
  }

  /** What it has seen so far. */
  attempts(): Attempts {
    return new Attempts([...this.#program.lines]);
  }

  /** Ends, and tells what it has seen. */
  async stop(): Promise<Attempts> {
    return new Attempts(await this.#program.stop());
  }
}

/** All that a prober tried. */
export class Attempts {
  readonly #all: readonly Attempt[];
  readonly #stalls: readonly (readonly [fromMs: number, toMs: number])[];

  constructor(lines: readonly Observation[]) {
    const last = new Map(lines.filter(isAttempt).map((attempt) => [`${attempt[0]} ${attempt[1]}`, attempt]));
    this.#all = [...last.values()];
    this.#stalls = lines.flatMap((line) => (line[0] === "stall" ? [[line[1], line[2]] as const] : []));
  }

  /** Longest time between two answers that follow one another, from that moment on; until the last attempt if none came any more. */
  longestGapMs(protocol: Protocol, since: number): number {
    return Math.max(0, ...this.#gaps(protocol, since).map(([from, to]) => to - from));
  }

  /** The same without the times in which the prober stood still itself. */
  longestSilenceMs(protocol: Protocol, since: number): number {
    return Math.max(0, ...this.#gaps(protocol, since).map(([from, to]) => to - from - this.#stalledMs(from, to)));
  }

  /** The longest time in which the prober stood still itself, from that moment on. */
  longestStallMs(since: number): number {
    return Math.max(0, ...this.#stalls.filter(([, to]) => to >= since).map(([from, to]) => to - from));
  }

  /** Attempts that were never answered. */
  failed(protocol: Protocol): number {
    return this.#all.filter(([each, , answered]) => each === protocol && answered === null).length;
  }

  /** Of these, those that were sent from that moment on. */
  failedSince(protocol: Protocol, since: number): number {
    return this.#all.filter(([each, sent, answered]) => each === protocol && sent >= since && answered === null).length;
  }

  count(protocol: Protocol): number {
    return this.#all.filter(([each]) => each === protocol).length;
  }

  #gaps(protocol: Protocol, since: number): (readonly [number, number])[] {
    const mine = this.#all.filter(([each]) => each === protocol);
    const answers = mine.flatMap(([, , answered]) => (answered === null ? [] : [answered])).toSorted((a, b) => a - b);
    const last = mine.reduce((latest, [, sent]) => Math.max(latest, sent), 0);
    return answers.map((at, index) => [at, answers[index + 1] ?? Math.max(at, last)] as const).filter(([, next]) => next >= since);
  }

  #stalledMs(from: number, to: number): number {
    return this.#stalls.reduce((sum, [begin, end]) => sum + Math.max(0, Math.min(to, end) - Math.max(from, begin)), 0);
  }
}

function isAttempt(line: Observation): line is Attempt {
  return line[0] !== "stall";
}
