/**
 * Terms and incarnations only grow. An owner's terms of one address do, as long as its clock was not set back in between; and a new
 * claim's term is above all that were made known before, unless the network kept that from its maker. A node never gives
 * itself a lower incarnation than before.
 */

import type { Keyring } from "../../../speaker/membership/keyring.ts";
import type { SimNode } from "../node.ts";
import { listen } from "../wiretap.ts";
import type { Checker, FaultKind, World } from "../world.ts";

/** Faults that keep news from nobody. */
const HARMLESS: readonly FaultKind[] = ["pause", "machinePause", "kill", "stop", "powerOff", "apiAway", "apiHung", "apiLag", "rows"];
/** A claim older than this is known everywhere when the network is well. */
const KNOWN_AFTER_MS = 1000;
/** How long after a fault of the network its sides may not know all of each other's claims. */
const HEALED_AFTER_MS = 4000;

/** Wall clocks further apart than this are not compared: with everybody's memory lost, terms follow the clocks. */
const SAME_CLOCK_MS = 250;

interface Term {
  readonly term: number;
  readonly owner: SimNode;
  /** Of the owner's process at that time. */
  readonly boot: number;
  readonly wallOffsetMs: number;
  readonly madeAt: number;
}

export class Growth implements Checker {
  readonly rule = "terms and incarnations only grow";
  /** New claims that were compared with earlier ones of others. */
  applied = 0;
  /** Incarnations seen. */
  incarnations = 0;
  readonly #keyring: Keyring;
  /** The last claim of each owner, by address. */
  readonly #byOwner = new Map<string, Map<string, Term>>();
  readonly #incarnation = new Map<string, { readonly value: number; readonly wallOffsetMs: number }>();
  /** Of the newest list that each start of a node sent. */
  readonly #version = new Map<string, number>();

  constructor(keyring: Keyring) {
    this.#keyring = keyring;
  }

  sent(node: SimNode, bytes: Uint8Array, isStream: boolean, world: World): void {
    const { claims, incarnations } = listen({ name: node.name, bytes, isStream, keyring: this.#keyring });
    for (const incarnation of incarnations) this.#incarnated(node, incarnation, world);
    for (const { entry, version, boot } of claims) {
      const list = `${node.name} ${boot}`;
      if (version < (this.#version.get(list) ?? 0)) continue;
      this.#version.set(list, version);
      if (entry.state === "claim") this.#claimed(node, entry.address, entry.term, world);
    }
  }

  #incarnated(node: SimNode, value: number, world: World): void {
    this.incarnations += 1;
    const before = this.#incarnation.get(node.name);
    this.#incarnation.set(node.name, { value, wallOffsetMs: node.clock.wallOffsetMs });
    // A node whose clock was set back starts with a lower one, and learns of the higher from the others.
    if (before !== undefined && value < before.value && node.clock.wallOffsetMs >= before.wallOffsetMs) {
      world.fail(this.rule, `${node.name} gives itself incarnation ${value} after ${before.value}`);
    }
  }

  #claimed(node: SimNode, address: string, term: number, world: World): void {
    const owners = this.#byOwner.get(address) ?? new Map<string, Term>();
    this.#byOwner.set(address, owners);
    const before = owners.get(node.name);
    if (before !== undefined && before.term === term) return;
    const { wallOffsetMs } = node.clock;
    if (before !== undefined && term < before.term && wallOffsetMs >= before.wallOffsetMs) world.fail(this.rule, `${node.name} claims ${address} with term ${term} after ${before.term}`);
    owners.set(node.name, { term, owner: node, boot: node.bootUnixMs, wallOffsetMs, madeAt: world.now });
    const quietSince = world.quietSince(HARMLESS);
    if (quietSince === undefined || (quietSince > 0 && world.now - quietSince < HEALED_AFTER_MS)) return;
    this.applied += 1;
    for (const other of owners.values()) {
      if (other.owner === node || world.now - other.madeAt < KNOWN_AFTER_MS) continue;
      const isRemembered = other.owner.hasProcess && other.owner.bootUnixMs === other.boot;
      if (!isRemembered && wallOffsetMs < other.wallOffsetMs - SAME_CLOCK_MS) continue;
      if (term <= other.term) world.fail(this.rule, `${node.name} claims ${address} with term ${term}; ${other.owner.name} had ${other.term} ${(world.now - other.madeAt).toFixed(0)} ms ago`);
    }
  }
}
