import assert from "node:assert/strict";
import { expect, test } from "vitest";
import { describeOnLab } from "../describe-on-lab.ts";
import { eventually } from "../eventually.ts";
import type { Lab } from "../lab.ts";
import { WITHIN, addressOf, expectAddress } from "../observe.ts";
import { pool } from "../resources.ts";
import { service } from "../walkthrough/manifests.ts";

/** Stands for MetalLB's speaker: what Herald goes by is the Pod's labels and its image, which the lab does not run. */
const METALLB = {
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name: "old-speaker", namespace: "metallb-system", labels: { app: "metallb", component: "speaker" } },
  spec: { containers: [{ name: "speaker", image: "quay.io/metallb/speaker:v0.15.3" }] },
};

describeOnLab("beside a running MetalLB", { name: "beside-metallb", nodes: 1, herald: { controllers: 1 } }, (lab) => {
  test("nothing is assigned and no Pod gets ready, the Pods' events say why, and when MetalLB is gone work goes on", async () => {
    await lab().apply(JSON.stringify(METALLB));
    // What runs already is not stopped by it; Pods that come now find it.
    await lab().kubectl(["delete", "pods", "-n", "metallb-system", "-l", "app.kubernetes.io/name=metallb", "--wait=true"]);
    await eventually(async () => {
      const told = await lab().kubectl(["get", "events", "-n", "metallb-system", "--field-selector=reason=MetalLBRuns", "-o", 'jsonpath={range .items[*]}{.involvedObject.name} {.message}{"\\n"}{end}']);
      for (const program of ["controller-", "speaker-"]) {
        assert.match(told, new RegExp(`^${program}\\S+ MetalLB runs in this cluster: the Pod metallb-system/old-speaker has the image quay\\.io/metallb/speaker:v0\\.15\\.3\\.`, "m"));
      }
    }, { ...WITHIN, what: "events about MetalLB" });
    await lab().apply(pool("main", ["172.20.250.10-172.20.250.15"]) + service({ name: "one" }));
    await eventually(async () => assert.deepEqual(await readiness(lab()), ["False", "False"]), { ...WITHIN, what: "two Pods that are not ready" });
    assert.equal(await addressOf(lab(), "one"), undefined);
    const restarts = await lab().kubectl(["get", "pods", "-n", "metallb-system", "-l", "app.kubernetes.io/name=metallb", "-o", "jsonpath={.items[*].status.containerStatuses[0].restartCount}"]);
    expect(restarts).toBe("0 0");
    await lab().kubectl(["delete", "pod", "old-speaker", "-n", "metallb-system", "--grace-period=0", "--force"]);
    await expectAddress(lab(), "one", "172.20.250.10");
    await eventually(async () => assert.deepEqual(await readiness(lab()), ["True", "True"]), { ...WITHIN, what: "both ready" });
  });
});

/** Whether Herald's Pods are ready. */
async function readiness(lab: Lab): Promise<string[]> {
  const text = await lab.kubectl(["get", "pods", "-n", "metallb-system", "-l", "app.kubernetes.io/name=metallb", "-o", 'jsonpath={range .items[*]}{.status.conditions[?(@.type=="Ready")].status}{"\\n"}{end}']);
  return text.split("\n").filter((line) => line !== "");
}
