/**
 * Which addresses this node announces, and where: the table's rows, the rank of this node among each row's candidates,
 * and the interfaces as they are.
 *
 * An address is `idle` (not first in rank), `owned` (first, and a wanted interface is usable) or `blocked` (first, but
 * none is). A row that says the same as before changes nothing. No deadlines: everything follows from rows and interfaces.
 */

import { rank } from "./election/rank.ts";
import type { Instant, Machine } from "./machine.ts";
import type { AddressRow, InterfaceFact, LostReason, OwnReason } from "./packet-protocol.ts";

export type OwnershipInput =
  | { readonly kind: "row"; readonly row: AddressRow }
  | { readonly kind: "removeRow"; readonly address: string }
  /** All interfaces as they are now, in the order of their index. */
  | { readonly kind: "interfaces"; readonly interfaces: readonly InterfaceFact[] }
  /** Gives up everything: the thread ends. */
  | { readonly kind: "release" };

export type OwnershipOutput =
  /** The address is announced on exactly these interfaces from now on. `since` stays when only the interfaces changed. */
  | { readonly kind: "owned"; readonly address: string; readonly reason: OwnReason; readonly interfaces: readonly InterfaceFact[]; readonly taken: boolean }
  | { readonly kind: "blocked"; readonly address: string; readonly wanted: readonly string[] | "all" }
  /** No longer owned or blocked. An owned address whose interfaces went away is `lost` first and `blocked` right after. */
  | { readonly kind: "lost"; readonly address: string; readonly reason: LostReason };

interface Held {
  readonly row: AddressRow;
  readonly isFirst: boolean;
  state: "idle" | "owned" | "blocked";
  /** Interfaces it is announced on, while owned. */
  interfaces: readonly InterfaceFact[];
}

export class Ownership implements Machine<OwnershipInput, OwnershipOutput> {
  readonly #node: string;
  readonly #held = new Map<string, Held>();
  #usable: readonly InterfaceFact[] = [];

  /** @param node this node's name, as candidates carry it. */
  constructor(node: string) {
    this.#node = node;
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
    const isFirst = rank(row.group, row.candidates)[0] === this.#node;
    const held: Held = { row, isFirst, state: before?.state ?? "idle", interfaces: before?.interfaces ?? [] };
    this.#held.set(row.address, held);
    const outputs = this.#settle(held, "FirstInRank");
    // Blocked before and after is news when it is for want of other interfaces.
    const stillBlocked = before?.state === "blocked" && held.state === "blocked" && !sameWanted(before.row.interfaces, row.interfaces);
    return stillBlocked ? [{ kind: "blocked", address: row.address, wanted: row.interfaces }] : outputs;
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
