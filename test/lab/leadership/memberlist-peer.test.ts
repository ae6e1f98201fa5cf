/**
 * A member that runs hashicorp/memberlist itself, with its default timers, beside real speakers: each side sees the other
 * alive, sees it leave, and sees it die. Its name is no node's: it announces nothing.
 */
import assert from "node:assert/strict";
import { test } from "vitest";
import { MemberlistPeer } from "../../peers/memberlist/peer.ts";
import { memberlistProgram } from "../../peers/memberlist/program.ts";
import { describeOnLab } from "../describe-on-lab.ts";
import { eventually } from "../eventually.ts";
import { BACKEND_HOST, hostsOf } from "../hosts.ts";
import { CLIENT, type Lab } from "../lab.ts";
import { metricOf } from "../metrics.ts";
import { BUDGET, membersOf, setScene, speakersOf } from "./scene.ts";

/** How long nobody may suspect anybody: ten minutes where HERALD_LONG is set, and here as much as a test can wait. */
const QUIET_MS = process.env["HERALD_LONG"] === undefined ? 20_000 : 600_000;
/** Why there is no such member on this machine; undefined when there is. */
const missing = whyNoPeer();

/** memberlist declares a silent member dead after about six seconds, and its log may say so a little later. */
const DEATH = { timeoutMs: 60_000 } as const;

for (const { title, name, encrypted } of [{ title: "encrypted", name: "peer", encrypted: true }, { title: "in the clear", name: "peer-plain", encrypted: false }]) {
  const env: Record<string, string> = encrypted ? {} : { METALLB_ML_SECRET_KEY_PATH: "" };
  const speakerOverrides = Object.fromEntries(["node1", "node2", "node3", BACKEND_HOST].map((node) => [node, { env }]));
  describeOnLab(`a member of hashicorp/memberlist, ${title}`, { name, nodes: 3, herald: { controllers: 1, speakerOverrides } }, (lab) => {
    test.skipIf(missing !== undefined)(`each sees the other alive, leave and die${missing === undefined ? "" : ` (${missing})`}`, { timeout: QUIET_MS + 180_000 }, async () => {
      await setScene(lab());
      {
        await using peer = await startPeer(lab(), encrypted);
        await expectTogether(lab(), peer);
        await expectQuiet(lab(), peer);

        // A speaker leaves and comes back.
        await lab().stopSpeaker("node2");
        await peer.until("it sees node2 leave", () => peer.events.some(({ event, member }) => event === "leave" && member?.name === "node2"), DEATH.timeoutMs);
        await lab().restore("node2");
        await expectTogether(lab(), peer);

        // A speaker dies and comes back.
        const heard = peer.events.length;
        await lab().powerOff("node3");
        await peer.until("it sees node3 die", () => peer.events.slice(heard).some(({ event, member }) => event === "leave" && member?.name === "node3"), DEATH.timeoutMs);
        await lab().restore("node3");
        await lab().waitForNode("node3", "True");
        await expectTogether(lab(), peer);

        await peer.leave();
        for (const node of lab().nodes) await expectPeer(lab(), node, "left");
      }
      await using second = await startPeer(lab(), encrypted);
      await expectTogether(lab(), second);
      await second.kill();
      for (const node of lab().nodes) await expectPeer(lab(), node, "dead");
    });
  });
}

const PEER = "gopher";

function whyNoPeer(): string | undefined {
  try {
    memberlistProgram();
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

async function startPeer(lab: Lab, encrypted: boolean): Promise<MemberlistPeer> {
  const secret = await lab.get("secret", "metallb-system", "memberlist") as { data: { secretkey: string } };
  const text = Buffer.from(secret.data.secretkey, "base64").toString();
  const peer = await MemberlistPeer.start({ namespace: lab.namespace(CLIENT), name: PEER, bind: addressOf(CLIENT), ...(encrypted ? { secret: text } : {}) });
  await eventually(async () => assert.ok(await peer.join(`${addressOf("node1")}:7946`) > 0, "nobody answered"), { ...BUDGET, what: "it joins" });
  return peer;
}

/** Waits until the peer knows every speaker to be alive and every speaker knows the peer to be. */
async function expectTogether(lab: Lab, peer: MemberlistPeer): Promise<void> {
  await eventually(async () => {
    const alive = (await peer.members()).filter(({ state }) => state === "alive").map(({ name }) => name);
    assert.deepEqual(alive.toSorted(), [PEER, ...speakersOf(lab)].toSorted());
  }, { ...BUDGET, what: "it knows every speaker" });
  for (const node of speakersOf(lab)) await eventually(async () => assert.equal(await membersOf(lab, node, "alive"), speakersOf(lab).length), { ...BUDGET, what: `${node} knows the others and the peer` });
}

/** For a while nobody suspects anybody, on either side. */
async function expectQuiet(lab: Lab, peer: MemberlistPeer): Promise<void> {
  const suspicions = async (): Promise<number[]> => Promise.all(lab.nodes.map(async (node) => await metricOf(lab, { node, program: "speaker" }, "herald_member_changes_total", { state: "suspect" }) ?? 0));
  const before = await suspicions();
  const [heard, logged] = [peer.events.length, peer.log.length];
  const end = performance.now() + QUIET_MS;
  await eventually(async () => {
    assert.deepEqual(await suspicions(), before, "a speaker suspected somebody");
    assert.ok(performance.now() > end);
  }, { timeoutMs: QUIET_MS + 10_000, intervalMs: 1000, what: "a quiet time" });
  assert.deepEqual(await suspicions(), before, "a speaker suspected somebody");
  assert.deepEqual(peer.events.slice(heard).filter(({ event }) => event === "leave"), []);
  assert.doesNotMatch(peer.log.slice(logged), /suspect/i);
}

/** Waits until the speaker on a node has the peer in this state: it is the only member ever to leave or die for good. */
async function expectPeer(lab: Lab, node: string, state: "dead" | "left"): Promise<void> {
  await eventually(async () => assert.equal(await membersOf(lab, node, state), 1), { ...DEATH, what: `${node} has the peer as ${state}` });
}

function addressOf(host: string): string {
  const found = hostsOf(3).find(({ name }) => name === host);
  assert.ok(found !== undefined);
  return found.ipv4;
}
