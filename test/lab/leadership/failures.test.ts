import assert from "node:assert/strict";
import { afterEach, beforeAll, test } from "vitest";
import { describeOnLab } from "../describe-on-lab.ts";
import { eventually } from "../eventually.ts";
import { expectAnswersAsTold, expectStays } from "../leaders.ts";
import { metricOf } from "../metrics.ts";
import { WITHIN, eventsOf, expectAnswerFrom } from "../observe.ts";
import { BUDGET, type Leaders, NAMES, answerersOf, expectMembers, expectMovedFrom, expectOneMove, firstOf, mend, nodesOf, setScene, speakersOf, watchAnswers } from "./scene.ts";

describeOnLab("a leader is lost and comes back", { name: "leaders", nodes: 3, herald: { controllers: 2 } }, (lab) => {
  let before: Leaders;

  beforeAll(async () => {
    before = await setScene(lab());
  });
  afterEach(async () => {
    before = await mend(lab());
  });

  test("its node loses power: the others take over what it had and nothing else; when it is back nothing moves", async () => {
    const first = firstOf(before);
    const watch = await watchAnswers(lab(), first);
    await lab().powerOff(first.node);
    const after = await expectMovedFrom(lab(), before, first.node);
    const next = firstOf(after).node;
    await expectOneMove(lab(), await watch.stop(), { what: "power off", from: first.node, to: next });
    await eventually(async () => {
      const events = await eventsOf(lab(), first.name);
      assert.ok(events.some((event) => event.includes(`announcing from node "${next}" with protocol "layer2"`)), events.join("\n"));
    }, { ...WITHIN, what: `an event that ${next} announces` });

    await lab().restore(first.node);
    await lab().waitForNode(first.node, "True");
    await expectMembers(lab());
    await expectStays(lab(), firstOf(after));
    assert.deepEqual(nodesOf(await expectAnswersAsTold(lab(), NAMES)), nodesOf(after));
  });

  test("its speaker is killed: another one takes over, and the one that starts again takes nothing back", async () => {
    const first = firstOf(before);
    const watch = await watchAnswers(lab(), first);
    await lab().crashSpeaker(first.node);
    const after = await expectMovedFrom(lab(), before, first.node);
    await expectMembers(lab());
    await expectStays(lab(), firstOf(after));
    await expectOneMove(lab(), await watch.stop(), { what: "kill -9", from: first.node, to: firstOf(after).node });
    assert.deepEqual(nodesOf(await expectAnswersAsTold(lab(), NAMES)), nodesOf(after));
  });

  test("its speaker is stopped: it hands over before it ends, and takes nothing back when it is started again", async () => {
    const first = firstOf(before);
    const watch = await watchAnswers(lab(), first);
    await lab().stopSpeaker(first.node);
    const after = await expectMovedFrom(lab(), before, first.node);
    // Asked every 100 ms: an answer may be lost on the way, but there is no time in which nobody is there.
    await expectOneMove(lab(), await watch.stop(), { what: "clean stop", from: first.node, to: firstOf(after).node, longestGapMs: 1000 });
    await lab().restore(first.node);
    await expectMembers(lab());
    await expectStays(lab(), firstOf(after));
    assert.deepEqual(nodesOf(await expectAnswersAsTold(lab(), NAMES)), nodesOf(after));
  });

  test("it is cut off from everybody: the others take over, and when the partition heals they go on", async () => {
    const first = firstOf(before);
    const watch = await watchAnswers(lab(), first);
    await lab().partition([first.node]);
    const after = await expectMovedFrom(lab(), before, first.node);
    await lab().restore(first.node);
    await expectMembers(lab());
    await expectStays(lab(), firstOf(after));
    await expectOneMove(lab(), await watch.stop(), { what: "partition", from: first.node, to: firstOf(after).node });
    assert.deepEqual(nodesOf(await expectAnswersAsTold(lab(), NAMES)), nodesOf(after));
  });

  test("it is cut off from the other speakers only: both sides serve, and when that heals one of them goes on", async () => {
    const first = firstOf(before);
    await lab().partition([first.node], speakersOf(lab()).filter((node) => node !== first.node));
    const mine = await lab().nodeMac(first.node);
    // The client is in reach of both sides: it hears the old leader and the one that the others chose.
    await eventually(async () => {
      const macs = new Set(await lab().arping("client", first.address, { count: 3 }));
      assert.ok(macs.has(mine) && macs.size === 2, [...macs].join(" "));
    }, { ...WITHIN, what: "both sides answer" });
    await lab().restore(first.node);
    await expectMembers(lab());
    const after = await expectAnswersAsTold(lab(), NAMES);
    await expectStays(lab(), firstOf(after));
    assert.notEqual(firstOf(after).node, first.node, "the side of the majority goes on");
  });

  test("its speaker stands still: not for half a second, but for three another one takes over, and one of them goes on", async () => {
    const first = firstOf(before);
    const watch = await watchAnswers(lab(), first);
    await lab().pauseSpeaker(first.node, 400);
    await expectStays(lab(), first);
    await lab().pauseSpeaker(first.node, 3000);
    const after = await eventually(async () => {
      const now = await expectAnswersAsTold(lab(), NAMES);
      assert.notEqual(firstOf(now).node, first.node, "taken over");
      return now;
    }, { ...BUDGET, what: "another leader" });
    await expectOneMove(lab(), await watch.stop(), { what: "pause of 3 s", from: first.node, to: firstOf(after).node });
    await expectMembers(lab());
    await expectStays(lab(), firstOf(after));
  });

  test("one frame in fifty is lost on every link: nothing moves", async () => {
    const first = firstOf(before);
    const verdicts = async (): Promise<number> => {
      let sum = 0;
      for (const node of lab().nodes) for (const kind of ["powerOff", "processGone", "paused"]) sum += await metricOf(lab(), { node, program: "speaker" }, "herald_speaker_verdicts_total", { class: kind }) ?? 0;
      return sum;
    };
    const found = await verdicts();
    const watch = await watchAnswers(lab(), first);
    await lab().lossPercent(2);
    const end = performance.now() + 15_000;
    await eventually(() => assert.ok(performance.now() > end), { timeoutMs: 30_000, what: "a while with loss" });
    await lab().lossPercent(0);
    const seen = await watch.stop();
    assert.deepEqual(seen.macs, [await lab().nodeMac(first.node)], await answerersOf(lab(), seen));
    assert.equal(await verdicts(), found, "nobody was given up");
    await expectAnswerFrom(lab(), first.address, first.node);
  });
});
