/**
 * Which addresses this node announces when nothing is claimed, and where: the table's rows, the rank of this node among
 * each row's candidates, and the interfaces as they are. Stateless election: `election/claims.ts` is the sticky one.
 *
 * An address is `idle` (not first in rank), `owned` (first, and a wanted interface is usable) or `blocked` (first, but
 * none is). A row that says the same as before changes nothing. No deadlines: everything follows from rows and interfaces.
 */

import type { OwnedOutput } from "./election/claims-protocol.ts";
import { rank } from "./election/rank.ts";
import type { Instant, Machine } from "./machine.ts";
import type { AddressRow, Candidate, InterfaceFact, LostReason, OwnReason } from "./packet-protocol.ts";

export type OwnershipInput =
  | { readonly kind: "row"; readonly row: AddressRow }
  | { readonly kind: "removeRow"; readonly address: string }
  /** All interfaces as they are now, in the order of their index. */
  | { readonly kind: "interfaces"; readonly interfaces: readonly InterfaceFact[] }
  /** Nodes that can be elected at all, by membership. Until the first time, every candidate can. */
  | { readonly kind: "usable"; readonly nodes: ReadonlySet<string> }
  /** Gives up everything: the thread ends. */
  | { readonly kind: "release" };

/** The candidates' nodes for a group of addresses, best first. */
export type ElectionOrder = (group: string, candidates: readonly Candidate[]) => readonly string[];

export interface OwnershipOptions {
  /** This node's name, as candidates carry it. */
  readonly node: string;
  /** Best first; `rank` when left out. */
  readonly order?: ElectionOrder;
}

/**
 * `owned`: the address is announced on exactly these interfaces from now on. `lost`: no longer owned or blocked; an owned
 * address whose interfaces went away is `lost` first and `blocked` right after.
 */
export type OwnershipOutput = OwnedOutput;

interface Held {
  readonly row: AddressRow;
  isFirst: boolean;
  state: "idle" | "owned" | "blocked";
  /** Interfaces it is announced on, while owned. */
  interfaces: readonly InterfaceFact[];
}

export class Ownership implements Machine<OwnershipInput, OwnershipOutput> {
  readonly #node: string;
  readonly #order: ElectionOrder;
  readonly #held = new Map<string, Held>();
  #usable: readonly InterfaceFact[] = [];
  #usableNodes: ReadonlySet<string> | undefined;

  constructor(options: OwnershipOptions) {
    this.#node = options.node;
    this.#order = options.order ?? rank;
  }

  handle(input: OwnershipInput, _now: Instant): OwnershipOutput[] {
    switch (input.kind) {
      case "row":
        return this.#upsert(input.row);
      case "removeRow":
        return this.#remove(input.address, "Removed");
      case "interfaces": {
        const usable = input.interfaces.filter((candidate) => candidate.usable);
        // Most that comes and goes on a node is not usable anyway, and must not cost a pass over all addresses.
        if (sameInterfaces(usable, this.#usable)) return [];
        this.#usable = usable;
        return [...this.#held.values()].flatMap((held) => this.#settle(held, "InterfacesChanged"));
      }
      case "usable":
        this.#usableNodes = input.nodes;
        return [...this.#held.values()].flatMap((held) => {
          held.isFirst = this.#isFirst(held.row);
          return this.#settle(held, "FirstInRank");
        });
      case "release":
        return [...this.#held.keys()].flatMap((address) => this.#remove(address, "Stopping"));
    }
  }

  nextTimeout(): undefined {
    return undefined;
  }

  /** Addresses of the table, whatever their state. */
  addresses(): readonly string[] {
    return [...this.#held.keys()];
  }

  /** State by address, for metrics and tests. */
  snapshot(): { readonly address: string; readonly state: "idle" | "owned" | "blocked"; readonly interfaces: readonly string[] }[] {
    return [...this.#held].map(([address, held]) => ({ address, state: held.state, interfaces: held.interfaces.map(({ name }) => name) }));
  }

  #upsert(row: AddressRow): OwnershipOutput[] {
    const before = this.#held.get(row.address);
    const isFirst = this.#isFirst(row);
    const held: Held = { row, isFirst, state: before?.state ?? "idle", interfaces: before?.interfaces ?? [] };
    this.#held.set(row.address, held);
    const outputs = this.#settle(held, "FirstInRank");
    // Blocked before and after is news when it is for want of other interfaces.
    const stillBlocked = before?.state === "blocked" && held.state === "blocked" && !sameWanted(before.row.interfaces, row.interfaces);
    return stillBlocked ? [{ kind: "blocked", address: row.address, wanted: row.interfaces }] : outputs;
  }

  #isFirst({ group, candidates }: AddressRow): boolean {
    const usable = this.#usableNodes;
    return this.#order(group, usable === undefined ? candidates : candidates.filter(({ node }) => usable.has(node)))[0] === this.#node;
  }

  #remove(address: string, reason: LostReason): OwnershipOutput[] {
    const held = this.#held.get(address);
    this.#held.delete(address);
    return held === undefined || held.state === "idle" ? [] : [{ kind: "lost", address, reason }];
  }

  /** Brings an address to the state that it should be in. */
  #settle(held: Held, cause: OwnReason): OwnershipOutput[] {
    const { address, interfaces: wanted } = held.row;
    const before = held.state;
    if (!held.isFirst) {
      held.state = "idle";
      held.interfaces = [];
      return before === "idle" ? [] : [{ kind: "lost", address, reason: "NotFirstInRank" }];
    }
    const interfaces = this.#usable.filter((candidate) => wanted === "all" || wanted.includes(candidate.name));
    if (interfaces.length === 0) {
      held.state = "blocked";
      held.interfaces = [];
      if (before === "blocked") return [];
      const blocked: OwnershipOutput = { kind: "blocked", address, wanted };
      return before === "owned" ? [{ kind: "lost", address, reason: "NoUsableInterface" }, blocked] : [blocked];
    }
    if (before === "owned" && sameInterfaces(held.interfaces, interfaces)) return [];
    held.state = "owned";
    held.interfaces = interfaces;
    const taken = before !== "owned";
    return [{ kind: "owned", address, reason: taken ? cause : "InterfacesChanged", interfaces, taken }];
  }
}

function sameInterfaces(a: readonly InterfaceFact[], b: readonly InterfaceFact[]): boolean {
  return a.length === b.length && a.every((fact, index) => fact.index === b[index]?.index && fact.mac === b[index]?.mac && fact.name === b[index]?.name);
}

function sameWanted(a: AddressRow["interfaces"], b: AddressRow["interfaces"]): boolean {
  return a === b || (a !== "all" && b !== "all" && a.length === b.length && a.every((name, at) => name === b[at]));
}
