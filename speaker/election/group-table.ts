/**
 * The table's rows by group (addresses that move together), with what this node can announce of them and what it does.
 * Ranks cover all candidates: those who are out for now are skipped, which leaves the order of the others as it is.
 */
import type { Instant } from "../machine.ts";
import type { AddressRow, Candidate, InterfaceFact } from "../packet-protocol.ts";
import { CandidateLists, NO_CANDIDATES } from "./candidate-lists.ts";
import type { CandidateList } from "./candidate-lists.ts";
import { Moves } from "./moves.ts";
import { rank } from "./rank.ts";

/** Candidates up to which the order of a group that another has is kept. Beyond, ten thousand groups would take up to a hundred megabytes. */
const MAX_KEPT_ORDER = 32;

/** An interface that came up has its link-local address within this time, duplicate address detection included (RFC 4862 §5.4: a second, and up to one before it). */
export const LINK_LOCAL_WITHIN_MS = 3000;

/** One address, and this node's part in it. */
export interface Held {
  row: AddressRow;
  group: Group;
  /** The wanted interfaces that are usable here; for an IPv6 address those that carry IPv6. */
  usable: readonly InterfaceFact[];
  /** `owned`: announced; `handingOver`: still answered for; `blocked`: it would be announced, but for an interface. */
  phase: "idle" | "owned" | "handingOver" | "blocked";
  /** Interfaces it was last said to be announced on. */
  announced: readonly InterfaceFact[];
  /** Wanted interfaces that it was last said to be blocked for. */
  blockedFor: AddressRow["interfaces"] | undefined;
  /** The worse claim by another that was answered last. */
  contested: string;
}

/** Addresses that move together, and what is going on with them. */
export class Group {
  readonly name: string;
  readonly held = new Map<string, Held>();
  isCandidate = false;
  /** Addresses that this node announces or still answers for. */
  holds = 0;
  owner: string | undefined;
  /** Who had it before it had no owner. */
  lostOwner: string | undefined;
  /** Since when it has been free to take, as this node sees it. */
  freeSince: Instant | undefined;
  /** The release that was seen last, and when first. */
  release: { readonly key: string; readonly at: Instant } | undefined;
  /** This node is giving it to another. */
  handover: { to: string } | undefined;
  /** Since when this node has held it without being a fit owner. */
  unfitSince: Instant | undefined;
  /** Since when its owner could be displaced. */
  displaceSince: Instant | undefined;
  /** Since when another has had a part of it that should come here. */
  mergeSince: Instant | undefined;
  /** Since when it has waited for a frame to be heard. */
  waitsToHearSince: Instant | undefined;
  readonly moves = new Moves();
  #candidates: CandidateList = NO_CANDIDATES;
  #order: readonly string[] | undefined;

  constructor(name: string) {
    this.name = name;
  }

  get candidates(): readonly Candidate[] {
    return this.#candidates.candidates;
  }

  get scores(): ReadonlyMap<string, number> {
    return this.#candidates.scores;
  }

  /** All candidates in order of rank. */
  get order(): readonly string[] {
    this.#order ??= rank(this.name, this.candidates);
    return this.#order;
  }

  /** Has these candidates from now on. */
  setCandidates(list: CandidateList): void {
    this.#candidates = list;
    this.#order = undefined;
  }

  /** Nobody is likely to ask for the order soon: a long one is not kept. */
  dropOrder(): void {
    if (this.candidates.length > MAX_KEPT_ORDER) this.#order = undefined;
  }
}

export class GroupTable {
  readonly #node: string;
  readonly #groups = new Map<string, Group>();
  readonly #held = new Map<string, Held>();
  /** Undefined until they are known. */
  #usable: readonly InterfaceFact[] | undefined;
  /** When the usable interfaces came up, of those that have done so since they were first known. */
  readonly #cameUpAt = new Map<number, Instant>();
  #candidateGroups = 0;
  readonly #lists = new CandidateLists();

  /** @param node this node's name. */
  constructor(node: string) {
    this.#node = node;
  }

  /** Groups in which this node is a candidate. */
  get candidateGroups(): number {
    return this.#candidateGroups;
  }

  get(address: string): Held | undefined {
    return this.#held.get(address);
  }

  group(name: string): Group | undefined {
    return this.#groups.get(name);
  }

  groups(): IterableIterator<Group> {
    return this.#groups.values();
  }

  addresses(): IterableIterator<Held> {
    return this.#held.values();
  }

  /** Takes a row in. Returns the groups that are to be looked at. */
  upsert(given: AddressRow): Group[] {
    const row = this.#lists.share(given);
    const before = this.#held.get(row.address);
    const group = this.#groups.get(row.group) ?? new Group(row.group);
    this.#groups.set(row.group, group);
    if (before === undefined) {
      const held: Held = { row, group, usable: this.#usableFor(row), phase: "idle", announced: [], blockedFor: undefined, contested: "" };
      this.#held.set(row.address, held);
      group.held.set(row.address, held);
      return [group];
    }
    const left = before.group;
    before.row = row;
    before.usable = this.#usableFor(row);
    if (left === group) return [group];
    this.#leave(before);
    before.group = group;
    group.held.set(row.address, before);
    if (isHeld(before)) group.holds += 1;
    return [left, group];
  }

  /** Returns what was known of the address; its group is to be looked at. */
  remove(address: string): Held | undefined {
    const held = this.#held.get(address);
    if (held === undefined) return undefined;
    this.#held.delete(address);
    this.#leave(held);
    return held;
  }

  /** Takes the interfaces in. Returns undefined when no usable one came, went or changed; else the indexes of those that came, of the first ones none. */
  setInterfaces(interfaces: readonly InterfaceFact[], now: Instant): number[] | undefined {
    const usable = interfaces.filter((candidate) => candidate.usable);
    const before = this.#usable;
    if (before !== undefined && sameInterfaces(usable, before) && usable.every((fact, at) => carriesIpv6(fact) === carriesIpv6(before[at]))) return undefined;
    this.#usable = usable;
    for (const held of this.#held.values()) held.usable = this.#usableFor(held.row);
    if (before === undefined) return [];
    const came = usable.filter(({ index }) => before.every((fact) => fact.index !== index)).map(({ index }) => index);
    for (const index of this.#cameUpAt.keys()) if (usable.every((fact) => fact.index !== index)) this.#cameUpAt.delete(index);
    for (const index of came) this.#cameUpAt.set(index, now);
    return came;
  }

  /**
   * Until when it is worth while to wait for what this node lacks to announce all of the group: link-local addresses of
   * interfaces that came up lately. Undefined when it lacks something else.
   */
  linkLocalsBy(group: Group): Instant | undefined {
    let by: Instant | undefined;
    for (const { row, usable } of group.held.values()) {
      if (usable.length > 0) continue;
      const cameUpAt = this.#wanted(row).flatMap(({ index }) => this.#cameUpAt.get(index) ?? []);
      if (!isIpv6(row.address) || cameUpAt.length === 0) return undefined;
      by = Math.max(by ?? -Infinity, ...cameUpAt.map((at) => at + LINK_LOCAL_WITHIN_MS));
    }
    return by;
  }

  /** Whether one of these interfaces is still usable, wanted or not. */
  isUp(interfaces: readonly InterfaceFact[]): boolean {
    return interfaces.some(({ index }) => this.#usable?.some((fact) => fact.index === index) === true);
  }

  /** Brings the candidates of the group up to date with its rows. An empty group is forgotten. */
  refresh(group: Group): void {
    const first = group.held.values().next().value;
    if (first === undefined) this.#groups.delete(group.name);
    const candidates = first?.row.candidates ?? NO_CANDIDATES.candidates;
    if (candidates === group.candidates) return;
    const wasCandidate = group.isCandidate;
    group.setCandidates(first === undefined ? NO_CANDIDATES : this.#lists.of(candidates));
    group.isCandidate = group.scores.has(this.#node);
    this.#candidateGroups += Number(group.isCandidate) - Number(wasCandidate);
  }

  #leave(held: Held): void {
    held.group.held.delete(held.row.address);
    if (isHeld(held)) held.group.holds -= 1;
  }

  #usableFor(row: AddressRow): readonly InterfaceFact[] {
    const usable = this.#wanted(row);
    return isIpv6(row.address) ? usable.filter(carriesIpv6) : usable;
  }

  #wanted({ interfaces }: AddressRow): readonly InterfaceFact[] {
    const usable = this.#usable ?? [];
    return interfaces === "all" ? usable : usable.filter(({ name }) => interfaces.includes(name));
  }
}

function isIpv6(address: string): boolean {
  return address.includes(":");
}

function carriesIpv6(fact: InterfaceFact | undefined): boolean {
  return fact?.linkLocal !== undefined;
}

/** Whether this node announces the address or still answers for it. */
export function isHeld({ phase }: Held): boolean {
  return phase === "owned" || phase === "handingOver";
}

export function sameInterfaces(a: readonly InterfaceFact[], b: readonly InterfaceFact[]): boolean {
  if (a === b) return true;
  return a.length === b.length && a.every((fact, index) => fact.index === b[index]?.index && fact.mac === b[index]?.mac && fact.name === b[index]?.name);
}
