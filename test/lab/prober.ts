import { join } from "node:path";
import { ClientProgram } from "./client-program.ts";
import type { Lab } from "./lab.ts";

/** What `prober-program.ts` prints: protocol, when it was sent, when the answer came (null: never), in Unix ms. */
export type Attempt = readonly ["udp" | "tcp", number, number | null];

export type Protocol = Attempt[0];

/** Somebody who uses the Service all the time. */
export class Prober {
  readonly #program: ClientProgram<Attempt>;

  private constructor(program: ClientProgram<Attempt>) {
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
      const recent = lines.filter(([, sent]) => sent > Math.max(since, Date.now() - 1000));
      const count = (protocol: Protocol): number => recent.filter(([each]) => each === protocol).length;
      return Date.now() > since + 1000 && count("udp") > 50 && count("tcp") > 20 && recent.every(([, , answered]) => answered !== null);
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

  constructor(all: readonly Attempt[]) {
    this.#all = all;
  }

  /** Longest time between two answers that follow one another, from that moment on; until the last attempt if none came any more. */
  longestGapMs(protocol: Protocol, since: number): number {
    const mine = this.#all.filter(([each]) => each === protocol);
    const answers = mine.flatMap(([, , answered]) => (answered === null ? [] : [answered])).toSorted((a, b) => a - b);
    const last = mine.reduce((latest, [, sent]) => Math.max(latest, sent), 0);
    let longest = 0;
    for (const [index, at] of answers.entries()) {
      const next = answers[index + 1] ?? Math.max(at, last);
      if (next >= since) longest = Math.max(longest, next - at);
    }
    return longest;
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
}
