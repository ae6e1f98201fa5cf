import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "vitest";
import { describeOnLab } from "../describe-on-lab.ts";
import { eventually } from "../eventually.ts";
import { BACKEND_HOST } from "../hosts.ts";
import type { ProgramOverride } from "../pods.ts";
import type { Lab } from "../lab.ts";
import { expectAnswersAsTold } from "../leaders.ts";
import { metricOf } from "../metrics.ts";
import { WITHIN, expectAnswerFrom } from "../observe.ts";
import { BUDGET, type Leaders, NAMES, expectMembers, membersOf, setScene } from "./scene.ts";

describeOnLab("one node's secret", { name: "secrets", nodes: 3, herald: { controllers: 1 } }, (lab) => {
  test("the key is the cluster's Secret, and nobody logs it", async () => {
    await setScene(lab());
    const secret = await lab().get("secret", "metallb-system", "memberlist") as { data: { secretkey: string } };
    const text = Buffer.from(secret.data.secretkey, "base64").toString();
    for (const node of lab().nodes) {
      const log = logOf(lab(), node);
      assert.match(log, /"event":"membershipOn".*"encrypted":true/);
      assert.ok(!log.includes(text) && !log.includes(secret.data.secretkey) && !log.includes(Buffer.from(text).toString("hex")), `${node} wrote its key to the log`);
    }
  });

  for (const { title, override, here, there } of [
    { title: "another text", override: { secret: { secretkey: "this is not the others' secret" } }, here: "decryptionFailed", there: "decryptionFailed" },
    { title: "no key", override: { env: { METALLB_ML_SECRET_KEY_PATH: "" } }, here: "unexpectedEncryption", there: "notEncrypted" },
  ]) {
    test(`${title} on node3: it is no member, each side counts what it drops, and the others lead together; mended, it is one again`, async () => {
      await restartWith(lab(), { node3: override });
      await expectMembers(lab(), ["node1", "node2", BACKEND_HOST]);
      assert.equal(await membersOf(lab(), "node3", "alive"), 0);
      await expectDropped(lab(), "node3", here);
      await expectDropped(lab(), "node1", there);
      // Whatever node3 does on its side, of the other two exactly one answers for each address.
      const mine = await lab().nodeMac("node3");
      for (const name of NAMES) {
        const address = await addressOfService(lab(), name);
        await eventually(async () => {
          const macs = new Set((await lab().arping("client", address, { count: 3 })).filter((mac) => mac !== mine));
          assert.equal(macs.size, 1, [...macs].join(" "));
        }, { ...WITHIN, what: `one of node1 and node2 answers for ${name}` });
      }
      await restartWith(lab(), {});
      await expectMembers(lab());
      const after = await expectAnswersAsTold(lab(), NAMES);
      await expectAllAnswer(lab(), after);
    });
  }

  test("a folder without the file: that speaker refuses to start and says why, and the others go on", async () => {
    await lab().stopHerald();
    // The backend's speaker stands in for the one that never gets Ready.
    await lab().startHerald({ controllers: 1, speakerOverrides: { node3: { env: { METALLB_ML_SECRET_KEY_PATH: "/nowhere" } } } });
    await eventually(() => assert.match(logOf(lab(), "node3"), /"event":"membershipRefused".*there is no file \/nowhere\/secretkey/), { ...WITHIN, what: "node3 says why it does not start" });
    await expectMembers(lab(), ["node1", "node2", BACKEND_HOST]);
    const leaders = await expectAnswersAsTold(lab(), NAMES);
    assert.ok(![...leaders.values()].some(({ node }) => node === "node3"));
  });
});

/** Starts Herald anew with what differs on some nodes. */
async function restartWith(lab: Lab, speakerOverrides: Readonly<Record<string, ProgramOverride>>): Promise<void> {
  await lab.stopHerald();
  await lab.startHerald({ controllers: 1, speakerOverrides });
}

async function expectDropped(lab: Lab, node: string, reason: string): Promise<void> {
  await eventually(async () => assert.ok((await metricOf(lab, { node, program: "speaker" }, "herald_packets_dropped_total", { reason }) ?? 0) > 0), { ...BUDGET, what: `${node} counts ${reason}` });
}

async function expectAllAnswer(lab: Lab, leaders: Leaders): Promise<void> {
  for (const { address, node } of leaders.values()) await eventually(() => expectAnswerFrom(lab, address, node), { ...WITHIN, what: `${node} answers for ${address}` });
}

async function addressOfService(lab: Lab, name: string): Promise<string> {
  const found = await lab.get("service", "default", name) as { status: { loadBalancer: { ingress: { ip: string }[] } } };
  return found.status.loadBalancer.ingress[0]?.ip ?? "";
}

function logOf(lab: Lab, node: string): string {
  return readFileSync(join(lab.logFolder, `speaker-${node}.log`), "utf8");
}
