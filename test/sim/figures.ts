/**
 * What membership costs, how soon a death is known, and what each profile's speed costs in false takeovers: the tables of
 * docs/leadership-figures.md. The same seeds give the same numbers, but for the processor's time and the heap.
 */

import { strict as assert } from "node:assert";

import { HERALD_META } from "../../speaker/agreement/roster.ts";
import { PROFILES } from "../../speaker/detection/profiles.ts";
import type { DetectionProfile } from "../../speaker/detection/detection-protocol.ts";
import { OUR_VERSIONS } from "../../speaker/membership/context.ts";
import { CLEAR_KEYRING } from "../../speaker/membership/keyring.ts";
import { LAN_TIMING } from "../../speaker/membership/membership-protocol.ts";
import type { PushPullState } from "../../speaker/membership/message.ts";
import { pushPullIntervalMs } from "../../speaker/membership/push-pull.ts";
import { encodeStreamMessage } from "../../speaker/membership/stream-codec.ts";
import { Cluster } from "./cluster.ts";
import { groupRows, pick } from "./draw.ts";
import { nodeIdOf } from "./events.ts";
import type { NodeId } from "./events.ts";
import * as faults from "./faults.ts";
import { INTRODUCED_FROM, introduced } from "./introduction.ts";
import { machines } from "./machines.ts";
import { MEMBERSHIP_PORT } from "./network.ts";

/** Ethernet, IPv4 and UDP. */
const HEADER_BYTES = 42;
/** From an end of trouble until the next begins. */
const REST_MS = 3000;
/** The same, where the dead don't come back. */
const SHORT_REST_MS = 500;
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
  if (nodes > INTRODUCED_FROM) return introduced({ seed, nodes, profile: PROFILES[profile], machine });
  const made = new Cluster({ seed, nodes, profile: PROFILES[profile], machine, checkers: [] });
  const candidates = made.nodes.map(({ name }) => ({ node: name, score: 0 }));
  for (let index = 0; index < groups; index++) for (const row of groupRows(index, candidates)) made.api.upsert(row, 0);
  made.run(12_000);
  return made;
}

/** Packets and bits that one node sends in quiet times, and what its part of the simulation costs this processor: averaged over all. */
function traffic(world: Cluster, seconds: number): { readonly packets: number; readonly kbit: number; readonly processorMs: number } {
  const nodes = world.nodes.length;
  const count = (): { datagrams: number; bytes: number } =>
    world.nodes.reduce((sum, { sent }) => ({ datagrams: sum.datagrams + sent.datagrams, bytes: sum.bytes + sent.datagramBytes + HEADER_BYTES * sent.datagrams }), { datagrams: 0, bytes: 0 });
  const before = count();
  const begun = process.cpuUsage();
  world.run(seconds * 1000);
  const { user, system } = process.cpuUsage(begun);
  const after = count();
  const kbit = ((after.bytes - before.bytes) * 8) / 1000 / nodes / seconds;
  return { packets: (after.datagrams - before.datagrams) / nodes / seconds, kbit: kbit + exchangeKbit(world), processorMs: (user + system) / 1000 / nodes / seconds };
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
    if (isForGood) world.run(SHORT_REST_MS);
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
    head("nodes", "packets/s a node", "kbit/s a node", "power off: first verdict p50 / p99 ms", "known to all p50 / p99 ms", "processor ms/s a node", "heap MB a node");
    for (const nodes of sizes) {
      const world = cluster({ nodes, groups: Math.min(50, 2 * nodes) });
      const { packets, kbit, processorMs } = traffic(world, nodes <= INTRODUCED_FROM ? 30 : 5);
      const heapMb = process.memoryUsage().heapUsed / 1e6 / nodes;
      const { first, all } = deaths(world, "powerOff", nodes <= 10 ? 100 : nodes <= INTRODUCED_FROM ? 40 : 10);
      row(nodes, packets.toFixed(1), kbit.toFixed(1), `${quantile(first, 0.5)} / ${quantile(first, 0.99)}`, `${quantile(all, 0.5)} / ${quantile(all, 0.99)}`, processorMs.toFixed(1), heapMb.toFixed(1));
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
