import assert from "node:assert/strict";
import type { Lab } from "./lab.ts";

/** Ports of /metrics in a lab, where a controller shares its node with a speaker. */
export const METRICS_PORT = { speaker: 9120, controller: 9121 } as const;

/**
 * One sample of a program's /metrics, fetched inside its node's namespace: the value of the series with this name whose
 * labels include all of these; undefined when there is none. @throws Error when nothing answers.
 */
export async function metricOf(lab: Lab, from: { readonly node: string; readonly program: keyof typeof METRICS_PORT }, name: string, labels: Readonly<Record<string, string>> = {}): Promise<number | undefined> {
  const url = `http://127.0.0.1:${METRICS_PORT[from.program]}/metrics`;
  const { code, stdout, stderr } = await lab.exec(from.node, ["curl", "-sSf", "--max-time", "5", url]);
  assert.equal(code, 0, `${url} on ${from.node}: ${stderr}`);
  const pairs = Object.entries(labels).map(([label, value]) => `${label}="${value}"`);
  const line = stdout.split("\n").find((candidate) => /^[^\s{]+/.exec(candidate)?.[0] === name && pairs.every((pair) => candidate.includes(pair)));
  return line === undefined ? undefined : Number(line.slice(line.lastIndexOf(" ") + 1));
}
