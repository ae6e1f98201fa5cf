/** Whether a move of an address is Herald's doing, or the doing of a machine that let a speaker stand still: the wire tells. */
import assert from "node:assert/strict";
import type { Capture } from "./capture.ts";
import type { Lab } from "./lab.ts";
import { pause } from "./poll.ts";

/**
 * A speaker that says nothing for longer may lose its addresses and be right to: it can't be told from one that died
 * (docs/leadership.md, the profile `default`). Below this nothing moves. Milliseconds.
 */
export const FORGIVEN_SILENCE_MS = 290;

/** How long tcpdump may be behind. */
const CATCH_UP_MS = 10_000;

/** A time in which a speaker sent nothing, though it ran before and after. */
export interface Silence {
  readonly node: string;
  /** Unix ms. */
  readonly fromMs: number;
  readonly ms: number;
}

/** Looks at the switch at what the speakers say to each other, ten times a second each. */
export class Heartbeats {
  readonly #capture: Capture;
  readonly #nodes: ReadonlyMap<string, string>;

  private constructor(capture: Capture, nodes: ReadonlyMap<string, string>) {
    this.#capture = capture;
    this.#nodes = nodes;
  }

  /** Starts to look. In a lab without the membership protocol there is nothing to see, and no silence either. */
  static async start(lab: Lab): Promise<Heartbeats> {
    const nodes = new Map(await Promise.all(lab.nodes.map(async (node) => [await lab.nodeMac(node), node] as const)));
    return new Heartbeats(await lab.capture("switch", "udp port 7946", "br0"), nodes);
  }

  /** The silences so far that are longer than is forgiven, in order. */
  async silences(): Promise<Silence[]> {
    return silencesIn(await this.#capture.frames(), this.#nodes);
  }

  /** Ends it, and returns the silences that were longer than is forgiven, in order. */
  async stop(): Promise<Silence[]> {
    return silencesIn(await this.#capture.stop(), this.#nodes);
  }

  /**
   * Runs an assertion that holds unless a speaker stood still: about who leads, and how often that changed. When it fails while
   * none of them was silent for too long, it fails; else what it says is printed.
   * @param except nodes whose speakers the test itself silenced.
   */
  async hold(assertion: () => void | Promise<void>, except: readonly string[] = []): Promise<void> {
    try {
      await assertion();
    } catch (error) {
      await this.#untilSeen(Date.now());
      const silences = (await this.silences()).filter(({ node }) => !except.includes(node));
      const message = error instanceof Error ? error.message : String(error);
      if (silences.length === 0) throw new Error(`${message} (and no speaker${except.length > 0 ? ` but ${except.join(", ")}` : ""} was silent for more than ${FORGIVEN_SILENCE_MS} ms)`, { cause: error });
      console.log(`not held against Herald, since speakers stood still (${describeSilences(silences)}): ${message}`);
    }
  }

  /** Waits until tcpdump, which may stand still too, has come to that moment (Unix ms); not for ever, since all may be silent. */
  async #untilSeen(atMs: number): Promise<void> {
    const end = performance.now() + CATCH_UP_MS;
    while (performance.now() < end) {
      const [seconds = "0"] = (await this.#capture.frames()).at(-1)?.split(" ") ?? [];
      if (Number(seconds) * 1000 >= atMs) return;
      await pause(200);
    }
  }
}

/** "node1 for 700 ms" of each. */
export function describeSilences(silences: readonly Silence[]): string {
  return silences.map(({ node, ms }) => `${node} for ${Math.round(ms)} ms`).join(", ");
}

/** The longest silence of these; 0 when there is none. */
export function longestOf(silences: readonly Silence[], except: readonly string[] = []): number {
  return Math.max(0, ...silences.filter(({ node }) => !except.includes(node)).map(({ ms }) => ms));
}

/**
 * Silences in lines of tcpdump.
 * @param nodes by MAC; who never spoke is left out, and the last frame of anybody is the end.
 */
export function silencesIn(lines: readonly string[], nodes: ReadonlyMap<string, string>): Silence[] {
  const heard = new Map<string, number>();
  const found: Silence[] = [];
  let endMs = 0;
  const note = (node: string, atMs: number): void => {
    const lastMs = heard.get(node);
    if (lastMs !== undefined && atMs - lastMs > FORGIVEN_SILENCE_MS) found.push({ node, fromMs: lastMs, ms: atMs - lastMs });
  };
  for (const line of lines) {
    const [seconds = "", mac = ""] = line.split(" ");
    endMs = Number(seconds) * 1000;
    const node = nodes.get(mac);
    if (node === undefined) continue;
    note(node, endMs);
    heard.set(node, endMs);
  }
  for (const node of heard.keys()) note(node, endMs);
  assert.ok(found.every(({ ms }) => Number.isFinite(ms)), lines.slice(0, 3).join("\n"));
  return found.toSorted((a, b) => a.fromMs - b.fromMs);
}
