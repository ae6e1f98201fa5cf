import assert from "node:assert/strict";
import { beforeAll, describe, test } from "vitest";
import { eventually } from "../eventually.ts";
import { CLIENT } from "../lab.ts";
import type { Leadership } from "../leaders.ts";
import { addressOf, answeringLeader, expectAddress, expectLeader, expectSilence, leaderOf } from "../observe.ts";
import { advertisement, pool } from "../resources.ts";
import { service } from "../walkthrough/manifests.ts";
import type { Heartbeats } from "../stalls.ts";
import { Clients, type ServiceUse, expectNothingLost } from "./clients.ts";
import { describeOnFullLab } from "./describe-on-full-lab.ts";
import type { FullLab } from "./full-lab.ts";
import { backends } from "./workloads.ts";

/** Starting and ending pods takes its time on a busy machine. */
const BUDGET = { timeoutMs: 180_000 } as const;
/** How the client is known to pods when nobody rewrites its address. */
const CLIENT_ADDRESS = "172.20.0.100";
/** Enough for everybody to learn that a pod is ending, and to send new connections elsewhere. */
const DRAIN_SECONDS = 4;

interface PodView {
  readonly metadata: { readonly name: string; readonly deletionTimestamp?: string };
  readonly spec: { readonly nodeName?: string };
  readonly status: { readonly podIP?: string };
}

async function podsOf(lab: FullLab, name: string): Promise<PodView[]> {
  return (JSON.parse(await lab.kubectl(["get", "pods", "-n", "default", "-l", `app=${name}`, "-o", "json"])) as { items: PodView[] }).items;
}

interface Conditions {
  readonly ready: boolean;
  readonly serving: boolean;
  readonly terminating: boolean;
}

/** The conditions of a Service's endpoints. */
async function conditionsOf(lab: FullLab, name: string): Promise<Conditions[]> {
  const { items } = JSON.parse(await lab.kubectl(["get", "endpointslices", "-n", "default", "-l", `kubernetes.io/service-name=${name}`, "-o", "json"])) as { items: { endpoints?: { conditions: Conditions }[] | null }[] };
  return items.flatMap(({ endpoints }) => endpoints ?? []).map(({ conditions }) => conditions);
}

async function applyAll(lab: FullLab, ...objects: readonly (object | string)[]): Promise<void> {
  await lab.apply(objects.map((each) => (typeof each === "string" ? each : JSON.stringify(each))).join("\n---\n"));
}

/** Waits until a Deployment or DaemonSet is as it should be. */
async function rolledOut(lab: FullLab, workload: string): Promise<void> {
  await lab.kubectl(["rollout", "status", workload, "-n", "default", "--timeout=180s"], { timeoutMs: 185_000 });
}

/** Waits until just one pod is there, whole, and returns its node. */
function nodeOfOnlyPod(lab: FullLab, name: string, isWanted: (node: string) => boolean): Promise<string> {
  return eventually(async () => {
    const pods = await podsOf(lab, name);
    assert.deepEqual(pods.map(({ metadata }) => metadata.deletionTimestamp), [undefined], pods.map(({ metadata, spec }) => `${metadata.name} on ${spec.nodeName}, deleted ${metadata.deletionTimestamp}`).join("; "));
    const node = pods[0]?.spec.nodeName ?? "";
    assert.ok(isWanted(node), node);
    return node;
  }, { ...BUDGET, what: `one pod of ${name}, elsewhere` });
}

/** The node with the pod leads and answers, and the pod sees the client as it is. */
async function expectServedFrom(lab: FullLab, name: string, node: string): Promise<Leadership> {
  const address = await expectAddress(lab, name);
  await expectLeader(lab, name, address, node);
  await eventually(async () => {
    const answer = await lab.curl(CLIENT, `http://${address}/`);
    assert.deepEqual([answer.node, answer.client], [node, CLIENT_ADDRESS], JSON.stringify(answer));
  }, { ...BUDGET, what: `the pod on ${node} answers at ${address}` });
  return { address, node, object: name };
}

/** What the client of a Service saw, and what the speakers said meanwhile. */
interface Use extends ServiceUse {
  readonly heartbeats: Heartbeats;
}

/** These nodes answered in turn, unless speakers stood still. */
async function expectTurns({ name, turns, heartbeats }: Use, expected: readonly string[]): Promise<void> {
  await heartbeats.hold(() => assert.deepEqual(turns, expected, `for ${name} answered ${turns.join(" -> ")}, instead of ${expected.join(" -> ")}`));
  await heartbeats.stop();
}

/** Has a pod say whether it is ready. */
async function setReady(lab: FullLab, pod: PodView, isReady: boolean): Promise<void> {
  const { code, stderr } = await lab.exec(pod.spec.nodeName ?? "", ["curl", "-sS", "-f", "-X", "PUT", `http://${pod.status.podIP}:8080/ready?value=${isReady}`]);
  assert.equal(code, 0, stderr);
}

describeOnFullLab("endpoints that come, move and go", { name: "full-ends" }, (lab) => {
  beforeAll(() => applyAll(lab(), `${pool("main", ["172.20.250.10-172.20.250.60"])}${advertisement("all")}`));

  describe("externalTrafficPolicy Local: the address follows the pod, and only nodes with one lead", () => {
    test("a pod moves because its Deployment says so", async () => {
      await applyAll(lab(), backends("moved", { replicas: 1, node: "node1", drainSeconds: DRAIN_SECONDS }), service({ name: "moved", externalTrafficPolicy: "Local", udp: true }));
      await rolledOut(lab(), "deployment/moved");
      const before = await expectServedFrom(lab(), "moved", "node1");
      const use = await whileUsed("moved", before, "a pod moves to another node", async () => {
        await lab().kubectl(["patch", "deployment", "moved", "-n", "default", "--type=merge", "-p", JSON.stringify({ spec: { template: { spec: { nodeSelector: { "kubernetes.io/hostname": "node2" } } } } })]);
        await nodeOfOnlyPod(lab(), "moved", (node) => node === "node2");
        assert.equal((await expectServedFrom(lab(), "moved", "node2")).address, before.address);
      });
      await expectTurns(use, ["node1", "node2"]);
      await remove("deployment/moved", "service/moved");
    });

    test("a node is drained", async () => {
      await applyAll(lab(), backends("drained", { replicas: 1, drainSeconds: DRAIN_SECONDS }), service({ name: "drained", externalTrafficPolicy: "Local", udp: true }));
      const from = await nodeOfOnlyPod(lab(), "drained", (node) => node !== "");
      await rolledOut(lab(), "deployment/drained");
      const before = await expectServedFrom(lab(), "drained", from);
      try {
        let to = "";
        const use = await whileUsed("drained", before, `${from} is drained`, async () => {
          await lab().kubectl(["drain", from, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=180s"], { timeoutMs: 185_000 });
          to = await nodeOfOnlyPod(lab(), "drained", (node) => node !== "" && node !== from);
          assert.equal((await expectServedFrom(lab(), "drained", to)).address, before.address);
        });
        await expectTurns(use, [from, to]);
      } finally {
        await lab().kubectl(["uncordon", from]);
      }
      await remove("deployment/drained", "service/drained");
    });

    test("pods are there and not ready", async () => {
      // Its pod on the control-plane node is ready all the time, on a node that takes no part in load balancing.
      await applyAll(lab(), backends("ready"), service({ name: "ready", externalTrafficPolicy: "Local" }));
      await rolledOut(lab(), "daemonset/ready");
      const pods = new Map((await podsOf(lab(), "ready")).map((pod) => [pod.spec.nodeName ?? "", pod]));
      const podOn = (node: string): PodView => pods.get(node) ?? assert.fail(node);
      const address = await expectAddress(lab(), "ready");
      const left = new Set(lab().nodes);
      for (let leader = await answeringLeader(lab(), "ready", address); left.size > 0; ) {
        await expectServedFrom(lab(), "ready", leader);
        await setReady(lab(), podOn(leader), false);
        left.delete(leader);
        if (left.size === 0) break;
        leader = await answeringLeader(lab(), "ready", address, (node) => left.has(node));
      }
      await expectSilence(lab(), address);
      await setReady(lab(), podOn("node3"), true);
      assert.equal((await expectServedFrom(lab(), "ready", "node3")).address, address);
      await remove("daemonset/ready", "service/ready");
    });
  });

  test("the last endpoint is announced while it ends and serves, and withdrawn when it is gone", async () => {
    const policies = ["Cluster", "Local"] as const;
    const nameOf = (policy: string): string => `last-${policy.toLowerCase()}`;
    // Longer than all that is looked at meanwhile.
    const drainSeconds = 45;
    await applyAll(lab(), backends("last", { replicas: 1, node: "node2", drainSeconds }), ...policies.map((policy) => service({ name: nameOf(policy), backend: "last", externalTrafficPolicy: policy })));
    await rolledOut(lab(), "deployment/last");
    const addresses = await Promise.all(policies.map((policy) => expectAddress(lab(), nameOf(policy))));
    await Promise.all(policies.map((policy, index) => answeringLeader(lab(), nameOf(policy), addresses[index] ?? "")));
    await lab().kubectl(["scale", "deployment/last", "-n", "default", "--replicas=0"]);
    await eventually(async () => assert.deepEqual(await conditionsOf(lab(), "last-local"), [{ ready: false, serving: true, terminating: true }]), { ...BUDGET, what: "an endpoint that ends" });
    await Promise.all(addresses.map(async (address, index) => {
      await answeringLeader(lab(), nameOf(policies[index] ?? ""), address, (node) => policies[index] === "Cluster" || node === "node2");
      assert.equal((await eventually(() => lab().curl(CLIENT, `http://${address}/`), { ...BUDGET, what: `an answer at ${address}` })).node, "node2");
    }));
    assert.deepEqual(await conditionsOf(lab(), "last-local"), [{ ready: false, serving: true, terminating: true }], "it still ends");
    await eventually(async () => assert.deepEqual(await conditionsOf(lab(), "last-local"), []), { ...BUDGET, what: "no endpoint" });
    await Promise.all(addresses.map((address) => expectSilence(lab(), address)));
    assert.deepEqual(await Promise.all(policies.map((policy) => addressOf(lab(), nameOf(policy)))), addresses, "the Services keep their addresses");
    await remove("deployment/last", ...policies.map((policy) => `service/${nameOf(policy)}`));
  });

  test("externalTrafficPolicy Cluster: the address stays and is served while every pod is replaced", async () => {
    await applyAll(lab(), backends("rolled", { replicas: 2, drainSeconds: DRAIN_SECONDS }), service({ name: "rolled", udp: true }));
    await rolledOut(lab(), "deployment/rolled");
    const address = await expectAddress(lab(), "rolled");
    const node = await answeringLeader(lab(), "rolled", address);
    const old = (await podsOf(lab(), "rolled")).map(({ metadata }) => metadata.name);
    const use = await whileUsed("rolled", { address, node, object: "rolled" }, "every pod is replaced", async () => {
      await lab().kubectl(["rollout", "restart", "deployment/rolled", "-n", "default"]);
      await rolledOut(lab(), "deployment/rolled");
      await eventually(async () => assert.equal((await podsOf(lab(), "rolled")).filter(({ metadata }) => old.includes(metadata.name)).length, 0), { ...BUDGET, what: "the old pods to be gone" });
    });
    // The client's UDP socket is one flow, which kube-proxy leaves with its pod until that is gone: what it loses then is no move's loss.
    expectNothingLost([use], ["tcp"]);
    await expectTurns(use, [node]);
    await remove("deployment/rolled", "service/rolled");
  });

  test("a Service without pods is announced by nobody", async () => {
    await applyAll(lab(), service({ name: "alone" }));
    const address = await expectAddress(lab(), "alone");
    // One with pods that came later is announced: by then everybody has looked at the first.
    await applyAll(lab(), backends("later", { replicas: 1 }), service({ name: "later" }));
    const later = await expectAddress(lab(), "later");
    await answeringLeader(lab(), "later", later);
    await expectSilence(lab(), address);
    assert.equal(await leaderOf(lab(), "alone"), undefined, "a ServiceL2Status without pods");
  });

  /** Uses the Service from before until after what happens. */
  async function whileUsed(name: string, leadership: Leadership, what: string, happen: () => Promise<void>): Promise<Use> {
    const clients = await Clients.start(lab(), new Map([[name, leadership]]));
    await happen();
    const [use] = await clients.stop(what);
    return { ...(use ?? assert.fail(name)), heartbeats: clients.heartbeats };
  }

  async function remove(...objects: readonly string[]): Promise<void> {
    await lab().kubectl(["delete", ...objects, "-n", "default", "--wait=false"]);
  }
});
