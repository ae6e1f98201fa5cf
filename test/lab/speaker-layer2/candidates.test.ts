import assert from "node:assert/strict";
import { afterEach, test } from "vitest";
import { AnswerWatch } from "../answer-watch.ts";
import { clear, describeOnLab } from "../describe-on-lab.ts";
import { eventually } from "../eventually.ts";
import { CLIENT, type Lab } from "../lab.ts";
import { metricOf } from "../metrics.ts";
import { WITHIN, answeringLeader, eventsOf, expectAddress, expectLeader, expectSilence, l2StatusesOf, leaderOf, setNetworkUnavailable } from "../observe.ts";
import { expectSpeakersReady, signalProgram } from "../programs-of-herald.ts";
import { answererOtherThan, expectAnswersAsTold, expectStays } from "../leaders.ts";
import { advertisement, nodeNamed, pool } from "../resources.ts";
import { Heartbeats, longestOf } from "../stalls.ts";
import { app, deployment, service } from "../walkthrough/manifests.ts";

const POOL = pool("main", ["172.20.250.10-172.20.250.60"]);
const EXCLUDE_LABEL = "node.kubernetes.io/exclude-from-external-load-balancers";
const EDGE_LABEL = "test.herald/edge";

describeOnLab("which node announces", { name: "candidates", nodes: 3, herald: { controllers: 1 } }, (lab) => {
  afterEach(async () => {
    await clear(lab());
    await lab().kubectl(["label", "nodes", ...lab().nodes, `${EXCLUDE_LABEL}-`, `${EDGE_LABEL}-`]);
  });

  test("20 addresses: one node each, the one that ServiceL2Status names; spread; and again after every speaker started anew", async () => {
    const names = Array.from({ length: 20 }, (_, index) => `svc${index}`);
    await lab().apply(`${POOL}${advertisement("all")}---\n${deployment({ name: "shared" })}`);
    const heartbeats = await Heartbeats.start(lab());
    await lab().apply(names.map((name) => service({ name, backend: "shared" })).join("---\n"));
    const before = await expectAnswersAsTold(lab(), names);
    const nodes = new Set([...before.values()].map(({ node }) => node));
    // A node that hears of the Services later than the others' patience lasts has its turn taken, so that not each need have some.
    await heartbeats.hold(() => assert.ok(nodes.size > 1, `all are led by ${[...nodes].join()}`));
    await heartbeats.stop();

    for (const node of lab().nodes) signalProgram(lab(), "speaker", node, "SIGKILL");
    await expectSpeakersReady(lab());
    // Whoever starts first, and in which order they hear of the Services, has a say in where they go now.
    await expectAnswersAsTold(lab(), names);
  });

  test("nodeSelectors move an address; two advertisements are their union; without any nobody answers", async () => {
    const address = await announce(lab(), advertisement("ad", { nodeSelectors: [nodeNamed("node1")] }));
    await expectLeader(lab(), "web", address, "node1");
    for (const node of ["node2", "node3", "node1"]) {
      await lab().apply(advertisement("ad", { nodeSelectors: [nodeNamed(node)] }));
      await expectLeader(lab(), "web", address, node);
    }
    // The union has two nodes: whichever of them is first in rank leads, and the third one never does.
    await lab().apply(advertisement("ad", { nodeSelectors: [nodeNamed("node2")] }) + advertisement("second", { nodeSelectors: [nodeNamed("node3")] }));
    await lab().apply(app({ name: "second-app" }));
    const second = await expectAddress(lab(), "second-app");
    const union = (node: string): boolean => node === "node2" || node === "node3";
    const leader = await answeringLeader(lab(), "second-app", second, union);
    const other = leader === "node2" ? "node3" : "node2";
    await lab().kubectl(["label", "node", leader, `${EXCLUDE_LABEL}=`]);
    await expectLeader(lab(), "second-app", second, other);
    await expectLeader(lab(), "web", address, other);
    await lab().kubectl(["label", "node", other, `${EXCLUDE_LABEL}=`]);
    await expectSilence(lab(), second);
    for (const node of [leader, other]) await lab().kubectl(["label", "node", node, `${EXCLUDE_LABEL}-`]);
    await answeringLeader(lab(), "second-app", second, union);
    await lab().kubectl(["delete", "l2advertisements", "--all", "-n", "metallb-system"]);
    await expectSilence(lab(), address);
    await eventually(async () => assert.deepEqual(await l2StatusesOf(lab()), []), { ...WITHIN, what: "no ServiceL2Status" });
    // A node that gets the label that an advertisement selects starts to announce.
    await lab().apply(advertisement("by-label", { nodeSelectors: [{ matchLabels: { [EDGE_LABEL]: "yes" } }] }));
    await lab().kubectl(["label", "node", "node3", `${EDGE_LABEL}=yes`]);
    await expectLeader(lab(), "web", address, "node3");
    await lab().kubectl(["label", "node", "node3", `${EDGE_LABEL}-`]);
    await expectSilence(lab(), address);
  });

  test("a node that is excluded, and one that is NetworkUnavailable, gives its address up, and nothing moves when it may again", async () => {
    const address = await announce(lab(), advertisement("ad"));
    const first = await answeringLeader(lab(), "web", address);
    await lab().kubectl(["label", "node", first, `${EXCLUDE_LABEL}=false`]);
    const second = await answererOtherThan(lab(), "web", address, [first]);
    await setNetworkUnavailable(lab(), second, "True");
    const third = await answererOtherThan(lab(), "web", address, [first, second]);
    await lab().kubectl(["label", "node", first, `${EXCLUDE_LABEL}-`]);
    await setNetworkUnavailable(lab(), second, "False");
    await expectStays(lab(), { name: "web", address, node: third });
    await eventually(async () => {
      const events = await eventsOf(lab(), "web");
      for (const node of lab().nodes) assert.ok(events.some((event) => event.includes(`announcing from node "${node}" with protocol "layer2"`)), events.join("\n"));
    }, { ...WITHIN, what: "an event nodeAssigned by every node" });
  });

  test("a pool is shrunk: the new address is answered, the old one is not, and the neighbour's never pauses", async () => {
    await lab().apply(`${pool("main", ["172.20.250.10-172.20.250.11"])}${advertisement("all")}---\n${app({ name: "moves" })}`);
    await expectAddress(lab(), "moves", "172.20.250.10");
    await lab().apply(app({ name: "stays" }));
    await expectAddress(lab(), "stays", "172.20.250.11");
    const heartbeats = await Heartbeats.start(lab());
    const leader = await answeringLeader(lab(), "stays", "172.20.250.11");
    const watch = await AnswerWatch.start(lab(), "172.20.250.11");
    await lab().apply(pool("main", ["172.20.250.11-172.20.250.12"]));
    await expectAddress(lab(), "moves", "172.20.250.12");
    await expectSilence(lab(), "172.20.250.10");
    await answeringLeader(lab(), "moves", "172.20.250.12");
    const seen = await watch.stop();
    const mac = await lab().nodeMac(leader);
    await heartbeats.hold(() => assert.deepEqual(seen.macs, [mac], `${seen.macs.join(" and ")} answered, not ${mac} alone`));
    const stalledMs = longestOf(await heartbeats.stop());
    console.log(`a pool is shrunk: the neighbour's longest time without an answer ${seen.longestGapMs.toFixed(0)} ms, the longest silence of a speaker ${stalledMs.toFixed(0)} ms`);
    assert.ok(seen.longestGapMs < 2000 + stalledMs, `${seen.longestGapMs} ms without an answer, and no speaker was silent for more than ${stalledMs} ms`);
    for (const node of lab().nodes) {
      await eventually(async () => assert.equal(await metricOf(lab(), { node, program: "speaker" }, "metallb_k8s_client_config_stale_bool"), 0), { ...WITHIN, what: `the new pool runs on ${node}` });
    }
    await lab().kubectl(["patch", "service", "stays", "-n", "default", "--type=merge", "-p", JSON.stringify({ spec: { type: "ClusterIP", externalTrafficPolicy: null } })]);
    await expectSilence(lab(), "172.20.250.11");
    await eventually(async () => assert.equal(await leaderOf(lab(), "stays"), undefined), { ...WITHIN, what: "no ServiceL2Status of a Service that is ClusterIP now" });
  });

  test("externalTrafficPolicy Local: the address follows the pod from node to node", async () => {
    await lab().apply(`${POOL}${advertisement("all")}`);
    await lab().apply(app({ name: "local", replicas: 1, nodeName: "node1", externalTrafficPolicy: "Local" }));
    const address = await expectAddress(lab(), "local");
    await expectLeader(lab(), "local", address, "node1");
    for (const node of ["node2", "node3"]) {
      await lab().apply(deployment({ name: "local", replicas: 1, nodeName: node }));
      await expectLeader(lab(), "local", address, node);
      await eventually(async () => assert.equal((await lab().curl(CLIENT, `http://${address}/`)).node, node), { ...WITHIN, what: `the pod on ${node} answers` });
    }
  });

  test("without a ready endpoint the address is withdrawn; with one it is announced again", async () => {
    await lab().apply(`${POOL}${advertisement("all")}`);
    await lab().apply(app({ name: "web", replicas: 1 }));
    const address = await expectAddress(lab(), "web");
    await answeringLeader(lab(), "web", address);
    await lab().kubectl(["annotate", "pods", "-l", "app=web", "-n", "default", "lab.herald/ready=false"]);
    await expectSilence(lab(), address);
    await eventually(async () => assert.equal(await leaderOf(lab(), "web"), undefined), { ...WITHIN, what: "no ServiceL2Status" });
    assert.equal(await expectAddress(lab(), "web"), address, "the address stays the Service's");
    await lab().kubectl(["annotate", "pods", "-l", "app=web", "-n", "default", "lab.herald/ready-"]);
    await answeringLeader(lab(), "web", address);
    await lab().kubectl(["scale", "deployment/web", "-n", "default", "--replicas=0"]);
    await expectSilence(lab(), address);
    await lab().kubectl(["scale", "deployment/web", "-n", "default", "--replicas=2"]);
    await answeringLeader(lab(), "web", address);
  });
});

/** Announces a Service `web` by this advertisement; returns its address. */
async function announce(lab: Lab, advertisements: string): Promise<string> {
  await lab.apply(`${POOL}${advertisements}---\n${app({ name: "web" })}`);
  return expectAddress(lab, "web");
}
