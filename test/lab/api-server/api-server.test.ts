import assert from "node:assert/strict";
import { afterEach, test } from "vitest";
import { AnswerWatch, type AnswersSeen } from "../answer-watch.ts";
import { clear, describeOnLab } from "../describe-on-lab.ts";
import { eventually } from "../eventually.ts";
import type { Lab } from "../lab.ts";
import { expectAnswersAsTold } from "../leaders.ts";
import { WITHIN, addressesOfAll, answeringLeader, expectAddress, expectLeader, expectSilence, l2StatusesOf } from "../observe.ts";
import { pause } from "../poll.ts";
import { advertisement, pool } from "../resources.ts";
import { Heartbeats, longestOf } from "../stalls.ts";
import { app, deployment, service } from "../walkthrough/manifests.ts";

const CONFIGURATION = `${pool("main", ["172.20.250.10-172.20.250.60"])}${advertisement("all")}---\n`;
/** How long the API server stays away: longer than a watch's and a lease's patience. */
const OUTAGE_MS = 18_000;

describeOnLab("the API server goes away and comes back", { name: "outage", nodes: 3, herald: { controllers: 2 } }, (lab) => {
  afterEach(() => clear(lab()));

  test("ARP is answered all the time; afterwards nothing has moved, and new Services are served", async () => {
    const names = ["one", "two", "three", "four", "five", "six"];
    await lab().apply(CONFIGURATION + deployment({ name: "shared" }));
    await lab().apply(names.map((name) => service({ name, backend: "shared" })).join("---\n"));
    const heartbeats = await Heartbeats.start(lab());
    const leaders = await expectAnswersAsTold(lab(), names);
    const before = await statusesByService(lab());
    const addresses = await addressesOfAll(lab());
    const watches = await Promise.all(names.map((name) => AnswerWatch.start(lab(), addresses.get(name) ?? "")));

    await lab().stopApiServer();
    await assert.rejects(lab().kubectl(["get", "nodes", "--request-timeout=2s"]), "the API server is gone");
    await pause(OUTAGE_MS);
    await lab().startApiServer();
    await lab().apply(service({ name: "new", backend: "shared" }));
    const address = await expectAddress(lab(), "new");
    await answeringLeader(lab(), "new", address);

    for (const [index, name] of names.entries()) {
      const seen = await watches[index]?.stop();
      await expectSteady(seen, await lab().nodeMac(leaders.get(name)?.node ?? ""), name, heartbeats);
    }
    const after = await addressesOfAll(lab());
    for (const [name, held] of addresses) assert.equal(after.get(name), held, name);
    assert.ok(![...addresses.values()].includes(address), `the new one has an address of its own, not ${address} of ${[...addresses.values()].join()}`);
    const told = (statuses: ReadonlyMap<string, string[]>): string => names.map((name) => statuses.get(name)?.join(" and ") ?? "none").join(", ");
    await heartbeats.hold(() => eventually(async () => assert.equal(told(await statusesByService(lab())), told(before)), { ...WITHIN, what: "the same objects, one each" }));
    await heartbeats.stop();
  });

  test("what changed behind the outage's back is noticed: a Service deleted at the last moment falls silent", async () => {
    await lab().apply(CONFIGURATION + app({ name: "stays" }) + "---\n" + app({ name: "goes" }));
    const heartbeats = await Heartbeats.start(lab());
    const leaders = await expectAnswersAsTold(lab(), ["stays", "goes"]);
    const [stays, goes] = [await expectAddress(lab(), "stays"), await expectAddress(lab(), "goes")];
    await lab().kubectl(["delete", "service", "goes", "-n", "default", "--wait=false"]);
    await lab().stopApiServer();
    await lab().startApiServer();
    await expectSilence(lab(), goes);
    await heartbeats.hold(() => expectLeader(lab(), "stays", stays, leaders.get("stays")?.node ?? ""));
    await heartbeats.stop();
    await eventually(async () => assert.deepEqual([...(await statusesByService(lab())).keys()], ["stays"]), { ...WITHIN, what: "the status of the deleted Service is gone" });
  });

  test("restarted while 20 Services are being created: each gets one address of its own and one node that answers", async () => {
    const names = Array.from({ length: 20 }, (_, index) => `svc${index}`);
    await lab().apply(CONFIGURATION + deployment({ name: "shared" }));
    const creation = createOneByOne(lab(), names);
    await eventually(async () => assert.ok((await addressesOfAll(lab())).size >= 5), { ...WITHIN, intervalMs: 20, what: "the first few are there" });
    await lab().stopApiServer();
    await lab().startApiServer();
    await creation;
    await eventually(async () => {
      const found = await addressesOfAll(lab());
      const given = [...found.values()].filter((address) => address !== undefined);
      assert.equal(new Set(given).size, names.length, `20 addresses, none twice: ${given.join(" ")}`);
    }, { timeoutMs: 120_000, what: "every Service has its address" });
    await expectAnswersAsTold(lab(), names);
    await eventually(async () => {
      const statuses = (await l2StatusesOf(lab())).map(({ status }) => status?.serviceName);
      assert.deepEqual(statuses.toSorted(), names.toSorted());
    }, { ...WITHIN, what: "one ServiceL2Status each" });
  });
});

/** One node answered, all the time. */
async function expectSteady(seen: AnswersSeen | undefined, mac: string, name: string, heartbeats: Heartbeats): Promise<void> {
  assert.ok(seen !== undefined);
  const stalledMs = longestOf(await heartbeats.silences());
  const told = `${name}: ${seen.answers} answers by ${seen.macs.join(" and ")}, longest gap ${seen.longestGapMs.toFixed(0)} ms, longest silence of a speaker ${stalledMs.toFixed(0)} ms`;
  console.log(told);
  await heartbeats.hold(() => assert.deepEqual(seen.macs, [mac], `not ${mac} alone: ${told}`));
  // Ten questions a second were wished for; a busy machine asks fewer, while it starts an API server.
  assert.ok(seen.answers > OUTAGE_MS / 1000 * 2, told);
  assert.ok(seen.longestGapMs < 2000 + stalledMs, told);
}

/** Every ServiceL2Status by its Service; several of one Service make a list. */
async function statusesByService(lab: Lab): Promise<Map<string, string[]>> {
  const found = new Map<string, string[]>();
  for (const { metadata, status } of await l2StatusesOf(lab)) {
    const name = status?.serviceName ?? "";
    found.set(name, [...(found.get(name) ?? []), `${metadata.name} ${status?.node}`]);
  }
  return found;
}

/** Creates Services one after the other, and goes on where the API server was away. */
async function createOneByOne(lab: Lab, names: readonly string[]): Promise<void> {
  for (const name of names) {
    await eventually(() => lab.apply(service({ name, backend: "shared" })), { timeoutMs: 120_000, what: `${name} is created` });
  }
}
