/** Speakers that reach each other by IPv6 alone: heartbeats, questions to a silent node's kernel, and hearing. */
import assert from "node:assert/strict";
import { test } from "vitest";
import { describeOnLab } from "../describe-on-lab.ts";
import { eventually } from "../eventually.ts";
import { answererOtherThan, expectStays } from "../leaders.ts";
import { WITHIN, answeringLeader, expectAddress } from "../observe.ts";
import { advertisement, pool } from "../resources.ts";
import { app } from "../walkthrough/manifests.ts";

const NODES = 3;
/** The lab's nodes are fd00:20::11 and on. */
const speakerOverrides = Object.fromEntries(Array.from({ length: NODES }, (_, index) => [`node${index + 1}`, { args: [`--ml-bindaddr=${nodeAddress(`node${index + 1}`)}`] }]));

describeOnLab("membership over IPv6", { name: "ndp-members", nodes: NODES, herald: { controllers: 1, speakerOverrides } }, (lab) => {
  test("the leader's power is cut, and another leads and answers; it comes back and takes nothing", async () => {
    await lab().apply(`${pool("main", ["172.20.250.10-172.20.250.60"])}${advertisement("all")}---\n${app({ name: "web" })}`);
    const address = await expectAddress(lab(), "web");
    const first = await answeringLeader(lab(), "web", address);
    const witness = lab().nodes.find((node) => node !== first) ?? "";
    const capture = await lab().capture(witness, "udp port 7946 or icmp6");
    await lab().powerOff(first);
    const second = await answererOtherThan(lab(), "web", address, [first]);
    // The witness's kernel asks too, for its own ends, but once a second at most (RFC 4861 §10, RETRANS_TIMER).
    const mac = await lab().nodeMac(witness);
    const lines = await eventually(async () => {
      const captured = await capture.frames();
      const askedAtMs = captured.filter((line) => line.includes(`${mac} >`) && line.includes(`who has ${nodeAddress(first)},`)).map((line) => Number(line.split(" ")[0]) * 1000);
      const gaps = askedAtMs.slice(1).map((atMs, index) => atMs - (askedAtMs[index] ?? atMs));
      assert.ok(gaps.filter((gap) => gap < 800).length >= 2, `solicitations for the silent node at ${askedAtMs.join(" ")}`);
      return captured;
    }, { ...WITHIN, what: `${witness} asks the silent node's kernel` });
    await capture.stop();
    const beats = lines.filter((line) => line.includes(".7946"));
    assert.ok(beats.length > 0 && beats.every((line) => line.includes("ethertype IPv6")), beats.slice(0, 5).join("\n"));
    await lab().restore(first);
    await lab().waitForNode(first, "True");
    await expectStays(lab(), { name: "web", address, node: second });
  });
});

function nodeAddress(node: string): string {
  return `fd00:20::1${node.replace("node", "")}`;
}
