/** Adds runs up, and says whether they prove anything: what never happened was not tested. */

import type { RunResult } from "./run.ts";
import type { FaultKind } from "./world.ts";

const KINDS: readonly FaultKind[] = ["partition", "oneWay", "pause", "machinePause", "kill", "stop", "powerOff", "absent", "deaf", "flap", "loss", "apiAway", "apiHung", "apiLag", "clockStep", "rows"];

export class Summary {
  readonly #counts = new Map<string, number>();
  readonly #failed: number[] = [];
  #longestOverlapMs = 0;
  #longestLossyOverlapMs = 0;

  add(result: RunResult): void {
    const { links, faults, applied } = result;
    const counts: Record<string, number> = {
      seeds: 1,
      "seeds with 50 nodes or more": result.nodes >= 50 ? 1 : 0,
      "seeds with two nodes": result.nodes === 2 ? 1 : 0,
      "seeds with nodes alone": result.isBare ? 1 : 0,
      nodes: result.nodes,
      "virtual seconds": result.virtualMs / 1000,
      moves: result.moves,
      takeovers: result.takeovers,
      packets: links.sent,
      drops: links.lost,
      duplicates: links.duplicated,
      "late packets": links.late,
      "packets cut off": links.cut,
    };
    for (const kind of KINDS) counts[`fault ${kind}`] = faults.get(kind) ?? 0;
    counts["restarts"] = (faults.get("kill") ?? 0) + (faults.get("stop") ?? 0) + (faults.get("powerOff") ?? 0);
    for (const [rule, count] of Object.entries(applied)) counts[`rule ${rule} applied`] = count;
    for (const [name, count] of Object.entries(counts)) this.#counts.set(name, (this.#counts.get(name) ?? 0) + count);
    this.#longestOverlapMs = Math.max(this.#longestOverlapMs, result.longestOverlapMs);
    this.#longestLossyOverlapMs = Math.max(this.#longestLossyOverlapMs, result.longestLossyOverlapMs);
    if (result.violation !== undefined) this.#failed.push(result.seed);
  }

  /** @param mustHaveAll a zero in any count is a failure */
  isGood(mustHaveAll: boolean): boolean {
    return this.#failed.length === 0 && (!mustHaveAll || this.#zeros().length === 0);
  }

  text(tookMs: number): string {
    const counts = [...this.#counts].map(([name, count]) => `${name} ${Math.round(count)}`).join(", ");
    const zeros = this.#zeros();
    const zeroText = zeros.length === 0 ? "" : `never happened: ${zeros.join(", ")}\n`;
    const failed = this.#failed.length === 0 ? "all rules held" : `BROKEN in seeds ${this.#failed.join(" ")}`;
    return `sim: ${counts}; longest overlap ${this.#longestOverlapMs.toFixed(0)} ms, with loss ${this.#longestLossyOverlapMs.toFixed(0)} ms\n${zeroText}sim: ${failed}, ${(tookMs / 1000).toFixed(1)} s\n`;
  }

  #zeros(): string[] {
    return [...this.#counts].filter(([, count]) => count === 0).map(([name]) => name);
  }
}
