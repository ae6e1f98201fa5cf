import assert from "node:assert/strict";
import { join } from "node:path";
import { eventually } from "../../test/lab/eventually.ts";
import { type HeraldOptions, checkHeraldBuilt } from "../../test/lab/herald.ts";
import { CLIENT, Lab, whyNoLab } from "../../test/lab/lab.ts";
import { metricOf } from "../../test/lab/metrics.ts";
import { BACKEND_HOST, CONTROL_HOST } from "../../test/lab/hosts.ts";
import { NODE } from "../../test/lab/programs.ts";
import { BENCH_POOL } from "../bench-pool.ts";

/** What the failover benches look at: three nodes, and a Service whose pods run on a host of their own, so that no node's loss takes a pod. */
export interface Scene {
  readonly lab: Lab;
  /** The Service's address, and the ports that the pods answer on. */
  readonly address: string;
  readonly tcpPort: number;
  readonly udpPort: number;
  /** The node that answers for the address. */
  leader(): Promise<string>;
  /** Waits until every node is Ready, every speaker knows all others, and one node answers. */
  whole(): Promise<void>;
}

export interface SceneOptions {
  /** Name of the lab. */
  readonly name: string;
  /** What differs in how Herald is started; "none": it is not, and somebody else announces the address. */
  readonly herald?: HeraldOptions | "none";
  /** Pods behind the Service; 2 when left out. */
  readonly replicas?: number;
}

const ADDRESS = "172.20.255.200";
const TCP_PORT = 80;
const UDP_PORT = 81;
/** After a failure a node, its programs and the API's view of them take a while to come back. */
const WHOLE = { timeoutMs: 90_000, intervalMs: 300 } as const;
const NODES = 3;

/** Sets the scene in a fresh lab, plays, and takes the lab down in any case. A failure is told and becomes the exit code. */
export async function onScene({ name, herald = {}, replicas = 2 }: SceneOptions, play: (scene: Scene) => Promise<void>): Promise<void> {
  const reason = whyNoLab();
  if (reason !== undefined) throw new Error(reason);
  if (herald !== "none") checkHeraldBuilt();
  const lab = await Lab.up({ name, nodes: NODES });
  let failed = true;
  try {
    if (herald !== "none") await lab.startHerald(herald);
    if (herald !== "none") await lab.apply(BENCH_POOL);
    await lab.apply(pods(replicas));
    await lab.apply(service(herald === "none" ? `type: ClusterIP\n  externalIPs: [${ADDRESS}]` : `type: LoadBalancer\n  loadBalancerIP: ${ADDRESS}`));
    await lab.kubectl(["rollout", "status", "deployment/bench", "--timeout=60s"]);
    const scene = sceneOf(lab, herald !== "none" && herald.membership !== false);
    if (herald !== "none") await scene.whole();
    await play(scene);
    failed = false;
  } finally {
    await lab.down({ failed });
  }
}

function sceneOf(lab: Lab, hasMembership: boolean): Scene {
  const answering = async (count: number): Promise<string> => {
    const macs = new Set(await lab.arping(CLIENT, ADDRESS, { count }));
    for (const node of lab.nodes) if (macs.size === 1 && macs.has(await lab.nodeMac(node))) return node;
    throw new Error(`answers for ${ADDRESS} come from [${[...macs].join(" ")}]`);
  };
  return {
    lab,
    address: ADDRESS,
    tcpPort: TCP_PORT,
    udpPort: UDP_PORT,
    leader: () => eventually(() => answering(1), { timeoutMs: 20_000, what: "somebody to answer" }),
    async whole() {
      await eventually(async () => {
        // The host of the pods is a Node too, excluded from load balancers: its speaker is a member, never a candidate.
        const speakers = (await lab.kubectl(["get", "pods", "-n", "metallb-system", "-l", "app.kubernetes.io/component=speaker", "-o", `jsonpath={range .items[*]}{.status.conditions[?(@.type=="Ready")].status} {end}`])).trim().split(" ");
        assert.deepEqual(speakers, [...lab.nodes, BACKEND_HOST].map(() => "True"), "speakers' readiness");
        const nodes = await lab.kubectl(["get", "nodes", "-l", "!node.kubernetes.io/exclude-from-external-load-balancers", "-o", `jsonpath={range .items[*]}{.status.conditions[?(@.type=="Ready")].status} {end}`]);
        assert.equal(nodes.trim(), lab.nodes.map(() => "True").join(" "), "nodes' readiness");
        for (const node of hasMembership ? lab.nodes : []) {
          assert.equal(await metricOf(lab, { node, program: "speaker" }, "herald_members", { state: "alive" }), lab.nodes.length, `members that ${node} knows`);
        }
        await answering(3);
      }, { ...WHOLE, what: "the cluster to be whole" });
    },
  };
}

function pods(replicas: number): string {
  return `apiVersion: apps/v1
kind: Deployment
metadata: {name: bench, namespace: default}
spec:
  replicas: ${replicas}
  selector: {matchLabels: {app: bench}}
  template:
    metadata: {labels: {app: bench}}
    spec:
      nodeSelector: {kubernetes.io/hostname: ${BACKEND_HOST}}
      containers:
      - {name: web, image: "web", ports: [{containerPort: 8080}, {containerPort: 8081, protocol: UDP}]}
`;
}

/** Creates more Services before the same pods, which get addresses of their own. */
export async function createServices({ lab }: Scene, count: number): Promise<void> {
  const program = [NODE, join(import.meta.dirname, "create-services.ts"), String(count)];
  const { code, stderr } = await lab.exec(CONTROL_HOST, ["env", `KUBECONFIG=${join(lab.logFolder, "../kubeconfig")}`, ...program], { timeoutMs: 300_000 });
  assert.equal(code, 0, stderr);
}

/** The scene's own Service. @param spec more lines of its spec, indented by two but for the first */
function service(spec: string): string {
  return `apiVersion: v1
kind: Service
metadata: {name: bench, namespace: default}
spec:
  ${spec}
  selector: {app: bench}
  ports:
  - {name: tcp, protocol: TCP, port: ${TCP_PORT}, targetPort: 8080}
  - {name: udp, protocol: UDP, port: ${UDP_PORT}, targetPort: 8081}
`;
}
