import assert from "node:assert/strict";
import { afterEach, beforeAll, test } from "vitest";
import { describeOnLab } from "../describe-on-lab.ts";
import { eventually } from "../eventually.ts";
import { CLIENT, type Lab } from "../lab.ts";
import { expectAnswersAsTold, expectStays } from "../leaders.ts";
import { metricOf } from "../metrics.ts";
import { WITHIN, expectAnswerFrom } from "../observe.ts";
import { BUDGET, type Leaders, NAMES, expectMembers, expectMovedFrom, expectOneMove, firstOf, mend, nodesOf, setScene, watchAnswers } from "./scene.ts";

const EXCLUDE_LABEL = "node.kubernetes.io/exclude-from-external-load-balancers";

describeOnLab("leaders are lost while the API server says nothing", { name: "api-away", nodes: 3, herald: { controllers: 1 } }, (lab) => {
  let before: Leaders;

  beforeAll(async () => {
    before = await setScene(lab());
  });
  afterEach(async () => {
    await lab().kubectl(["label", "nodes", ...lab().nodes, `${EXCLUDE_LABEL}-`]);
    before = await mend(lab());
  });

  test("the API server is down and the leader's node loses power: another one answers, and the status follows later", async () => {
    const first = firstOf(before);
    const watch = await watchAnswers(lab(), first);
    await lab().stopApiServer();
    let next = "";
    try {
      await lab().powerOff(first.node);
      next = await answererOtherThan(lab(), first.address, first.node);
    } finally {
      await lab().startApiServer();
    }
    const after = await expectMovedFrom(lab(), before, first.node);
    assert.equal(firstOf(after).node, next);
    await expectOneMove(lab(), await watch.stop(), { what: "power off without an API server", from: first.node, to: next });
  });

  test("the API server is down and the leader's speaker is killed: another one answers, and goes on when all are back", async () => {
    const first = firstOf(before);
    const watch = await watchAnswers(lab(), first);
    await lab().stopApiServer();
    let next = "";
    try {
      await lab().crashSpeaker(first.node);
      next = await answererOtherThan(lab(), first.address, first.node);
    } finally {
      await lab().startApiServer();
    }
    await expectMembers(lab());
    await expectStays(lab(), { ...first, node: (await expectMovedFrom(lab(), before, first.node)).get(first.name)?.node ?? "" });
    await expectOneMove(lab(), await watch.stop(), { what: "kill -9 without an API server", from: first.node, to: next });
  });

  test("the leader's watches hang: it keeps what it has, until it no longer may and the others know better", async () => {
    const first = firstOf(before);
    const watch = await watchAnswers(lab(), first);
    await lab().dropApi(first.node);
    await expectFresh(lab(), first.node, 0);
    // That alone is no reason to move anything.
    await expectStays(lab(), first);
    await lab().kubectl(["label", "node", first.node, `${EXCLUDE_LABEL}=`]);
    const after = await expectMovedFrom(lab(), before, first.node);
    await expectStays(lab(), firstOf(after));
    await expectOneMove(lab(), await watch.stop(), { what: "watches that hang", from: first.node, to: firstOf(after).node });
    // When it hears again it learns what it may do, and takes nothing back.
    await lab().kubectl(["label", "node", first.node, `${EXCLUDE_LABEL}-`]);
    await lab().restore(first.node);
    await expectFresh(lab(), first.node, 1);
    await expectStays(lab(), firstOf(after));
    assert.deepEqual(nodesOf(await expectAnswersAsTold(lab(), NAMES)), nodesOf(after));
  });

  test("every speaker's watches hang: nothing moves, and a node that loses power is still replaced", async () => {
    for (const node of lab().nodes) await lab().dropApi(node);
    for (const node of lab().nodes) await expectFresh(lab(), node, 0);
    const first = firstOf(before);
    await lab().kubectl(["label", "node", first.node, `${EXCLUDE_LABEL}=`]);
    await expectStays(lab(), first);
    const watch = await watchAnswers(lab(), first);
    await lab().powerOff(first.node);
    const next = await answererOtherThan(lab(), first.address, first.node);
    await expectOneMove(lab(), await watch.stop(), { what: "power off while every watch hangs", from: first.node, to: next });
  });
});

/** Waits until the node says whether its watches are alive. */
async function expectFresh(lab: Lab, node: string, fresh: 0 | 1): Promise<void> {
  await eventually(async () => assert.equal(await metricOf(lab, { node, program: "speaker" }, "herald_api_fresh"), fresh), { ...WITHIN, what: `${node} is ${fresh === 1 ? "" : "not "}fresh` });
}

/** Waits until exactly one other node answers, asked on the wire. */
async function answererOtherThan(lab: Lab, address: string, node: string): Promise<string> {
  return eventually(async () => {
    const macs = new Set(await lab.arping(CLIENT, address, { count: 3 }));
    for (const other of lab.nodes) {
      if (other === node || !macs.has(await lab.nodeMac(other))) continue;
      await expectAnswerFrom(lab, address, other);
      return other;
    }
    throw new Error(`answered by ${[...macs].join(" ") || "nobody"}`);
  }, { ...BUDGET, what: `another node than ${node} answers for ${address}` });
}
