import { spawn } from "node:child_process";
import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFailed } from "vitest";
import { Cluster } from "./cluster.ts";
import { eventually } from "./eventually.ts";
import { CLIENT, Lab, poll, whyNoLab } from "./lab.ts";
import { WITHIN, untilCaptured } from "./observe.ts";
import { isSameProcess } from "./processes.ts";
import { NODE } from "./programs.ts";
import { listNamespaces } from "./topology.ts";

const reason = whyNoLab();

/** A Deployment and its Service; both families, HTTP and UDP. */
function web(name: string, clusterIp: string, options: { replicas?: number; node?: string; annotations?: object } = {}): string {
  const labels = { app: name };
  const ports = [{ containerPort: 8080 }, { containerPort: 5353, protocol: "UDP" }];
  const deployment = {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name, namespace: "default" },
    spec: {
      replicas: options.replicas ?? 2,
      selector: { matchLabels: labels },
      template: {
        metadata: { labels, annotations: options.annotations ?? {} },
        spec: {
          containers: [{ name: "web", image: "web", ports }],
          ...(options.node === undefined ? {} : { nodeSelector: { "kubernetes.io/hostname": options.node } }),
        },
      },
    },
  };
  const service = {
    apiVersion: "v1",
    kind: "Service",
    metadata: { name, namespace: "default" },
    spec: { selector: labels, clusterIP: clusterIp, ipFamilyPolicy: "RequireDualStack", ports: [{ port: 80, targetPort: 8080 }] },
  };
  return JSON.stringify({ apiVersion: "v1", kind: "List", items: [deployment, service] });
}

describe.skipIf(reason !== undefined)(`the light lab${reason === undefined ? "" : ` (skipped: ${reason})`}`, () => {
  let lab: Lab;
  let failed = false;

  beforeAll(async () => {
    lab = await Lab.up({ name: "lab-test", nodes: 3 });
  });

  afterAll(async () => {
    await lab?.down({ failed });
  });

  afterEach(async () => {
    await lab.kubectl(["delete", "deployments,services", "--all", "--wait=false", "-n", "default"]).catch(() => "");
  });

  /** Pods that answer at a URL, asked from a host until so many different ones did. */
  async function answering(url: string, count: number, from = "node3"): Promise<string[]> {
    const pods = new Map<string, string>();
    await poll(async () => {
      const answer = await lab.curl(from, url).catch(() => undefined);
      if (answer) pods.set(answer.pod, answer.node);
      return pods.size >= count;
    }, { ...WITHIN, intervalMs: 100, what: `${count} pods to answer at ${url}` });
    return [...pods.values()].sort();
  }

  /** Waits until a host's question for an address has one answer: whoever asks may stand still for longer than it waits. */
  async function expectHeard(host: string, address: string): Promise<void> {
    await eventually(async () => expect(await lab.arping(host, address)).toHaveLength(1), { ...WITHIN, what: `${host} hears ${address}` });
  }

  function note(): void {
    onTestFailed(() => {
      failed = true;
    });
  }

  it("has three Nodes that are Ready", async () => {
    note();
    const text = await lab.kubectl(["get", "nodes", "--no-headers"]);
    const rows = text.trim().split("\n").map((line) => line.split(/\s+/).slice(0, 2).join(" "));
    expect(rows).toEqual(["node1 Ready", "node2 Ready", "node3 Ready"]);
  });

  it("lets both pods of a Deployment answer at their ClusterIP, over IPv4 and IPv6", async () => {
    note();
    await lab.apply(web("web", "10.96.1.1"));
    expect(await answering("http://10.96.1.1/", 2)).toEqual(["node1", "node2"]);
    const service = (await lab.get("service", "default", "web")) as { spec: { clusterIPs: string[] } };
    const ipv6 = await poll(() => lab.curl("node3", `http://[${service.spec.clusterIPs[1]}]/`).catch(() => undefined), { ...WITHIN, what: "IPv6" });
    expect(ipv6.client).toBe("fd00:20::13");
    const slices = await lab.kubectl(["get", "endpointslices", "-l", "kubernetes.io/service-name=web", "-o", "jsonpath={.items[*].metadata.labels.endpointslice\\.kubernetes\\.io/managed-by}"]);
    expect(new Set(slices.split(" "))).toEqual(new Set(["endpointslice-controller.k8s.io"]));
  });

  it("answers UDP at a pod's address", async () => {
    note();
    await lab.apply(web("udp", "10.96.1.2", { replicas: 1, node: "node2" }));
    await answering("http://10.96.1.2/", 1);
    const ip = await lab.kubectl(["get", "pods", "-l", "app=udp", "-o", "jsonpath={.items[0].status.podIP}"]);
    const ask = `const s = require("node:dgram").createSocket("udp4"); s.on("message", (m) => { console.log(String(m)); s.close(); }); s.send("hello", 5353, "${ip}");`;
    await eventually(async () => expect((await lab.exec("node1", [NODE, "-e", ask], { timeoutMs: 10_000 })).stdout).toContain('"echo":"hello"'), { ...WITHIN, what: "an answer over UDP" });
  });

  it("takes a pod that is not Ready out of the endpoints, while it still answers", async () => {
    note();
    await lab.apply(web("unready", "10.96.1.3", { replicas: 1, annotations: { "lab.herald/ready": "false" } }));
    const ip = await poll(async () => (await lab.kubectl(["get", "pods", "-l", "app=unready", "-o", "jsonpath={.items[0].status.podIP}"]).catch(() => "")) || undefined, { ...WITHIN, what: "an address" });
    await eventually(async () => expect((await lab.curl("node3", `http://${ip}:8080/`)).pod).toContain("unready"), { ...WITHIN, what: "the pod answers" });
    await expect(lab.curl("node3", "http://10.96.1.3/")).rejects.toThrow();
    await lab.kubectl(["annotate", "pod", "-l", "app=unready", "lab.herald/ready=true", "--overwrite"]);
    await answering("http://10.96.1.3/", 1);
  });

  it("runs pods on the backend host, which is no place for others", async () => {
    note();
    await lab.apply(web("far", "10.96.1.4", { node: "backend" }));
    await lab.apply(web("near", "10.96.1.5", { replicas: 6 }));
    expect(await answering("http://10.96.1.4/", 2)).toEqual(["backend", "backend"]);
    expect(await answering("http://10.96.1.5/", 6)).toEqual(["node1", "node1", "node2", "node2", "node3", "node3"]);
  });

  it("shows one MAC per node to arping, and frames to a capture", async () => {
    note();
    const capture = await lab.capture(CLIENT, "arp");
    await eventually(async () => expect(await lab.arping(CLIENT, "172.20.0.11", { count: 2 })).toEqual(Array(2).fill(await lab.nodeMac("node1"))), { ...WITHIN, what: "an answer to each of two questions" });
    expect(await lab.arping(CLIENT, "172.20.0.250")).toEqual([]);
    const answers = await untilCaptured(capture, (frame) => frame.includes("172.20.0.11 is-at 02:00:ac:14:00:0b"), 2, "both answers in the capture");
    expect((await capture.stop()).length).toBeGreaterThanOrEqual(answers.length);
  });

  it("cuts a partition and heals it", async () => {
    note();
    await lab.partition(["node1"], ["node2", "node3"]);
    expect(await lab.arping("node2", "172.20.0.11")).toEqual([]);
    expect(await lab.arping("node1", "172.20.0.13")).toEqual([]);
    await expectHeard(CLIENT, "172.20.0.11");
    await expectHeard("node2", "172.20.0.13");
    await lab.restore("node1");
    await expectHeard("node2", "172.20.0.11");
  });

  it("drops what passes between a node and the API server, and nothing else", async () => {
    note();
    const ask = ["curl", "-sk", "-o", "/dev/null", "--max-time", "3", "https://172.20.0.2:6443/version"];
    const expectEnd = (node: string, code: number): Promise<void> => eventually(async () => expect((await lab.exec(node, ask)).code).toBe(code), { ...WITHIN, what: `curl on ${node} to end with ${code}` });
    await expectEnd("node1", 0);
    await lab.dropApi("node1");
    const timedOut = 28;
    await expectEnd("node1", timedOut);
    await expectEnd("node2", 0);
    await expectHeard("node1", "172.20.0.2");
    await lab.restore("node1");
    await expectEnd("node1", 0);
  });

  it("loses frames, on the links that it is told to", async () => {
    note();
    await lab.lossPercent(100, ["node1"]);
    expect(await lab.arping("node2", "172.20.0.11")).toEqual([]);
    await expectHeard("node2", "172.20.0.13");
    await lab.lossPercent(100, ["node1", "node3"]);
    await lab.restore("node1");
    await expectHeard("node2", "172.20.0.11");
    expect(await lab.arping("node2", "172.20.0.13")).toEqual([]);
    // Question and answer cross four links: of 24 a quarter arrives; none of them once in 700 times, which is once too often for one look.
    await lab.lossPercent(30);
    await eventually(async () => {
      const answers = (await lab.arping("node2", "172.20.0.11", { count: 24 })).length;
      expect(answers).toBeGreaterThan(0);
      expect(answers).toBeLessThan(24);
    }, { ...WITHIN, what: "some of 24 answers" });
    await lab.lossPercent(0);
    await eventually(async () => expect(await lab.arping("node2", "172.20.0.11", { count: 5 })).toHaveLength(5), { ...WITHIN, what: "all of five answers" });
  });

  it("loses a node to a power cut: silent, not Ready, and back with its pods", async () => {
    note();
    await lab.apply(web("web", "10.96.1.6", { replicas: 3 }));
    await answering("http://10.96.1.6/", 3);
    await lab.powerOff("node1");
    expect(await lab.arping(CLIENT, "172.20.0.11")).toEqual([]);
    const alive = await lab.exec("node1", ["bash", "-c", "ip netns pids $(ip netns identify $$) | grep -vw $$ | wc -l"]);
    expect(Number(alive.stdout)).toBeLessThanOrEqual(3);
    await lab.waitForNode("node1", "Unknown");
    await poll(async () => {
      const ready = await lab.kubectl(["get", "endpointslices", "-l", "kubernetes.io/service-name=web", "-o", "jsonpath={.items[0].endpoints[?(@.conditions.ready==true)].nodeName}"]);
      return !ready.includes("node1");
    }, { ...WITHIN, what: "the endpoints to forget node1" });
    await lab.restore("node1");
    await lab.waitForNode("node1", "True");
    expect(await answering("http://10.96.1.6/", 3, "node1")).toEqual(["node1", "node2", "node3"]);
  });

  it("goes on without the API server, and after its return", async () => {
    note();
    await lab.apply(web("web", "10.96.1.7"));
    await answering("http://10.96.1.7/", 2);
    await lab.stopApiServer();
    await expect(lab.kubectl(["get", "nodes", "--request-timeout=2s"])).rejects.toThrow();
    await answering("http://10.96.1.7/", 2);
    await lab.startApiServer();
    await lab.apply(web("later", "10.96.1.8"));
    await answering("http://10.96.1.8/", 2);
  });
});

describe.skipIf(reason !== undefined)("two labs side by side", () => {
  afterAll(() => Promise.all(["lab-one", "lab-two"].map((name) => Cluster.remove(name))));

  it("have the same addresses and do not meet, and one outlives the other", async () => {
    const [one, two] = await Promise.all(["lab-one", "lab-two"].map((name) => Lab.up({ name, nodes: 1 })));
    if (!one || !two) throw new Error("unreachable");
    await one.kubectl(["create", "namespace", "only-one"]);
    expect(await two.kubectl(["get", "namespaces", "-o", "name"])).not.toContain("only-one");
    await one.powerOff("node1");
    expect(await one.arping(CLIENT, "172.20.0.11")).toEqual([]);
    await eventually(async () => expect(await two.arping(CLIENT, "172.20.0.11")).toHaveLength(1), { ...WITHIN, what: "the other lab's node to answer" });
    await one.down();
    expect(await two.kubectl(["get", "nodes", "-o", "name"])).toBe("node/node1\n");
    await two.down();
  });
});

describe.skipIf(reason !== undefined)("a lab whose starter was killed", () => {
  const name = "lab-left";

  afterAll(() => Cluster.remove(name));

  it("is cleaned up by the next up, and nothing else is touched", async () => {
    const script = `import { Lab } from ${JSON.stringify(`${import.meta.dirname}/lab.ts`)}; await Lab.up({ name: "${name}", nodes: 1 }); console.log("up"); setInterval(() => 0, 1000);`;
    const starter = spawn(NODE, ["--input-type=module", "-e", script], { stdio: ["ignore", "pipe", "inherit"] });
    await new Promise((resolve) => starter.stdout.once("data", resolve));
    const left = Cluster.find(name)?.processes.list() ?? [];
    expect(left.map((record) => record.name).sort()).toEqual(["apiserver", "controller-manager", "etcd", "kube-proxy-node1", "player"]);
    await expect(Lab.up({ name, nodes: 1 })).rejects.toThrow(/is running/);
    starter.kill("SIGKILL");
    await new Promise((resolve) => starter.once("exit", resolve));
    expect(left.every(isSameProcess)).toBe(true);

    const next = await Lab.up({ name, nodes: 1 });
    expect(left.some(isSameProcess)).toBe(false);
    await next.down();
    expect(await listNamespaces(name)).toEqual([]);
    expect(Cluster.find(name)).toBeUndefined();
  });

  it("never ends a process that took over a remembered pid", async () => {
    const cluster = await Cluster.create(name, 1, { stays: false });
    const bystander = spawn("sleep", ["60"]);
    const pid = bystander.pid ?? 0;
    const record = cluster.processes.remember("stranger", pid, ["sleep"]);
    expect(record).toBeDefined();
    // As the record would look had its process ended and the kernel reused the number.
    const { writeFileSync } = await import("node:fs");
    writeFileSync(`${cluster.folder.path}/processes/stranger.json`, JSON.stringify({ ...record, startTime: "1" }));
    await Cluster.remove(name);
    expect(bystander.exitCode).toBeNull();
    expect(bystander.signalCode).toBeNull();
    bystander.kill("SIGKILL");
  });
});
