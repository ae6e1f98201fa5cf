import assert from "node:assert/strict";
import { afterEach, test } from "vitest";
import { AnswerWatch, type AnswersSeen } from "../answer-watch.ts";
import { clear, describeOnLab } from "../describe-on-lab.ts";
import { eventually } from "../eventually.ts";
import type { Lab } from "../lab.ts";
import { WITHIN, addressesOfAll, expectAddress, expectAnswerFrom, expectLeader, expectSilence, l2StatusesOf, settledLeader } from "../observe.ts";
import { pause } from "../poll.ts";
import { advertisement, pool } from "../resources.ts";
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
    const leaders = await leadersOf(lab(), names);
    const before = await statusesByService(lab());
    const addresses = await addressesOfAll(lab());
    const watches = await Promise.all(names.map((name) => AnswerWatch.start(lab(), addresses.get(name) ?? "")));

    await lab().stopApiServer();
    await assert.rejects(lab().kubectl(["get", "nodes", "--request-timeout=2s"]), "the API server is gone");
    await pause(OUTAGE_MS);
    await lab().startApiServer();
    await lab().apply(service({ name: "new", backend: "shared" }));
    const address = await expectAddress(lab(), "new");
    await expectLeader(lab(), "new", address, await settledLeader(lab(), "new"));

    for (const [index, name] of names.entries()) {
      const seen = await watches[index]?.stop();
      expectSteady(seen, await lab().nodeMac(leaders.get(name) ?? ""), name);
    }
    const after = await addressesOfAll(lab());
    for (const [name, held] of addresses) assert.equal(after.get(name), held, name);
    assert.notEqual([...addresses.values()].includes(address), true, "the new one has an address of its own");
    const statuses = await statusesByService(lab());
    assert.deepEqual(names.map((name) => statuses.get(name)), names.map((name) => before.get(name)), "the same objects, one each");
  });

  test("what changed behind the outage's back is noticed: a Service deleted at the last moment falls silent", async () => {
    await lab().apply(CONFIGURATION + app({ name: "stays" }) + "---\n" + app({ name: "goes" }));
    const leaders = await leadersOf(lab(), ["stays", "goes"]);
    const [stays, goes] = [await expectAddress(lab(), "stays"), await expectAddress(lab(), "goes")];
    await lab().kubectl(["delete", "service", "goes", "-n", "default", "--wait=false"]);
    await lab().stopApiServer();
    await lab().startApiServer();
    await expectSilence(lab(), goes);
    await expectLeader(lab(), "stays", stays, leaders.get("stays") ?? "");
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
    const addresses = await eventually(async () => {
      const found = await addressesOfAll(lab());
      const given = [...found.values()].filter((address) => address !== undefined);
      assert.equal(new Set(given).size, names.length, "20 addresses, none twice");
      return found;
    }, { timeoutMs: 60_000, what: "every Service has its address" });
    const leaders = await leadersOf(lab(), names);
    for (const name of names.slice(0, 6)) await eventually(() => expectAnswerFrom(lab(), addresses.get(name) ?? "", leaders.get(name) ?? ""), { ...WITHIN, what: `an answer for ${name}` });
    assert.equal((await l2StatusesOf(lab())).length, names.length, "one ServiceL2Status each");
  });
});

/** One node answered, all the time. */
function expectSteady(seen: AnswersSeen | undefined, mac: string, name: string): void {
  assert.ok(seen !== undefined);
  console.log(`${name}: ${seen.answers} answers, longest gap ${seen.longestGapMs.toFixed(0)} ms`);
  assert.deepEqual(seen.macs, [mac], `who answered for ${name}`);
  assert.ok(seen.answers > OUTAGE_MS / 1000 * 5, `${seen.answers} answers for ${name}`);
  // Asked every 100 ms, on a machine that is starting an API server.
  assert.ok(seen.longestGapMs < 2000, `${seen.longestGapMs} ms without an answer for ${name}`);
}

async function leadersOf(lab: Lab, names: readonly string[]): Promise<Map<string, string>> {
  const leaders = new Map<string, string>();
  for (const name of names) leaders.set(name, await settledLeader(lab, name));
  return leaders;
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
    await eventually(() => lab.apply(service({ name, backend: "shared" })), { timeoutMs: 60_000, what: `${name} is created` });
  }
}
