import assert from "node:assert/strict";
import { beforeAll, test } from "vitest";
import { eventually } from "../eventually.ts";
import { expectAnswersAsTold } from "../leaders.ts";
import { HERALD_NAMESPACE } from "../pods.ts";
import { BUDGET, Clients, type Leaders, NAMES, type ServiceUse, expectMembers, expectNothingLost, leadershipOf, nodesOf, setScene } from "./clients.ts";
import { describeOnFullLab } from "./describe-on-full-lab.ts";
import type { FullLab } from "./full-lab.ts";

/** The longest that a client may be without answers when a node loses its power, on a busy machine; membership's suspicion alone takes more than five seconds. */
const GAP_LIMIT_MS = 4000;

describeOnFullLab("nodes and pods that are taken away while clients use Services", { name: "full-nodes", backend: true }, (lab) => {
  let before: Leaders;

  beforeAll(async () => {
    before = await setScene(lab());
  });

  test("a node is drained, its speaker stopped, and both come back: draining moves nothing, stopping loses nothing, nothing moves back", async () => {
    const { node } = leadershipOf(before, NAMES[0]);
    const clients = await Clients.start(lab(), before);
    await lab().kubectl(["drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=90s"], { timeoutMs: 95_000 });
    await lab().waitForHerald();
    assert.deepEqual(nodesOf(await expectAnswersAsTold(lab(), NAMES)), nodesOf(before), "a drained node's speaker stays and leads");
    await lab().stopSpeaker(node);
    const after = await expectMovedFrom(lab(), before, node);
    await lab().kubectl(["uncordon", node]);
    await expectReturned(lab(), node, after);
    const seen = await clients.stop(`${node} drained, its speaker stopped and back`);
    expectNothingLost(seen, ["udp", "tcp"]);
    expectTurns(seen, before, after);
    before = after;
  });

  test("a node's power goes and comes back: one gap for what it led, none for the rest, nothing moves back", async () => {
    const { node } = leadershipOf(before, NAMES[0]);
    const clients = await Clients.start(lab(), before);
    await lab().powerOff(node);
    const after = await expectMovedFrom(lab(), before, node);
    await clients.untilSteady();
    const cut = clients.attempts();
    await expectReturned(lab(), node, after);
    const seen = await clients.stop(`${node} lost its power and is back`);
    for (const { name, attempts } of seen) {
      for (const protocol of ["udp", "tcp"] as const) assert.ok(attempts.longestGapMs(protocol, 0) < GAP_LIMIT_MS, `${name}: ${attempts.longestGapMs(protocol, 0)} ms without an answer over ${protocol}`);
      // What was lost by then was all: its return costs nothing.
      const lostByThen = cut.get(name)?.failed("udp") ?? 0;
      assert.equal(attempts.failed("udp"), lostByThen, `${name}: UDP requests lost after the gap`);
      if (before.get(name)?.node !== node) assert.equal(lostByThen, 0, `${name} was not led by ${node}`);
    }
    expectTurns(seen, before, after);
    before = after;
  });

  test("its speaker's pod is deleted: another node takes over, nothing is lost, nothing moves back", async () => {
    const { node } = leadershipOf(before, NAMES[0]);
    const pod = await speakerPod(lab(), node);
    const clients = await Clients.start(lab(), before);
    await lab().kubectl(["delete", "pod", pod, "-n", HERALD_NAMESPACE, "--wait=false"]);
    const after = await expectMovedFrom(lab(), before, node);
    await eventually(async () => assert.notEqual(await speakerPod(lab(), node), pod), { ...BUDGET, what: `another speaker on ${node}` });
    await expectReturned(lab(), node, after);
    const seen = await clients.stop(`speaker of ${node} deleted`);
    expectNothingLost(seen, ["udp", "tcp"]);
    expectTurns(seen, before, after);
    before = after;
  });
});

/** Waits until what this node led is led by others, and they answer. What others led is where it was. */
async function expectMovedFrom(lab: FullLab, before: Leaders, victim: string): Promise<Leaders> {
  const after = await eventually(async () => {
    const now = await expectAnswersAsTold(lab, NAMES);
    assert.ok(![...now.values()].some(({ node }) => node === victim), `${victim} still leads some`);
    return now;
  }, { ...BUDGET, what: `nobody is led by ${victim}` });
  for (const [name, { node, address }] of before) {
    assert.equal(after.get(name)?.address, address, `address of ${name}`);
    if (node !== victim) assert.equal(after.get(name)?.node, node, `${name} was not ${victim}'s and has no cause to move`);
  }
  return after;
}

/** Mends the node and waits until it takes part again; whoever led goes on. */
async function expectReturned(lab: FullLab, node: string, leaders: Leaders): Promise<void> {
  await lab.restore(node);
  await lab.waitForNode(node, "True", BUDGET.timeoutMs);
  await lab.waitForHerald();
  await expectMembers(lab);
  assert.deepEqual(nodesOf(await expectAnswersAsTold(lab, NAMES)), nodesOf(leaders), "nothing moves at the return");
}

/** Each address was answered by the node before and then by the one after, and never by another. */
function expectTurns(seen: readonly ServiceUse[], before: Leaders, after: Leaders): void {
  for (const { name, turns } of seen) assert.deepEqual(turns, [...new Set([before.get(name)?.node, after.get(name)?.node])], `who answered for ${name}`);
}

async function speakerPod(lab: FullLab, node: string): Promise<string> {
  const pods = (await lab.kubectl(["get", "pods", "-n", HERALD_NAMESPACE, "-l", "app.kubernetes.io/component=speaker", `--field-selector=spec.nodeName=${node}`, "-o", "jsonpath={.items[*].metadata.name}"])).split(" ");
  return pods[0] ?? "";
}
