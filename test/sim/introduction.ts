/**
 * Large clusters, for figures of membership and detection: too many nodes to join one by one, which would exchange a million
 * lists of a thousand members, and too many to agree on addresses in one process. Their speakers are told of each other
 * in a few large packets, pass that on once, and never get a table: they own nothing.
 */

import { MAX_HOPS } from "../../speaker/agreement/agreement.ts";
import { encodeHeraldMessage } from "../../speaker/agreement/herald-message.ts";
import { HERALD_META } from "../../speaker/agreement/roster.ts";
import { OwnList } from "../../speaker/election/claim-list.ts";
import { OUR_VERSIONS } from "../../speaker/membership/context.ts";
import { CLEAR_KEYRING } from "../../speaker/membership/keyring.ts";
import { LAN_TIMING } from "../../speaker/membership/membership-protocol.ts";
import type { PacketMessage } from "../../speaker/membership/message.ts";
import { encodePacket, MAX_COMPOUND_PARTS } from "../../speaker/membership/packet-codec.ts";
import { Cluster } from "./cluster.ts";
import type { ClusterOptions } from "./cluster.ts";
import { MEMBERSHIP_PORT } from "./network.ts";
import type { SimNode } from "./node.ts";

/** Clusters larger than this don't join: they are introduced. */
export const INTRODUCED_FROM = 200;
/** From the start of the cluster until all its processes run. */
const STARTED_MS = 250;
/** All have passed the news on by then, and detection has its rhythm. */
const NEWS_MS = 6000;

/** A cluster whose members know each other and own nothing. */
export function introduced(options: Pick<ClusterOptions, "seed" | "nodes" | "profile" | "machine">): Cluster {
  // Each piece of news is passed on once: by all, to three others each.
  const timing = { ...LAN_TIMING, retransmitMult: 0 };
  const world = new Cluster({ ...options, timing, checkers: [] });
  for (const { id } of world.nodes) world.api.setLag(id, Number.MAX_SAFE_INTEGER);
  world.run(STARTED_MS);
  // What each says of itself, then the empty list of each: else all would ask all for theirs.
  tellAll(world, world.nodes.map(aliveOf));
  tellAll(world, world.nodes.map(listOf));
  world.run(NEWS_MS);
  timing.retransmitMult = LAN_TIMING.retransmitMult;
  return world;
}

/** All nodes hear all of this, in as few packets as possible. */
function tellAll(world: Cluster, messages: readonly PacketMessage[]): void {
  const from = { address: world.nodes[0]?.address ?? "", port: MEMBERSHIP_PORT };
  for (let at = 0; at < messages.length; at += MAX_COMPOUND_PARTS) {
    const bytes = encodePacket(messages.slice(at, at + MAX_COMPOUND_PARTS), CLEAR_KEYRING, world.random);
    for (const node of world.nodes) node.receive({ kind: "datagram", from, bytes }, world.now);
  }
}

function aliveOf({ name, address, bootUnixMs }: SimNode): PacketMessage {
  return { kind: "alive", node: name, endpoint: { address, port: MEMBERSHIP_PORT }, incarnation: Math.floor(bootUnixMs / 1000), meta: HERALD_META, versions: OUR_VERSIONS };
}

/** Its list of claims, as it would send it to one that asks. */
function listOf({ name, bootUnixMs, template }: SimNode): PacketMessage {
  const list = new OwnList({ owner: name, boot: bootUnixMs, facts: { ready: false, fresh: false, settled: false, template } });
  list.takeDeltas();
  return { kind: "user", bytes: encodeHeraldMessage({ sender: name, boot: bootUnixMs, sequence: 0, hops: MAX_HOPS, body: { kind: "update", update: list.whole() } }) };
}
