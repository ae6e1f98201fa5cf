/**
 * A node that hears nothing takes nothing: when frames came in on each interface, and which groups wait for one. While
 * something waits, the segment is asked again and again, so that whoever is there answers. A node that was deaf believes
 * everybody else dead; when it hears again, its first frame is no proof of that, and it takes nothing until it had the time
 * to find out who lives.
 */
import type { Instant } from "../machine.ts";
import type { InterfaceFact } from "../packet-protocol.ts";
import type { Deadlines } from "./deadlines.ts";
import type { Group } from "./group-table.ts";

/** A frame older than this proves nothing. */
export const HEARD_WITHIN_MS = 3000;
/** Between two questions to a segment. */
export const ASK_INTERVAL_MS = 50;
/** Who waited longer than this for a frame, several questions, was deaf. */
export const DEAF_AFTER_MS = 160;
/** How long a node that was deaf takes nothing once it hears again: absent peers are pinged several times meanwhile. */
export const TRUST_AFTER_MS = 1000;

/**
 * Those of an address's interfaces on which a frame proves that this node hears others: the one with the node's own
 * address if it is among them, since on the others there may be nobody but this node's own pods.
 */
export function provingInterfaces(usable: readonly InterfaceFact[]): readonly InterfaceFact[] {
  const own = usable.filter(({ isNodeInterface }) => isNodeInterface === true);
  return own.length > 0 ? own : usable;
}

export class Hearing {
  readonly #deadlines: Deadlines;
  readonly #ask: (interfaceIndex: number) => void;
  readonly #lastFrame = new Map<number, Instant>();
  /** Groups by the interface that they wait for. */
  readonly #waiting = new Map<number, { readonly groups: Set<Group>; readonly since: Instant }>();
  /** When an interface that was deaf, or gone, is trusted again. */
  readonly #trustFrom = new Map<number, Instant>();

  /** @param deadlines gets "ask", upon which `askAgain` is to be called, and "trust", upon which everything is to be looked at. */
  constructor(deadlines: Deadlines, ask: (interfaceIndex: number) => void) {
    this.#deadlines = deadlines;
    this.#ask = ask;
  }

  /** A frame came in. Returns the groups that waited for it. */
  frame(interfaceIndex: number, now: Instant): Group[] {
    this.#lastFrame.set(interfaceIndex, now);
    const waiting = this.#waiting.get(interfaceIndex);
    if (waiting === undefined) return [];
    if (now - waiting.since > DEAF_AFTER_MS) this.distrust(interfaceIndex, now);
    const groups = [...waiting.groups];
    for (const group of groups) this.stop(group);
    return groups;
  }

  /** These interfaces are there, and no others: a device made later may get the index of one that has gone. */
  keep(indexes: ReadonlySet<number>): void {
    for (const known of [this.#lastFrame, this.#trustFrom]) for (const index of known.keys()) if (!indexes.has(index)) known.delete(index);
  }

  /** The interface was deaf, or gone, until now: what the node thinks of the others may be wrong. */
  distrust(interfaceIndex: number, now: Instant): void {
    this.#trustFrom.set(interfaceIndex, now + TRUST_AFTER_MS);
    this.#deadlines.set("trust", now + TRUST_AFTER_MS);
  }

  /** Whether one of these is not distrusted. */
  isTrusted(interfaces: readonly InterfaceFact[], now: Instant): boolean {
    return interfaces.some(({ index }) => now >= (this.#trustFrom.get(index) ?? now));
  }

  /** Whether a frame came in on one of these since then, and lately. */
  heard(interfaces: readonly InterfaceFact[], since: Instant, now: Instant): boolean {
    const from = Math.max(since, now - HEARD_WITHIN_MS);
    return interfaces.some((fact) => (this.#lastFrame.get(fact.index) ?? -Infinity) >= from && this.isTrusted([fact], now));
  }

  /** The group waits for a frame on one of these. Asks those that are not being asked already. */
  wait(group: Group, interfaces: readonly InterfaceFact[], now: Instant): void {
    group.waitsToHearSince ??= now;
    for (const { index } of interfaces) {
      const waiting = this.#waiting.get(index);
      if (waiting !== undefined) {
        waiting.groups.add(group);
        continue;
      }
      this.#waiting.set(index, { groups: new Set([group]), since: now });
      this.#ask(index);
    }
    this.#deadlines.setEarlier("ask", now + ASK_INTERVAL_MS);
  }

  stop(group: Group): void {
    if (group.waitsToHearSince === undefined) return;
    group.waitsToHearSince = undefined;
    for (const [index, { groups }] of this.#waiting) {
      groups.delete(group);
      if (groups.size === 0) this.#waiting.delete(index);
    }
  }

  /** The deadline "ask" is due. */
  askAgain(now: Instant): void {
    for (const index of this.#waiting.keys()) this.#ask(index);
    if (this.#waiting.size > 0) this.#deadlines.set("ask", now + ASK_INTERVAL_MS);
  }
}
