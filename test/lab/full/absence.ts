import { HERALD_NAMESPACE } from "../pods.ts";
import { poll } from "../poll.ts";

const SPEAKERS = "app.kubernetes.io/component=speaker";
const GONE_BUDGET_MS = 120_000;

/** Nodes whose speaker is stopped, and what its DaemonSet looked like before. Plain data, for a file. */
export interface Absence {
  readonly nodes: readonly string[];
  readonly daemonSet: string;
  readonly updateStrategy: unknown;
  readonly affinity: unknown;
}

/** What is needed to keep speakers away: kubectl, and a memory between two commands. */
export interface AbsenceDoor {
  kubectl(args: readonly string[]): Promise<string>;
  remembered(): Absence | undefined;
  remember(absence: Absence | undefined): void;
}

/**
 * Ends the speaker of a node with the notice that Kubernetes gives, and keeps it away: its DaemonSet leaves the node out, and
 * restarts no other speaker for that. Returns when the pod is gone.
 */
export async function keepSpeakerAway(door: AbsenceDoor, node: string): Promise<void> {
  const before = door.remembered() ?? { nodes: [], ...await speakerDaemonSet(door) };
  const nodes = [...new Set([...before.nodes, node])];
  door.remember({ ...before, nodes });
  await leaveOut(door, before.daemonSet, nodes);
  await poll(async () => (await door.kubectl(["get", "pods", "-n", HERALD_NAMESPACE, "-l", SPEAKERS, `--field-selector=spec.nodeName=${node}`, "-o", "name"])).trim() === "",
    { timeoutMs: GONE_BUDGET_MS, what: `the speaker of ${node} to be gone` });
}

/** Lets the speaker of a node come back, if it was kept away. */
export async function letSpeakerReturn(door: AbsenceDoor, node: string): Promise<void> {
  const before = door.remembered();
  if (!before?.nodes.includes(node)) return;
  const nodes = before.nodes.filter((other) => other !== node);
  if (nodes.length > 0) {
    await leaveOut(door, before.daemonSet, nodes);
    door.remember({ ...before, nodes });
    return;
  }
  // The template as it was has the revision that the other speakers have, so none is replaced.
  await patch(door, before.daemonSet, { template: { spec: { affinity: before.affinity } } });
  await patch(door, before.daemonSet, { updateStrategy: before.updateStrategy });
  door.remember(undefined);
}

async function speakerDaemonSet(door: AbsenceDoor): Promise<Omit<Absence, "nodes">> {
  const { items } = JSON.parse(await door.kubectl(["get", "daemonsets", "-n", HERALD_NAMESPACE, "-l", SPEAKERS, "-o", "json"])) as
    { items: { metadata: { name: string }; spec: { updateStrategy: unknown; template: { spec: { affinity?: unknown } } } }[] };
  const found = items[0];
  if (!found) throw new Error("there is no DaemonSet of speakers");
  return { daemonSet: found.metadata.name, updateStrategy: found.spec.updateStrategy, affinity: found.spec.template.spec.affinity ?? null };
}

async function leaveOut(door: AbsenceDoor, daemonSet: string, nodes: readonly string[]): Promise<void> {
  const matchFields = nodes.map((node) => ({ key: "metadata.name", operator: "NotIn", values: [node] }));
  const affinity = { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [{ matchFields }] } } };
  // A template that differs would replace every speaker; like this, none is replaced that may stay.
  await patch(door, daemonSet, { updateStrategy: { type: "OnDelete", rollingUpdate: null } });
  await patch(door, daemonSet, { template: { spec: { affinity } } });
}

async function patch(door: AbsenceDoor, daemonSet: string, spec: object): Promise<void> {
  await door.kubectl(["patch", "daemonset", daemonSet, "-n", HERALD_NAMESPACE, "--type=merge", "-p", JSON.stringify({ spec })]);
}
