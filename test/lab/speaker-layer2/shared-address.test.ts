/** Services on one address (`allow-shared-ip`) as the segment sees them: one node answers for all of them, and each has its own port. */
import assert from "node:assert/strict";
import { afterEach, test } from "vitest";
import { clear, describeOnLab } from "../describe-on-lab.ts";
import { eventually } from "../eventually.ts";
import { CLIENT, type Lab } from "../lab.ts";
import { expectNeighbour } from "../neighbours.ts";
import { WITHIN, addressOf, expectAddress, expectAnswerFrom, expectRefusal, expectSilence, l2StatusesOf, serviceOf, untilAnswerFrom } from "../observe.ts";
import { advertisement, pool } from "../resources.ts";
import { Heartbeats } from "../stalls.ts";
import { type AppOptions, deployment, service } from "../walkthrough/manifests.ts";

const SHARED = "172.20.250.15";
const SHARED6 = "fd00:20::2015";
const BOTH = [SHARED, SHARED6];
const CONFIGURATION = `${pool("main", ["172.20.250.10-172.20.250.60", "fd00:20::2010-fd00:20::20ff"])}${advertisement("all")}---\n`;
const EXCLUDE_LABEL = "node.kubernetes.io/exclude-from-external-load-balancers";

describeOnLab("a shared address on the segment", { name: "sharedwire", nodes: 3, herald: { controllers: 1 } }, (lab) => {
  afterEach(async () => {
    await clear(lab());
    await lab().kubectl(["label", "nodes", ...lab().nodes, `${EXCLUDE_LABEL}-`]);
  });

  test("externalTrafficPolicy Cluster, endpoints on different nodes: one node answers for both families, both ports reach their own pods, and they move together", async () => {
    const dual = { serviceSpec: ["ipFamilyPolicy: RequireDualStack"], annotations: { "metallb.io/loadBalancerIPs": BOTH.join() } };
    await lab().apply(CONFIGURATION + [deployment({ name: "left", nodeName: "node1" }), deployment({ name: "right", nodeName: "node2" })].join("---\n"));
    await lab().apply(`${sharer(80, { name: "left", ...dual })}---\n${sharer(443, { name: "right", ...dual })}`);
    for (const name of ["left", "right"]) await expectAddresses(lab(), name, BOTH);
    const first = await expectOneLeader(lab(), ["left", "right"]);
    await expectPorts(lab(), { 80: "left", 443: "right" }, BOTH);

    // The node that must not announce any more takes neither of them along, and leaves neither of them behind.
    await lab().kubectl(["label", "node", first, `${EXCLUDE_LABEL}=`]);
    const heartbeats = await Heartbeats.start(lab());
    const second = await expectOneLeader(lab(), ["left", "right"], [first]);
    await expectPorts(lab(), { 80: "left", 443: "right" }, BOTH);

    // Who has no endpoint any more is announced no more; the other one stays where it is.
    await lab().kubectl(["scale", "deployment/left", "-n", "default", "--replicas=0"]);
    await heartbeats.hold(() => eventually(async () => assert.deepEqual(await leadersOf(lab(), ["left", "right"]), { right: [second] }), { ...WITHIN, what: `right alone, on ${second}` }));
    await heartbeats.stop();
    await expectOneLeader(lab(), ["right"], [first]);
    await expectPorts(lab(), { 443: "right" }, BOTH);
    await lab().kubectl(["delete", "service", "right", "-n", "default"]);
    await expectSilence(lab(), SHARED);
    await lab().kubectl(["scale", "deployment/left", "-n", "default", "--replicas=2"]);
    await expectOneLeader(lab(), ["left"], [first]);
    await expectPorts(lab(), { 80: "left" }, BOTH);
  });

  test("externalTrafficPolicy Local, one selector: the node that answers has the pods of both, and they follow the pods together", async () => {
    const local = { backend: "pods", externalTrafficPolicy: "Local" } as const;
    await lab().apply(CONFIGURATION + deployment({ name: "pods", replicas: 1, nodeName: "node1" }));
    await lab().apply(`${sharer(80, { name: "web", ...local })}---\n${sharer(443, { name: "tls", ...local })}`);
    for (const name of ["web", "tls"]) await expectAddress(lab(), name, SHARED);
    for (const node of ["node1", "node3"]) {
      await lab().apply(deployment({ name: "pods", replicas: 1, nodeName: node }));
      await eventually(async () => assert.deepEqual(await leadersOf(lab(), ["web", "tls"]), { web: [node], tls: [node] }), { ...WITHIN, what: `${node} leads both` });
      await untilAnswerFrom(lab(), SHARED, node);
      for (const port of [80, 443]) {
        await eventually(async () => assert.equal((await lab().curl(CLIENT, `http://${SHARED}:${port}/`)).node, node), { ...WITHIN, what: `the pod on ${node} answers on port ${port}` });
      }
    }
  });

  test("externalTrafficPolicy Local, different selectors: refused, and it says with whom; nothing of it is announced until the selectors agree", async () => {
    const local = { externalTrafficPolicy: "Local" } as const;
    await lab().apply(CONFIGURATION + [deployment({ name: "one", replicas: 1, nodeName: "node1" }), deployment({ name: "two", replicas: 1, nodeName: "node2" })].join("---\n"));
    await lab().apply(sharer(80, { name: "one", ...local }));
    await expectAddress(lab(), "one", SHARED);
    await lab().apply(sharer(443, { name: "two", ...local }));
    await expectRefusal(lab(), "two", { status: "False", reason: "SharingConflict", event: "AllocationFailed", says: /172\.20\.250\.15 is also in use by default\/one: .*externalTrafficPolicy Local .*the same selector/ });
    await eventually(async () => assert.deepEqual(await leadersOf(lab(), ["one", "two"]), { one: ["node1"] }), { ...WITHIN, what: "one alone is announced" });
    await untilAnswerFrom(lab(), SHARED, "node1");
    assert.equal(await addressOf(lab(), "two"), undefined);
    await lab().kubectl(["patch", "service", "two", "-n", "default", "--type=merge", "-p", JSON.stringify({ spec: { selector: { app: "one" } } })]);
    await expectAddress(lab(), "two", SHARED);
    await eventually(async () => assert.deepEqual(await leadersOf(lab(), ["one", "two"]), { one: ["node1"], two: ["node1"] }), { ...WITHIN, what: "node1 leads both" });
    await expectPorts(lab(), { 80: "one", 443: "one" }, [SHARED]);
  });
});

/** A Service with one port that asks for the shared address. */
function sharer(port: number, options: AppOptions): string {
  const annotations = { "metallb.io/allow-shared-ip": "key", "metallb.io/loadBalancerIPs": SHARED, ...options.annotations };
  return service({ ...options, annotations }).replace("port: 80,", `port: ${port},`);
}

function expectAddresses(lab: Lab, name: string, expected: readonly string[]): Promise<void> {
  return eventually(async () => {
    const { ingress = [] } = (await serviceOf(lab, name)).status.loadBalancer;
    assert.deepEqual(ingress.map(({ ip }) => ip), expected, `addresses of ${name}: ${ingress.map(({ ip }) => ip).join()}`);
  }, { ...WITHIN, what: `${name} has ${expected.join()}` });
}

/** Nodes by Service, as the ServiceL2Status objects name them. */
async function leadersOf(lab: Lab, names: readonly string[]): Promise<Record<string, string[]>> {
  const leaders: Record<string, string[]> = {};
  for (const { status } of await l2StatusesOf(lab)) {
    if (status !== undefined && names.includes(status.serviceName)) (leaders[status.serviceName] ??= []).push(status.node);
  }
  return leaders;
}

/** Waits until one node, none of `others`, leads all of the Services and is the only one that answers, for both families if there are two. @returns that node */
async function expectOneLeader(lab: Lab, names: readonly string[], others: readonly string[] = []): Promise<string> {
  const node = await eventually(async () => {
    const leaders = await leadersOf(lab, names);
    const [leader = ""] = Object.values(leaders)[0] ?? [];
    assert.deepEqual(leaders, Object.fromEntries(names.map((name) => [name, [leader]])), JSON.stringify(leaders));
    assert.ok(leader !== "" && !others.includes(leader), `led by "${leader}"`);
    await expectAnswerFrom(lab, SHARED, leader);
    return leader;
  }, { ...WITHIN, what: `one node leads ${names.join(" and ")} and answers for ${SHARED}` });
  await expectNeighbour(lab, SHARED6, node);
  return node;
}

/** Waits until each port is answered by a pod of this Deployment, at each of the addresses. */
async function expectPorts(lab: Lab, backends: Readonly<Record<number, string>>, addresses: readonly string[]): Promise<void> {
  for (const ip of addresses) {
    for (const [port, backend] of Object.entries(backends)) {
      const url = `http://${ip.includes(":") ? `[${ip}]` : ip}:${port}/`;
      await eventually(async () => {
        const { pod } = await lab.curl(CLIENT, url);
        assert.ok(pod.startsWith(`${backend}-`), `${url} is answered by ${pod}, not by ${backend}`);
      }, { ...WITHIN, what: `${backend} answers at ${url}` });
    }
  }
}
