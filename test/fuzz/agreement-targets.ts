/**
 * What is fuzzed of what Herald's speakers tell each other: every kind of message, whole lists and changes of lists.
 */

import { isDeepStrictEqual } from "node:util";

import { decodeHeraldMessage, encodeHeraldMessage } from "../../speaker/agreement/herald-message.ts";
import type { HeraldBody } from "../../speaker/agreement/herald-message.ts";
import type { ClaimEntry } from "../../speaker/election/claims-protocol.ts";
import { ByteReader } from "../../wire/byte-reader.ts";
import type { FuzzTarget } from "./targets.ts";

const BOOT = 1_800_000_000_000;
const LARGE_LIST = 24;

function check(holds: boolean, what: string): void {
  if (!holds) throw new Error(what);
}

function list(count: number): HeraldBody {
  const states: readonly ClaimEntry["state"][] = ["claim", "releasing", "released", "veto"];
  const entries = Array.from({ length: count }, (_, index) => ({
    address: index % 5 === 4 ? `fd00::${index + 1}` : `192.0.2.${index}`,
    state: states[index % states.length] ?? "claim",
    term: BOOT + index,
    witnessed: index % 2 === 0,
    successor: ["", "node-b", "node-ç"][index % 3] ?? "",
  }));
  const facts = { ready: true, fresh: false, settled: true, template: "7f8c9d" };
  return { kind: "update", update: { owner: "node-a", boot: BOOT, facts, base: count > 20 ? undefined : 1, version: 2, hash: 3, entries, removed: ["192.0.2.250", "fd00::ff"] } };
}

function seeds(): readonly Uint8Array[] {
  const digest = { owner: "node-a", boot: BOOT, version: 4, hash: 2 ** 47 };
  const bodies: readonly HeraldBody[] = [
    { kind: "heartbeat", digests: [digest] },
    { kind: "heartbeat", digests: [digest, { ...digest, owner: "node-c" }] },
    { kind: "report", about: "node-b", boot: BOOT, class: "silent" },
    { kind: "pull", owner: "node-b" },
    list(0),
    list(6),
    list(LARGE_LIST),
  ];
  return bodies.map((body, sequence) => encodeHeraldMessage({ sender: "node-a", boot: BOOT, sequence, hops: 0, body }));
}

const message: FuzzTarget = {
  name: "herald-message",
  seeds,
  run(bytes) {
    const decoded = decodeHeraldMessage(bytes);
    check(isDeepStrictEqual(decodeHeraldMessage(encodeHeraldMessage(decoded)), decoded), "encoding what was decoded gives another message");
    if (decoded.body.kind === "pull") check(decoded.body.owner !== "", "a list of nobody");
  },
};

const canary: FuzzTarget = {
  name: "canary-herald-message",
  seeds,
  isCanary: true,
  run(bytes) {
    // A decoder that looks a type up by the number it was told, and does not ask whether there is one.
    const reader = new ByteReader(bytes, { clause: "canary" });
    reader.skip(2);
    const kinds = [1, 2, 3, 4];
    const kind = kinds[reader.u8()];
    check(kind !== undefined, "used an index that nothing stands behind");
  },
};

export const agreementTargets: readonly FuzzTarget[] = [message, canary];
