/**
 * Several claims machines that talk to each other in virtual time: the fake of membership, detection and segment at once.
 * Everybody is a member; who is cut off from whom, how long messages take and which of them get lost, the test says.
 */
import { strict as assert } from "node:assert";

import type { Instant } from "../machine.ts";
import type { AddressRow, InterfaceFact } from "../packet-protocol.ts";
import { Claims } from "./claims.ts";
import type { ClaimSnapshot } from "./claim-snapshot.ts";
import { Deadlines } from "./deadlines.ts";
import type { ClaimsDigest, ClaimsInput, ClaimsOutput } from "./claims-protocol.ts";
import { rank } from "./rank.ts";

/** Unix ms at the virtual origin. */
export const ORIGIN_UNIX_MS = 1_700_000_000_000;
/** Between two heartbeats, which carry the digest. */
const BEAT_MS = 100;

export const ETH0: InterfaceFact = { name: "eth0", index: 2, mac: "02:00:00:00:00:01", usable: true, linkLocal: "fe80::1", isNodeInterface: true };

/** What the network does to a message: ms until it arrives, or undefined when it is lost. Comes twice for a list of two. */
export type Carry = (from: string, to: string, reliable: boolean) => readonly number[];

export interface FakeNode {
  readonly name: string;
  claims: Claims;
  boot: number;
  isUp: boolean;
  /** Frames come in on its segment. */
  hears: boolean;
  /** What each of its processes is told at its start. */
  interfaces: readonly InterfaceFact[];
  digest: ClaimsDigest | undefined;
  /** All that its machines put out, with the time. */
  readonly outputs: { readonly at: Instant; readonly output: ClaimsOutput }[];
}

export interface FakeMembersOptions {
  readonly nodes: readonly string[];
  readonly failback?: "sticky" | "rank";
  readonly carry?: Carry;
  readonly template?: (node: string) => string;
  /** By how much the node's wall clock is ahead. */
  readonly aheadMs?: (node: string) => number;
}

export class FakeMembers {
  readonly nodes: readonly FakeNode[];
  now: Instant = 0;
  carry: Carry;
  /** Sees every output. */
  onOutput: (node: string, output: ClaimsOutput) => void = () => {};
  /** Rows that every restarted node gets. */
  rows: readonly AddressRow[] = [];
  readonly #failback: "sticky" | "rank";
  readonly #template: (node: string) => string;
  readonly #aheadMs: (node: string) => number;
  readonly #cut = new Set<string>();
  readonly #states = new Map<string, "alive" | "suspect" | "dead" | "left">();
  readonly #times = new Deadlines();
  readonly #events = new Map<string, () => void>();
  #order = 0;

  constructor({ nodes, failback = "sticky", carry = () => [1], template = () => "", aheadMs = () => 0 }: FakeMembersOptions) {
    this.carry = carry;
    this.#failback = failback;
    this.#template = template;
    this.#aheadMs = aheadMs;
    this.nodes = nodes.map((name) => this.#make(name));
    for (const [index, node] of this.nodes.entries()) this.#at(index, () => this.#beat(node));
  }

  node(name: string): FakeNode {
    const found = this.nodes.find((node) => node.name === name);
    if (found === undefined) throw new Error(`no node ${name}`);
    return found;
  }

  /** Gives every node interfaces, members, rows and, unless told otherwise, readiness. */
  start(rows: readonly AddressRow[], ready: readonly string[] = this.nodes.map(({ name }) => name)): void {
    this.rows = rows;
    for (const node of this.nodes) this.#introduce(node, ready.includes(node.name));
  }

  give(name: string, input: ClaimsInput): ClaimsOutput[] {
    const node = this.node(name);
    if (!node.isUp) return [];
    const outputs = node.claims.handle(input, this.now);
    for (const output of outputs) {
      node.outputs.push({ at: this.now, output });
      this.onOutput(name, output);
      this.#perform(node, output);
    }
    return outputs;
  }

  giveAll(input: ClaimsInput): void {
    for (const { name } of this.nodes) this.give(name, input);
  }

  /** Lets the time pass. */
  run(ms: number): void {
    const end = this.now + ms;
    for (;;) {
      const event = this.#times.next() ?? Infinity;
      const due = this.nodes.filter(({ isUp }) => isUp).map((node) => ({ node, at: node.claims.nextTimeout() ?? Infinity }));
      const first = due.reduce((one, other) => (other.at < one.at ? other : one), { node: undefined as FakeNode | undefined, at: Infinity });
      const at = Math.min(event, first.at);
      if (at > end) break;
      this.now = Math.max(this.now, at);
      if (event <= first.at) this.#runEvent();
      else if (first.node !== undefined) this.give(first.node.name, { kind: "timeout" });
    }
    this.now = end;
  }

  /** What `viewer` thinks of `node`. */
  setState(viewer: string, node: string, state: "alive" | "suspect" | "dead" | "left"): void {
    this.#states.set(`${viewer} ${node}`, state);
    this.#tellMembers(viewer);
  }

  /** The node is gone, and after `detectionMs` all others know. */
  kill(name: string, detectionMs = 200): void {
    this.node(name).isUp = false;
    this.#suspect(this.nodes, [name], detectionMs);
    this.#at(detectionMs, () => {
      for (const other of this.nodes) if (other.name !== name) this.setState(other.name, name, "dead");
    });
  }

  /** A new process of the node, with a new boot id. */
  restart(name: string): void {
    const node = this.node(name);
    node.boot = ORIGIN_UNIX_MS + this.now;
    node.claims = this.#machine(name, node.boot);
    node.isUp = true;
    for (const other of this.nodes) {
      if (other === node) continue;
      this.#states.delete(`${name} ${other.name}`);
      if (!other.isUp) this.#states.set(`${name} ${other.name}`, "dead");
    }
    this.#introduce(node, true);
    for (const other of this.nodes) if (other !== node) this.setState(other.name, name, "alive");
  }

  /** Nothing passes between the two sides, and after `detectionMs` each thinks the other dead. */
  split(one: readonly string[], other: readonly string[], detectionMs = 200): void {
    for (const a of one) for (const b of other) this.#cut.add(`${a} ${b}`).add(`${b} ${a}`);
    const [these, those] = [one, other].map((names) => names.map((name) => this.node(name)));
    this.#suspect(these ?? [], other, detectionMs);
    this.#suspect(those ?? [], one, detectionMs);
    this.#at(detectionMs, () => this.#both(one, other, "dead"));
  }

  heal(one: readonly string[], other: readonly string[]): void {
    this.#cut.clear();
    this.#both(one, other, "alive");
  }

  /** Nodes that announce the address, or answer for it. */
  owners(address: string): string[] {
    return this.nodes.filter(({ name, isUp }) => isUp && this.view(name, address)?.mine === true).map(({ name }) => name);
  }

  view(name: string, address: string): ClaimSnapshot | undefined {
    return this.node(name).claims.snapshot().find((row) => row.address === address);
  }

  /** Addresses that the node announces, or answers for. */
  held(node: string): string[] {
    return this.rows.filter(({ address }) => this.owners(address).includes(node)).map(({ address }) => address);
  }

  /** The owner of each address; none may have two, or none. */
  ownership(): Map<string, string> {
    return new Map(
      this.rows.map(({ address }) => {
        const [owner, ...others] = this.owners(address);
        assert.ok(owner !== undefined && others.length === 0, `${address} has owners [${this.owners(address).join(" ")}]`);
        return [address, owner];
      }),
    );
  }

  /** Outputs of that kind since then. */
  said<K extends ClaimsOutput["kind"]>(name: string, kind: K, since: Instant = 0): Extract<ClaimsOutput, { kind: K }>[] {
    const isKind = (output: ClaimsOutput): output is Extract<ClaimsOutput, { kind: K }> => output.kind === kind;
    return this.node(name).outputs.filter(({ at }) => at >= since).map(({ output }) => output).filter(isKind);
  }

  #make(name: string): FakeNode {
    const boot = ORIGIN_UNIX_MS;
    return { name, boot, claims: this.#machine(name, boot), isUp: true, hears: true, interfaces: [ETH0], digest: undefined, outputs: [] };
  }

  #machine(node: string, boot: number): Claims {
    return new Claims({ node, boot, wallMs: (now) => ORIGIN_UNIX_MS + now + this.#aheadMs(node), failback: this.#failback, template: this.#template(node) });
  }

  #introduce(node: FakeNode, isReady: boolean): void {
    this.give(node.name, { kind: "interfaces", interfaces: node.interfaces });
    this.give(node.name, { kind: "known", nodes: this.nodes.map(({ name }) => name) });
    this.#tellMembers(node.name);
    for (const row of this.rows) this.give(node.name, { kind: "row", row });
    this.give(node.name, { kind: "fresh", fresh: true });
    if (isReady) this.give(node.name, { kind: "ready" });
  }

  #tellMembers(viewer: string): void {
    const members = this.nodes.filter(({ name }) => name !== viewer).map(({ name }) => ({ node: name, state: this.#states.get(`${viewer} ${name}`) ?? ("alive" as const), damped: false }));
    this.give(viewer, { kind: "members", members });
  }

  #both(one: readonly string[], other: readonly string[], state: "alive" | "dead"): void {
    for (const a of one) {
      for (const b of other) {
        this.setState(a, b, state);
        this.setState(b, a, state);
      }
    }
  }

  #perform(node: FakeNode, output: ClaimsOutput): void {
    switch (output.kind) {
      case "digest":
        node.digest = output.digest;
        return;
      case "send": {
        const { to, update, reliable } = output;
        for (const other of this.nodes) if (other !== node && (to === "all" || to === other.name)) this.#deliver(node, other, { kind: "update", update }, reliable);
        return;
      }
      case "pull":
        this.#deliver(node, this.node(output.to), { kind: "pull", from: node.name, owner: output.owner }, false);
        return;
      case "askSegment":
        this.#at(1, () => {
          if (node.hears) this.give(node.name, { kind: "frame", interfaceIndex: output.interfaceIndex });
        });
        return;
      default:
    }
  }

  /** They miss beats of these before they declare them dead. */
  #suspect(observers: readonly FakeNode[], names: readonly string[], detectionMs: number): void {
    const since = this.now;
    this.#at(detectionMs / 2, () => {
      for (const { name } of observers) for (const node of names) if (node !== name) this.give(name, { kind: "suspected", node, since });
    });
  }

  #beat(node: FakeNode): void {
    for (const other of this.nodes) {
      if (other !== node && node.digest !== undefined && node.isUp) this.#deliver(node, other, { kind: "digest", digest: node.digest, from: node.name }, false);
    }
    this.#at(BEAT_MS, () => this.#beat(node));
  }

  #deliver(from: FakeNode, to: FakeNode, input: ClaimsInput, reliable: boolean): void {
    if (this.#cut.has(`${from.name} ${to.name}`)) return;
    for (const delay of this.carry(from.name, to.name, reliable)) {
      const { boot } = to;
      this.#at(delay, () => {
        if (boot === to.boot && !this.#cut.has(`${from.name} ${to.name}`)) this.give(to.name, input);
      });
    }
  }

  #runEvent(): void {
    const key = this.#times.takeDue(this.now) ?? "";
    const run = this.#events.get(key);
    this.#events.delete(key);
    run?.();
  }

  #at(delay: number, run: () => void): void {
    this.#order += 1;
    this.#events.set(String(this.#order), run);
    this.#times.set(String(this.#order), this.now + delay);
  }
}

/** Nodes that have settled, and each address with its one owner. */
export function settledMembers(groups: number, nodes: readonly string[]): FakeMembers {
  const members = new FakeMembers({ nodes });
  members.start(rowsOf(groups, nodes));
  members.run(2000);
  return members;
}

/** Addresses that have another owner now, sorted. */
export function movesBetween(before: ReadonlyMap<string, string>, after: ReadonlyMap<string, string>): string[] {
  return [...before].filter(([address, owner]) => after.get(address) !== owner).map(([address]) => address).sort();
}

/** A row, and its candidates in their order of rank. */
export function rankedRow(address: string, nodes: readonly string[]): { row: AddressRow; order: string[] } {
  const row: AddressRow = { address, group: address, interfaces: "all", candidates: nodes.map((node) => ({ node, score: 0 })) };
  return { row, order: rank(row.group, row.candidates) };
}

/** Rows of that many groups of one address each, for these candidates, on every interface. */
export function rowsOf(count: number, nodes: readonly string[], change: Partial<AddressRow> = {}): AddressRow[] {
  return Array.from({ length: count }, (_, index) => {
    const address = `192.0.${index >> 8}.${(index & 255) + 1}`;
    return { address, group: address, interfaces: "all", candidates: nodes.map((node) => ({ node, score: 0 })), ...change };
  });
}
