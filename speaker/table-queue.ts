/**
 * The way of the table from the main thread to the packet thread. Deltas come in whole, with versions; slices go out,
 * small enough to be taken in between two packets. While the thread is behind, deltas merge: what waits is at most one
 * row per address, so the queue is bounded by the table.
 */

import type { AddressRow, ToPacketThread } from "./packet-protocol.ts";

/** A part of the table as it travels. Sequences grow by one; `completes` is the version that is whole with this slice. */
export interface TableSlice {
  readonly kind: "slice";
  readonly sequence: number;
  readonly upsert: readonly AddressRow[];
  readonly remove: readonly string[];
  readonly completes?: number;
}

/** What the packet thread's port carries. */
export type PacketThreadMessage = TableSlice | Exclude<ToPacketThread, { readonly kind: "table" }>;

/** Rows in a slice: reading one takes the thread well under a millisecond. */
export const MAX_ROWS_PER_SLICE = 128;
/** Slices that may be under way, sent and not yet taken in. */
export const MAX_SLICES_UNDER_WAY = 8;
/** Rows that a table may have. */
export const MAX_TABLE_ROWS = 100_000;

type TableDelta = Extract<ToPacketThread, { readonly kind: "table" }>;

export class TableQueue {
  /** Addresses that the thread has or will have. */
  readonly #addresses = new Set<string>();
  /** What is still to be sent: a row, or undefined for a removal. Insertion order is the order of sending. */
  readonly #waiting = new Map<string, AddressRow | undefined>();
  #version = 0;
  #completed = 0;
  #sequence = 0;
  #underWay = 0;

  /**
   * Takes in a delta.
   * @throws Error when a version is left out (a full delta may leap), or the table has more than MAX_TABLE_ROWS rows: a broken invariant.
   */
  push(delta: TableDelta): void {
    const expected = this.#version + 1;
    if (delta.full ? delta.version < expected : delta.version !== expected) {
      throw new Error(`table version ${delta.version} follows ${this.#version}`);
    }
    this.#version = delta.version;
    const removed = delta.full ? new Set(this.#addresses) : new Set(delta.remove);
    for (const row of delta.upsert) removed.delete(row.address);
    for (const address of removed) this.#put(address, undefined);
    for (const row of delta.upsert) this.#put(row.address, row);
    if (this.#addresses.size > MAX_TABLE_ROWS) throw new Error(`table of ${this.#addresses.size} rows, more than ${MAX_TABLE_ROWS}`);
  }

  /** The next slice to send, when there is one and the thread is not too far behind. */
  take(): TableSlice | undefined {
    if (this.#underWay >= MAX_SLICES_UNDER_WAY || this.#completed === this.#version) return undefined;
    const upsert: AddressRow[] = [];
    const remove: string[] = [];
    for (const [address, row] of this.#waiting) {
      if (upsert.length + remove.length >= MAX_ROWS_PER_SLICE) break;
      this.#waiting.delete(address);
      if (row === undefined) remove.push(address);
      else upsert.push(row);
    }
    this.#underWay += 1;
    this.#sequence += 1;
    const slice = { kind: "slice", sequence: this.#sequence, upsert, remove } as const;
    if (this.#waiting.size > 0) return slice;
    this.#completed = this.#version;
    return { ...slice, completes: this.#version };
  }

  /** The thread has taken in one slice. */
  taken(): void {
    this.#underWay -= 1;
  }

  /** Rows that wait to be sent. */
  get waitingRows(): number {
    return this.#waiting.size;
  }

  #put(address: string, row: AddressRow | undefined): void {
    if (row !== undefined) this.#addresses.add(address);
    else if (!this.#addresses.delete(address)) return;
    // Deleted first, so that the newest state also takes the newest place.
    this.#waiting.delete(address);
    this.#waiting.set(address, row);
  }
}
