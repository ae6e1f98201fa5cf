import assert from "node:assert/strict";
import { afterAll, beforeAll, test } from "vitest";
import { AddressHistory } from "../address-history.ts";
import { eventually } from "../eventually.ts";
import { addressesOfAll } from "../observe.ts";
import { HERALD_NAMESPACE } from "../pods.ts";
import { poll } from "../poll.ts";
import { signalProcess } from "../processes.ts";
import { type LeadingController, leadingController } from "../programs-of-herald.ts";
import { pool } from "../resources.ts";
import { service } from "../walkthrough/manifests.ts";
import { describeOnFullLab } from "./describe-on-full-lab.ts";
import type { FullLab } from "./full-lab.ts";
import { containerProcesses } from "./node.ts";

/** Services that wait for an address when the controller that leads is lost. */
const PENDING = 50;
/** Services that have one by then, and keep it. */
const SERVED = 10;
const BUDGET = { timeoutMs: 180_000 } as const;

/** How the controller that leads is lost. */
const powerOff = (lab: FullLab, { node }: LeadingController): Promise<void> => lab.powerOff(node);
const kill = async (lab: FullLab, { node }: LeadingController): Promise<void> => signalController(lab, node, "SIGKILL");

describeOnFullLab(`the leading controller lost with ${PENDING} Services pending`, { name: "full-ctl", nodes: 2 }, (lab) => {
  let history: AddressHistory;

  beforeAll(async () => {
    await lab().apply(pool("first", [`172.20.249.1-172.20.249.${SERVED}`]));
    await createServices("served", SERVED);
    history = new AddressHistory(lab());
    await eventually(() => assert.equal(given("served"), SERVED), { ...BUDGET, what: "the Services before all that to have addresses" });
  });
  afterAll(() => history?.stop());

  for (const [title, name, lose] of [["its node loses its power", "power", powerOff], ["its process is killed", "kill", kill]] as const) {
    test(`${title}: another one finishes, nothing is doubled, none is lost`, async () => {
      await lab().apply(poolFor(name));
      const old = await settledController(lab());
      // From now on it sees nothing; its Lease is good for another fifteen seconds, and on a slow machine the other one begins meanwhile: how many were left is printed.
      await signalController(lab(), old.node, "SIGSTOP");
      await createServices(name, PENDING);
      await expectFinished({ name, old, lose });
    });
  }

  test("its process is killed in the middle of its work: another one finishes, nothing is doubled, none is lost", async () => {
    const old = await settledController(lab());
    await createServices("midway", PENDING);
    const applied = lab().apply(poolFor("midway"));
    await poll(() => given("midway") > 0, { ...BUDGET, intervalMs: 1, what: "the first address" });
    await kill(lab(), old);
    await applied;
    await expectFinished({ name: "midway", old, lose: async () => undefined });
  });

  /** Loses the controller, and holds what became of the Services against what should. */
  async function expectFinished({ name, old, lose }: { readonly name: string; readonly old: LeadingController; readonly lose: typeof powerOff }): Promise<void> {
    const before = await addressesOfAll(lab());
    const pending = [...before.values()].filter((address) => address === undefined).length;
    const lostAt = Date.now();
    await lose(lab(), old);
    await eventually(() => assert.equal(given(name), PENDING), { ...BUDGET, what: `${PENDING} addresses` });
    const tookMs = Date.now() - lostAt;
    const next = await settledHolder(lab(), old);
    const after = await addressesOfAll(lab());
    const addresses = [...after.values()].filter((address) => address !== undefined);
    console.log(`${name}: ${pending} pending when ${old.pod} was lost; ${next.pod === old.pod ? "the same pod, started again," : `the standby ${next.pod}`} finished ${tookMs} ms later (Lease taken after ${next.acquiredAtMs - lostAt} ms)`);
    assert.deepEqual([addresses.length, new Set(addresses).size], [after.size, after.size], `every Service has an address, and no two the same: ${addresses.join(" ")}`);
    for (const [service, address] of before) if (address !== undefined) assert.equal(after.get(service), address, `${service} had ${address} and has ${after.get(service)}`);
    assert.deepEqual(history.moves(), []);
    await lab().restore(old.node);
    await lab().waitForNode(old.node, "True", BUDGET.timeoutMs);
    await lab().waitForHerald();
    assert.deepEqual(await addressesOfAll(lab()), after, "nothing changes when the lost one returns");
    assert.deepEqual(history.moves(), []);
  }

  async function createServices(prefix: string, count: number): Promise<void> {
    const names = Array.from({ length: count }, (_, index) => `${prefix}-${index}`);
    await lab().kubectl(["create", "-f", "-"], { input: names.map((name) => service({ name })).join("---\n") });
    if (history !== undefined) await eventually(() => assert.ok(names.every((name) => history.has(name)), `${names.filter((name) => history.has(name)).length} of ${names.length}`), { ...BUDGET, what: "the watch to show every Service" });
  }

  /** How many Services whose names begin so were seen with an address. */
  function given(prefix: string): number {
    return Array.from({ length: PENDING }, (_, index) => history.latest(`${prefix}-${index}`)).filter((address) => address !== undefined).length;
  }
});

/** Third octets of the pools of each test. */
const OCTETS = { power: 250, kill: 251, midway: 252 } as const;

/** A pool of as many addresses as Services wait: if one went astray, one of them would get none. */
function poolFor(name: keyof typeof OCTETS): string {
  return pool(name, [`172.20.${OCTETS[name]}.1-172.20.${OCTETS[name]}.${PENDING}`]);
}

/** Sends a signal to the controller's process on a node. @throws AssertionError when none runs there */
async function signalController(lab: FullLab, node: string, signal: NodeJS.Signals): Promise<void> {
  const controllers = containerProcesses(lab.name, node, "controller");
  assert.equal(controllers.filter((controller) => signalProcess(controller, signal)).length, 1, `controllers on ${node}`);
}

/** Waits until every pod is Ready, one controller leads, and the other one is on another node. */
async function settledController(lab: FullLab): Promise<LeadingController> {
  await lab.waitForHerald();
  return eventually(async () => {
    const leading = await leadingController(lab);
    assert.ok(leading !== undefined, "nobody holds the Lease");
    const nodes = await lab.kubectl(["get", "pods", "-n", HERALD_NAMESPACE, "-l", "app.kubernetes.io/component=controller", "-o", "jsonpath={.items[*].spec.nodeName}"]);
    assert.equal(new Set(nodes.split(" ")).size, 2, `controllers on ${nodes}`);
    return leading;
  }, { ...BUDGET, what: "two controllers on two nodes, of which one leads" });
}

/** Waits until another process than that holds the Lease. */
function settledHolder(lab: FullLab, old: LeadingController): Promise<LeadingController> {
  return eventually(async () => {
    const leading = await leadingController(lab);
    assert.ok(leading !== undefined && leading.identity !== old.identity, `${leading?.identity ?? "nobody"} holds it, after ${old.identity}`);
    return leading;
  }, { ...BUDGET, what: "another controller to hold the Lease" });
}
