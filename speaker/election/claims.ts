/**
 * Who owns which address: every node claims for itself, tells all others, and the same rules make one of several claims go
 * on. A claim is sticky: only its owner's death, or the owner itself, gives it up.
 *
 * An address passes through these states on its owner:
 *
 *     idle --(free, its turn, something heard)--> owned --(fit no more, or the end)--> handingOver --(claim seen, or 1 s)--> idle
 *     owned --(better claim seen | no usable interface | row removed)--> idle
 *     idle <--(an interface is usable, or another has it)--> blocked
 *
 * | file | what it holds |
 * |---|---|
 * | `claim-list.ts`, `outbox.ts` | the own list, its versions and hash; how it is sent |
 * | `peer-lists.ts`, `list-copy.ts`, `peer.ts`, `pulls.ts`, `pending-lists.ts` | the lists of the others, and how they are kept up to date |
 * | `claim-order.ts`, `term-memory.ts` | which of two claims goes on; terms only grow |
 * | `group-table.ts`, `group-keeper.ts` | the rows by group; looking at one group and doing what follows |
 * | `candidates.ts`, `placement.ts`, `rank.ts` | who is fit, whose turn it is, who succeeds |
 * | `holder.ts`, `handovers.ts`, `restart.ts`, `moves.ts` | taking and losing, giving away, resuming, backing off |
 * | `standing.ts`, `hearing.ts`, `waking.ts` | what this node may do: settled, witnessed by a majority, hearing its segment, awake |
 *
 * Rows are looked at when the timeout comes that they ask for at once, so that those of one change are seen together.
 */
import type { Instant, Machine } from "../machine.ts";
import type { InterfaceFact } from "../packet-protocol.ts";
import { Candidates } from "./candidates.ts";
import { OwnList } from "./claim-list.ts";
import { snapshotOf } from "./claim-snapshot.ts";
import type { ClaimSnapshot } from "./claim-snapshot.ts";
import type { ClaimsInput, ClaimsOutput, ClaimsUpdate } from "./claims-protocol.ts";
import { Deadlines } from "./deadlines.ts";
import { GroupKeeper } from "./group-keeper.ts";
import { GroupTable, isHeld } from "./group-table.ts";
import type { Group } from "./group-table.ts";
import { Handovers } from "./handovers.ts";
import { Hearing } from "./hearing.ts";
import { Holder } from "./holder.ts";
import { Outbox } from "./outbox.ts";
import { PeerLists } from "./peer-lists.ts";
import { Restart, RESUME_WITHIN_MS } from "./restart.ts";
import { Standing } from "./standing.ts";
import { TermMemory } from "./term-memory.ts";
import { Waking } from "./waking.ts";

/** When others change, groups that wait for something are looked at after that time, since changes come in bunches. */
export const RELOOK_AFTER_MS = 5;
/** A sleep longer than this makes takings in flight wait anew. */
export const LAG_MS = 100;
/** A sleep longer than this, the shortest deadline of a takeover, may have cost this node its claims. */
export const SHORTEST_TAKEOVER_MS = 250;
/** Entries of one reminder: as many as fit a datagram, of IPv6 addresses too. */
const MAX_CONTESTED_AT_ONCE = 40;

export interface ClaimsOptions {
  readonly node: string;
  /** Unix ms at which this process started. */
  readonly boot: number;
  /** Unix ms at an instant. */
  readonly wallMs: (now: Instant) => number;
  readonly failback: "sticky" | "rank";
  /** Version of the workload's template, "" when unknown. */
  readonly template: string;
}

export class Claims implements Machine<ClaimsInput, ClaimsOutput> {
  readonly #node: string;
  readonly #deadlines = new Deadlines();
  readonly #outbox = new Outbox();
  readonly #terms = new TermMemory();
  readonly #own: OwnList;
  readonly #peers: PeerLists;
  readonly #standing: Standing;
  readonly #table: GroupTable;
  readonly #hearing: Hearing;
  readonly #holder: Holder;
  readonly #handovers: Handovers;
  readonly #restart: Restart;
  readonly #keeper: GroupKeeper;
  readonly #waking: Waking;
  /** Groups to look at before this call ends. */
  readonly #touched = new Set<Group>();
  /** Groups to look at when the timeout comes. */
  readonly #deferred = new Set<Group>();
  #deferredAt: Instant | undefined;
  /** Who is fit may be different now. */
  #membersChanged = false;
  #digestIsNews = false;
  #isReleased = false;
  #majoritySince: Instant | undefined;
  #now: Instant = 0;
  #outputs: ClaimsOutput[] = [];

  constructor({ node, boot, wallMs, failback, template }: ClaimsOptions) {
    this.#node = node;
    const deadlines = this.#deadlines;
    const emit = (output: ClaimsOutput): void => void this.#outputs.push(output);
    this.#own = new OwnList({ owner: node, boot, facts: { ready: false, fresh: false, settled: false, template } });
    this.#peers = new PeerLists({
      node,
      wallMs,
      deadlines,
      events: {
        emit,
        touch: (address) => this.#touch(address),
        sawTerm: (address, term) => this.#sawTerm(address, term),
        changed: () => {
          this.#membersChanged = true;
        },
      },
    });
    this.#standing = new Standing(node, (name) => this.#peers.get(name));
    this.#table = new GroupTable(node);
    this.#hearing = new Hearing(deadlines, (interfaceIndex) => emit({ kind: "askSegment", interfaceIndex }));
    const parts = { node, wallMs, failback, template, own: this.#own, peers: this.#peers, terms: this.#terms, standing: this.#standing, table: this.#table, deadlines, emit };
    const holder = new Holder(parts);
    const candidates = new Candidates({ ...parts, holder });
    const handovers = new Handovers({ ...parts, holder, candidates });
    const restart = new Restart(holder);
    this.#holder = holder;
    this.#handovers = handovers;
    this.#restart = restart;
    this.#waking = new Waking(parts);
    this.#keeper = new GroupKeeper({ ...parts, holder, candidates, handovers, restart, hearing: this.#hearing });
  }

  handle(input: ClaimsInput, now: Instant): ClaimsOutput[] {
    this.#now = now;
    this.#outputs = [];
    this.#handovers.begin();
    const confirmedBy = this.#takeIn(input, now);
    this.#settleUp(now);
    if (confirmedBy !== undefined && this.#waking.confirmed(confirmedBy, now)) this.#speak(now);
    this.#send(now);
    return this.#outputs;
  }

  nextTimeout(): Instant | undefined {
    const times = [this.#deadlines.next(), this.#outbox.next(), this.#deferredAt];
    return times.reduce((first, next) => (next === undefined || (first !== undefined && first <= next) ? first : next), undefined);
  }

  /** Every address of the table as this node sees it. */
  snapshot(): ClaimSnapshot[] {
    return snapshotOf({ table: this.#table, holder: this.#holder, peers: this.#peers }, this.#now);
  }

  /** Takes one input in. Returns the member whose own word it is that what this node knows of it is right. */
  #takeIn(input: ClaimsInput, now: Instant): string | undefined {
    switch (input.kind) {
      case "row":
        this.#terms.know(input.row.address);
        for (const group of this.#table.upsert(input.row)) this.#defer(group, now);
        return undefined;
      case "removeRow":
        this.#removeRow(input.address, now);
        return undefined;
      case "ready":
        this.#ready(now);
        return undefined;
      case "fresh":
        this.#standing.fresh = input.fresh;
        this.#own.setFacts({ fresh: input.fresh });
        this.#membersChanged = true;
        return undefined;
      case "interfaces":
        this.#setInterfaces(input.interfaces, now);
        return undefined;
      case "members":
        if (this.#peers.setMembers(input.members, now)) this.#standing.viewChanged(now);
        return undefined;
      case "known":
        this.#membersChanged ||= this.#standing.setKnown(input.nodes, now);
        return undefined;
      case "gateway":
        this.#standing.setGateway(input.heard, now);
        return undefined;
      case "suspected":
        this.#peers.suspected(input.node, input.since !== undefined, now);
        this.#standing.count(now);
        return undefined;
      case "frame":
        for (const group of this.#hearing.frame(input.interfaceIndex, now)) this.#touched.add(group);
        return undefined;
      case "update":
        if (input.update.owner === this.#node) return this.#ownUpdate(input.update, now);
        return this.#peers.update(input.update, now) ? input.update.owner : undefined;
      case "digest":
        this.#standing.said(input.from, now);
        return this.#peers.digest(input.digest, input.from, now) && input.from === input.digest.owner ? input.from : undefined;
      case "pull":
        this.#pulled(input.from, input.owner);
        return undefined;
      case "woke":
        this.#woke(input.lagMs, now);
        return undefined;
      case "boot":
        this.#own.restartAs(input.boot);
        return undefined;
      case "release":
        this.#release();
        return undefined;
      case "timeout":
        this.#timeout(now);
        return undefined;
    }
  }

  #setInterfaces(interfaces: readonly InterfaceFact[], now: Instant): void {
    const added = this.#table.setInterfaces(interfaces, now);
    if (added === undefined) return;
    this.#hearing.keep(new Set(interfaces.map(({ index }) => index)));
    for (const index of added) this.#hearing.distrust(index, now);
    this.#touchAll();
  }

  #removeRow(address: string, now: Instant): void {
    const held = this.#table.get(address);
    if (held === undefined) return;
    if (isHeld(held)) this.#holder.lose(held, "Removed", "released", now);
    else if (held.phase === "blocked") this.#outputs.push({ kind: "lost", address, reason: "Removed" });
    this.#holder.setVeto(held, false);
    this.#table.remove(address);
    this.#terms.unknow(address, now);
    this.#defer(held.group, now);
  }

  #ready(now: Instant): void {
    if (this.#standing.ready || this.#standing.stopping) return;
    this.#standing.ready = true;
    this.#standing.readyAt = now;
    this.#own.setFacts({ ready: true });
    this.#membersChanged = true;
    this.#touchAll();
  }

  /** A list of this node's own, from before it restarted. */
  #ownUpdate(update: ClaimsUpdate, now: Instant): undefined {
    if (update.boot >= this.#own.boot) return undefined;
    for (const entry of update.entries) if (entry.state !== "veto") this.#sawTerm(entry.address, entry.term);
    for (const address of this.#restart.takeIn(update)) this.#touch(address);
    this.#deadlines.set("resume", now + RESUME_WITHIN_MS);
    return undefined;
  }

  #pulled(from: string, owner: string): void {
    if (owner !== this.#node) {
      this.#peers.pulled(from, owner);
      return;
    }
    this.#outbox.push(this.#own.takeDeltas());
    this.#digestIsNews = true;
    this.#outputs.push({ kind: "send", to: from, update: this.#own.whole(), reliable: false });
    this.#peers.pulled(from, owner);
  }

  #woke(lagMs: number, now: Instant): void {
    if (lagMs <= LAG_MS) return;
    for (const group of this.#keeper.watched) {
      if (group.freeSince !== undefined) group.freeSince = now;
      if (group.displaceSince !== undefined) group.displaceSince = now;
      this.#defer(group, now);
    }
    if (lagMs > SHORTEST_TAKEOVER_MS && (this.#holder.groups.size > 0 || this.#standing.silent)) this.#waking.woke(lagMs, now);
  }

  #speak(now: Instant): void {
    this.#waking.speak();
    for (const group of this.#keeper.watched) this.#defer(group, now);
  }

  #release(): void {
    if (this.#standing.stopping) return;
    this.#standing.stopping = true;
    this.#own.setFacts({ ready: false });
    this.#touchAll();
  }

  #timeout(now: Instant): void {
    for (const group of this.#deferred) this.#touched.add(group);
    this.#deferred.clear();
    this.#deferredAt = undefined;
    for (let key = this.#deadlines.takeDue(now); key !== undefined; key = this.#deadlines.takeDue(now)) this.#due(key, now);
  }

  /** A deadline: "what whom". */
  #due(key: string, now: Instant): void {
    const space = key.indexOf(" ");
    const [what, whom] = space < 0 ? [key, ""] : [key.slice(0, space), key.slice(space + 1)];
    const group = this.#table.group(whom);
    switch (what) {
      case "handover":
        if (group !== undefined) this.#handovers.due(group, now);
        break;
      case "pull":
        return this.#peers.pullDue(whom, now);
      case "void":
      case "grace":
        return this.#peers.voidDue(whom);
      case "forget":
        return this.#peers.forgetDue(whom, now);
      case "released":
        return this.#holder.releasedDue(whom);
      case "ask":
        return this.#hearing.askAgain(now);
      case "trust":
        return this.#touchAll();
      case "speak":
        return this.#speak(now);
      case "upgrade":
        return this.#holder.upgrade(now);
      case "settle":
        return this.#judgeSettled(now);
      case "relook":
        for (const watched of this.#keeper.watched) this.#touched.add(watched);
        return;
      case "resume":
        return this.#restart.forget();
      case "well":
        for (const held of this.#holder.groups) this.#touched.add(held);
        return;
    }
    if (group !== undefined) this.#touched.add(group);
  }

  /** Looks at all that was touched, until nothing is left to do. */
  #settleUp(now: Instant): void {
    if (this.#membersChanged) {
      this.#membersChanged = false;
      this.#judgeSettled(now);
      this.#handovers.plan(now);
      if (this.#keeper.watched.size > 0) this.#deadlines.setEarlier("relook", now + RELOOK_AFTER_MS);
    }
    for (const group of this.#touched) this.#keeper.look(group, now);
    this.#touched.clear();
    // The majority came or went: what waits for it has another deadline.
    if (this.#majoritySince === this.#standing.majoritySince) return;
    this.#majoritySince = this.#standing.majoritySince;
    this.#holder.upgrade(now);
  }

  #judgeSettled(now: Instant): void {
    if (this.#standing.settled || !this.#standing.ready) return;
    const { settled, askAgainAt } = this.#standing.judgeSettled(this.#peers.all(), now);
    if (askAgainAt !== undefined) this.#deadlines.set("settle", askAgainAt);
    if (!settled) return;
    this.#standing.settled = true;
    this.#deadlines.clear("settle");
    this.#own.setFacts({ settled: true });
    this.#outputs.push({ kind: "settled" });
    // A row that was only just given is not looked at before the others of its change.
    for (const group of this.#table.groups()) if (!this.#deferred.has(group)) this.#touched.add(group);
  }

  /** Makes versions of what changed and sends what may be sent now. */
  #send(now: Instant): void {
    const updates = this.#own.takeDeltas();
    if (updates.length > 0) this.#digestIsNews = true;
    this.#outbox.push(updates);
    for (const update of this.#outbox.take(now, (update) => this.#own.stillSays(update))) this.#outputs.push({ kind: "send", to: "all", update, reliable: false });
    for (const [node, addresses] of this.#keeper.contested) {
      for (let at = 0; at < addresses.length; at += MAX_CONTESTED_AT_ONCE) {
        this.#outputs.push({ kind: "send", to: node, update: this.#own.repeat(addresses.slice(at, at + MAX_CONTESTED_AT_ONCE)), reliable: false });
      }
    }
    this.#keeper.contested.clear();
    // A digest that runs ahead of its steps would make everybody ask for the whole list.
    if (!this.#outbox.isDrained) return;
    if (this.#digestIsNews) this.#outputs.push({ kind: "digest", digest: this.#own.digest() });
    this.#digestIsNews = false;
    if (!this.#standing.stopping || this.#isReleased || this.#holder.groups.size > 0) return;
    this.#isReleased = true;
    this.#outputs.push({ kind: "released" });
  }

  #sawTerm(address: string, term: number): void {
    if (!this.#terms.raise(address, term, this.#now)) this.#outputs.push({ kind: "dropped", reason: "tooManyUnknown" });
  }

  #touch(address: string): void {
    const group = this.#table.get(address)?.group;
    if (group !== undefined && !this.#deferred.has(group)) this.#touched.add(group);
  }

  #touchAll(): void {
    for (const group of this.#table.groups()) if (!this.#deferred.has(group)) this.#touched.add(group);
  }

  #defer(group: Group, now: Instant): void {
    this.#touched.delete(group);
    this.#deferred.add(group);
    this.#deferredAt ??= now;
  }
}
