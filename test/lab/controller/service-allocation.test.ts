/** Pools that are reserved: by namespace, by labels of namespaces and of Services, and in which order they are filled. */
import assert from "node:assert/strict";
import { afterEach, test } from "vitest";
import { clear, describeOnLab } from "../describe-on-lab.ts";
import { eventually } from "../eventually.ts";
import type { Lab } from "../lab.ts";
import { WITHIN, addressOf, expectAddress, expectRefusal } from "../observe.ts";
import { pool } from "../resources.ts";
import { service } from "../walkthrough/manifests.ts";

const TEAM = "test.herald/team";
const RED = { matchLabels: { [TEAM]: "red" } };
const EDGE = { matchLabels: { tier: "edge" } };

describeOnLab("pools for some", { name: "reserved", nodes: 1, herald: { controllers: 1 } }, (lab) => {
  afterEach(async () => {
    await clear(lab());
    await lab().kubectl(["label", "namespace", "default", `${TEAM}-`]);
  });

  test("are filled by priority, those without one last, and plain pools after them; one that is for another namespace never", async () => {
    await lab().apply([
      pool("a-plain", ["172.20.250.1/32"]),
      pool("b-elsewhere", ["172.20.250.2/32"], { serviceAllocation: { priority: 1, namespaces: ["kube-system"] } }),
      pool("c-none", ["172.20.250.3/32"], { serviceAllocation: { namespaces: ["default"] } }),
      pool("d-twenty", ["172.20.250.4/32"], { serviceAllocation: { priority: 20, namespaces: ["default"] } }),
      pool("e-ten", ["172.20.250.5/32"], { serviceAllocation: { priority: 10 } }),
    ].join(""));
    for (const [index, address] of ["172.20.250.5", "172.20.250.4", "172.20.250.3", "172.20.250.1"].entries()) {
      await lab().apply(service({ name: `svc${index}` }));
      await expectAddress(lab(), `svc${index}`, address);
    }
    await lab().apply(service({ name: "late" }));
    await expectRefusal(lab(), "late", { status: "False", reason: "NoFreeAddress", event: "AllocationFailed", says: /no available IPs/ });
    await lab().apply(service({ name: "asks", annotations: { "metallb.io/address-pool": "b-elsewhere" } }));
    await expectRefusal(lab(), "asks", { status: "False", reason: "PoolNotAllowed", event: "AllocationFailed", says: /pool b-elsewhere not compatible/ });
  });

  test("follow the labels of a namespace at run time: none before, an address with the label, none after", async () => {
    await lab().apply(pool("red", ["172.20.250.10-172.20.250.11"], { serviceAllocation: { namespaceSelectors: [RED] } }));
    await lab().apply(service({ name: "web" }));
    await expectRefusal(lab(), "web", { status: "False", reason: "NoPools", event: "AllocationFailed", says: /no pool with autoAssign admits this service/ });
    await labelNamespace(lab(), "red");
    await expectAddress(lab(), "web", "172.20.250.10");
    await labelNamespace(lab(), "blue");
    await expectRefusal(lab(), "web", { status: "False", reason: "NoPools", event: "ClearAssignment", says: /no pool with autoAssign admits this service|pool red not compatible/ });
    assert.equal(await addressOf(lab(), "web"), undefined);
    await labelNamespace(lab(), "red");
    await expectAddress(lab(), "web", "172.20.250.10");
  });

  test("need the Service's own labels too, where they ask for them; who loses the label hands the address on", async () => {
    await lab().apply(pool("edge", ["172.20.250.10/32"], { serviceAllocation: { namespaces: ["default"], namespaceSelectors: [RED], serviceSelectors: [EDGE] } }));
    await lab().apply(`${service({ name: "one" })}---\n${service({ name: "two" })}`);
    for (const name of ["one", "two"]) await expectRefusal(lab(), name, { status: "False", reason: "NoPools", event: "AllocationFailed", says: /admits this service/ });
    await lab().kubectl(["label", "service", "two", "tier=edge", "-n", "default"]);
    await expectAddress(lab(), "two", "172.20.250.10");
    await lab().kubectl(["label", "service", "one", "tier=edge", "-n", "default"]);
    await expectRefusal(lab(), "one", { status: "False", reason: "NoFreeAddress", event: "AllocationFailed", says: /no available IPs/ });
    await lab().kubectl(["label", "service", "two", "tier-", "-n", "default"]);
    await expectAddress(lab(), "one", "172.20.250.10");
    await eventually(async () => assert.equal(await addressOf(lab(), "two"), undefined), { ...WITHIN, what: "two has no address" });
  });
});

async function labelNamespace(lab: Lab, team: string): Promise<void> {
  await lab.kubectl(["label", "namespace", "default", `${TEAM}=${team}`, "--overwrite"]);
}
