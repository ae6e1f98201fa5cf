import assert from "node:assert/strict";
import { beforeAll, beforeEach, test } from "vitest";
import { eventually } from "../eventually.ts";
import { expectAnswersAsTold } from "../leaders.ts";
import { HERALD_NAMESPACE } from "../pods.ts";
import { longestOf } from "../stalls.ts";
import { BUDGET, Clients, type Leaders, NAMES, type ServiceUse, expectMembers, expectNothingLost, leadershipOf, nodesOf, setScene } from "./clients.ts";
import { describeOnFullLab } from "./describe-on-full-lab.ts";
import type { FullLab } from "./full-lab.ts";

/** The longest that a client may be without answers when a node loses its power; membership's suspicion alone takes more than five seconds. A machine where speakers stand still is allowed that on top. */
const GAP_LIMIT_MS = 4000;

describeOnFullLab("nodes and pods that are taken away while clients use Services", { name: "full-nodes", backend: true }, (lab) => {
  let before: Leaders;

  beforeAll(async () => {
    await setScene(lab());
  });
  // Whatever became of the test before this one.
  beforeEach(async () => {
    before = await expectAnswersAsTold(lab(), NAMES);
  });

  test("a node is drained, its speaker stopped, and both come back: draining moves nothing, stopping loses no request, nothing moves back", async () => {
    const { node } = leadershipOf(before, NAMES[0]);
    const clients = await Clients.start(lab(), before);
    await lab().kubectl(["drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=180s"], { timeoutMs: 185_000 });
    await lab().waitForHerald();
    // A drained node's speaker stays and leads.
    await expectSame(clients, await expectAnswersAsTold(lab(), NAMES), before);
    await lab().stopSpeaker(node);
    const after = await expectMovedFrom(lab(), clients, before, node);
    await lab().kubectl(["uncordon", node]);
    await expectReturned(lab(), clients, node, after);
    const seen = await clients.stop(`${node} drained, its speaker stopped and back`);
    expectNothingLost(seen, ["udp", "tcp"]);
    await expectTurns(clients, seen, before, after, node);
  });

  test("a node's power goes and comes back: one gap for what it led, none for the rest, nothing moves back", async () => {
    const { node } = leadershipOf(before, NAMES[0]);
    const clients = await Clients.start(lab(), before);
    await lab().powerOff(node);
    const after = await expectMovedFrom(lab(), clients, before, node);
    await clients.untilSteady();
    const returns = Date.now();
    await expectReturned(lab(), clients, node, after);
    const seen = await clients.stop(`${node} lost its power and is back`);
    const stalledMs = longestOf(await clients.heartbeats.silences(), [node]);
    for (const { name, attempts } of seen) {
      // A pod's kernel takes connections while the pod stands still; over UDP its answers wait for it, and how long is printed.
      const gapMs = Math.round(attempts.longestSilenceMs("tcp", 0));
      assert.ok(gapMs < GAP_LIMIT_MS + stalledMs, `${name}: ${gapMs} ms without an answer over TCP; the longest silence of a speaker was ${Math.round(stalledMs)} ms`);
      // What was lost by then was all: its return costs nothing.
      assert.equal(attempts.failedSince("udp", returns), 0, `${name}: UDP requests lost after the gap: ${attempts.failedSince("udp", returns)} of ${attempts.failed("udp")}`);
      if (before.get(name)?.node !== node) assert.equal(attempts.failed("udp"), 0, `${name} was not led by ${node}, and lost ${attempts.failed("udp")} requests`);
    }
    await expectTurns(clients, seen, before, after, node);
  });

  test("its speaker's pod is deleted: another node takes over, no request is lost, nothing moves back", async () => {
    const { node } = leadershipOf(before, NAMES[0]);
    const pod = await speakerPod(lab(), node);
    const clients = await Clients.start(lab(), before);
    await lab().kubectl(["delete", "pod", pod, "-n", HERALD_NAMESPACE, "--wait=false"]);
    const after = await expectMovedFrom(lab(), clients, before, node);
    await eventually(async () => assert.notEqual(await speakerPod(lab(), node), pod), { ...BUDGET, what: `another speaker on ${node}` });
    await expectReturned(lab(), clients, node, after);
    const seen = await clients.stop(`speaker of ${node} deleted`);
    expectNothingLost(seen, ["udp", "tcp"]);
    await expectTurns(clients, seen, before, after, node);
  });
});

/** Waits until what this node led is led by others, and they answer. What others led is where it was. */
async function expectMovedFrom(lab: FullLab, { heartbeats }: Clients, before: Leaders, victim: string): Promise<Leaders> {
  const after = await eventually(async () => {
    const now = await expectAnswersAsTold(lab, NAMES);
    assert.ok(![...now.values()].some(({ node }) => node === victim), `${victim} still leads some: ${placesOf(now)}`);
    return now;
  }, { ...BUDGET, what: `nobody is led by ${victim}` });
  for (const [name, { address }] of before) assert.equal(after.get(name)?.address, address, `${name} had ${address} and has ${after.get(name)?.address}`);
  await heartbeats.hold(() => {
    for (const [name, { node }] of before) if (node !== victim) assert.equal(after.get(name)?.node, node, `${name} was not ${victim}'s and has no cause to move: ${placesOf(before)}, then ${placesOf(after)}`);
  }, [victim]);
  return after;
}

/** Mends the node and waits until it takes part again; whoever led goes on. */
async function expectReturned(lab: FullLab, clients: Clients, node: string, leaders: Leaders): Promise<void> {
  await lab.restore(node);
  await lab.waitForNode(node, "True", BUDGET.timeoutMs);
  await lab.waitForHerald();
  await expectMembers(lab);
  await expectSame(clients, await expectAnswersAsTold(lab, NAMES), leaders, [node]);
}

/** Nothing has moved, unless speakers stood still. @param silenced nodes whose speakers were silenced on purpose */
async function expectSame({ heartbeats }: Clients, now: Leaders, before: Leaders, silenced: readonly string[] = []): Promise<void> {
  await heartbeats.hold(() => assert.deepEqual(nodesOf(now), nodesOf(before), `something moved: ${placesOf(before)}, then ${placesOf(now)}`), silenced);
}

/** Each address was answered by the node before and then by the one after, and never by another, unless speakers stood still. */
async function expectTurns({ heartbeats }: Clients, seen: readonly ServiceUse[], before: Leaders, after: Leaders, silenced: string): Promise<void> {
  await heartbeats.hold(() => {
    for (const { name, turns } of seen) {
      const expected = [...new Set([before.get(name)?.node, after.get(name)?.node])];
      assert.deepEqual(turns, expected, `for ${name} answered ${turns.join(" -> ")}, instead of ${expected.join(" -> ")}`);
    }
  }, [silenced]);
  await heartbeats.stop();
}

/** "one on node1, ..." */
function placesOf(leaders: Leaders): string {
  return [...leaders].map(([name, { node }]) => `${name} on ${node}`).join(", ");
}

async function speakerPod(lab: FullLab, node: string): Promise<string> {
  const pods = (await lab.kubectl(["get", "pods", "-n", HERALD_NAMESPACE, "-l", "app.kubernetes.io/component=speaker", `--field-selector=spec.nodeName=${node}`, "-o", "jsonpath={.items[*].metadata.name}"])).split(" ");
  return pods[0] ?? "";
}
