/** A cluster for one scenario: it comes up, things are done to it, and what became of the addresses can be asked. */

import { strict as assert } from "node:assert";

import { PROFILES } from "../../../speaker/detection/profiles.ts";
import type { DetectionProfile } from "../../../speaker/detection/detection-protocol.ts";
import type { Instant } from "../../../speaker/machine.ts";
import type { AddressRow, OwnReason } from "../../../speaker/packet-protocol.ts";
import { allCheckers } from "../checkers/all.ts";
import { Cluster } from "../cluster.ts";
import type { ClusterOptions, MachineFactory } from "../cluster.ts";
import { groupRows } from "../draw.ts";
import { nodeName } from "../events.ts";
import type { NodeId, SimEvent } from "../events.ts";
import { machines } from "../machines.ts";
import { START_UP_MS } from "../schedule.ts";

/** A cluster that starts may wait three seconds for those that do not come. */
const STARTED_MS = 4500;

/** An address came to another node than had it before. */
export interface Move {
  readonly at: Instant;
  readonly address: string;
  readonly from: NodeId | undefined;
  readonly to: NodeId;
  readonly reason: OwnReason;
}

export interface StageOptions extends Partial<Pick<ClusterOptions, "failback" | "timing" | "offAtStart" | "isBare">> {
  readonly seed: number;
  readonly nodes: number;
  /** Groups of one address each, for which every node is a candidate. */
  readonly groups?: number;
  readonly profile?: DetectionProfile["name"];
  readonly machine?: MachineFactory;
  /** Comes up by itself when left out; a scenario about starting says false. */
  readonly startUpMs?: number;
}

export class Stage {
  readonly cluster: Cluster;
  readonly moves: Move[] = [];
  readonly events: SimEvent[] = [];
  readonly #lastOwner = new Map<string, NodeId>();

  constructor({ seed, nodes, groups = 12, profile = "default", machine = machines["agreement"], startUpMs = START_UP_MS, ...others }: StageOptions) {
    assert.ok(machine !== undefined);
    this.cluster = new Cluster({ seed, nodes, profile: PROFILES[profile], machine, checkers: Object.values(allCheckers({ keys: [] })), ...others });
    this.cluster.onEvent = (event) => this.#note(event);
    for (let index = 0; index < groups; index++) for (const row of groupRows(index, this.everyone())) this.cluster.api.upsert(row, 0);
    const begun = this.cluster.fault("rows", "the cluster starts");
    this.cluster.at(STARTED_MS, begun);
    this.cluster.run(startUpMs);
  }

  everyone(): AddressRow["candidates"] {
    return this.cluster.nodes.map(({ name }) => ({ node: name, score: 0 }));
  }

  /** Lets time pass. */
  run(ms: number): void {
    this.cluster.run(ms);
  }

  addresses(): string[] {
    return this.cluster.rows().map(({ address }) => address);
  }

  /** Who answers for the address. */
  owners(address: string): NodeId[] {
    return [...this.cluster.owners(address)].filter((node) => this.cluster.node(node).answers(address));
  }

  /** The one that answers. */
  owner(address: string): NodeId {
    const [owner, ...more] = this.owners(address);
    assert.ok(owner !== undefined && more.length === 0, `${address} has owners [${[owner, ...more].join(", ")}] at ${this.cluster.now.toFixed(0)} ms`);
    return owner;
  }

  owned(node: NodeId): string[] {
    return [...this.cluster.node(node).owned];
  }

  /** A node that owns something. */
  anOwner(): NodeId {
    const [address] = this.addresses();
    assert.ok(address !== undefined);
    return this.owner(address);
  }

  /** Who owns what now. */
  map(): ReadonlyMap<string, NodeId> {
    return new Map(this.addresses().map((address) => [address, this.owner(address)]));
  }

  movesSince(at: Instant): Move[] {
    return this.moves.filter((move) => move.at >= at);
  }

  /** Nothing moved since then. */
  expectNoMoves(since: Instant): void {
    assert.deepEqual(this.movesSince(since).map(describeMove), [], "nothing moves");
  }

  /** Waits until each address has one owner that answers, for at most so long, and says how long it took. */
  untilOwned(mostMs: number): number {
    const begin = this.cluster.now;
    while (!this.addresses().every((address) => this.owners(address).length === 1)) {
      assert.ok(this.cluster.now - begin < mostMs, `not every address has one owner after ${mostMs} ms: ${this.addresses().filter((address) => this.owners(address).length !== 1).join(", ")}`);
      this.cluster.run(5);
    }
    return this.cluster.now - begin;
  }

  #note(event: SimEvent): void {
    this.events.push(event);
    if (event.kind !== "owned" || !event.taken) return;
    const from = this.#lastOwner.get(event.address);
    this.#lastOwner.set(event.address, event.node);
    if (from !== event.node) this.moves.push({ at: event.at, address: event.address, from, to: event.node, reason: event.reason });
  }
}

export function describeMove({ at, address, from, to, reason }: Move): string {
  return `${at.toFixed(0)} ms: ${address} ${from === undefined ? "nobody" : nodeName(from)} -> ${nodeName(to)} (${reason})`;
}

/** A test of its own: a sentence, run with each of a few seeds. @throws Violation, AssertionError when it does not hold */
export interface Scenario {
  /** What must hold. */
  readonly name: string;
  readonly seeds?: readonly number[];
  run(seed: number, machine?: MachineFactory): void;
}
