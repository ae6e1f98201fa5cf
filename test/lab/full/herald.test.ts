import assert from "node:assert/strict";
import { it } from "vitest";
import { eventually } from "../eventually.ts";
import { containerProcesses } from "./node.ts";
import { describeOnFullLab } from "./describe-on-full-lab.ts";
import type { FullLab } from "./full-lab.ts";

const WITHIN = { timeoutMs: 180_000 } as const;

interface Speaker {
  readonly name: string;
  readonly restarts: number;
  readonly ready: boolean;
}

/** The speakers' pods by node. */
async function speakersOf(lab: FullLab): Promise<Map<string, Speaker>> {
  const { items } = JSON.parse(await lab.kubectl(["get", "pods", "-n", "metallb-system", "-l", "app.kubernetes.io/component=speaker", "-o", "json"])) as
    { items: { metadata: { name: string }; spec: { nodeName?: string }; status: { containerStatuses?: { restartCount: number; ready: boolean }[] } }[] };
  return new Map(items.map(({ metadata, spec, status }) => {
    const container = status.containerStatuses?.[0];
    return [spec.nodeName ?? "", { name: metadata.name, restarts: container?.restartCount ?? 0, ready: container?.ready ?? false }];
  }));
}

describeOnFullLab("Herald from its image and its chart, as the full lab handles it", { name: "full-herald", nodes: 2 }, (lab) => {
  it("is installed on every node, and helm knows it", async () => {
    assert.deepEqual([...(await speakersOf(lab())).keys()].toSorted(), ["control", "node1", "node2"]);
    assert.match(await lab().helm(["list", "--namespace", "metallb-system", "--short"]), /^herald$/m);
  });

  it("loses a speaker to a crash, and its kubelet starts it again in the same pod", async () => {
    const before = (await speakersOf(lab())).get("node1");
    await lab().crashSpeaker("node1");
    await eventually(async () => {
      const now = (await speakersOf(lab())).get("node1");
      assert.ok(now?.name === before?.name && now?.ready === true && now.restarts > (before?.restarts ?? 0), JSON.stringify({ before, now }));
    }, { ...WITHIN, what: "the speaker of node1 to be back" });
  });

  it("freezes a speaker for a moment", async () => {
    const before = [containerProcesses(lab().name, "node2", "speaker")[0], (await speakersOf(lab())).get("node2")?.restarts];
    await lab().pauseSpeaker("node2", 100);
    assert.deepEqual([containerProcesses(lab().name, "node2", "speaker")[0], (await speakersOf(lab())).get("node2")?.restarts], before);
  });

  it("ends the speaker of one node until it is restored, and touches no other", async () => {
    const before = await speakersOf(lab());
    await lab().stopSpeaker("node2");
    assert.deepEqual([...(await speakersOf(lab())).keys()].toSorted(), ["control", "node1"]);
    await lab().restore("node2");
    await lab().waitForHerald();
    const after = await speakersOf(lab());
    for (const node of ["control", "node1"]) assert.deepEqual(after.get(node), before.get(node));
    assert.notEqual(after.get("node2")?.name, before.get("node2")?.name);
  });

  it("is uninstalled, and its pods are gone", async () => {
    await lab().stopHerald();
    assert.equal(await lab().kubectl(["get", "pods", "-n", "metallb-system", "-o", "name"]), "");
    await eventually(() => assert.deepEqual(containerProcesses(lab().name, "node1", "speaker"), []), { ...WITHIN, what: "its processes to be gone" });
  });
});
