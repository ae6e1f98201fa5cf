/**
 * After a sleep in which others could have taken over, this node answers nothing until it knows how things are: until all
 * members that spoke to it before have said since that what it knows of their claims is right, or for SILENT_MS. One of them
 * would not do: it may be one that took nothing, and whoever did may be heard a little later.
 */
import type { Instant } from "../machine.ts";
import type { ClaimsOutput } from "./claims-protocol.ts";
import type { Deadlines } from "./deadlines.ts";
import type { PeerLists } from "./peer-lists.ts";
import { SAMPLE_WITHIN_MS } from "./standing.ts";
import type { Standing } from "./standing.ts";

/** What is read so soon after waking was sent while this process slept, perhaps before the others gave it up: no confirmation. */
export const CONFIRM_AFTER_MS = 20;
/** How long it answers nothing then, if not all confirm its claims before. */
export const SILENT_MS = 100;

export interface WakingParts {
  readonly standing: Standing;
  readonly peers: PeerLists;
  /** Gets "speak", upon which `speak` is to be called. */
  readonly deadlines: Deadlines;
  readonly emit: (output: ClaimsOutput) => void;
}

export class Waking {
  readonly #parts: WakingParts;
  #wokeAt: Instant = -Infinity;
  /** Members that are still to be heard. */
  readonly #awaited = new Set<string>();

  constructor(parts: WakingParts) {
    this.#parts = parts;
  }

  /** This process slept for so long, and what it announces may be another's by now. A sleep in the silence after another begins it anew. */
  woke(lagMs: number, now: Instant): void {
    const { standing, peers, deadlines, emit } = this.#parts;
    this.#wokeAt = now;
    this.#awaited.clear();
    // In a large cluster few beat to this node; the others could not confirm anything.
    for (const { node, saidAt } of peers.all()) if (saidAt >= now - lagMs - SAMPLE_WITHIN_MS) this.#awaited.add(node);
    deadlines.set("speak", now + SILENT_MS);
    if (standing.silent) return;
    standing.silent = true;
    emit({ kind: "silence" });
  }

  /** The member said itself that what this node knows of it is right. True when nothing more is to be waited for. */
  confirmed(by: string, now: Instant): boolean {
    const { standing, peers } = this.#parts;
    if (!standing.silent || now < this.#wokeAt + CONFIRM_AFTER_MS) return false;
    this.#awaited.delete(by);
    for (const node of this.#awaited) if (peers.get(node)?.isPresent === true) return false;
    return true;
  }

  speak(): void {
    const { standing, deadlines, emit } = this.#parts;
    standing.silent = false;
    this.#awaited.clear();
    deadlines.clear("speak");
    emit({ kind: "speak" });
  }
}
