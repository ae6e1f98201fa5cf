/** Installed beside a MetalLB that runs, Herald refuses and says so; when MetalLB is gone it takes over by itself. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { beforeAll, describe, test } from "vitest";
import { metalLb, METALLB_NAMESPACE } from "../../peers/metallb/manifests.ts";
import { metalLbImages } from "../../peers/metallb/images.ts";
import { manifests } from "../../../scripts/manifests.ts";
import { eventually } from "../eventually.ts";
import { CRD_FOLDER } from "../herald.ts";
import { CLIENT } from "../lab.ts";
import { expectAnswersAsTold } from "../leaders.ts";
import { expectNeighbour } from "../neighbours.ts";
import { answeringLeader, assignmentOf, expectAddress, expectAnswerFrom, serviceOf } from "../observe.ts";
import { CHECKOUT } from "../programs.ts";
import { advertisement, pool } from "../resources.ts";
import { deployment, service } from "../walkthrough/manifests.ts";
import { BUDGET, expectMembers } from "./clients.ts";
import { describeOnFullLab } from "./describe-on-full-lab.ts";
import type { FullLab } from "./full-lab.ts";
import { heraldImage } from "./release.ts";

const SERVICES = ["old1", "old2", "old3", "old4"] as const;
const ADDRESSES = ["172.20.250.10", "172.20.250.11", "172.20.250.12", "172.20.250.13"] as const;

/** MetalLB's speaker is there alone, so that another node's answer is Herald's. */
const METALLB_NODE = "node1";

function whyNoMetalLb(): string | undefined {
  try {
    metalLbImages();
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

const reason = whyNoMetalLb();

describe.skipIf(reason !== undefined)(`with MetalLB${reason === undefined ? "" : ` (${reason})`}`, () => {
  describeOnFullLab("beside MetalLB", { name: "beside", nodes: 2, herald: false }, (lab) => {
    beforeAll(async () => {
      const { controller, speaker } = metalLbImages();
      for (const archive of [controller.archive, speaker.archive, heraldImage()]) await lab().importImage(archive);
      await lab().kubectl(["apply", "--server-side", "-f", CRD_FOLDER]);
      await lab().kubectl(["wait", "--for=condition=Established", "--timeout=90s", "-f", CRD_FOLDER]);
      await lab().apply(JSON.stringify({ apiVersion: "v1", kind: "List", items: metalLb(METALLB_NODE) }));
      for (const workload of ["deployment/controller", "daemonset/speaker"]) await lab().kubectl(["rollout", "status", workload, "-n", METALLB_NAMESPACE, "--timeout=180s"], { timeoutMs: 185_000 });
      await lab().apply(`${pool("main", ["172.20.250.10-172.20.250.60"])}${advertisement("all")}---\n${deployment({ name: "shared" })}`);
      for (const [index, name] of SERVICES.entries()) {
        await lab().apply(service({ name, backend: "shared" }));
        await expectAddress(lab(), name, ADDRESSES[index]);
      }
    });

    test("MetalLB works: its node answers for its addresses", () => expectMetalLbAnswers(lab()));

    test("helm refuses to install Herald, in MetalLB's namespace and in another, and leaves nothing", async () => {
      for (const namespace of [METALLB_NAMESPACE, "elsewhere"]) {
        const install = ["install", "herald", join(CHECKOUT, "charts/herald"), "--namespace", namespace, "--create-namespace"];
        await assert.rejects(lab().helm(install), /DaemonSet metallb-system\/speaker is there already: two load balancers that give addresses to the same Services would take them from one another\. Uninstall it first/);
      }
      assert.equal(await lab().helm(["list", "--all-namespaces", "--short"]), "");
      assert.equal(await lab().kubectl(["get", "deployments,daemonsets", "-A", "-l", "app.kubernetes.io/name=herald", "-o", "name"]), "");
    });

    test("applied as plain manifests it does nothing: no pod is Ready, no Service is touched, nobody answers but MetalLB, and the pods say why", async () => {
      const before = await metalLbPods(lab());
      await lab().kubectl(["apply", "--server-side", "--force-conflicts", "-f", "-"], { input: manifests() });
      await eventually(async () => {
        const told = await lab().kubectl(["get", "events", "-n", METALLB_NAMESPACE, "--field-selector=reason=MetalLBRuns", "-o", 'jsonpath={range .items[*]}{.involvedObject.name} {.message}{"\\n"}{end}']);
        const sentence = /MetalLB runs in this cluster: the Pod metallb-system\/\S+ has the image \S+\/metallb-(controller|speaker):v\S+\. Herald does nothing beside it: uninstall MetalLB, and Herald goes on by itself\.$/;
        const lines = told.trim().split("\n");
        for (const line of lines) assert.match(line, sentence);
        const pods = await heraldPods(lab());
        // On MetalLB's node the ports are taken: no speaker of Herald's starts there, and MetalLB's is not pushed aside for it.
        const started = pods.filter(({ node }) => node !== "").map(({ name }) => name);
        assert.equal(started.length, pods.length - 1, JSON.stringify(pods));
        assert.deepEqual([...new Set(lines.map((line) => line.split(" ")[0]))].toSorted(), started.toSorted());
      }, { ...BUDGET, what: "events about MetalLB on the pods" });
      await lab().apply(service({ name: "new", backend: "shared" }));
      await expectAddress(lab(), "new", "172.20.250.14");
      await expectMetalLbAnswers(lab());
      for (const name of [...SERVICES, "new"]) assert.equal(await assignmentOf(lab(), name), undefined, `Herald has looked at ${name}`);
      for (const { name, ready } of await heraldPods(lab())) assert.equal(ready, "False", `${name} is Ready: ${ready}`);
      await eventually(async () => assert.match((await lab().exec("node2", ["curl", "-s", "--max-time", "10", "http://127.0.0.1:17472/readyz"])).stdout, /Herald does nothing beside it/), { ...BUDGET, what: "/readyz on node2 says why" });
      assert.deepEqual(await metalLbPods(lab()), before);
    });

    test("MetalLB is deleted: Herald's pods get ready without a restart, addresses stay, and are answered for", async () => {
      await lab().kubectl(["delete", "deployment/controller", "daemonset/speaker", "-n", METALLB_NAMESPACE]);
      await lab().waitForHerald();
      await expectMembers(lab());
      for (const { name, restarts } of await heraldPods(lab())) assert.equal(restarts, "0", name);
      for (const [index, name] of SERVICES.entries()) {
        await eventually(async () => assert.equal((await assignmentOf(lab(), name))?.status, "True"), { ...BUDGET, what: `Herald has ${name}` });
        await expectAddress(lab(), name, ADDRESSES[index]);
      }
      for (const { address } of (await expectAnswersAsTold(lab(), SERVICES)).values()) {
        await eventually(() => lab().curl(CLIENT, `http://${address}/`), { ...BUDGET, what: `${address} answers` });
      }
    });

    test("a Service of both families works in a cluster with IPv4 first and kube-proxy in iptables mode", async () => {
      await lab().apply(pool("both", ["172.20.251.10-172.20.251.19", "fd00:20::1000-fd00:20::10ff"]));
      await lab().apply(service({ name: "two", backend: "shared", serviceSpec: ["ipFamilyPolicy: RequireDualStack"] }));
      await expectAddress(lab(), "two", "172.20.251.10");
      assert.deepEqual((await serviceOf(lab(), "two")).status.loadBalancer.ingress?.map(({ ip }) => ip), ["172.20.251.10", "fd00:20::1000"]);
      const leader = await answeringLeader(lab(), "two", "172.20.251.10");
      await expectNeighbour(lab(), "fd00:20::1000", leader);
      for (const url of ["http://172.20.251.10/", "http://[fd00:20::1000]/"]) await eventually(() => lab().curl(CLIENT, url), { ...BUDGET, what: `${url} answers` });
    });
  });
});

/** Every address is answered for by MetalLB's node and by nobody else. */
async function expectMetalLbAnswers(lab: FullLab): Promise<void> {
  for (const address of ADDRESSES) await eventually(() => expectAnswerFrom(lab, address, METALLB_NODE), { ...BUDGET, what: `MetalLB answers for ${address}` });
}

/** Herald's pods: name, node (empty for one that has none), whether Ready, and how often the container was started again. */
async function heraldPods(lab: FullLab): Promise<{ readonly name: string; readonly node: string; readonly ready: string; readonly restarts: string }[]> {
  const jsonpath = 'jsonpath={range .items[*]}{.metadata.name};{.spec.nodeName};{.status.conditions[?(@.type=="Ready")].status};{.status.containerStatuses[0].restartCount}{"\\n"}{end}';
  const text = await lab.kubectl(["get", "pods", "-n", METALLB_NAMESPACE, "-l", "app.kubernetes.io/name=herald", "-o", jsonpath]);
  const pods = text.trim().split("\n").map((line) => line.split(";"));
  assert.equal(pods.length, 2 + lab.allNodes.length, text);
  // A pod that no node has room for has neither that condition nor containers.
  return pods.map(([name = "", node = "", ready = "", restarts = ""]) => ({ name, node, ready: ready === "" ? "False" : ready, restarts: restarts === "" ? "0" : restarts }));
}

/** Names of MetalLB's pods, and how often each was started again. */
async function metalLbPods(lab: FullLab): Promise<string[]> {
  const jsonpath = 'jsonpath={range .items[*]}{.metadata.name} {.status.containerStatuses[0].restartCount}{"\\n"}{end}';
  return (await lab.kubectl(["get", "pods", "-n", METALLB_NAMESPACE, "-l", "app=metallb", "-o", jsonpath])).trim().split("\n").toSorted();
}
