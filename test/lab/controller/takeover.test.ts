import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, test } from "vitest";
import { AddressHistory } from "../address-history.ts";
import { describeOnLab } from "../describe-on-lab.ts";
import { eventually } from "../eventually.ts";
import type { Lab } from "../lab.ts";
import { WITHIN, addressesOfAll, expectAddress } from "../observe.ts";
import { type LeadingController, leadingController, signalProgram } from "../programs-of-herald.ts";
import { pool } from "../resources.ts";
import { service } from "../walkthrough/manifests.ts";

const SERVICES = 50;
/** So many addresses that ten Services wait. */
const FULL_POOL = pool("full", ["172.20.250.10-172.20.250.49"]);
/** Only for those who name it: whoever gives an address of it leads. */
const SPARE_POOL = pool("spare", ["172.20.251.0/24"], { autoAssign: false });

describeOnLab("two controllers over 50 Services, 10 of them waiting", { name: "takeover", nodes: 2, herald: { controllers: 2 } }, (lab) => {
  let history: AddressHistory;
  let before: ReadonlyMap<string, string | undefined>;

  beforeAll(async () => {
    await lab().apply(FULL_POOL + SPARE_POOL);
    const names = Array.from({ length: SERVICES }, (_, index) => `svc${index}`);
    await lab().kubectl(["create", "-f", "-"], { input: names.map((name) => service({ name })).join("---\n") });
    before = await eventually(async () => {
      const addresses = await addressesOfAll(lab());
      const given = [...addresses.values()].filter((address) => address !== undefined);
      assert.deepEqual([given.length, new Set(given).size], [40, 40], `40 addresses, none twice: ${given.join(" ")}`);
      return addresses;
    }, { timeoutMs: 120_000, what: "40 of 50 Services have an address" });
    history = new AddressHistory(lab());
    await eventually(() => assert.ok(history.size >= SERVICES, `${history.size} Services`), { ...WITHIN, what: "the watch shows every Service" });
  });
  afterAll(() => history?.stop());

  /** Nothing moved since the start: not even for a moment, and not in the end. */
  async function expectNoMove(): Promise<void> {
    const after = await addressesOfAll(lab());
    for (const [name, address] of before) assert.equal(after.get(name), address, name);
    assert.deepEqual(history.moves(), []);
  }

  test("a clean stop of the leader hands over to another instance", async () => {
    const old = await settledController(lab());
    const stoppedAt = Date.now();
    signalProgram(lab(), "controller", old.node, "SIGTERM");
    const next = await otherController(lab(), old);
    const tookMs = next.acquiredAtMs - stoppedAt;
    console.log(`clean stop: ${whichOf(old, next)} held the Lease after ${tookMs} ms`);
    // Else the next one would have to wait until the Lease runs out.
    await eventually(() => {
      const log = readFileSync(join(lab().logFolder, `controller-${old.node}.log`), "utf8").split("\n");
      const said = log.filter((line) => line.includes('"event":"stoppedLeading"') && line.includes(old.identity));
      assert.ok(said.some((line) => line.includes('"reason":"released"')), `${old.identity} stopped leading: ${said.join(" ") || log.slice(-5).join("\n")}`);
    }, { ...WITHIN, what: `${old.pod} releases the Lease` });
    await expectServedBy(lab(), "after-stop", next);
    await expectNoMove();
  });

  test("a killed leader is replaced by another instance", async () => {
    const old = await settledController(lab());
    const killedAt = Date.now();
    signalProgram(lab(), "controller", old.node, "SIGKILL");
    const next = await otherController(lab(), old);
    const tookMs = next.acquiredAtMs - killedAt;
    console.log(`kill -9: ${whichOf(old, next)} held the Lease after ${tookMs} ms`);
    await expectServedBy(lab(), "after-kill", next);
    await expectNoMove();
  });

  test("both restarted at once: who starts afresh adopts what is there", async () => {
    const old = await settledController(lab());
    for (const node of lab().nodes) signalProgram(lab(), "controller", node, "SIGTERM");
    const next = await otherController(lab(), old);
    await expectServedBy(lab(), "after-both", next);
    await expectNoMove();
  });

  test("the leader restarted again and again: those that wait do not push anybody out", async () => {
    for (let round = 0; round < 3; round += 1) {
      const old = await settledController(lab());
      signalProgram(lab(), "controller", old.node, "SIGTERM");
      await otherController(lab(), old);
    }
    await expectServedBy(lab(), "after-rounds", await settledController(lab()));
    await expectNoMove();
  });

  test("addresses that become free after all that go to Services that wait, each once", async () => {
    const holders = [...before].filter(([, address]) => address !== undefined).slice(0, 3);
    const waiting = [...before].filter(([, address]) => address === undefined).map(([name]) => name);
    await lab().kubectl(["delete", "service", ...holders.map(([name]) => name), "-n", "default"]);
    const freed = holders.map(([, address]) => address).toSorted();
    await eventually(async () => {
      const after = await addressesOfAll(lab());
      assert.deepEqual(waiting.flatMap((name) => after.get(name) ?? []).toSorted(), freed);
    }, { ...WITHIN, what: "three that waited have the three freed addresses" });
    await eventually(() => assert.deepEqual(waiting.flatMap((name) => history.latest(name) ?? []).toSorted(), freed), { ...WITHIN, what: "the watch has seen it" });
    assert.deepEqual(history.moves(), []);
  });
});

function settledController(lab: Lab): Promise<LeadingController> {
  return eventually(async () => {
    const leading = await leadingController(lab);
    assert.ok(leading !== undefined, "nobody holds the Lease");
    const ready = await lab.kubectl(["get", "pods", "-n", "metallb-system", "-l", "app.kubernetes.io/component=controller", "-o", 'jsonpath={.items[*].status.conditions[?(@.type=="Ready")].status}']);
    assert.equal(ready, "True True", `both controllers are ready: ${ready}`);
    return leading;
  }, { timeoutMs: 120_000, what: "two controllers, of which one leads" });
}

/**
 * Waits for a leader that is another process. Which one is open: whoever was stopped is started again by its pod within a
 * second and may find the Lease free before the standby looks; both may win, the process that ended may not.
 */
function otherController(lab: Lab, old: LeadingController): Promise<LeadingController> {
  return eventually(async () => {
    const leading = await leadingController(lab);
    assert.ok(leading !== undefined && leading.identity !== old.identity, `${leading?.identity ?? "nobody"} holds it, after ${old.identity}`);
    return leading;
  }, { timeoutMs: 120_000, intervalMs: 100, what: "another controller to hold the Lease" });
}

/** Who of the two took over, for whoever reads the output. */
function whichOf(old: LeadingController, next: LeadingController): string {
  return next.pod === old.pod ? `${next.pod}, started again,` : `the standby ${next.pod}`;
}

/** A new Service gets an address, and the event about it comes from this controller, which still leads. */
async function expectServedBy(lab: Lab, name: string, leader: LeadingController): Promise<void> {
  await lab.apply(service({ name, annotations: { "metallb.io/address-pool": "spare" } }));
  await expectAddress(lab, name);
  await eventually(async () => {
    const host = await lab.kubectl(["get", "events", "-n", "default", `--field-selector=involvedObject.name=${name},reason=IPAllocated`, "-o", "jsonpath={.items[*].source.host}"]);
    assert.equal(host, leader.pod);
    assert.equal((await leadingController(lab))?.identity, leader.identity, "still the same holder");
  }, { ...WITHIN, what: `${leader.pod} serves ${name}` });
}
