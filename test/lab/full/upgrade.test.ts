import assert from "node:assert/strict";
import { join } from "node:path";
import { afterAll, beforeAll, test } from "vitest";
import { AddressHistory } from "../address-history.ts";
import { eventually } from "../eventually.ts";
import { expectAnswersAsTold } from "../leaders.ts";
import { HERALD_NAMESPACE } from "../pods.ts";
import { describeSilences } from "../stalls.ts";
import { BUDGET, Clients, type Leaders, NAMES, expectMembers, expectNothingLost, setScene } from "./clients.ts";
import { describeOnFullLab } from "./describe-on-full-lab.ts";
import type { FullLab, InstallOptions } from "./full-lab.ts";

/**
 * The chart to upgrade from: as long as there is no release, the oldest one of this repository's history that installs with
 * today's image. It is kept as an archive, so that a shallow clone has it too; the first release takes its place.
 */
const FORMER_CHART = join(import.meta.dirname, "former-chart/herald-0.1.0.tgz");

/** What all pods are told. Each upgrade changes it, so that it replaces all of them, whether or not the charts differ in their pods. */
const logLevel = (level: string): { readonly values: Readonly<Record<string, unknown>> } => ({ values: { controller: { logLevel: level }, speaker: { logLevel: level } } });

/** In a rolling update an address leaves the node whose speaker is replaced, and may have gone to one that is replaced later. */
const MOST_MOVES = 2;

describeOnFullLab("helm upgrade while clients use Services", { name: "full-up", backend: true, herald: { chart: FORMER_CHART, ...logLevel("debug") } }, (lab) => {
  let history: AddressHistory;
  let before: Leaders;

  beforeAll(async () => {
    before = await setScene(lab());
    history = new AddressHistory(lab());
    await eventually(() => assert.ok(NAMES.every((name) => history.latest(name) !== undefined), NAMES.map((name) => `${name} ${history.latest(name)}`).join(", ")), { ...BUDGET, what: "the watch shows every Service" });
  });
  afterAll(() => history?.stop());

  test("from the former chart: every pod is replaced, nothing is lost, no address changes", () => expectUpgrade("from the former chart", logLevel("info")));

  test("other values: every pod is replaced, nothing is lost, no address changes", () => expectUpgrade("other values", logLevel("debug")));

  /** Upgrades, and holds what the clients saw against what they should. */
  async function expectUpgrade(what: string, options: InstallOptions): Promise<void> {
    const pods = await podsOf(lab());
    // Whatever became of the test before this one.
    before = await expectAnswersAsTold(lab(), NAMES);
    const clients = await Clients.start(lab(), before);
    const begin = performance.now();
    await lab().startHerald(options);
    const tookMs = performance.now() - begin;
    const after = await eventually(async () => {
      const now = await podsOf(lab());
      assert.deepEqual(now.filter((pod) => pods.includes(pod)), [], "pods that were there before");
      return now;
    }, { ...BUDGET, what: "the former pods to be gone" });
    assert.equal(after.length, pods.length, `${after.join(" ")} after ${pods.join(" ")}`);
    console.log(`${what}: ${after.length} pods replaced within ${Math.round(tookMs)} ms`);
    await expectMembers(lab());
    const [former, now] = [before, await expectAnswersAsTold(lab(), NAMES)];
    before = now;
    const seen = await clients.stop(what);
    // What is promised is UDP; how many new connections failed is printed.
    expectNothingLost(seen);
    // Each speaker is silent once, while it is replaced; one that stood still besides may have lost what it had.
    const silences = await clients.heartbeats.stop();
    const more = silences.length - new Set(silences.map(({ node }) => node)).size;
    for (const { name, turns } of seen) assert.ok(turns.length <= MOST_MOVES + 1 + more, `${name} went ${turns.join(" -> ")}; silent were ${describeSilences(silences)}`);
    assert.deepEqual(history.moves(), []);
    for (const [name, { address }] of former) assert.equal(now.get(name)?.address, address, `${name} had ${address} and has ${now.get(name)?.address}`);
  }
});

/** Names of the pods of controllers and speakers. */
async function podsOf(lab: FullLab): Promise<string[]> {
  return (await lab.kubectl(["get", "pods", "-n", HERALD_NAMESPACE, "-o", "name"])).split("\n").filter((line) => line !== "");
}
