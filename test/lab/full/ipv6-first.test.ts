/** A cluster whose first family is IPv6, with kube-proxy in nftables mode: membership, Services of either and of both families, failover, webhooks, metrics. */
import assert from "node:assert/strict";
import { beforeAll, test } from "vitest";
import { readToken } from "../control-plane.ts";
import { eventually } from "../eventually.ts";
import { CLIENT } from "../lab.ts";
import { leaderOtherThan } from "../leaders.ts";
import { askNeighbours, expectNeighbour } from "../neighbours.ts";
import { expectAnswerFrom, serviceOf, settledLeader, untilCaptured } from "../observe.ts";
import { HERALD_NAMESPACE } from "../pods.ts";
import { Prober } from "../prober.ts";
import { advertisement, pool } from "../resources.ts";
import { Heartbeats, longestOf } from "../stalls.ts";
import { labFolder } from "../state.ts";
import { type AppOptions, app, deployment, service } from "../walkthrough/manifests.ts";
import { BUDGET, expectMembers } from "./clients.ts";
import { describeOnFullLab } from "./describe-on-full-lab.ts";
import type { FullLab } from "./full-lab.ts";

/** The client as pods see it, if nobody hides it. */
const CLIENT_ADDRESSES = { ipv4: "172.20.0.100", ipv6: "fd00:20::100" } as const;

/** The longest gap that a client may see; a machine where speakers stand still is allowed that on top. bench/failover measures it properly. */
const GAP_LIMIT_MS = 5_000;

const POOLS = [
  pool("six", ["fd00:20::1000-fd00:20::10ff"]),
  pool("both", ["172.20.250.10-172.20.250.60", "fd00:20::2000-fd00:20::20ff"]),
  advertisement("all"),
].join("");

/** Services behind the pods of one Deployment, what each asks for, and what it gets. */
const SERVICES = [
  { name: "single", pool: "six", spec: ["ipFamilyPolicy: SingleStack"], gets: ["fd00:20::1000"] },
  { name: "require", pool: "both", spec: ["ipFamilyPolicy: RequireDualStack"], gets: ["172.20.250.10", "fd00:20::2000"] },
  { name: "prefer", pool: "both", spec: ["ipFamilyPolicy: PreferDualStack"], gets: ["172.20.250.11", "fd00:20::2001"] },
  { name: "content", pool: "six", spec: ["ipFamilyPolicy: PreferDualStack"], gets: ["fd00:20::1001"] },
  { name: "four", pool: "both", spec: ["ipFamilyPolicy: SingleStack", "ipFamilies: [IPv4]"], gets: ["172.20.250.12"] },
] as const;

describeOnFullLab("IPv6 first, with nftables", { name: "six", nodes: 2, family: "ipv6", proxyMode: "nftables", backend: true, herald: {} }, (lab) => {
  beforeAll(async () => {
    await lab().apply(`${POOLS}${deployment({ name: "shared", nodeName: "backend" })}`);
    await lab().kubectl(["rollout", "status", "deployment/shared", "--timeout=180s"], { timeoutMs: 185_000 });
  });

  test("every speaker is a member of the others, over IPv6 alone", async () => {
    await expectMembers(lab());
    const capture = await lab().capture("node1", "port 7946");
    await lab().crashSpeaker("node2");
    const pod = ["get", "pods", "-n", HERALD_NAMESPACE, "-l", "app.kubernetes.io/component=speaker", "--field-selector=spec.nodeName=node2", "--no-headers"];
    await eventually(async () => assert.match(await lab().kubectl(pod), /\s1\/1\s+Running\s+1\s/), { ...BUDGET, what: "the speaker of node2 to be back" });
    await expectMembers(lab());
    const lines = await untilCaptured(capture, () => true, 1, "what the speakers say to each other");
    await capture.stop();
    for (const line of lines) assert.match(line, /ethertype IPv6/);
  });

  test("Services of one family and of two get what their policies ask for, one node answers for each, and pods are reached over both", async () => {
    for (const { name, pool: from, spec, gets } of SERVICES) {
      await lab().apply(service({ name, backend: "shared", serviceSpec: spec, annotations: { "metallb.io/address-pool": from } }));
      await expectAddresses(lab(), name, gets);
    }
    for (const { name, gets } of SERVICES) {
      const leader = await eventually(async () => {
        const now = await settledLeader(lab(), name);
        for (const address of gets) await expectOnlyAnswer(lab(), address, now);
        return now;
      }, { ...BUDGET, what: `one leader of ${name} that answers for ${gets.join(" and ")}` });
      console.log(`${name} at ${gets.join(" and ")} on ${leader}`);
      for (const address of gets) {
        const { node, address: asked } = await eventually(() => lab().curl(CLIENT, urlOf(address)), { ...BUDGET, what: `${urlOf(address)} answers` });
        assert.equal(node, "backend");
        assert.equal(asked.includes(":"), address.includes(":"), `${address} was passed on to ${asked}`);
      }
    }
    await lab().kubectl(["delete", "service", "-n", "default", ...SERVICES.map(({ name }) => name)]);
  });

  test("the leader of both addresses loses its power: another answers for both", async () => {
    await lab().apply(service({ name: "busy", backend: "shared", udp: true, serviceSpec: ["ipFamilyPolicy: RequireDualStack"] }));
    const addresses = await expectAddresses(lab(), "busy");
    assert.equal(addresses.length, 2, addresses.join(" "));
    const first = await settledLeader(lab(), "busy");
    for (const address of addresses) await expectHeldBy(lab(), address, first);
    const probers = await Promise.all(addresses.map(async (address) => ({ address, prober: await Prober.start({ lab: lab(), address, tcpPort: 80, udpPort: 81 }) })));
    const heartbeats = await Heartbeats.start(lab());
    const since = Date.now();
    await lab().powerOff(first);
    const second = await leaderOtherThan(lab(), "busy", [first]);
    for (const address of addresses) await expectHeldBy(lab(), address, second);
    for (const { address, prober } of probers) {
      await prober.untilSteady(Date.now());
      const seen = await prober.stop();
      const stalled = Math.round(longestOf(await heartbeats.silences(), [first]));
      const gaps = { udp: Math.round(seen.longestSilenceMs("udp", since)), tcp: Math.round(seen.longestSilenceMs("tcp", since)), stalled };
      console.log(`${first} lost its power, ${second} answers for ${address}; longest gap between two answers: UDP ${gaps.udp} ms, TCP ${gaps.tcp} ms`);
      // A pod's kernel takes connections while the pod stands still; its answers over UDP wait for it.
      assert.ok(gaps.tcp < GAP_LIMIT_MS + stalled, `${address}: ${JSON.stringify(gaps)}`);
    }
    await lab().restore(first);
    await lab().waitForNode(first, "True");
    await expectMembers(lab());
    await heartbeats.hold(async () => {
      for (const address of addresses) await expectHeldBy(lab(), address, second);
    }, [first]);
    await heartbeats.stop();
    await lab().kubectl(["delete", "service", "busy", "-n", "default"]);
  });

  test("externalTrafficPolicy Local: the node with the pod leads, and the pod sees the client's address of either family", async () => {
    const options: AppOptions = { name: "local", nodeName: "node1", replicas: 1, externalTrafficPolicy: "Local", serviceSpec: ["ipFamilyPolicy: RequireDualStack"] };
    await lab().apply(app(options));
    const addresses = await expectAddresses(lab(), "local");
    assert.equal(addresses.length, 2, addresses.join(" "));
    for (const address of addresses) {
      await expectHeldBy(lab(), address, "node1");
      const { node, client } = await eventually(() => lab().curl(CLIENT, urlOf(address)), { ...BUDGET, what: `${urlOf(address)} answers` });
      assert.deepEqual([node, client], ["node1", address.includes(":") ? CLIENT_ADDRESSES.ipv6 : CLIENT_ADDRESSES.ipv4]);
    }
    await lab().kubectl(["delete", "service,deployment", "local", "-n", "default", "--wait=false"]);
  });

  test("the webhooks answer at an IPv6 Service", async () => {
    const { spec } = await lab().get("service", HERALD_NAMESPACE, "metallb-webhook-service") as { spec: { clusterIPs: string[] } };
    assert.match(spec.clusterIPs.join(" "), /^fd00:96::\S+$/);
    // They are asked with failurePolicy Ignore: who refuses this is a webhook that answers.
    await eventually(() => assert.rejects(lab().apply(pool("upside-down", ["fd00:20::30ff-fd00:20::3000"])), /admission webhook "\S+" denied the request/), { ...BUDGET, what: "a webhook to refuse a pool" });
  });

  test("/metrics of speakers and controllers are reached over IPv6, by those who may", async () => {
    const jsonpath = 'jsonpath={range .items[*]}{.metadata.labels.app\\.kubernetes\\.io/component} {.status.podIPs[0].ip}{"\\n"}{end}';
    const pods = (await lab().kubectl(["get", "pods", "-n", HERALD_NAMESPACE, "-o", jsonpath])).trim().split("\n").map((line) => line.split(" "));
    assert.deepEqual(pods.map(([component]) => component).toSorted(), ["controller", "controller", "speaker", "speaker", "speaker"]);
    for (const [component, address = ""] of pods) {
      assert.match(address, /^fd00:/);
      const ask = (...more: string[]): Promise<{ stdout: string; stderr: string }> => lab().exec("node1", ["curl", "-sS", "-g", "--insecure", "--max-time", "10", ...more, `https://[${address}]:9120/metrics`]);
      await eventually(async () => {
        const { stdout, stderr } = await ask("-H", `Authorization: Bearer ${readToken(labFolder(lab().name))}`);
        const wanted = component === "speaker" ? /^herald_members\{.*state="alive".*\} 2$/m : /^metallb_k8s_client_config_loaded_bool [01]$/m;
        assert.match(stdout, wanted, `${component} at ${address}: ${stderr} ${stdout.split("\n").filter((line) => /^herald_members|config_loaded/.test(line)).join("; ")}`);
        const refused = await ask("-o", "/dev/null", "-w", "%{http_code}");
        assert.equal(refused.stdout, "401", `${component} at ${address}: ${refused.stdout} ${refused.stderr}`);
      }, { ...BUDGET, what: `/metrics of the ${component} at ${address}` });
    }
  });
});

function urlOf(address: string): string {
  return `http://${address.includes(":") ? `[${address}]` : address}/`;
}

/** Waits until the Service has its addresses: these, or any when none are given. */
function expectAddresses(lab: FullLab, name: string, expected?: readonly string[]): Promise<string[]> {
  return eventually(async () => {
    const { status } = await serviceOf(lab, name);
    const addresses = (status.loadBalancer.ingress ?? []).map(({ ip = "" }) => ip);
    assert.ok(addresses.length > 0);
    if (expected !== undefined) assert.deepEqual(addresses, expected);
    return addresses;
  }, { ...BUDGET, what: `${name} gets ${expected?.join(" and ") ?? "addresses"}` });
}

/** This node is the only one that answers for an address of either family. */
async function expectOnlyAnswer(lab: FullLab, address: string, node: string): Promise<void> {
  if (!address.includes(":")) return expectAnswerFrom(lab, address, node);
  const [macs, mac] = [[...new Set(await askNeighbours(lab, address))], await lab.nodeMac(node)];
  assert.deepEqual(macs, [mac], `for ${address} answers ${macs.join(" and ") || "nobody"} instead of ${mac} of ${node}`);
}

/** Waits until this node is the only one that answers for an address of either family. */
async function expectHeldBy(lab: FullLab, address: string, node: string): Promise<void> {
  if (address.includes(":")) await expectNeighbour(lab, address, node);
  else await eventually(() => expectAnswerFrom(lab, address, node), { ...BUDGET, what: `${node} answers for ${address}` });
}
