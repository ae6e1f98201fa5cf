/**
 * A running member of hashicorp/memberlist, in a network namespace, for tests.
 */

import { spawn } from "node:child_process";
import type { ChildProcessWithoutNullStreams } from "node:child_process";
import { createInterface } from "node:readline";

import { memberlistProgram } from "./program.ts";

/** A member as the program shows it; `meta` is hexadecimal. */
export interface PeerMember {
  readonly name: string;
  readonly address: string;
  readonly port: number;
  readonly state: "alive" | "suspect" | "dead" | "left";
  readonly meta: string;
}

/** One line of the program. `bytes` (of a message) is hexadecimal. */
export interface PeerEvent {
  readonly event: "started" | "join" | "leave" | "update" | "message" | "joined" | "members" | "left" | "failed";
  readonly member?: PeerMember;
  readonly members?: readonly PeerMember[];
  readonly bytes?: string;
  readonly contacts?: number;
  readonly error?: string;
}

export interface PeerOptions {
  /** Name of the network namespace, as `ip netns` knows it. */
  readonly namespace: string;
  readonly name: string;
  readonly bind: string;
  /** 7946 by default. */
  readonly port?: number;
  /** The secret that the key is derived from; without one, no encryption. */
  readonly secret?: string;
  /** Further flags of the program; see main.go. */
  readonly flags?: readonly string[];
}

export class MemberlistPeer implements AsyncDisposable {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #events: PeerEvent[] = [];
  readonly #waiting = new Set<() => void>();
  readonly #exited: Promise<void>;
  #log = "";
  #hasExited = false;

  private constructor(child: ChildProcessWithoutNullStreams) {
    this.#child = child;
    createInterface({ input: child.stdout }).on("line", (line) => {
      this.#events.push(JSON.parse(line) as PeerEvent);
      for (const wake of this.#waiting) wake();
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      this.#log += text;
      for (const wake of this.#waiting) wake();
    });
    child.stdin.on("error", () => undefined);
    this.#exited = new Promise((resolve) => {
      child.once("close", () => {
        this.#hasExited = true;
        for (const wake of this.#waiting) wake();
        resolve();
      });
    });
  }

  /** Starts a member and waits until its sockets are open. @throws LabUnavailable when the program is not built, Error when it does not start. */
  static async start(options: PeerOptions): Promise<MemberlistPeer> {
    const flags = ["-name", options.name, "-bind", options.bind, "-port", String(options.port ?? 7946), "-secret", options.secret ?? "", ...(options.flags ?? [])];
    const peer = new MemberlistPeer(spawn("ip", ["netns", "exec", options.namespace, memberlistProgram(), ...flags]));
    await peer.until("it has started", () => peer.#events.some(({ event }) => event === "started"));
    return peer;
  }

  /** All that it told so far, in order. */
  get events(): readonly PeerEvent[] {
    return this.#events;
  }

  /** memberlist's own log so far. */
  get log(): string {
    return this.#log;
  }

  /** Waits until something holds, looked at whenever the program says something. @throws Error after `timeoutMs` or when the program has ended. */
  async until(what: string, holds: () => boolean, timeoutMs = 30_000): Promise<void> {
    const end = performance.now() + timeoutMs;
    while (!holds()) {
      const left = end - performance.now();
      if (left <= 0 || this.#hasExited) throw new Error(`${what}: not after ${timeoutMs} ms${this.#hasExited ? " (the program has ended)" : ""}\n${JSON.stringify(this.#events)}\n${this.#log}`);
      await new Promise<void>((resolve) => {
        const wake = (): void => {
          clearTimeout(timer);
          this.#waiting.delete(wake);
          resolve();
        };
        const timer = setTimeout(wake, left);
        this.#waiting.add(wake);
      });
    }
  }

  /** Writes a command; main.go lists them. */
  command(line: string): void {
    this.#child.stdin.write(`${line}\n`);
  }

  /** Asks for the members that it takes to be alive or suspect. */
  async members(): Promise<readonly PeerMember[]> {
    const answers = (): PeerEvent[] => this.#events.filter(({ event }) => event === "members");
    const before = answers().length;
    this.command("members");
    await this.until("it answers 'members'", () => answers().length > before);
    return answers()[before]?.members ?? [];
  }

  /** Joins, HOST:PORT each (brackets around IPv6), and gives the number of members that answered. */
  async join(...addresses: readonly string[]): Promise<number> {
    const answers = (): PeerEvent[] => this.#events.filter(({ event }) => event === "joined");
    const before = answers().length;
    this.command(`join ${addresses.join(" ")}`);
    await this.until("it has tried to join", () => answers().length > before);
    return answers()[before]?.contacts ?? 0;
  }

  /** Leaves gracefully, and waits for the program's end. */
  async leave(): Promise<void> {
    this.command("leave");
    await this.#exited;
  }

  /** Ends it at once, without a word to the others. */
  async kill(): Promise<void> {
    if (!this.#hasExited) this.#child.kill("SIGKILL");
    await this.#exited;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }
}
