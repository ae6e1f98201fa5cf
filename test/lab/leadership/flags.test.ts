import assert from "node:assert/strict";
import { beforeAll, test } from "vitest";
import { metallbRank } from "../../../speaker/election/metallb-rank.ts";
import { rank } from "../../../speaker/election/rank.ts";
import { describeOnLab } from "../describe-on-lab.ts";
import { eventually } from "../eventually.ts";
import { expectAnswersAsTold } from "../leaders.ts";
import { BUDGET, type Leaders, NAMES, expectMembers, expectMovedFrom, expectOneMove, firstOf, nodesOf, setScene, watchAnswers } from "./scene.ts";

for (const { flag, name, order } of [
  { flag: "--election=metallb", name: "like-metallb", order: metallbRank },
  { flag: "--failback=rank", name: "failback", order: rank },
]) {
  describeOnLab(flag, { name, nodes: 3, herald: { controllers: 1, speakerArgs: [flag] } }, (lab) => {
    let before: Leaders;

    /** Waits until each address is with the first in rank, all three nodes being there. */
    const expectRanked = (): Promise<Leaders> => eventually(async () => {
      const leaders = await expectAnswersAsTold(lab(), NAMES);
      const candidates = lab().nodes.map((node) => ({ node, score: 0 }));
      const expected = new Map([...leaders].map(([service, { address }]) => [service, order(address, candidates)[0] ?? ""]));
      assert.deepEqual(nodesOf(leaders), expected);
      return leaders;
    }, { ...BUDGET, what: "every address is with the first in rank" });

    beforeAll(async () => {
      await setScene(lab());
      before = await expectRanked();
    });

    test("a node that returns gets back what it is first in rank for", async () => {
      const first = firstOf(before);
      const watch = await watchAnswers(lab(), first);
      await lab().powerOff(first.node);
      const after = await expectMovedFrom(lab(), before, first.node);
      await expectOneMove(lab(), await watch.stop(), { what: `power off with ${flag}`, from: first.node, to: firstOf(after).node });
      await lab().restore(first.node);
      await lab().waitForNode(first.node, "True");
      await expectMembers(lab());
      assert.deepEqual(nodesOf(await expectRanked()), nodesOf(before));
    });
  });
}
