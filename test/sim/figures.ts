/**
 * What membership costs, how soon a death is known, and what each profile's speed costs in false takeovers: the tables of
 * docs/leadership-figures.md. The same seeds give the same numbers.
 */

import { strict as assert } from "node:assert";

import { Agreement } from "../../speaker/agreement/agreement.ts";
import { HERALD_META } from "../../speaker/agreement/roster.ts";
import { PROFILES } from "../../speaker/detection/profiles.ts";
import type { DetectionProfile } from "../../speaker/detection/detection-protocol.ts";
import { OUR_VERSIONS } from "../../speaker/membership/context.ts";
import { CLEAR_KEYRING } from "../../speaker/membership/keyring.ts";
import { LAN_TIMING } from "../../speaker/membership/membership-protocol.ts";
import type { AliveMessage, PushPullState } from "../../speaker/membership/message.ts";
import { encodePacket, MAX_COMPOUND_PARTS } from "../../speaker/membership/packet-codec.ts";
import { pushPullIntervalMs } from "../../speaker/membership/push-pull.ts";
import { encodeStreamMessage } from "../../speaker/membership/stream-codec.ts";
import { Cluster } from "./cluster.ts";
import { groupRows, pick, shuffled } from "./draw.ts";
import { nodeIdOf } from "./events.ts";
import type { NodeId } from "./events.ts";
import * as faults from "./faults.ts";
import { machines } from "./machines.ts";
import { MEMBERSHIP_PORT } from "./network.ts";

/** Ethernet, IPv4 and UDP. */
const HEADER_BYTES = 42;
/** From an end of trouble until the next begins. */
const REST_MS = 3000;
/** Clusters larger than this don't join: they are introduced. */
const INTRODUCED_FROM = 200;
/** Time from the introduction until the API server tells the nodes what there is. */
const JOIN_MS = 1000;
/** Candidates of a group in such a cluster. */
const MANY_CANDIDATES = 16;
const PROFILE_NAMES = ["fast", "default", "calm"] as const;

interface Setting {
  readonly nodes: number;
  readonly profile?: DetectionProfile["name"];
  readonly groups?: number;
  readonly seed?: number;
}

/** A cluster that has come up. */
function cluster({ nodes, profile = "default", groups = 2 * nodes, seed = 1 }: Setting): Cluster {
  const machine = machines["agreement"];
  assert.ok(machine !== undefined);
  const made = new Cluster({ seed, nodes, profile: PROFILES[profile], machine, checkers: [] });
  // Each node keeps the rank of each group: with all nodes as candidates that would grow with the cube of the size.
  const candidates = made.nodes.map(({ name }) => ({ node: name, score: 0 }));
  const candidatesOf = (): typeof candidates => (nodes <= INTRODUCED_FROM ? candidates : shuffled(made.random, candidates).slice(0, MANY_CANDIDATES));
  for (let index = 0; index < groups; index++) for (const row of groupRows(index, candidatesOf())) made.api.upsert(row, 0);
  if (nodes > INTRODUCED_FROM) introduce(made);
  made.run(12_000);
  return made;
}

/**
 * Tells all nodes of all others, before the API server tells them anything: a thousand that join one by one would exchange a
 * million lists of a thousand members. Ends when all have passed the news on.
 */
function introduce(world: Cluster): void {
  for (const { id } of world.nodes) world.api.setLag(id, JOIN_MS);
  world.run(250);
  const news = world.nodes.map(({ name, address, bootUnixMs }): AliveMessage => ({ kind: "alive", node: name, endpoint: { address, port: MEMBERSHIP_PORT }, incarnation: Math.floor(bootUnixMs / 1000), meta: HERALD_META, versions: OUR_VERSIONS }));
  for (const [from, { id, address }] of world.nodes.entries()) {
    if (from % MAX_COMPOUND_PARTS !== 0) continue;
    const bytes = encodePacket(news.slice(from, from + MAX_COMPOUND_PARTS), CLEAR_KEYRING, world.random);
    for (const node of world.nodes) if (node.id !== id) node.receive({ kind: "datagram", from: { address, port: MEMBERSHIP_PORT }, bytes }, world.now);
  }
  for (const { id } of world.nodes) world.api.setLag(id, 20);
  world.run(JOIN_MS);
  while (world.nodes.some(({ machine }) => machine instanceof Agreement && machine.snapshot().membership.queuedNews > 0)) world.run(1000);
}

/** Packets and bits that one node sends in quiet times, averaged over all. */
function traffic(world: Cluster, seconds: number): { readonly packets: number; readonly kbit: number } {
  const nodes = world.nodes.length;
  const count = (): { datagrams: number; bytes: number } =>
    world.nodes.reduce((sum, { sent }) => ({ datagrams: sum.datagrams + sent.datagrams, bytes: sum.bytes + sent.datagramBytes + HEADER_BYTES * sent.datagrams }), { datagrams: 0, bytes: 0 });
  const before = count();
  world.run(seconds * 1000);
  const after = count();
  const kbit = ((after.bytes - before.bytes) * 8) / 1000 / nodes / seconds;
  return { packets: (after.datagrams - before.datagrams) / nodes / seconds, kbit: kbit + exchangeKbit(world) };
}

/** The part of the exchanges of lists, which are too rare to be measured: each node begins one in an interval and answers one. */
function exchangeKbit(world: Cluster): number {
  const states = world.nodes.map(({ name, address, bootUnixMs }): PushPullState => ({ node: name, endpoint: { address, port: MEMBERSHIP_PORT }, incarnation: Math.floor(bootUnixMs / 1000), state: "alive", meta: HERALD_META, versions: OUR_VERSIONS }));
  const { length } = encodeStreamMessage({ kind: "pushPull", join: false, states, userState: new Uint8Array() }, CLEAR_KEYRING, world.random);
  return (2 * length * 8) / pushPullIntervalMs(LAN_TIMING.pushPullIntervalMs, states.length);
}

type Death = "powerOff" | "kill" | "pause";

/** Times from deaths to the first verdict, and to the moment at which the last of the others has it for dead. */
function deaths(world: Cluster, way: Death, count: number): { readonly first: number[]; readonly all: number[] } {
  const [first, all]: [number[], number[]] = [[], []];
  // Coming back costs more than dying where there are many, and is not what is measured.
  const isForGood = world.nodes.length > INTRODUCED_FROM;
  for (let index = 0; index < count; index++) {
    world.run(1000 * world.random.next());
    const living = world.nodes.filter(({ state }) => state === "running");
    const victim = pick(world.random, living);
    const begin = world.now;
    let firstAt: number | undefined;
    const deadFor = new Set<NodeId>();
    world.onEvent = (event) => {
      if (event.kind === "verdict" && nodeIdOf(event.about) === victim.id) firstAt ??= event.at;
      if (event.kind === "member" && event.state === "dead" && nodeIdOf(event.about) === victim.id) deadFor.add(event.node);
    };
    if (isForGood) faults.powerOffForGood(world, victim.id);
    else if (way === "pause") faults.pauseProcess(world, victim.id, 5000);
    else faults.restart(world, victim.id, 5000, way);
    while (world.now - begin < 4900 && deadFor.size < living.length - 1) world.run(1);
    if (firstAt !== undefined) first.push(firstAt - begin);
    if (deadFor.size === living.length - 1) all.push(world.now - begin);
    world.onEvent = () => {};
    if (isForGood) world.run(REST_MS);
    else world.runUntil(begin + 5000 + REST_MS);
  }
  return { first, all };
}

/** Of so many pauses, the part that moved something. */
function pauses({ profile = "default", isMachine, ms, count }: { readonly profile?: DetectionProfile["name"]; readonly isMachine: boolean; readonly ms: number; readonly count: number }): number {
  const world = cluster({ nodes: 5, profile });
  let moved = 0;
  for (let index = 0; index < count; index++) {
    world.run(500 * world.random.next());
    const owner = pick(world.random, world.nodes.filter(({ owned }) => owned.size > 0));
    const before = world.counters.moves;
    if (isMachine) faults.pauseMachine(world, owner.id, ms);
    else faults.pauseProcess(world, owner.id, ms);
    world.run(ms + REST_MS);
    if (world.counters.moves > before) moved += 1;
  }
  return moved / count;
}

/** Moves in ten minutes of five nodes on bad links, nobody being dead. */
function losses(profile: DetectionProfile["name"], loss: number): number {
  const world = cluster({ nodes: 5, profile });
  const before = world.counters.moves;
  faults.degrade(world, { loss, jitterMs: 2 });
  world.run(600_000);
  return world.counters.moves - before;
}

function quantile(values: readonly number[], part: number): string {
  const sorted = values.toSorted((a, b) => a - b);
  const value = sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))];
  return value === undefined ? "-" : String(Math.round(value));
}

function row(...cells: readonly (string | number)[]): void {
  process.stdout.write(`| ${cells.join(" | ")} |\n`);
}

function head(...cells: readonly string[]): void {
  process.stdout.write("\n");
  row(...cells);
  row(...cells.map(() => "---"));
}

/** Prints the tables: all, or the one of that name. `nodes` are the sizes in the table by size. */
export function printFigures({ nodes: sizes, only }: { readonly nodes: readonly number[]; readonly only: string }): void {
  const wanted = (part: string): boolean => only === "" || only === part;
  if (wanted("size")) {
    head("nodes", "packets/s a node", "kbit/s a node", "power off: first verdict p50 / p99 ms", "known to all p50 / p99 ms");
    for (const nodes of sizes) {
      const world = cluster({ nodes, groups: Math.min(50, 2 * nodes) });
      const { packets, kbit } = traffic(world, nodes <= INTRODUCED_FROM ? 30 : 10);
      const { first, all } = deaths(world, "powerOff", nodes <= 10 ? 100 : nodes <= INTRODUCED_FROM ? 40 : 20);
      row(nodes, packets.toFixed(1), kbit.toFixed(1), `${quantile(first, 0.5)} / ${quantile(first, 0.99)}`, `${quantile(all, 0.5)} / ${quantile(all, 0.99)}`);
    }
  }
  if (wanted("profiles")) {
    head("profile", "power off p50 / p99 ms", "process gone p50 / p99 ms", "process paused p50 / p99 ms");
    for (const profile of PROFILE_NAMES) {
      const cells = (["powerOff", "kill", "pause"] as const).map((way) => {
        const { all } = deaths(cluster({ nodes: 5, profile }), way, 100);
        return `${quantile(all, 0.5)} / ${quantile(all, 0.99)}`;
      });
      row(profile, ...cells);
    }
  }
  if (wanted("pauses")) {
    for (const [what, isMachine, lengths] of [["the whole machine", true, [50, 75, 100, 125, 150, 175, 200, 250, 300, 400, 500, 700, 1000]], ["the process", false, [200, 300, 400, 500, 700, 900, 1000, 1200, 2000, 2500, 3000]]] as const) {
      head(`pause of ${what}, ms`, ...PROFILE_NAMES);
      for (const ms of lengths) row(ms, ...PROFILE_NAMES.map((profile) => `${Math.round(100 * pauses({ profile, isMachine, ms, count: 100 }))} %`));
    }
  }
  if (wanted("loss")) {
    head("packets lost", ...PROFILE_NAMES);
    for (const loss of [0.01, 0.02, 0.05, 0.1, 0.2, 0.3]) row(`${Math.round(100 * loss)} %`, ...PROFILE_NAMES.map((profile) => losses(profile, loss)));
  }
}
