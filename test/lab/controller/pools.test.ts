import assert from "node:assert/strict";
import { afterEach, expect, test } from "vitest";
import { AddressHistory } from "../address-history.ts";
import { clear, describeOnLab } from "../describe-on-lab.ts";
import { eventually } from "../eventually.ts";
import type { Lab } from "../lab.ts";
import { metricOf } from "../metrics.ts";
import { type ConditionView, WITHIN, addressOf, assignmentOf, eventsOf, expectAddress } from "../observe.ts";
import { signalProgram } from "../programs-of-herald.ts";
import { pool } from "../resources.ts";
import { service } from "../walkthrough/manifests.ts";

const CONTROLLER = { node: "node1", program: "controller" } as const;

describeOnLab("pools that change under their Services", { name: "pools", nodes: 1, herald: { controllers: 1 } }, (lab) => {
  afterEach(() => clear(lab()));

  test("a pool is shrunk: Services outside of it get new addresses, the others keep theirs all the time", async () => {
    await lab().apply(pool("main", ["172.20.250.10-172.20.250.15"]));
    await apply(lab(), ["a", "b", "c", "d"]);
    const history = new AddressHistory(lab());
    await eventually(() => assert.equal(history.latest("d"), "172.20.250.13"), { ...WITHIN, what: "the watch" });
    await lab().apply(pool("main", ["172.20.250.12-172.20.250.16"]));
    await expectAddress(lab(), "a", "172.20.250.14");
    await expectAddress(lab(), "b", "172.20.250.15");
    await eventually(async () => expect((await eventsOf(lab(), "a")).join("\n")).toMatch(/ClearAssignment .*current IP for "default\/a" not allowed by config/), { ...WITHIN, what: "an event about the move" });
    await eventually(() => assert.deepEqual([history.latest("a"), history.latest("b")], ["172.20.250.14", "172.20.250.15"]), { ...WITHIN, what: "the watch has seen it" });
    history.stop();
    const moved = history.moves();
    assert.deepEqual(moved.map((line) => line[0]), ["a", "b"], moved.join("\n"));
    assert.deepEqual([history.latest("c"), history.latest("d")], ["172.20.250.12", "172.20.250.13"]);
  });

  test("a pool is deleted: its Services move to another one, and without any have none", async () => {
    await lab().apply(pool("first", ["172.20.250.10/32"]) + pool("second", ["172.20.251.10/32"]));
    await apply(lab(), ["one"]);
    await expectAddress(lab(), "one", "172.20.250.10");
    await lab().kubectl(["delete", "ipaddresspool", "first", "-n", "metallb-system"]);
    await expectAddress(lab(), "one", "172.20.251.10");
    await lab().kubectl(["delete", "ipaddresspool", "second", "-n", "metallb-system"]);
    await eventually(async () => {
      assert.equal(await addressOf(lab(), "one"), undefined);
      assert.equal((await assignmentOf(lab(), "one"))?.status, "False");
    }, { ...WITHIN, what: "no address without a pool" });
    await lab().apply(pool("third", ["172.20.252.10/32"]));
    await expectAddress(lab(), "one", "172.20.252.10");
  });

  test("a pool that gets another name: its Services keep their addresses", async () => {
    await lab().apply(pool("old", ["172.20.250.10-172.20.250.15"]));
    await apply(lab(), ["one", "two"]);
    const history = new AddressHistory(lab());
    await eventually(() => assert.equal(history.latest("two"), "172.20.250.11"), { ...WITHIN, what: "the watch" });
    // As in a cluster, the new one overlaps the old one until that is gone.
    await lab().apply(pool("new", ["172.20.250.8-172.20.250.15"]));
    await eventually(async () => assert.equal((await validityOf(lab(), "old"))?.status === "True" && (await validityOf(lab(), "new"))?.status === "True", false), { ...WITHIN, what: "the overlap is told" });
    await lab().kubectl(["delete", "ipaddresspool", "old", "-n", "metallb-system"]);
    await eventually(async () => assert.equal((await lab().get("service", "default", "two") as { metadata: { annotations: Record<string, string> } }).metadata.annotations["metallb.io/ip-allocated-from-pool"], "new"), { ...WITHIN, what: "the Services name the new pool" });
    history.stop();
    assert.deepEqual(history.moves(), []);
  });

  for (const { title, bad, says } of [
    { title: "a pool that overlaps another", bad: pool("zbad", ["172.20.250.14-172.20.250.20"]), says: /172\.20\.250\.14-172\.20\.250\.20.* overlaps with already defined CIDR .*172\.20\.250\.10-172\.20\.250\.15/ },
    { title: "a pool with an invalid CIDR", bad: pool("zbad", ["172.20.251.0/33"]), says: /172\.20\.251\.0\/33/ },
  ]) {
    test(`${title}: the last good configuration runs on, the pool's condition says why, and mending it is enough`, async () => {
      await lab().apply(pool("good", ["172.20.250.10-172.20.250.15"]));
      await apply(lab(), ["before"]);
      await lab().apply(bad);
      await eventually(async () => {
        const condition = await validityOf(lab(), "zbad");
        assert.equal(condition?.status, "False");
        assert.match(condition.message, says);
      }, { ...WITHIN, what: "the bad pool's condition" });
      await eventually(async () => assert.equal((await validityOf(lab(), "good"))?.status, "Unknown"), { ...WITHIN, what: "the good one says that the newest configuration is refused" });
      await eventually(async () => expect(await configurationState(lab())).toMatch(says), { ...WITHIN, what: "the ConfigurationState" });
      await expectStale(lab(), 1);
      await apply(lab(), ["during"]);
      await expectAddress(lab(), "during", "172.20.250.11");
      assert.equal(await addressOf(lab(), "before"), "172.20.250.10");

      await lab().apply(pool("zbad", ["172.20.253.0/28"], { autoAssign: false }));
      for (const name of ["zbad", "good"]) await eventually(async () => assert.equal((await validityOf(lab(), name))?.status, "True"), { ...WITHIN, what: `${name} is valid` });
      await eventually(async () => assert.equal(await configurationState(lab()), "Valid "), { ...WITHIN, what: "the ConfigurationState" });
      await expectStale(lab(), 0);
      await lab().apply(service({ name: "after", annotations: { "metallb.io/address-pool": "zbad" } }));
      await expectAddress(lab(), "after", "172.20.253.0");
      assert.equal(await addressOf(lab(), "before"), "172.20.250.10");
    });
  }

  test("counters in the pool's status and in the metrics follow the Services, and hand edits are reverted", async () => {
    await lab().apply(pool("counted", ["172.20.250.10-172.20.250.13", "fd00:20:0:ff::1-fd00:20:0:ff::2"]));
    await expectCounters(lab(), [0, 0, 4, 2]);
    await apply(lab(), ["one", "two"]);
    await lab().apply(service({ name: "six", serviceSpec: ["ipFamilies: [IPv6]"] }));
    await expectCounters(lab(), [2, 1, 2, 1]);
    const metrics = { addresses_total: 6, addresses_in_use_total: 3, ipv4_addresses_in_use_total: 2, ipv6_addresses_in_use_total: 1, services_allocated_total: 3 };
    await eventually(async () => {
      for (const [name, value] of Object.entries(metrics)) {
        const found = await metricOf(lab(), CONTROLLER, `metallb_allocator_${name}`, { pool: "counted" });
        assert.equal(found, value, `${name} is ${found}, not ${value}`);
      }
    }, { ...WITHIN, what: "the allocator's metrics" });
    await lab().kubectl(["patch", "ipaddresspool", "counted", "-n", "metallb-system", "--subresource=status", "--type=merge", "-p", JSON.stringify({ status: { assignedIPv4: 40, availableIPv6: 99, conditions: [] } })]);
    await expectCounters(lab(), [2, 1, 2, 1]);
    await eventually(async () => assert.equal((await validityOf(lab(), "counted"))?.status, "True"), { ...WITHIN, what: "the condition is back" });
    await lab().apply(pool("counted", ["172.20.250.10-172.20.250.19"]));
    await expectCounters(lab(), [2, 0, 8, 0]);
    await lab().kubectl(["delete", "service", "one", "-n", "default"]);
    await expectCounters(lab(), [1, 0, 9, 0]);
  });

  test("the memberlist Secret is made once, and belongs to the controller's Deployment", async () => {
    const read = async (): Promise<{ metadata: { uid: string; ownerReferences: { kind: string; name: string }[] }; data: { secretkey: string } }> =>
      await lab().get("secret", "metallb-system", "memberlist") as Awaited<ReturnType<typeof read>>;
    const before = await read();
    assert.deepEqual(before.metadata.ownerReferences.map(({ kind, name }) => `${kind}/${name}`), ["Deployment/controller"]);
    // The Secret's text is itself base64 without its padding: 16 bytes.
    assert.match(Buffer.from(before.data.secretkey, "base64").toString(), /^[A-Za-z0-9+/]{22}$/);
    signalProgram(lab(), "controller", "node1", "SIGTERM");
    await lab().apply(pool("after-restart", ["172.20.250.10/32"]) + `---\n${service({ name: "after-restart" })}`);
    await expectAddress(lab(), "after-restart");
    assert.deepEqual(await read(), before);
  });
});

/** Creates Services one after the other, each with its address before the next. */
async function apply(lab: Lab, names: readonly string[]): Promise<void> {
  for (const name of names) {
    await lab.apply(service({ name }));
    await expectAddress(lab, name);
  }
}

async function validityOf(lab: Lab, name: string): Promise<ConditionView | undefined> {
  const found = await lab.get("ipaddresspool", "metallb-system", name) as { status?: { conditions?: ConditionView[] } };
  return found.status?.conditions?.find(({ type }) => type === "Valid");
}

/** Waits until the controller says whether it runs an older configuration than the newest. */
async function expectStale(lab: Lab, stale: 0 | 1): Promise<void> {
  await eventually(async () => assert.equal(await metricOf(lab, CONTROLLER, "metallb_k8s_client_config_stale_bool"), stale), { ...WITHIN, what: `metallb_k8s_client_config_stale_bool is ${stale}` });
}

/** Result and summary of the controller's ConfigurationState. */
async function configurationState(lab: Lab): Promise<string> {
  return lab.kubectl(["get", "configurationstate", "controller", "-n", "metallb-system", "-o", "jsonpath={.status.result} {.status.errorSummary}"]);
}

/** Waits for assignedIPv4, assignedIPv6, availableIPv4, availableIPv6 of the pool `counted`. */
async function expectCounters(lab: Lab, expected: readonly number[]): Promise<void> {
  await eventually(async () => {
    const { status } = await lab.get("ipaddresspool", "metallb-system", "counted") as { status?: Record<string, number> };
    assert.deepEqual(["assignedIPv4", "assignedIPv6", "availableIPv4", "availableIPv6"].map((field) => status?.[field]), expected);
  }, { ...WITHIN, what: `counters ${expected.join(", ")}` });
}
