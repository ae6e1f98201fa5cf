import assert from "node:assert/strict";
import { afterEach, beforeAll, test } from "vitest";
import { turnsOf } from "../answer-watch.ts";
import { describeOnLab } from "../describe-on-lab.ts";
import { eventually } from "../eventually.ts";
import type { Lab } from "../lab.ts";
import { expectAnswersAsTold } from "../leaders.ts";
import { expectSpeakersReady, signalProgram } from "../programs-of-herald.ts";
import { BUDGET, type Leaders, NAMES, answerersOf, expectMembers, mend, setScene, speakersOf, watchAnswers } from "./scene.ts";

const SPEAKERS = ["-n", "metallb-system", "-l", "app.kubernetes.io/component=speaker"] as const;

describeOnLab("every speaker is started anew", { name: "restarts", nodes: 3, herald: { controllers: 1 } }, (lab) => {
  let before: Leaders;

  beforeAll(async () => {
    before = await setScene(lab());
  });
  afterEach(async () => {
    before = await mend(lab());
  });

  test("one by one, as a DaemonSet is updated: always somebody answers, and no address moves more than twice", async () => {
    const names = ["one", "two", "three"];
    const watches = await Promise.all(names.map(async (name) => watchAnswers(lab(), leadershipOf(before, name))));
    const pods = await speakerPods(lab());
    await lab().kubectl(["rollout", "restart", "daemonset/speaker", "-n", "metallb-system"]);
    await lab().kubectl(["rollout", "status", "daemonset/speaker", "-n", "metallb-system", "--timeout=120s"], { timeoutMs: 130_000 });
    for (const pod of await speakerPods(lab())) assert.ok(!pods.includes(pod), `${pod} is an old one`);
    await expectMembers(lab());
    await expectAnswersAsTold(lab(), NAMES);
    for (const [index, name] of names.entries()) {
      const seen = await watches[index]?.stop();
      assert.ok(seen !== undefined);
      const moves = turnsOf(seen.begun).length - 1;
      console.log(`rolling restart: ${name} moved ${moves} times, longest time without an answer ${seen.longestGapMs.toFixed(0)} ms`);
      assert.ok(moves <= 2, `${name}: ${await answerersOf(lab(), seen)}`);
      assert.ok(seen.longestGapMs < 1500, `${seen.longestGapMs} ms without an answer for ${name}`);
    }
  });

  test("all at once, in good order: each address has one node that answers again", async () => {
    const pods = await speakerPods(lab());
    await lab().kubectl(["delete", "pods", ...SPEAKERS, "--wait=false"]);
    await eventually(async () => {
      const now = await speakerPods(lab());
      assert.equal(now.length, pods.length);
      for (const pod of now) assert.ok(!pods.includes(pod), `${pod} is an old one`);
    }, { ...BUDGET, what: "other pods" });
    await expectMembers(lab());
    await expectAnswersAsTold(lab(), NAMES);
  });

  test("all at once, killed: each address has one node that answers again", async () => {
    for (const node of speakersOf(lab())) signalProgram(lab(), "speaker", node, "SIGKILL");
    await expectSpeakersReady(lab());
    await expectMembers(lab());
    await expectAnswersAsTold(lab(), NAMES);
  });
});

async function speakerPods(lab: Lab): Promise<string[]> {
  return (await lab.kubectl(["get", "pods", ...SPEAKERS, "-o", "name"])).split("\n").filter((line) => line !== "");
}

function leadershipOf(leaders: Leaders, name: string): { readonly address: string; readonly node: string; readonly object: string } {
  const found = leaders.get(name);
  assert.ok(found !== undefined, name);
  return found;
}
