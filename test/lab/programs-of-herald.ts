import assert from "node:assert/strict";
import { eventually } from "./eventually.ts";
import type { Lab } from "./lab.ts";
import { ProcessTable, signalProcess } from "./processes.ts";
import { labFolder } from "./state.ts";

/**
 * Sends a signal to the controller or speaker of a node. The player starts it again, as a kubelet does.
 * @throws AssertionError when none runs there.
 */
export function signalProgram(lab: Lab, program: "controller" | "speaker", node: string, signal: NodeJS.Signals): void {
  const record = new ProcessTable(labFolder(lab.name).path).find(`${program}-${node}`);
  assert.ok(record !== undefined && signalProcess(record, signal), `no ${program} runs on ${node}`);
}

/** The controller that holds the Lease. */
export interface LeadingController {
  readonly identity: string;
  readonly pod: string;
  readonly node: string;
  /** When it took the Lease, milliseconds since the epoch. */
  readonly acquiredAtMs: number;
}

/** Who leads the controllers, as the Lease says; undefined while nobody does. */
export async function leadingController(lab: Lab): Promise<LeadingController | undefined> {
  const { spec } = await lab.get("lease", "metallb-system", "herald-controller") as { spec: { holderIdentity?: string | null; acquireTime?: string } };
  const identity = spec.holderIdentity ?? "";
  if (identity === "") return undefined;
  const pod = identity.split("_")[0] ?? "";
  const node = await lab.kubectl(["get", "pod", pod, "-n", "metallb-system", "-o", "jsonpath={.spec.nodeName}"]);
  return { identity, pod, node, acquiredAtMs: Date.parse(spec.acquireTime ?? "") };
}

/** Waits until every speaker was started again at least once and is ready. */
export async function expectSpeakersReady(lab: Lab): Promise<void> {
  await eventually(async () => {
    const text = await lab.kubectl(["get", "pods", "-n", "metallb-system", "-l", "app.kubernetes.io/component=speaker", "-o", 'jsonpath={range .items[*]}{.status.containerStatuses[0].restartCount} {.status.conditions[?(@.type=="Ready")].status}{"\\n"}{end}']);
    const lines = text.split("\n").filter((line) => line !== "");
    assert.ok(lines.length >= lab.nodes.length, `${lines.length} pods`);
    for (const line of lines) assert.match(line, /^[1-9]\d* True$/);
  }, { timeoutMs: 120_000, what: "every speaker started again and is ready" });
}
