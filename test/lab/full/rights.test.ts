import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "vitest";
import { readToken } from "../control-plane.ts";
import { eventually } from "../eventually.ts";
import { metricsOf } from "../metrics.ts";
import { addressOf, expectAddress, expectLeader, l2StatusesOf } from "../observe.ts";
import { HERALD_NAMESPACE } from "../pods.ts";
import { advertisement, pool } from "../resources.ts";
import { labFolder } from "../state.ts";
import { app } from "../walkthrough/manifests.ts";
import { auditedRequests } from "./audit-trail.ts";
import { describeOnFullLab } from "./describe-on-full-lab.ts";
import type { FullLab } from "./full-lab.ts";
import { containerProcesses } from "./node.ts";

/** Starting pods, and whatever goes through kubectl, takes its time on a busy machine. */
const BUDGET = { timeoutMs: 180_000 } as const;

const CONTROLLER = "herald-controller";
const SPEAKER = "herald-speaker";
const KEY = "metallb-memberlist";
const CERTIFICATE = "metallb-webhook-cert";

type Question = readonly [verb: string, resource: string, where?: { readonly group?: string; readonly namespace?: string; readonly name?: string; readonly subresource?: string }];

/** What the programs of this ServiceAccount need, as far as it tells one from the other. */
const MAY: Readonly<Record<string, readonly Question[]>> = {
  [SPEAKER]: [
    ["list", "services"], ["watch", "nodes"], ["list", "endpointslices", { group: "discovery.k8s.io" }], ["create", "events", { namespace: "default" }],
    ["patch", "servicel2statuses", { group: "metallb.io", namespace: HERALD_NAMESPACE }], ["list", "pods", { namespace: HERALD_NAMESPACE }],
  ],
  [CONTROLLER]: [
    ["patch", "services", { subresource: "status" }], ["get", "secrets", { namespace: HERALD_NAMESPACE, name: KEY }], ["patch", "secrets", { namespace: HERALD_NAMESPACE, name: CERTIFICATE }],
    ["patch", "leases", { group: "coordination.k8s.io", namespace: HERALD_NAMESPACE, name: CONTROLLER }], ["list", "ipaddresspools", { group: "metallb.io", namespace: HERALD_NAMESPACE }],
  ],
};

/** What neither may. */
const NEITHER_MAY: readonly Question[] = [
  ["list", "secrets"], ["watch", "secrets"], ["list", "secrets", { namespace: HERALD_NAMESPACE }], ["list", "secrets", { namespace: "kube-system" }], ["get", "secrets", { namespace: "default", name: KEY }],
  ["delete", "secrets", { namespace: HERALD_NAMESPACE, name: KEY }], ["create", "secrets", { namespace: "default" }],
  ["patch", "services"], ["update", "services", { subresource: "status" }], ["delete", "services"], ["create", "services", { namespace: "default" }],
  ["delete", "pods", { namespace: HERALD_NAMESPACE }], ["create", "pods", { namespace: HERALD_NAMESPACE }], ["create", "pods", { subresource: "exec", namespace: HERALD_NAMESPACE }], ["list", "pods", { namespace: "kube-system" }],
  ["patch", "nodes"], ["update", "nodes", { subresource: "status" }], ["get", "nodes", { subresource: "proxy" }],
  ["create", "leases", { group: "coordination.k8s.io", namespace: "kube-system" }], ["patch", "leases", { group: "coordination.k8s.io", namespace: HERALD_NAMESPACE, name: "another" }],
  ["patch", "ipaddresspools", { group: "metallb.io", namespace: HERALD_NAMESPACE }], ["delete", "ipaddresspools", { group: "metallb.io", namespace: HERALD_NAMESPACE }],
  ["patch", "validatingwebhookconfigurations", { group: "admissionregistration.k8s.io", name: "another" }], ["create", "validatingwebhookconfigurations", { group: "admissionregistration.k8s.io" }],
  ["patch", "customresourcedefinitions", { group: "apiextensions.k8s.io", name: "bgppeers.metallb.io" }], ["delete", "customresourcedefinitions", { group: "apiextensions.k8s.io" }],
  ["create", "clusterrolebindings", { group: "rbac.authorization.k8s.io" }], ["impersonate", "users"], ["create", "serviceaccounts", { subresource: "token", namespace: HERALD_NAMESPACE }],
];

/** What the controller may and the speaker may not. */
const SPEAKER_MAY_NOT: readonly Question[] = [
  ...MAY[CONTROLLER]?.filter(([, resource]) => resource !== "ipaddresspools") ?? [],
  ["create", "secrets", { namespace: HERALD_NAMESPACE }], ["create", "leases", { group: "coordination.k8s.io", namespace: HERALD_NAMESPACE }],
  ["patch", "ipaddresspools", { group: "metallb.io", namespace: HERALD_NAMESPACE, subresource: "status" }],
];

/** Those of these questions that the API server's authorizer answers so. */
async function answered(lab: FullLab, answer: boolean, serviceAccount: string, questions: readonly Question[]): Promise<Question[]> {
  const waiting = [...questions];
  const found: Question[] = [];
  const ask = async (): Promise<void> => {
    for (let question = waiting.pop(); question !== undefined; question = waiting.pop()) {
      const [verb, resource, where = {}] = question;
      const user = `system:serviceaccount:${HERALD_NAMESPACE}:${serviceAccount}`;
      const groups = ["system:serviceaccounts", `system:serviceaccounts:${HERALD_NAMESPACE}`, "system:authenticated"];
      const review = { apiVersion: "authorization.k8s.io/v1", kind: "SubjectAccessReview", spec: { user, groups, resourceAttributes: { verb, resource, ...where } } };
      const { status } = JSON.parse(await lab.kubectl(["create", "--raw", "/apis/authorization.k8s.io/v1/subjectaccessreviews", "-f", "-"], { input: JSON.stringify(review) })) as { status: { allowed: boolean } };
      if (status.allowed === answer) found.push(question);
    }
  };
  await Promise.all([ask(), ask(), ask()]);
  return found;
}

/** What the kernel keeps of a process: the fields of /proc/PID/status, and how its root is mounted. */
function confinementOf(pid: number): { readonly status: Readonly<Record<string, string>>; readonly root: string } {
  const fields = readFileSync(`/proc/${pid}/status`, "utf8").split("\n").map((line) => line.split(":\t") as [string, string]);
  const root = readFileSync(`/proc/${pid}/mountinfo`, "utf8").split("\n").map((line) => line.split(" ")).find(([, , , , point]) => point === "/")?.[5] ?? "";
  return { status: Object.fromEntries(fields), root };
}

/** The bit of CAP_NET_RAW, as /proc writes it. */
const NET_RAW = "0000000000002000";
const NONE = "0000000000000000";
const SECCOMP_FILTER = "2";

/** Every kind of request that Herald's programs made so far, as "user verb resource code". */
async function requestsOf(lab: FullLab): Promise<Set<string>> {
  const requests = await auditedRequests(readFileSync(lab.auditLog, "utf8").split("\n"), lab.releaseSteps);
  return new Set(requests.map(({ user, verb, resource, subresource, code }) => `${user} ${verb} ${resource}${subresource === undefined ? "" : `/${subresource}`} ${code}`));
}

async function setType(lab: FullLab, name: string, type: "ClusterIP" | "LoadBalancer"): Promise<void> {
  await lab.kubectl(["patch", "service", name, "-n", "default", "--type=merge", "-p", JSON.stringify({ spec: { type } })]);
}

/** Changes a Service as fast as one connection can, its type now and then. */
async function changeOften(lab: FullLab, name: string): Promise<void> {
  const CHANGES = 150;
  const common = ["request = PATCH", "insecure", "silent", 'output = "/dev/null"', 'header = "Content-Type: application/merge-patch+json"', `header = "Authorization: Bearer ${readToken(labFolder(lab.name))}"`];
  const change = (index: number): string => {
    const type = index % 20 < 10 && index < CHANGES - 20 ? "ClusterIP" : "LoadBalancer";
    const patch = { metadata: { annotations: { "example.org/turn": String(index) } }, spec: { type } };
    return [`url = "https://172.20.0.2:6443/api/v1/namespaces/default/services/${name}"`, ...common, `data = ${JSON.stringify(JSON.stringify(patch))}`].join("\n");
  };
  const { code, stderr } = await lab.exec("control", ["curl", "--config", "-"], { input: Array.from({ length: CHANGES }, (_, index) => change(index)).join("\nnext\n") });
  assert.equal(code, 0, stderr);
}

describeOnFullLab("what Herald and its users may", { name: "full-rights", nodes: 1 }, (lab) => {
  it("gives the speaker what it needs, and nothing else", async () => {
    assert.deepEqual(await answered(lab(), false, SPEAKER, MAY[SPEAKER] ?? []), []);
    assert.deepEqual(await answered(lab(), true, SPEAKER, [...NEITHER_MAY, ...SPEAKER_MAY_NOT]), []);
  });

  it("gives the controller what it needs, and nothing else", async () => {
    assert.deepEqual(await answered(lab(), false, CONTROLLER, MAY[CONTROLLER] ?? []), []);
    assert.deepEqual(await answered(lab(), true, CONTROLLER, NEITHER_MAY), []);
  });

  it("hides the members' key from a user who may look at Herald's namespace and work in another", async () => {
    const bind = (name: string, namespace: string, role: string): object => ({
      apiVersion: "rbac.authorization.k8s.io/v1", kind: "RoleBinding", metadata: { name, namespace },
      roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: role }, subjects: [{ apiGroup: "rbac.authorization.k8s.io", kind: "User", name: "jane" }],
    });
    await lab().apply(JSON.stringify({ apiVersion: "v1", kind: "List", items: [bind("jane", "default", "edit"), bind("jane", HERALD_NAMESPACE, "view")] }));
    const asJane = (...args: string[]): Promise<string> => lab().kubectl([...args, "--as=jane"]);
    const pods = (await eventually(() => asJane("get", "pods", "-n", HERALD_NAMESPACE, "-l", "app.kubernetes.io/component=speaker", "-o", "name"), { ...BUDGET, what: "Jane's rights" })).trim().split("\n");
    assert.equal(pods.length, lab().allNodes.length);
    await asJane("create", "configmap", "hers", "-n", "default");
    const refused: readonly string[][] = [
      ["get", "secret", KEY], ["get", "secrets"], ["exec", pods[0] ?? "", "--", "/usr/local/bin/node", "--version"],
      ["create", "token", SPEAKER], ["delete", pods[0] ?? ""], ["create", "configmap", "hers"],
    ];
    for (const args of refused) await assert.rejects(lab().kubectl([args[0] ?? "", "-n", HERALD_NAMESPACE, "--as=jane", ...args.slice(1)]), /forbidden/i, args.join(" "));
  });

  it("runs the programs with the capability that ARP needs and no other, no way to more, and a root that nobody writes to", () => {
    const speakers = lab().allNodes.flatMap((node) => containerProcesses(lab().name, node, "speaker"));
    const controllers = lab().allNodes.flatMap((node) => containerProcesses(lab().name, node, "controller"));
    assert.deepEqual([speakers.length, controllers.length], [lab().allNodes.length, 2], JSON.stringify({ speakers, controllers }));
    const held = (capabilities: string): Record<string, string> => ({ CapEff: capabilities, CapPrm: capabilities, CapBnd: capabilities, CapInh: NONE, CapAmb: NONE, NoNewPrivs: "1", Seccomp: SECCOMP_FILTER });
    for (const [processes, uid, capabilities] of [[speakers, 0, NET_RAW], [controllers, 65534, NONE]] as const) {
      for (const { pid } of processes) {
        const { status, root } = confinementOf(pid);
        const expected = { ...held(capabilities), Uid: Array(4).fill(uid).join("\t"), Gid: Array(4).fill(uid).join("\t") };
        assert.deepEqual(Object.fromEntries(Object.keys(expected).map((field) => [field, status[field]])), expected);
        assert.ok(root.split(",").includes("ro"), root);
      }
    }
  });

  it("shows metrics to those who may read them", async () => {
    const address = await lab().kubectl(["get", "pods", "-n", HERALD_NAMESPACE, "-l", "app.kubernetes.io/component=controller", "-o", "jsonpath={.items[0].status.podIP}"]);
    const stranger = (await lab().kubectl(["create", "token", "default", "-n", "default"])).trim();
    for (const host of ["127.0.0.1", address]) {
      const ask = async (...header: string[]): Promise<string> => (await lab().exec("node1", ["curl", "-sk", "-o", "/dev/null", "-w", "%{http_code}", ...header, `https://${host}:9120/metrics`])).stdout;
      await eventually(async () => {
        const asked = [await ask(), await ask("-H", `Authorization: Bearer ${stranger}`), await ask("-H", `Authorization: Bearer ${readToken(labFolder(lab().name))}`)];
        assert.deepEqual(asked, ["401", "403", "200"], `${host}: ${asked.join(" ")}`);
      }, { ...BUDGET, what: `/metrics of ${host} refuses and answers whom it should` });
    }
    assert.match(await metricsOf(lab(), { node: "node1", program: "speaker" }), /^herald_/m);
  });

  describe("needs every right that it has", () => {
    it("checks resources of each kind against those that are there", async () => {
      await lab().apply(`${pool("main", ["172.20.250.10-172.20.250.60"])}${advertisement("all")}`);
      const object = (kind: string, version: string, name: string, spec: object): string => JSON.stringify({ apiVersion: `metallb.io/${version}`, kind, metadata: { name, namespace: HERALD_NAMESPACE }, spec });
      const again = (yaml: string, why: RegExp): Promise<void> => eventually(() => assert.rejects(lab().apply(yaml), why), { ...BUDGET, what: `a refusal: ${why}` });
      await again(pool("overlapping", ["172.20.250.60-172.20.250.70"]), /denied the request.*overlap/s);
      const peer = (profile: string): object => ({ myASN: 64512, peerASN: 64513, peerAddress: "172.20.0.100", bfdProfile: profile });
      for (const good of [
        object("L2Advertisement", "v1beta1", "second", {}), object("Community", "v1beta1", "good", { communities: [{ name: "vpn", value: "64512:1" }] }),
        object("BFDProfile", "v1beta1", "good", {}), object("BGPAdvertisement", "v1beta1", "good", {}), object("BGPPeer", "v1beta2", "good", peer("good")),
      ]) await lab().apply(good);
      await assert.rejects(lab().apply(object("BGPPeer", "v1beta2", "good", { ...peer("good"), peerASN: 64514, myASN: 0 })), /myASN/);
      await again(object("Community", "v1beta1", "bad", { communities: [{ name: "vpn", value: "x" }] }), /denied the request/);
      await assert.rejects(lab().kubectl(["delete", "bfdprofile", "good", "-n", HERALD_NAMESPACE]), /used by BGPPeer "good"/);
    });

    it("counts events that repeat", async () => {
      await lab().apply(app({ name: "web", replicas: 1, nodeName: "node1" }));
      await expectLeader(lab(), "web", await expectAddress(lab(), "web"), "node1");
      await setType(lab(), "web", "ClusterIP");
      await eventually(async () => assert.deepEqual([await addressOf(lab(), "web"), await l2StatusesOf(lab(), "web")], [undefined, []]), { ...BUDGET, what: "the address is taken back" });
      await setType(lab(), "web", "LoadBalancer");
      await expectLeader(lab(), "web", await expectAddress(lab(), "web"), "node1");
      await eventually(async () => {
        const text = await lab().kubectl(["get", "events", "-n", "default", "--field-selector=involvedObject.name=web,involvedObject.kind=Service", "-o", 'jsonpath={range .items[*]}{.reason} {.count}{"\\n"}{end}']);
        // A speaker that stands still may lose the address and get it again, which is told again.
        for (const reason of ["IPAllocated", "nodeAssigned"]) assert.match(text, new RegExp(`^${reason} ([2-9]|[1-9]\\d+)$`, "m"));
      }, { ...BUDGET, what: "events counted twice" });
    });

    it("takes back a ServiceL2Status that lost its owner", async () => {
      const [status] = await eventually(async () => {
        const statuses = await l2StatusesOf(lab(), "web");
        assert.equal(statuses.length, 1, JSON.stringify(statuses));
        return statuses;
      }, { ...BUDGET, what: "one ServiceL2Status" });
      await lab().kubectl(["patch", "servicel2status", status?.metadata.name ?? "", "-n", HERALD_NAMESPACE, "--type=merge", "-p", '{"metadata":{"ownerReferences":null}}']);
      await eventually(async () => {
        const { metadata } = await lab().get("servicel2status", HERALD_NAMESPACE, status?.metadata.name ?? "") as { metadata: { ownerReferences?: { kind: string }[] } };
        assert.deepEqual(metadata.ownerReferences?.map(({ kind }) => kind), ["Pod"]);
      }, { ...BUDGET, what: "its Pod to own it again" });
    });

    it("reads a Service again that somebody changed meanwhile", async () => {
      await eventually(async () => {
        await changeOften(lab(), "web");
        const requests = await requestsOf(lab());
        for (const each of [`${CONTROLLER} patch services/status 409`, `${CONTROLLER} get services 200`]) assert.ok(requests.has(each), each);
      }, { ...BUDGET, what: "a change between reading and writing" });
      await expectLeader(lab(), "web", await expectAddress(lab(), "web"), "node1");
    });

    it("makes a Lease that is missing", async () => {
      await lab().kubectl(["delete", "lease", CONTROLLER, "-n", HERALD_NAMESPACE]);
      await eventually(async () => {
        const { spec } = await lab().get("lease", HERALD_NAMESPACE, CONTROLLER) as { spec: { holderIdentity?: string } };
        assert.match(spec.holderIdentity ?? "", /^herald-controller-/);
      }, { ...BUDGET, what: "a controller that holds the Lease" });
    });

    it("makes Secrets that are missing, and tells a definition that the chart leaves alone whom to trust", async () => {
      const clientConfig = { service: { namespace: HERALD_NAMESPACE, name: "metallb-webhook-service", path: "/convert" } };
      await lab().startHerald({ values: { crds: { enabled: false } } });
      await lab().kubectl(["patch", "crd", "bgppeers.metallb.io", "--type=merge", "-p", JSON.stringify({ spec: { conversion: { strategy: "Webhook", webhook: { conversionReviewVersions: ["v1"], clientConfig } } } })]);
      await lab().kubectl(["delete", "secret", KEY, CERTIFICATE, "-n", HERALD_NAMESPACE]);
      await lab().kubectl(["rollout", "restart", `deployment/${CONTROLLER}`, "-n", HERALD_NAMESPACE]);
      await lab().waitForHerald();
      const owners = await eventually(async () => (await lab().get("secret", HERALD_NAMESPACE, KEY) as { metadata: { ownerReferences?: { kind: string; name: string }[] } }).metadata.ownerReferences, { ...BUDGET, what: "a new key" });
      assert.deepEqual(owners?.map(({ kind, name }) => `${kind} ${name}`), [`Deployment ${CONTROLLER}`]);
      const peer = await eventually(async () => await lab().get("bgppeers.v1beta1.metallb.io", HERALD_NAMESPACE, "good") as { apiVersion: string; spec: { peerASN: number } }, { ...BUDGET, what: "a peer converted by the controller" });
      assert.deepEqual([peer.apiVersion, peer.spec.peerASN], ["metallb.io/v1beta1", 64513]);
      await eventually(() => assert.rejects(lab().apply(pool("overlapping", ["172.20.250.60-172.20.250.70"])), /overlap/), { ...BUDGET, what: "a refusal by the new certificate" });
    });
  });
});
