import assert from "node:assert/strict";

import { expect, test } from "vitest";

import { seededRandom } from "../../sys/random.ts";
import { PROFILES } from "../detection/profiles.ts";
import { OwnList } from "../election/claim-list.ts";
import { OUR_VERSIONS } from "../membership/context.ts";
import { CLEAR_KEYRING } from "../membership/keyring.ts";
import { LAN_TIMING, MAX_USER_DATAGRAM } from "../membership/membership-protocol.ts";
import type { PacketMessage } from "../membership/message.ts";
import { decodePacket, encodePacket } from "../membership/packet-codec.ts";
import { Agreement } from "./agreement.ts";
import type { AgreementOutput } from "./agreement-protocol.ts";
import { decodeHeraldMessage, encodeHeraldMessage } from "./herald-message.ts";
import type { HeraldBody, HeraldMessage } from "./herald-message.ts";
import { HERALD_META } from "./roster.ts";

const BOOT = 1_800_000_000_000;
/** More than are told of everything directly. */
const MEMBERS = Array.from({ length: 40 }, (_, index) => ({ node: `node${index}`, endpoint: { address: `10.0.0.${index + 1}`, port: 7946 } }));
const US = "node0";
const PEER = "node1";
let sequence = 0;

/** One speaker of a large cluster, which knows all others. */
function oneOfMany(): Agreement {
  const [us] = MEMBERS;
  assert.ok(us);
  const options = { ...us, bootUnixMs: BOOT, keys: [], timing: LAN_TIMING, profile: PROFILES.default, failback: "sticky", template: "" } as const;
  const agreement = new Agreement(options, seededRandom(1), (now) => BOOT + now);
  agreement.handle({ kind: "interfaces", interfaces: [{ name: "eth0", index: 2, mac: "02:00:00:00:00:01", usable: true }] }, 0);
  hear(agreement, MEMBERS.slice(1).map((member) => ({ kind: "alive", ...member, incarnation: BOOT / 1000, meta: HERALD_META, versions: OUR_VERSIONS })));
  return agreement;
}

function hear(agreement: Agreement, messages: readonly PacketMessage[]): AgreementOutput[] {
  return agreement.handle({ kind: "datagram", from: { address: "10.0.0.2", port: 7946 }, bytes: encodePacket(messages, CLEAR_KEYRING, seededRandom(2)) }, 1);
}

function fromPeer(body: HeraldBody): PacketMessage {
  sequence += 1;
  return { kind: "user", bytes: encodeHeraldMessage({ sender: PEER, boot: BOOT, sequence, hops: 0, body }) };
}

/** The Herald messages that leave as datagrams. */
function sent(outputs: readonly AgreementOutput[]): HeraldMessage[] {
  const messages = outputs.flatMap((output) => (output.kind === "datagram" ? decodePacket(output.bytes, CLEAR_KEYRING, () => {}) : []));
  return messages.flatMap((message) => (message.kind === "user" ? [decodeHeraldMessage(message.bytes)] : []));
}

function listOf(addresses: number): OwnList {
  const list = new OwnList({ owner: PEER, boot: BOOT, facts: { ready: true, fresh: true, settled: true, template: "" } });
  for (let index = 0; index < addresses; index++) list.set({ address: `192.0.${index >> 8}.${index & 255}`, state: "claim", term: BOOT, witnessed: true, successor: "" });
  return list;
}

test("a list that fits a datagram answers who asks as one: a thousand connections at once would be refused", () => {
  const agreement = oneOfMany();
  const outputs = hear(agreement, [fromPeer({ kind: "pull", owner: US })]);
  expect(outputs.filter(({ kind }) => kind === "connect")).toEqual([]);
  expect(sent(outputs)).toMatchObject([{ sender: US, hops: 0, body: { kind: "update", update: { owner: US, base: undefined } } }]);
});

test("a longer one goes over a stream", () => {
  const agreement = oneOfMany();
  const list = listOf(200);
  list.takeDeltas();
  const whole = list.whole();
  expect(encodeHeraldMessage({ sender: PEER, boot: BOOT, sequence: 0, hops: 0, body: { kind: "update", update: whole } }).length).toBeGreaterThan(MAX_USER_DATAGRAM);
  hear(agreement, [fromPeer({ kind: "update", update: whole })]);
  const outputs = hear(agreement, [fromPeer({ kind: "pull", owner: PEER })]);
  expect(outputs.filter(({ kind }) => kind === "connect")).toHaveLength(1);
  expect(sent(outputs)).toEqual([]);
});

test("a step is passed on to others, a whole list is for who asked", () => {
  const agreement = oneOfMany();
  const list = listOf(1);
  list.takeDeltas();
  expect(sent(hear(agreement, [fromPeer({ kind: "update", update: list.whole() })]))).toEqual([]);
  list.remove("192.0.0.0");
  const [step] = list.takeDeltas();
  assert.ok(step);
  const passedOn = sent(hear(agreement, [fromPeer({ kind: "update", update: step })]));
  expect(passedOn.length).toBeGreaterThan(0);
  for (const { hops } of passedOn) expect(hops).toBe(1);
});
