/**
 * Without the membership protocol every node of the API is taken to run a speaker, and the first in rank announces: nothing
 * is remembered, so that whoever may announce again does, and an address waits for its node. The other suites run with it.
 */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterEach, test } from "vitest";
import { clear, describeOnLab } from "../describe-on-lab.ts";
import { eventually } from "../eventually.ts";
import { CLIENT, type Lab } from "../lab.ts";
import { expectAnswers, expectAnswersAsTold, leaderOtherThan, settledLeaders } from "../leaders.ts";
import { WITHIN, answeringLeader, expectAddress, expectLeader, expectSilence, l2StatusesOf, setNetworkUnavailable, settledLeader, untilAnswerFrom, untilCaptured } from "../observe.ts";
import { expectSpeakersReady, signalProgram } from "../programs-of-herald.ts";
import { advertisement, pool } from "../resources.ts";
import { app, deployment, service } from "../walkthrough/manifests.ts";

const run = promisify(execFile);
const POOL = pool("main", ["172.20.250.10-172.20.250.60"]);
const CONFIGURATION = `${POOL}${advertisement("all")}---\n`;
const EXCLUDE_LABEL = "node.kubernetes.io/exclude-from-external-load-balancers";

describeOnLab("without the membership protocol", { name: "alone", nodes: 3, herald: { controllers: 1, membership: false } }, (lab) => {
  afterEach(async () => {
    await clear(lab());
    await lab().kubectl(["label", "nodes", ...lab().nodes, `${EXCLUDE_LABEL}-`]);
  });

  test("20 addresses: the same leaders, with the same statuses, after every speaker started anew", async () => {
    const names = Array.from({ length: 20 }, (_, index) => `svc${index}`);
    await lab().apply(CONFIGURATION + deployment({ name: "shared" }));
    await lab().apply(names.map((name) => service({ name, backend: "shared" })).join("---\n"));
    const before = await expectAnswersAsTold(lab(), names);
    for (const node of lab().nodes) signalProgram(lab(), "speaker", node, "SIGKILL");
    await expectSpeakersReady(lab());
    await expectAnswers(lab(), before);
    await eventually(async () => assert.deepEqual(await settledLeaders(lab(), names), before), { ...WITHIN, what: "the same leaders, with the same statuses" });
  });

  test("a node that is excluded, and one that is NetworkUnavailable, gives its address up and takes it back", async () => {
    await lab().apply(CONFIGURATION + app({ name: "web" }));
    const address = await expectAddress(lab(), "web");
    const first = await settledLeader(lab(), "web");
    await lab().kubectl(["label", "node", first, `${EXCLUDE_LABEL}=false`]);
    const second = await leaderOtherThan(lab(), "web", [first]);
    await setNetworkUnavailable(lab(), second, "True");
    await expectLeader(lab(), "web", address, await leaderOtherThan(lab(), "web", [first, second]));
    await lab().kubectl(["label", "node", first, `${EXCLUDE_LABEL}-`]);
    await expectLeader(lab(), "web", address, first);
    await setNetworkUnavailable(lab(), second, "False");
    await expectLeader(lab(), "web", address, first);
  });

  test("the leader's interface goes down and comes up: silence, then gratuitous ARP and answers again", async () => {
    await lab().apply(`${POOL}${advertisement("ad", { interfaces: ["eth0"] })}---\n${app({ name: "web" })}`);
    const address = await expectAddress(lab(), "web");
    const leader = await answeringLeader(lab(), "web", address);
    const capture = await lab().capture(CLIENT, `arp and host ${address}`);
    const downAt = Date.now();
    await ip(lab(), leader, "link set eth0 down");
    try {
      // Nobody else learns of it; all the same nobody may answer from a port that is down.
      await expectSilence(lab(), address);
      // Its way to the API server is the same interface, so that its log is what can be relied on.
      await eventually(() => {
        const log = readFileSync(join(lab().logFolder, `speaker-${leader}.log`), "utf8");
        assert.ok(/"event":"announceFailed","key":"default\/web","reason":"noUsableInterface","interfaces":\["eth0"\]/.test(log), log.split("\n").slice(-10).join("\n"));
      }, { ...WITHIN, what: `${leader} says that it cannot announce` });
    } finally {
      await ip(lab(), leader, "link set eth0 up");
      // The kernel dropped the routes with the link.
      await lab().restore(leader);
    }
    await untilAnswerFrom(lab(), address, leader);
    const mac = await lab().nodeMac(leader);
    const isGratuitous = (line: string): boolean => line.includes(`${mac} > ff:ff:ff:ff:ff:ff`) && line.includes(`who-has ${address}`) && line.includes(`tell ${address}`);
    await untilCaptured(capture, (line) => Number(line.split(" ")[0]) * 1000 > downAt && isGratuitous(line), 2, "gratuitous ARP after the interface came up");
    await capture.stop();
    await expectLeader(lab(), "web", address, leader);
    await eventually(async () => assert.equal((await l2StatusesOf(lab(), "web"))[0]?.status?.reason, "InterfacesChanged"), { timeoutMs: 120_000, what: "the status says that interfaces changed" });
  });

  test("a speaker killed: its address falls silent, it is started again and answers, with the status that it had", async () => {
    await lab().apply(CONFIGURATION + app({ name: "web" }));
    const address = await expectAddress(lab(), "web");
    const leader = await answeringLeader(lab(), "web", address);
    const before = await objectsByService(lab());
    const capture = await lab().capture(CLIENT, `arp and host ${address}`);
    signalProgram(lab(), "speaker", leader, "SIGKILL");
    const killedAt = Date.now();
    const mac = await lab().nodeMac(leader);
    const gratuitous = (line: string): boolean => Number(line.split(" ")[0]) * 1000 > killedAt && line.includes(`${mac} > ff:ff:ff:ff:ff:ff`) && line.includes(`tell ${address}`);
    await untilAnswerFrom(lab(), address, leader);
    await untilCaptured(capture, gratuitous, 1, "it says so to everybody");
    await capture.stop();
    await expectLeader(lab(), "web", address, leader);
    await eventually(async () => assert.deepEqual(await objectsByService(lab()), before), { ...WITHIN, what: "the status that it had" });
  });

  test("a speaker that starts while the API server is away: the others go on, and it answers when that is back", async () => {
    const names = ["one", "two", "three", "four", "five", "six"];
    await lab().apply(CONFIGURATION + deployment({ name: "shared" }));
    await lab().apply(names.map((name) => service({ name, backend: "shared" })).join("---\n"));
    const leaders = await settledLeaders(lab(), names);
    const victim = leaders.get("one")?.node ?? "";
    const spared = new Map([...leaders].filter(([, { node }]) => node !== victim));
    assert.ok(spared.size > 0, "not all six on one node");
    await lab().stopApiServer();
    try {
      signalProgram(lab(), "speaker", victim, "SIGKILL");
      await expectSilence(lab(), leaders.get("one")?.address ?? "");
      await expectAnswers(lab(), spared);
    } finally {
      await lab().startApiServer();
    }
    await eventually(async () => assert.deepEqual(await expectAnswersAsTold(lab(), names), leaders), { ...WITHIN, what: "the same leaders as before" });
  });
});

/** Runs `ip` in a host's namespace. */
async function ip(lab: Lab, host: string, words: string): Promise<void> {
  await run("ip", ["-n", lab.namespace(host), ...words.split(" ")]);
}

/** "object node" of every ServiceL2Status, by its Service. */
async function objectsByService(lab: Lab): Promise<Map<string, string[]>> {
  const found = new Map<string, string[]>();
  for (const { metadata, status } of await l2StatusesOf(lab)) {
    const name = status?.serviceName ?? "";
    found.set(name, [...(found.get(name) ?? []), `${metadata.name} ${status?.node}`]);
  }
  return found;
}
