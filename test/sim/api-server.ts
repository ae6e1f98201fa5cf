/**
 * The API server as the speakers see it: rows that change, and for each node a watch that lags, hangs or is away. A node
 * that starts lists everything; one that was away catches up when its watch is back.
 */

import type { AgreementInput } from "../../speaker/agreement/agreement-protocol.ts";
import type { Instant } from "../../speaker/machine.ts";
import type { ExpectedPeer } from "../../speaker/membership/membership-protocol.ts";
import type { AddressRow } from "../../speaker/packet-protocol.ts";
import type { NodeId } from "./events.ts";

/** A list takes this long after a start, at least. */
const LIST_MS = 50;
/** A watch that shows no sign of life for so long is taken for dead. */
export const STALE_AFTER_MS = 3000;

interface View {
  /** Time from a change to its event here. */
  lagMs: number;
  /** Requests fail: the node knows at once that it is on its own. */
  isAway: boolean;
  /** The watch hangs: nothing comes, and nothing says so for STALE_AFTER_MS. */
  isHung: boolean;
  /** The process has listed everything, since its start. */
  hasListed: boolean;
  isFresh: boolean;
  /** Version of the rows that it has. */
  version: number;
  /** Counts starts and outages: what was scheduled before means nothing afterwards. */
  epoch: number;
}

export interface ApiPorts {
  at(at: Instant, task: (now: Instant) => void): void;
  feed(node: NodeId, input: AgreementInput, now: Instant): void;
  /** A process is there to be told. */
  hasProcess(node: NodeId): boolean;
}

export class ApiServer {
  readonly #ports: ApiPorts;
  readonly #rows = new Map<string, { readonly row: AddressRow | undefined; readonly version: number }>();
  readonly #views: readonly View[];
  readonly #pods: readonly ExpectedPeer[];
  #version = 0;
  #changedAt: Instant = 0;

  constructor(nodes: readonly ExpectedPeer[], ports: ApiPorts) {
    this.#ports = ports;
    this.#pods = nodes;
    this.#views = nodes.map(() => ({ lagMs: 20, isAway: false, isHung: false, hasListed: false, isFresh: false, version: 0, epoch: 0 }));
  }

  /** When a row last changed. */
  get changedAt(): Instant {
    return this.#changedAt;
  }

  rows(): readonly AddressRow[] {
    return [...this.#rows.values()].flatMap(({ row }) => (row === undefined ? [] : [row]));
  }

  row(address: string): AddressRow | undefined {
    return this.#rows.get(address)?.row;
  }

  /** The node's process has the rows as they are, and knows that it does. */
  isCurrent(node: NodeId): boolean {
    const view = this.#view(node);
    return view.hasListed && view.isFresh && view.version === this.#version;
  }

  setLag(node: NodeId, lagMs: number): void {
    this.#view(node).lagMs = lagMs;
  }

  upsert(row: AddressRow, now: Instant): void {
    this.#change(row.address, row, now);
  }

  remove(address: string, now: Instant): void {
    this.#change(address, undefined, now);
  }

  /** The node's process starts. */
  booted(node: NodeId, now: Instant): void {
    const view = this.#view(node);
    view.epoch += 1;
    view.hasListed = false;
    view.isFresh = false;
    view.version = 0;
    if (!view.isAway && !view.isHung) this.#syncLater(node, now, LIST_MS + view.lagMs);
  }

  goAway(node: NodeId, now: Instant): void {
    const view = this.#view(node);
    view.isAway = true;
    this.#setFresh(node, false, now);
  }

  hang(node: NodeId, now: Instant): void {
    const view = this.#view(node);
    view.isHung = true;
    const { epoch } = view;
    this.#ports.at(now + STALE_AFTER_MS, (later) => {
      if (view.epoch === epoch && view.isHung) this.#setFresh(node, false, later);
    });
  }

  comeBack(node: NodeId, now: Instant): void {
    const view = this.#view(node);
    view.isAway = false;
    view.isHung = false;
    view.epoch += 1;
    this.#syncLater(node, now, view.lagMs);
  }

  #change(address: string, row: AddressRow | undefined, now: Instant): void {
    this.#version += 1;
    this.#changedAt = now;
    this.#rows.set(address, { row, version: this.#version });
    for (const [node, view] of this.#views.entries()) if (view.hasListed) this.#syncLater(node, now, view.lagMs);
  }

  #syncLater(node: NodeId, now: Instant, delayMs: number): void {
    const { epoch } = this.#view(node);
    const upTo = this.#version;
    this.#ports.at(now + delayMs, (later) => {
      if (this.#view(node).epoch === epoch) this.#sync(node, upTo, later);
    });
  }

  /** Tells the node what changed up to a version. */
  #sync(node: NodeId, upTo: number, now: Instant): void {
    const view = this.#view(node);
    if (view.isAway || view.isHung || !this.#ports.hasProcess(node)) return;
    const feed = (input: AgreementInput): void => this.#ports.feed(node, input, now);
    if (!view.hasListed) feed({ kind: "peers", peers: this.#pods.filter((_, index) => index !== node) });
    for (const [address, { row, version }] of this.#rows) {
      if (version <= view.version || (version > upTo && view.hasListed)) continue;
      if (row !== undefined) feed({ kind: "row", row });
      else if (view.hasListed) feed({ kind: "removeRow", address });
    }
    view.version = view.hasListed ? Math.max(view.version, upTo) : this.#version;
    if (!view.hasListed) {
      view.hasListed = true;
      feed({ kind: "ready" });
    }
    this.#setFresh(node, true, now);
  }

  #setFresh(node: NodeId, isFresh: boolean, now: Instant): void {
    const view = this.#view(node);
    if (view.isFresh === isFresh || !view.hasListed) return;
    view.isFresh = isFresh;
    if (this.#ports.hasProcess(node)) this.#ports.feed(node, { kind: "fresh", fresh: isFresh }, now);
  }

  #view(node: NodeId): View {
    const view = this.#views[node];
    if (view === undefined) throw new Error(`no node ${node}`);
    return view;
  }
}
