import assert from "node:assert/strict";
import { afterEach, expect, test } from "vitest";
import { AddressHistory } from "../address-history.ts";
import { clear, describeOnLab } from "../describe-on-lab.ts";
import { eventually } from "../eventually.ts";
import type { Lab } from "../lab.ts";
import { metricOf } from "../metrics.ts";
import { WITHIN, addressOf, assignmentOf, eventsOf, expectAddress, expectRefusal } from "../observe.ts";
import { signalProgram } from "../programs-of-herald.ts";
import { pool } from "../resources.ts";
import { service } from "../walkthrough/manifests.ts";

const CONTROLLER = { node: "node1", program: "controller" } as const;
const SHARED = "172.20.250.15";

describeOnLab("Services that share an address", { name: "sharing", nodes: 1, herald: { controllers: 1 } }, (lab) => {
  afterEach(() => clear(lab()));

  test("equal keys and different ports: both have the address, which counts once; another key or the same port does not", async () => {
    await lab().apply(pool("main", ["172.20.250.10-172.20.250.19"]));
    await lab().apply(sharer("web", 80) + "---\n" + sharer("tls", 443));
    for (const name of ["web", "tls"]) await expectAddress(lab(), name, SHARED);
    await lab().apply(sharer("same-port", 80) + "---\n" + sharer("other-key", 8080, { "metallb.io/allow-shared-ip": "other" }));
    await expectRefusal(lab(), "same-port", { status: "False", reason: "SharingConflict", event: "AllocationFailed", says: /port TCP\/80 is already in use on "172\.20\.250\.15" by default\/web/ });
    await expectRefusal(lab(), "other-key", { status: "False", reason: "SharingConflict", event: "AllocationFailed", says: /can't change sharing key for "default\/other-key".* in use by default\/tls,default\/web/ });
    await eventually(async () => {
      const { status } = await lab().get("ipaddresspool", "metallb-system", "main") as { status?: { assignedIPv4?: number; availableIPv4?: number } };
      assert.deepEqual([status?.assignedIPv4, status?.availableIPv4], [1, 9]);
      assert.equal(await metricOf(lab(), CONTROLLER, "metallb_allocator_addresses_in_use_total", { pool: "main" }), 1);
    }, { ...WITHIN, what: "one address in use" });
    await lab().kubectl(["delete", "service", "web", "-n", "default"]);
    await expectAddress(lab(), "same-port", SHARED);
  });

  test("one that becomes Local loses the address, the other keeps it; both Local with equal selectors have it; another selector evicts, aligning restores", async () => {
    await lab().apply(pool("main", ["172.20.250.10-172.20.250.19"]));
    await lab().apply(sharer("one", 80) + "---\n" + sharer("two", 443));
    for (const name of ["one", "two"]) await expectAddress(lab(), name, SHARED);
    const history = new AddressHistory(lab());
    await eventually(() => assert.equal(history.latest("two"), SHARED), { ...WITHIN, what: "the watch" });
    await change(lab(), "one", { spec: { externalTrafficPolicy: "Local" } });
    await expectNone(lab(), "one");
    await eventually(async () => expect((await eventsOf(lab(), "one")).join("\n")).toMatch(/ClearAssignment .*also in use by default\/two/), { ...WITHIN, what: "an event about the conflict" });
    await eventually(() => assert.equal(history.latest("one"), undefined), { ...WITHIN, what: "the watch has seen it" });
    assert.deepEqual([history.latest("two"), movesOf(history).filter((line) => line.startsWith("two:"))], [SHARED, []]);
    history.stop();
    await change(lab(), "two", { spec: { externalTrafficPolicy: "Local" } });
    await expectAddress(lab(), "one", SHARED);
    assert.equal(await addressOf(lab(), "two"), SHARED);
    await change(lab(), "two", { spec: { selector: { app: "others" } } });
    await expectNone(lab(), "two");
    assert.equal(await addressOf(lab(), "one"), SHARED);
    await change(lab(), "one", { spec: { selector: { app: "others" } } });
    await expectAddress(lab(), "two", SHARED);
    assert.equal(await addressOf(lab(), "one"), SHARED);
  });

  test("a controller that is killed finds all holders of an address again and moves none", async () => {
    await lab().apply(pool("main", ["172.20.250.10-172.20.250.19"]));
    const ports = [80, 443, 8080];
    await lab().apply(ports.map((port) => sharer(`p${port}`, port, { "metallb.io/loadBalancerIPs": "" })).join("---\n"));
    for (const port of ports) await expectAddress(lab(), `p${port}`, "172.20.250.10");
    const history = new AddressHistory(lab());
    await eventually(() => assert.equal(history.latest("p8080"), "172.20.250.10"), { ...WITHIN, what: "the watch" });
    signalProgram(lab(), CONTROLLER.program, CONTROLLER.node, "SIGKILL");
    // The next one is served by the next controller, after it has looked at those that were there.
    await lab().apply(sharer("later", 8443, { "metallb.io/loadBalancerIPs": "" }) + "---\n" + sharer("lone", 9000, { "metallb.io/loadBalancerIPs": "", "metallb.io/allow-shared-ip": "" }));
    await expectAddress(lab(), "later", "172.20.250.10");
    await expectAddress(lab(), "lone", "172.20.250.11");
    await eventually(() => assert.equal(history.latest("lone"), "172.20.250.11"), { ...WITHIN, what: "the watch has seen it" });
    history.stop();
    assert.deepEqual(movesOf(history), []);
  });
});

/** A Service with one port that asks for the shared address on the key "web". */
function sharer(name: string, port: number, annotations: Readonly<Record<string, string>> = {}): string {
  const text = service({ name, backend: "pods", annotations: { "metallb.io/allow-shared-ip": "web", "metallb.io/loadBalancerIPs": SHARED, ...annotations } });
  return text.replace("port: 80,", `port: ${port},`);
}

/** Addresses lost or changed. Those that several show are left out: here they are meant to. */
function movesOf(history: AddressHistory): string[] {
  return history.moves().filter((line) => line.includes(" -> "));
}

async function change(lab: Lab, name: string, patch: object): Promise<void> {
  await lab.kubectl(["patch", "service", name, "-n", "default", "--type=merge", "-p", JSON.stringify(patch)]);
}

function expectNone(lab: Lab, name: string): Promise<void> {
  return eventually(async () => {
    assert.equal(await addressOf(lab, name), undefined);
    assert.equal((await assignmentOf(lab, name))?.reason, "SharingConflict");
  }, { ...WITHIN, what: `${name} has no address, for a conflict` });
}
