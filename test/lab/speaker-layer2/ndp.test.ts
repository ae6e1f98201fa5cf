/** IPv6 on the segment: who answers neighbour solicitations, what is said unasked, and that packets arrive. */
import assert from "node:assert/strict";
import { afterEach, test } from "vitest";
import { clear, describeOnLab } from "../describe-on-lab.ts";
import { eventually } from "../eventually.ts";
import { CLIENT, type Lab } from "../lab.ts";
import { answererOtherThan } from "../leaders.ts";
import { askNeighbours, expectNeighbour } from "../neighbours.ts";
import { WITHIN, answeringLeader, expectSilence, leaderOf, serviceOf, settledLeader, untilCaptured } from "../observe.ts";
import { advertisement, pool } from "../resources.ts";
import { Heartbeats } from "../stalls.ts";
import { app } from "../walkthrough/manifests.ts";

const CONFIGURATION = `${pool("main", ["172.20.250.10-172.20.250.60", "fd00:20::1000-fd00:20::10ff"])}${advertisement("all")}---\n`;
const DUAL_STACK = ["ipFamilyPolicy: RequireDualStack"];
const IPV6_ONLY = ["ipFamilyPolicy: SingleStack", "ipFamilies: [IPv6]"];

/** How soon a kernel doubts that its neighbours are there, and how long it trusts traffic to show it. */
const NEIGHBOUR_SETTINGS = {
  impatient: ["net.ipv6.neigh.eth0.base_reachable_time_ms=500", "net.ipv6.neigh.eth0.delay_first_probe_time=0"],
  usual: ["net.ipv6.neigh.eth0.base_reachable_time_ms=30000", "net.ipv6.neigh.eth0.delay_first_probe_time=5"],
};
const WANTED_CHECKS = 3;

describeOnLab("NDP", { name: "ndp", nodes: 3, herald: { controllers: 1 } }, (lab) => {
  afterEach(() => clear(lab()));

  test("of a dual-stack Service the leader alone answers for both addresses, with its own MAC, and both reach pods", async () => {
    await lab().apply(CONFIGURATION + app({ name: "web", serviceSpec: DUAL_STACK }));
    const [ipv4 = "", ipv6 = ""] = await expectAddresses(lab(), "web", 2);
    assert.match(ipv6, /^fd00:20::10/);
    const leader = await answeringLeader(lab(), "web", ipv4);
    await expectNeighbour(lab(), ipv6, leader);
    for (const url of [`http://${ipv4}/`, `http://[${ipv6}]/`]) {
      const answer = await eventually(() => lab().curl(CLIENT, url), { ...WITHIN, what: `${url} answers` });
      assert.match(answer.pod, /^web-/);
    }
    // The kernel of the client asked as kernels do, and learned what ndisc6 was told.
    const mac = await lab().nodeMac(leader);
    await eventually(async () => {
      await lab().curl(CLIENT, `http://[${ipv6}]/`);
      const { stdout } = await lab().exec(CLIENT, ["ip", "-6", "neigh", "show", ipv6]);
      assert.ok(stdout.toLowerCase().includes(mac), `${mac} of ${leader} is not in '${stdout.trim()}'`);
    }, { ...WITHIN, what: `the client's kernel has the MAC of ${leader}` });
  });

  test("the node is in the address's solicited-node group while it announces it, and in no other", async () => {
    await lab().apply(CONFIGURATION + app({ name: "web", serviceSpec: IPV6_ONLY }));
    const [address = ""] = await expectAddresses(lab(), "web", 1);
    const group = `ff02::1:ff00:${address.split(":").at(-1)}`;
    await eventually(async () => assert.deepEqual(await membersOf(lab(), group), [await leaderOf(lab(), "web")]), { ...WITHIN, what: `the leader joins ${group}` });
    await lab().kubectl(["delete", "service", "web", "-n", "default"]);
    await eventually(async () => assert.deepEqual(await membersOf(lab(), group), []), { ...WITHIN, what: `everybody has left ${group}` });
  });

  test("a host that is about to take the address learns that it is in use", async () => {
    await lab().apply(CONFIGURATION + app({ name: "web", serviceSpec: IPV6_ONLY }));
    const [address = ""] = await expectAddresses(lab(), "web", 1);
    await expectNeighbour(lab(), address, await settledLeader(lab(), "web"));
    await succeed(lab(), ["sysctl", "-q", "-w", "net.ipv6.conf.eth0.accept_dad=1", "net.ipv6.conf.all.accept_dad=1"]);
    try {
      await succeed(lab(), ["ip", "address", "add", `${address}/128`, "dev", "eth0"]);
      await eventually(async () => {
        const { stdout } = await lab().exec(CLIENT, ["ip", "-6", "address", "show", "dev", "eth0"]);
        assert.match(stdout, new RegExp(`${address}/128 .*dadfailed`));
      }, { ...WITHIN, what: "the client gives the address up" });
    } finally {
      await lab().exec(CLIENT, ["ip", "address", "delete", `${address}/128`, "dev", "eth0"]);
      await succeed(lab(), ["sysctl", "-q", "-w", "net.ipv6.conf.eth0.accept_dad=0", "net.ipv6.conf.all.accept_dad=0"]);
    }
  });

  test("a neighbour that checks by unicast whether the address is still there is answered each time, and traffic goes on", async () => {
    await lab().apply(CONFIGURATION + app({ name: "web", serviceSpec: IPV6_ONLY, udp: true }));
    const [address = ""] = await expectAddresses(lab(), "web", 1);
    const leader = await settledLeader(lab(), "web");
    await expectNeighbour(lab(), address, leader);
    const [client, node] = [await lab().nodeMac(CLIENT), await lab().nodeMac(leader)];
    await eventually(() => lab().curl(CLIENT, `http://[${address}]/`), { ...WITHIN, what: "the address answers" });
    await succeed(lab(), ["sysctl", "-q", "-w", ...NEIGHBOUR_SETTINGS.impatient]);
    const capture = await lab().capture(CLIENT, "icmp6 and (ip6[40] = 135 or ip6[40] = 136)");
    const checked = async (): Promise<{ readonly lines: readonly string[]; readonly checks: readonly string[]; readonly answers: readonly string[] }> => {
      const lines = await capture.frames();
      const checks = lines.filter((line) => line.includes(`${client} > ${node}`) && line.includes(`who has ${address}`));
      return { lines, checks, answers: lines.filter((line) => line.includes(`${node} > ${client}`) && line.includes(`tgt is ${address}`)) };
    };
    const heartbeats = await Heartbeats.start(lab());
    try {
      await succeed(lab(), ["ip", "-6", "neigh", "flush", "dev", "eth0"]);
      await eventually(async () => {
        // TCP would tell the kernel by itself that the neighbour is there.
        await succeed(lab(), ["bash", "-c", `echo > /dev/udp/${address}/81`]);
        const { checks, answers } = await checked();
        assert.ok(checks.length >= WANTED_CHECKS, `${checks.length} checks by unicast and ${answers.length} answers`);
      }, { ...WITHIN, intervalMs: 100, what: `${WANTED_CHECKS} checks by unicast` });
    } finally {
      await succeed(lab(), ["sysctl", "-q", "-w", ...NEIGHBOUR_SETTINGS.usual]);
    }
    await eventually(() => lab().curl(CLIENT, `http://[${address}]/`), { ...WITHIN, what: "the address still answers" });
    // Whoever answers may be a little behind; and the capture, too.
    await heartbeats.hold(() => eventually(async () => {
      const { checks, answers, lines } = await checked();
      assert.ok(answers.length >= checks.length, `${answers.length} answers to ${checks.length} checks by unicast\n${lines.join("\n")}`);
    }, { ...WITHIN, what: "an answer to each check" }));
    await heartbeats.stop();
    await capture.stop();
  });

  test("the leader loses power: another says at once to all that the address is here, and answers; after deletion nobody does", async () => {
    await lab().apply(CONFIGURATION + app({ name: "web", serviceSpec: DUAL_STACK }));
    const [ipv4 = "", ipv6 = ""] = await expectAddresses(lab(), "web", 2);
    const first = await settledLeader(lab(), "web");
    await expectNeighbour(lab(), ipv6, first);
    const capture = await lab().capture(CLIENT, `icmp6 and ip6[40] = 136 and src host ${ipv6} and dst host ff02::1`);
    await lab().powerOff(first);
    const second = await answererOtherThan(lab(), "web", ipv4, [first]);
    await expectNeighbour(lab(), ipv6, second);
    const mac = await lab().nodeMac(second);
    // The sixth comes a minute later.
    const said = await untilCaptured(capture, (line) => line.includes(`${mac} > 33:33:00:00:00:01`), 2, `unsolicited advertisements of ${second}`);
    await capture.stop();
    for (const line of said) assert.match(line, /neighbor advertisement, tgt is fd00:20::10/);
    await lab().restore(first);
    await lab().kubectl(["delete", "service", "web", "-n", "default"]);
    await eventually(async () => assert.deepEqual(await askNeighbours(lab(), ipv6), []), { ...WITHIN, what: `silence for ${ipv6}` });
    await expectSilence(lab(), ipv4);
  });
});

/** Waits until the Service has so many addresses, IPv4 before IPv6. */
function expectAddresses(lab: Lab, name: string, count: number): Promise<string[]> {
  return eventually(async () => {
    const addresses = ((await serviceOf(lab, name)).status.loadBalancer.ingress ?? []).map(({ ip = "" }) => ip);
    assert.equal(addresses.length, count, addresses.join(" "));
    return addresses.toSorted((a, b) => Number(a.includes(":")) - Number(b.includes(":")));
  }, { ...WITHIN, what: `${name} gets ${count} addresses` });
}

/** Nodes that are members of the group on eth0. */
async function membersOf(lab: Lab, group: string): Promise<string[]> {
  const members: string[] = [];
  for (const node of lab.nodes) {
    const { stdout } = await lab.exec(node, ["ip", "maddress", "show", "dev", "eth0"]);
    if (stdout.split(/\s+/).includes(group)) members.push(node);
  }
  return members;
}

async function succeed(lab: Lab, argv: readonly string[]): Promise<void> {
  const { code, stderr } = await lab.exec(CLIENT, argv);
  assert.equal(code, 0, stderr);
}
