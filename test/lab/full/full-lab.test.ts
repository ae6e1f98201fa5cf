import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { afterAll, describe, it } from "vitest";
import { Cluster } from "../cluster.ts";
import { eventually } from "../eventually.ts";
import { fullHostsOf, secondPort } from "../hosts.ts";
import { CLIENT } from "../lab.ts";
import { isSameProcess } from "../processes.ts";
import { NODE } from "../programs.ts";
import { labFolder } from "../state.ts";
import { listNamespaces } from "../topology.ts";
import { describeOnFullLab } from "./describe-on-full-lab.ts";
import { FullCluster } from "./full-cluster.ts";
import { FullLab, whyNoFullLab } from "./full-lab.ts";
import { containerProcesses } from "./node.ts";
import { backends } from "./workloads.ts";

const WITHIN = { timeoutMs: 120_000 } as const;

/** A Service for backends of that name, of both families. */
function service(name: string, clusterIps: readonly string[]): object {
  const spec = { selector: { app: name }, ipFamilyPolicy: "RequireDualStack", clusterIP: clusterIps[0], clusterIPs: clusterIps, ports: [{ name: "http", port: 80, targetPort: 8080 }] };
  return { apiVersion: "v1", kind: "Service", metadata: { name, namespace: "default" }, spec };
}

async function apply(lab: FullLab, items: readonly object[]): Promise<void> {
  await lab.apply(JSON.stringify({ apiVersion: "v1", kind: "List", items }));
}

interface Pod {
  readonly metadata: { readonly name: string };
  readonly spec: { readonly nodeName: string };
  readonly status: { readonly podIPs: readonly { readonly ip: string }[] };
}

async function podsOf(lab: FullLab, name: string): Promise<Pod[]> {
  return (JSON.parse(await lab.kubectl(["get", "pods", "-l", `app=${name}`, "-o", "json"])) as { items: Pod[] }).items;
}

/** Whether a host reaches the kubelet at that address within three seconds. */
async function reaches(lab: FullLab, from: string, address: string): Promise<boolean> {
  return (await lab.exec(from, ["curl", "-sk", "-g", "-o", "/dev/null", "--max-time", "3", `https://${address}:10250/healthz`])).code === 0;
}

/** Waits until the API server's answer to a node ends curl with this code: 0, or 28 for none in time. */
async function expectApi(lab: FullLab, node: string, url: string, code: number): Promise<void> {
  const ask = ["curl", "-sk", "-g", "-o", "/dev/null", "--max-time", "3", url];
  await eventually(async () => assert.equal((await lab.exec(node, ask)).code, code), { ...WITHIN, what: `curl ${url} on ${node} to end with ${code}` });
}

/** Nodes whose pods answer at a URL, asked until all of these did. */
async function expectAnswersFrom(lab: FullLab, from: string, url: string, nodes: readonly string[]): Promise<void> {
  const seen = new Set<string>();
  await eventually(async () => {
    seen.add((await lab.curl(from, url)).node);
    assert.deepEqual([...seen].toSorted(), nodes.toSorted(), `only ${[...seen].join()} answered`);
  }, { ...WITHIN, intervalMs: 20, what: `answers of ${nodes.join(", ")} at ${url} to ${from}` });
}

describeOnFullLab("the full lab", { name: "full-test", herald: false }, (lab) => {
  const IPV4 = "10.96.1.1";
  const IPV6 = "fd00:96::101";

  it("has a control-plane node and three workers, all Ready", async () => {
    const text = await lab().kubectl(["get", "nodes", "--no-headers"]);
    const rows = text.trim().split("\n").map((line) => line.split(/\s+/).slice(0, 3).join(" "));
    assert.deepEqual(rows, ["control Ready control-plane", "node1 Ready <none>", "node2 Ready <none>", "node3 Ready <none>"]);
    assert.deepEqual([lab().nodes, lab().allNodes], [["node1", "node2", "node3"], ["control", "node1", "node2", "node3"]]);
  });

  it("runs pods that reach one another and a Service over both families, from every node", async () => {
    await apply(lab(), [backends("web"), service("web", [IPV4, IPV6])]);
    await lab().kubectl(["rollout", "status", "daemonset/web", "--timeout=115s"]);
    const pods = await podsOf(lab(), "web");
    assert.deepEqual(pods.map(({ spec }) => spec.nodeName).toSorted(), lab().allNodes);
    for (const address of [IPV4, `[${IPV6}]`]) await expectAnswersFrom(lab(), "node1", `http://${address}/`, lab().allNodes);
    const addresses = [...pods.flatMap(({ status }) => status.podIPs.map(({ ip }) => `${ip.includes(":") ? `[${ip}]` : ip}:8080`)), IPV4, `[${IPV6}]`];
    assert.equal(addresses.length, 10);
    for (const from of pods) {
      // A node's kube-proxy hears of a Service when it can.
      await eventually(async () => {
        const { code, stderr } = await lab().execInPod("default", from.metadata.name, ["curl", "-sS", "-g", "--fail-early", "--max-time", "10", ...addresses.map((address) => `http://${address}/`)]);
        assert.equal(code, 0, `from ${from.spec.nodeName}: ${stderr}`);
      }, { ...WITHIN, what: `the pod on ${from.spec.nodeName} to reach ${addresses.join(" ")}` });
    }
  });

  it("shows what a pod says, and runs programs in it", async () => {
    const name = (await podsOf(lab(), "web"))[0]?.metadata.name ?? "";
    // A second backend finds the ports of its pod taken: it ran, and in the pod.
    await eventually(() => assert.rejects(lab().kubectl(["exec", name, "--", "/backend"]), /address already in use/), { ...WITHIN, what: "a program in a pod" });
    const crashing = { apiVersion: "v1", kind: "Pod", metadata: { name: "says", namespace: "default" }, spec: { restartPolicy: "Never", ...sayingPod() } };
    await apply(lab(), [crashing]);
    await eventually(async () => assert.match(await lab().kubectl(["logs", "says"]), /DRAIN_SECONDS must be a number/), { ...WITHIN, what: "the log of a pod" });
  });

  it("has a second network card on every node, which sees the others' second cards only", async () => {
    const { second } = fullHostsOf(3).find(({ name }) => name === "node2") ?? {};
    assert.ok(second);
    const ask = async (card: string): Promise<string> => (await lab().exec(CLIENT, ["arping", "-i", card, "-0", "-c", "1", "-W", "0.3", "-w", "10", "-r", second.ipv4])).stdout.trim();
    const expectSecond = (): Promise<void> => eventually(async () => assert.equal(await ask("eth1"), second.mac), { ...WITHIN, what: "the second card answers" });
    await expectSecond();
    await eventually(async () => assert.ok(await reaches(lab(), "node1", `[${second.ipv6}]`), "no answer of its kubelet"), { ...WITHIN, what: "node1 reaches the second card" });
    // Nobody answers for another card's address on the wrong segment.
    await lab().exec("switch", ["ip", "link", "set", secondPort("node2"), "down"]);
    assert.equal(await ask("eth1"), "");
    await lab().restore("node2");
    await expectSecond();
  });

  it("lets the API server call webhooks in pods", async () => {
    const rule = { operations: ["CREATE"], apiGroups: [""], apiVersions: ["v1"], resources: ["configmaps"] };
    const webhook = {
      name: "plain.herald.invalid",
      clientConfig: { service: { namespace: "default", name: "web", port: 80, path: "/validate" } },
      rules: [rule],
      matchConditions: [{ name: "asked", expression: "object.metadata.name == 'asked'" }],
      sideEffects: "None",
      admissionReviewVersions: ["v1"],
      failurePolicy: "Fail",
      timeoutSeconds: 5,
    };
    await apply(lab(), [{ apiVersion: "admissionregistration.k8s.io/v1", kind: "ValidatingWebhookConfiguration", metadata: { name: "plain" }, webhooks: [webhook] }]);
    // A pod that speaks plain HTTP is reached, and says so in its way.
    await eventually(() => assert.rejects(lab().kubectl(["create", "configmap", "asked"]), /server gave HTTP response to HTTPS client/), { ...WITHIN, what: "the webhook to be asked" });
    await lab().kubectl(["delete", "validatingwebhookconfiguration", "plain"]);
  });

  it("writes down who asked the API server for what", () => {
    const events = readFileSync(lab().auditLog, "utf8").trim().split("\n").map((line) => JSON.parse(line) as { verb: string; user: { username: string }; objectRef?: { resource: string } });
    assert.ok(events.some(({ verb, user, objectRef }) => verb === "create" && user.username === "system:node:node1" && objectRef?.resource === "nodes"), `no such request among ${events.length}`);
  });

  it("loses a node to a power cut: silent and empty, and back with its pods", async () => {
    const [before] = (await podsOf(lab(), "web")).filter(({ spec }) => spec.nodeName === "node1");
    await lab().powerOff("node1");
    assert.deepEqual(await lab().arping(CLIENT, "172.20.0.11"), []);
    assert.ok(!await reaches(lab(), "node2", "172.21.0.11"));
    assert.equal(FullCluster.find(lab().name)?.processes.find("init-node1"), undefined);
    assert.deepEqual(containerProcesses(lab().name, "node1", "backend"), []);
    await lab().waitForNode("node1", "Unknown");
    await lab().restore("node1");
    await lab().waitForNode("node1", "True");
    const mac = await lab().nodeMac("node1");
    await eventually(async () => assert.deepEqual(await lab().arping(CLIENT, "172.20.0.11"), [mac]), { ...WITHIN, what: "node1 answers again" });
    await expectAnswersFrom(lab(), "node1", `http://${IPV4}/`, lab().allNodes);
    const [after] = (await podsOf(lab(), "web")).filter(({ spec }) => spec.nodeName === "node1");
    assert.equal(after?.metadata.name, before?.metadata.name);
  });

  it("cuts a partition on both cards and heals it", async () => {
    await lab().partition(["node1"], ["node2"]);
    const expectReached = (expected: readonly boolean[]): Promise<void> => eventually(async () => {
      assert.deepEqual(await Promise.all(["172.20.0.12", "172.21.0.12", "172.20.0.13"].map((address) => reaches(lab(), "node1", address))), expected);
    }, { ...WITHIN, what: `node2 on both cards, and node3, reached by node1: ${expected.join(", ")}` });
    await expectReached([false, false, true]);
    await lab().restore("node1");
    await expectReached([true, true, true]);
  });

  it("goes on without the API server, and after its return", async () => {
    await lab().stopApiServer();
    await assert.rejects(lab().kubectl(["get", "nodes", "--request-timeout=2s"]));
    await expectAnswersFrom(lab(), "node1", `http://${IPV4}/`, lab().allNodes);
    await lab().startApiServer();
    await apply(lab(), [backends("later", { replicas: 2 })]);
    await lab().kubectl(["rollout", "status", "deployment/later", "--timeout=115s"]);
  });

  it("survives the loss of its control-plane node", async () => {
    await lab().powerOff("control");
    await assert.rejects(lab().kubectl(["get", "nodes", "--request-timeout=2s"]));
    await lab().restore("control");
    await lab().waitForNode("control", "True");
    await apply(lab(), [backends("last", { replicas: 2 })]);
    await lab().kubectl(["rollout", "status", "deployment/last", "--timeout=115s"]);
  });
});

/** A backend that ends at once and says why. */
function sayingPod(): object {
  const { template } = (backends("says", { replicas: 1 }) as { spec: { template: { spec: { containers: object[] } } } }).spec;
  return { ...template.spec, containers: template.spec.containers.map((container) => ({ ...container, env: [{ name: "DRAIN_SECONDS", value: "never" }] })) };
}

describeOnFullLab("a full lab with IPv6 first and nftables", { name: "full-six", nodes: 1, family: "ipv6", proxyMode: "nftables", backend: true, herald: false }, (lab) => {
  it("has IPv6 as its first family everywhere", async () => {
    await apply(lab(), [backends("web", { replicas: 2, node: "backend" })]);
    await lab().kubectl(["expose", "deployment", "web", "--port=80", "--target-port=8080"]);
    await lab().kubectl(["rollout", "status", "deployment/web", "--timeout=115s"]);
    const addresses = (await lab().kubectl(["get", "nodes", "-o", "jsonpath={.items[*].status.addresses[0].address}"])).split(" ");
    assert.deepEqual(addresses, ["fd00:20::200", "fd00:20::2", "fd00:20::11"]);
    const { spec } = await lab().get("service", "default", "web") as { spec: { clusterIPs: string[] } };
    assert.match(spec.clusterIPs[0] ?? "", /^fd00:96::/);
    const pods = await podsOf(lab(), "web");
    assert.deepEqual(pods.map(({ spec: { nodeName } }) => nodeName), ["backend", "backend"]);
    for (const { status } of pods) assert.match(status.podIPs.map(({ ip }) => ip).join(" "), /^fd00:244:250::\S+ 10\.244\.250\.\d+$/);
    await expectAnswersFrom(lab(), "node1", `http://[${spec.clusterIPs[0]}]/`, ["backend"]);
    const rules = await lab().exec("node1", ["nft", "list", "table", "ip6", "kube-proxy"]);
    assert.equal(rules.code, 0, rules.stderr);
    await assert.doesNotReject(lab().kubectl(["logs", pods[0]?.metadata.name ?? ""]));
  });

  it("drops what passes between a node and the API server", async () => {
    const url = "https://[fd00:20::2]:6443/version";
    await expectApi(lab(), "node1", url, 0);
    await lab().dropApi("node1");
    const timedOut = 28;
    await expectApi(lab(), "node1", url, timedOut);
    await lab().restore("node1");
    await expectApi(lab(), "node1", url, 0);
  });
});

const reason = whyNoFullLab();

describe.skipIf(reason !== undefined)(`a full lab whose starter was killed${reason === undefined ? "" : ` (${reason})`}`, () => {
  const name = "full-left";

  afterAll(() => Cluster.remove(name));

  it("is cleaned up by the next up, and down leaves nothing", async () => {
    const script = `import { FullLab } from ${JSON.stringify(`${import.meta.dirname}/full-lab.ts`)}; await FullLab.up({ name: "${name}", nodes: 1 }); console.log("up"); setInterval(() => 0, 1000);`;
    const starter = spawn(NODE, ["--input-type=module", "-e", script], { stdio: ["ignore", "pipe", "inherit"] });
    await new Promise((resolve) => starter.stdout.once("data", resolve));
    const left = Cluster.find(name)?.processes.list() ?? [];
    assert.deepEqual(left.map((record) => record.name).toSorted(), ["apiserver", "controller-manager", "etcd", "init-control", "init-node1", "namespaces-control", "namespaces-node1", "scheduler"]);
    starter.kill("SIGKILL");
    await new Promise((resolve) => starter.once("exit", resolve));
    assert.ok(left.every(isSameProcess));

    const next = await FullLab.up({ name, nodes: 1 });
    assert.ok(!left.some(isSameProcess));
    await apply(next, [backends("web")]);
    await next.kubectl(["rollout", "status", "daemonset/web", "--timeout=115s"]);
    await next.down();
    assert.deepEqual(await traces(name), []);
  });
});

/** What a lab left on the machine, as paths and names. */
async function traces(name: string): Promise<string[]> {
  const folder = labFolder(name);
  const mounts = readFileSync("/proc/mounts", "utf8").split("\n").filter((line) => line.includes(folder.path) || line.includes(folder.disks));
  const groups = readdirSync("/sys/fs/cgroup", { recursive: true, encoding: "utf8" }).filter((path) => path.split("/").includes(`hl-${name}.nodes`));
  const processes = readdirSync("/proc").filter((pid) => /^\d+$/.test(pid) && pid !== String(process.pid)).filter((pid) => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(folder.path);
    } catch {
      return false;
    }
  });
  return [...await listNamespaces(name), ...mounts, ...groups, ...processes.map((pid) => `process ${pid}`), ...[folder.path, folder.disks].filter(existsSync)];
}
