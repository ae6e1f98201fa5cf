/**
 * News of ConfigurationStates, taken in now and then instead of at once: others write them, and whatever they write, pools
 * are not written much more often for it. Pure.
 */
import type { Change } from "../../kube/informer.ts";
import type { CustomResource } from "../../kube/objects.ts";

/** News are due at multiples of this time, all together (milliseconds). */
export const GATHER_MS = 5_000;
/** A speaker whose object is gone is mostly being restarted, and writes it again within this time (milliseconds). */
export const LINGER_MS = 30_000;

/** The last change of each object that is not taken in yet. */
export class DelayedStates {
  readonly #held = new Map<string, { readonly change: Change<CustomResource>; readonly at: number }>();

  /** Keeps a change in place of the object's one before. Gives when to call `due`. Times are monotonic milliseconds. */
  hold(change: Change<CustomResource>, now: number): number {
    const earliest = change.kind === "deleted" ? now + LINGER_MS : now;
    const at = (Math.floor(earliest / GATHER_MS) + 1) * GATHER_MS;
    this.#held.set(change.object.metadata.name, { change, at });
    return at;
  }

  /** The changes whose time has come; they are held no longer. */
  due(now: number): Change<CustomResource>[] {
    const due = [...this.#held].filter(([, { at }]) => at <= now);
    for (const [name] of due) this.#held.delete(name);
    return due.map(([, { change }]) => change);
  }

  /** When to call `due` again; Infinity when nothing is held. */
  get nextDue(): number {
    return [...this.#held.values()].reduce((earliest, { at }) => Math.min(earliest, at), Infinity);
  }
}
