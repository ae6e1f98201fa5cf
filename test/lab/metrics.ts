import assert from "node:assert/strict";
import { readToken } from "./control-plane.ts";
import type { Lab } from "./lab.ts";
import { labFolder } from "./state.ts";

/** Ports of /metrics in a lab, where a controller shares its node with a speaker. */
export const METRICS_PORT = { speaker: 9120, controller: 9121 } as const;

type Program = { readonly node: string; readonly program: keyof typeof METRICS_PORT };

/**
 * A program's whole /metrics, fetched inside its node's namespace with the lab's own token, which may do everything.
 * @throws Error when nothing answers, or refuses.
 */
export async function metricsOf(lab: Lab, from: Program): Promise<string> {
  const url = `https://127.0.0.1:${METRICS_PORT[from.program]}/metrics`;
  // The programs make their certificates themselves, so that there is nobody to trust.
  const curl = ["curl", "-sS", "--fail-with-body", "--insecure", "--max-time", "10", "-H", `Authorization: Bearer ${readToken(labFolder(lab.name))}`, url];
  const { code, stdout, stderr } = await lab.exec(from.node, curl);
  assert.equal(code, 0, `${url} on ${from.node}: ${stderr} ${stdout}`);
  return stdout;
}

/**
 * One sample of a program's /metrics: the value of the series with this name whose labels include all of these; undefined
 * when there is none. @throws Error when nothing answers, or refuses.
 */
export async function metricOf(lab: Lab, from: Program, name: string, labels: Readonly<Record<string, string>> = {}): Promise<number | undefined> {
  const text = await metricsOf(lab, from);
  const pairs = Object.entries(labels).map(([label, value]) => `${label}="${value}"`);
  const line = text.split("\n").find((candidate) => /^[^\s{]+/.exec(candidate)?.[0] === name && pairs.every((pair) => candidate.includes(pair)));
  return line === undefined ? undefined : Number(line.slice(line.lastIndexOf(" ") + 1));
}
