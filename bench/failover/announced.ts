import { eventually } from "../../test/lab/eventually.ts";
import type { Lab } from "../../test/lab/lab.ts";
import { metricsOf } from "../../test/lab/metrics.ts";

/** An address and the node that says that it announces it. */
export interface Held {
  readonly address: string;
  readonly node: string;
}

/** Who announces what, as the speakers' metrics have it; a node that does not answer announces nothing. */
export async function announcedNow(lab: Lab): Promise<Held[]> {
  const all = await Promise.all(lab.nodes.map(async (node) => {
    const text = await metricsOf(lab, { node, program: "speaker" }).catch(() => "");
    return [...text.matchAll(/^metallb_speaker_announced\{.*\bip="([^"]+)".*\} 1$/gm)].map(([, address = ""]) => ({ address, node }));
  }));
  return all.flat();
}

/** Waits until so many addresses are announced, each by one node and none by this one. */
export function untilAnnounced(lab: Lab, count: number, { not, timeoutMs }: { readonly not?: string; readonly timeoutMs: number }): Promise<readonly Held[]> {
  return eventually(async () => {
    const held = await announcedNow(lab);
    const fitting = held.filter(({ node }) => node !== not).length;
    if (held.length !== count || fitting !== count) throw new Error(`${held.length} are announced, ${fitting} of them where they should be`);
    return held;
  }, { timeoutMs, intervalMs: 1000, what: `${count} announced addresses` });
}
