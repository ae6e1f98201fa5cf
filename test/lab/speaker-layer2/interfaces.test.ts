import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterEach, expect, test } from "vitest";
import { clear, describeOnLab } from "../describe-on-lab.ts";
import { eventually } from "../eventually.ts";
import { CLIENT, type Lab } from "../lab.ts";
import { expectStays } from "../leaders.ts";
import { metricOf } from "../metrics.ts";
import { WITHIN, answeringLeader, eventsOf, expectAddress, expectLeader, expectSilence, l2StatusesOf, leaderOf, untilAnswerFrom } from "../observe.ts";
import { advertisement, nodeNamed, pool } from "../resources.ts";
import { Heartbeats } from "../stalls.ts";
import { app } from "../walkthrough/manifests.ts";

const run = promisify(execFile);
const POOL = pool("main", ["172.20.250.10-172.20.250.60"]);
const ON_ETH0 = advertisement("ad", { interfaces: ["eth0"] });
const EXTRA_MAC = "02:00:ac:14:01:01";

describeOnLab("on which interface a node announces", { name: "interfaces", nodes: 2, herald: { controllers: 1 } }, (lab) => {
  afterEach(() => clear(lab()));

  test("ServiceL2Status names node, time, reason and MAC; interfaces only where the advertisement does", async () => {
    const startedAt = Date.now();
    const heartbeats = await Heartbeats.start(lab());
    const { address, leader } = await announce(lab(), advertisement("ad"));
    const [status] = await l2StatusesOf(lab(), "web");
    assert.equal(status?.status?.mac, await lab().nodeMac(leader), JSON.stringify(status));
    await heartbeats.hold(() => assert.equal(status?.status?.reason, "FirstInRank", JSON.stringify(status)));
    await heartbeats.stop();
    assert.deepEqual(status?.status?.interfaces ?? [], []);
    const since = Date.parse(status?.status?.since ?? "");
    assert.ok(since > startedAt - 1000 && since <= Date.now(), `since ${status?.status?.since}, not between ${new Date(startedAt).toISOString()} and ${new Date().toISOString()}`);
    await lab().apply(ON_ETH0);
    await eventually(async () => assert.deepEqual((await l2StatusesOf(lab(), "web"))[0]?.status?.interfaces, [{ name: "eth0" }]), { ...WITHIN, what: "the status names eth0" });
    await answeringLeader(lab(), "web", address);
  });

  test("counters of the leader's metrics: requests, answers, gratuitous frames; announced only where it is", async () => {
    const { address, leader } = await announce(lab(), advertisement("ad"));
    const speaker = { node: leader, program: "speaker" } as const;
    const other = { node: leader === "node1" ? "node2" : "node1", program: "speaker" } as const;
    const series = { service: "default/web", protocol: "layer2", node: leader, ip: address };
    await eventually(async () => {
      assert.deepEqual([await metricOf(lab(), speaker, "metallb_speaker_announced", series), await metricOf(lab(), other, "metallb_speaker_announced", { ip: address })], [1, undefined]);
    }, { ...WITHIN, what: `${leader} says that it announces, and ${other.node} does not` });
    const heartbeats = await Heartbeats.start(lab());
    const requests = await metricOf(lab(), speaker, "metallb_layer2_requests_received", { ip: address }) ?? 0;
    await lab().arping(CLIENT, address, { count: 5 });
    // What was asked before may only be counted now; and a speaker that wakes up lets questions go by until it has heard the others.
    await heartbeats.hold(() => eventually(async () => {
      const [received = 0, sent = 0] = [await metricOf(lab(), speaker, "metallb_layer2_requests_received", { ip: address }), await metricOf(lab(), speaker, "metallb_layer2_responses_sent", { ip: address })];
      assert.ok(received >= requests + 5 && received <= requests + 8 && sent >= requests + 5 && sent <= received, `${received} requests and ${sent} answers, after ${requests} requests and five more`);
    }, { ...WITHIN, what: "five more requests" }));
    await heartbeats.stop();
    await eventually(async () => assert.ok((await metricOf(lab(), speaker, "metallb_layer2_gratuitous_sent", { ip: address }) ?? 0) >= 5), { ...WITHIN, what: "five gratuitous frames" });
    await eventually(async () => assert.equal(await metricOf(lab(), speaker, "metallb_k8s_client_config_loaded_bool"), 1), { ...WITHIN, what: "a configuration" });

    await lab().apply(advertisement("bad", { nodeSelectors: [{ matchExpressions: [{ key: "x", operator: "Nonsense" }] }] }));
    await eventually(async () => assert.equal(await metricOf(lab(), speaker, "metallb_k8s_client_config_stale_bool"), 1), { ...WITHIN, what: "the configuration is refused" });
    await answeringLeader(lab(), "web", address);
    await eventually(async () => expect(await lab().kubectl(["get", "configurationstates", "-n", "metallb-system", "--no-headers"])).toMatch(/Invalid.*Nonsense/), { ...WITHIN, what: "a ConfigurationState that says why" });
    await lab().kubectl(["delete", "l2advertisement", "bad", "-n", "metallb-system"]);
    await eventually(async () => assert.equal(await metricOf(lab(), speaker, "metallb_k8s_client_config_stale_bool"), 0), { ...WITHIN, what: "the configuration runs" });
    await lab().kubectl(["delete", "service", "web", "-n", "default"]);
    await eventually(async () => assert.equal(await metricOf(lab(), speaker, "metallb_speaker_announced", { ip: address }), undefined), { ...WITHIN, what: "no series of a Service that is gone" });
  });

  test("the leader's interface goes down: the other node takes over, and keeps the address when it comes up", async () => {
    const { address, leader } = await announce(lab(), ON_ETH0);
    const other = leader === "node1" ? "node2" : "node1";
    const heartbeats = await Heartbeats.start(lab());
    await ip(lab(), leader, "link set eth0 down");
    try {
      await untilAnswerFrom(lab(), address, other);
      // Its way to the API server is the same interface, so that its log is what can be relied on.
      await eventually(() => expect(logOf(lab(), leader)).toMatch(/"event":"announceFailed","key":"default\/web","reason":"noUsableInterface","interfaces":\["eth0"\]/), { ...WITHIN, what: `${leader} says that it cannot announce` });
    } finally {
      await ip(lab(), leader, "link set eth0 up");
      // The kernel dropped the routes with the link.
      await lab().restore(leader);
    }
    await heartbeats.hold(() => expectLeader(lab(), "web", address, other), [leader]);
    await heartbeats.stop();
    await expectStays(lab(), { name: "web", address, node: await answeringLeader(lab(), "web", address) });
  });

  test("an unknown interface: announceFailed and silence; when it appears it is announced on, with its MAC", async () => {
    const onExtra = advertisement("ad", { interfaces: ["extra0"], nodeSelectors: [nodeNamed("node1")] });
    await lab().apply(`${POOL}${onExtra}---\n${app({ name: "web" })}`);
    const address = await expectAddress(lab(), "web");
    await eventually(async () => expect((await eventsOf(lab(), "web")).join("\n")).toMatch(/announceFailed metallb-speaker .*"node1".*extra0/), { ...WITHIN, what: "an event announceFailed" });
    await expectSilence(lab(), address);
    await eventually(async () => {
      assert.deepEqual([await leaderOf(lab(), "web"), await metricOf(lab(), { node: "node1", program: "speaker" }, "metallb_speaker_announced", { ip: address })], [undefined, undefined]);
    }, { ...WITHIN, what: "nobody says that it announces" });

    await plugIn(lab(), "node1");
    await eventually(async () => assert.deepEqual([...new Set(await lab().arping(CLIENT, address, { count: 3 }))], [EXTRA_MAC]), { ...WITHIN, what: "the new interface answers" });
    await eventually(async () => {
      const [status] = await l2StatusesOf(lab(), "web");
      assert.deepEqual([status?.status?.node, status?.status?.mac, status?.status?.interfaces], ["node1", EXTRA_MAC, [{ name: "extra0" }]]);
    }, { ...WITHIN, what: "the status names the new interface" });
    // The other interface at run time, and back.
    await lab().apply(advertisement("ad", { interfaces: ["eth0"], nodeSelectors: [nodeNamed("node1")] }));
    await expectLeader(lab(), "web", address, "node1");
    await lab().apply(onExtra);
    await eventually(async () => assert.deepEqual([...new Set(await lab().arping(CLIENT, address, { count: 3 }))], [EXTRA_MAC]), { ...WITHIN, what: "the new interface answers again" });
    await ip(lab(), "node1", "link delete extra0");
    await expectSilence(lab(), address);
    await eventually(async () => assert.deepEqual(await l2StatusesOf(lab(), "web"), []), { ...WITHIN, what: "no status without an interface" });
  });

  test("interfaces that the exclude file names never announce", async () => {
    const folder = mkdtempSync(join(tmpdir(), "herald-exclude-"));
    const file = join(folder, "excludel2.yaml");
    try {
      writeFileSync(file, "announcedInterfacesToExclude: [\"^lo$\", \"^eth\", \"^pods$\"]\n");
      await lab().stopHerald();
      await lab().startHerald({ controllers: 1, speakerArgs: [`--excludel2=${file}`] });
      await lab().apply(`${POOL}${advertisement("ad")}---\n${app({ name: "web" })}`);
      const address = await expectAddress(lab(), "web");
      await eventually(async () => expect((await eventsOf(lab(), "web")).join("\n")).toMatch(/announceFailed metallb-speaker .*no interface can announce/), { ...WITHIN, what: "an event announceFailed" });
      await expectSilence(lab(), address);
      // By the environment too, and an expression that leaves eth0 alone.
      writeFileSync(file, "announcedInterfacesToExclude: [\"^lo$\", \"^pods$\"]\n");
      await lab().stopHerald();
      await lab().startHerald({ controllers: 1, env: { HERALD_EXCLUDEL2: file } });
      await answeringLeader(lab(), "web", address);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});

/** Announces a Service `web` by this advertisement; returns its address and its leader, which answers. */
async function announce(lab: Lab, advertisements: string): Promise<{ readonly address: string; readonly leader: string }> {
  await lab.apply(`${POOL}${advertisements}---\n${app({ name: "web" })}`);
  const address = await expectAddress(lab, "web");
  return { address, leader: await answeringLeader(lab, "web", address) };
}

function logOf(lab: Lab, node: string): string {
  return readFileSync(join(lab.logFolder, `speaker-${node}.log`), "utf8");
}

/** Runs `ip` in a host's namespace. */
async function ip(lab: Lab, host: string, words: string): Promise<void> {
  await run("ip", ["-n", lab.namespace(host), ...words.split(" ")]);
}

/** Gives a node a second interface on the segment, named extra0. */
async function plugIn(lab: Lab, node: string): Promise<void> {
  await ip(lab, "switch", `link add extra-${node} type veth peer name extra0 address ${EXTRA_MAC} netns ${lab.namespace(node)}`);
  await ip(lab, "switch", `link set extra-${node} master br0 up`);
  await ip(lab, node, "link set extra0 up");
}
