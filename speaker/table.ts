/**
 * The table of addresses that the packet thread works on, kept as what it is made of (one Announcement per Service), with
 * the rows that follow from it. A change of one Service touches the rows of its own group and no others.
 *
 * A group is what must move together: the addresses of one Service, and of all Services that share one of them, and so on.
 * Its name is its first address (IPv4 before IPv6), its rows have one list of candidates:
 * - the nodes on which all Services of the group may be announced, each with its highest score;
 * - when no node is left (Services that share an address though their endpoints are apart), those of the Service whose key
 *   comes first: some of the traffic arrives, and every node draws the same conclusion.
 * The interfaces of an address are those of all the Services that hold it.
 */
import { compareIpAddresses, parseIpAddress } from "../wire/ip-address.ts";
import type { Announcement } from "./election/eligibility.ts";
import { compareText } from "./election/eligibility.ts";
import type { AddressRow, Candidate } from "./packet-protocol.ts";

/** What changed in the rows since the last one. */
export interface TableDelta {
  readonly upsert: readonly AddressRow[];
  /** Canonical texts of the addresses. */
  readonly remove: readonly string[];
}

/** A part of a Service's announcement, or its absence. Key: "namespace/name". */
export type TableChange = readonly [key: string, announcement: Announcement | undefined];

/** See the head of the file. `apply` is all-or-nothing and runs to completion. */
export class AddressTable {
  readonly #services = new Map<string, Announcement>();
  readonly #holders = new Map<string, Set<string>>();
  readonly #rows = new Map<string, AddressRow>();

  /** All rows, in no particular order. */
  rows(): AddressRow[] {
    return [...this.#rows.values()];
  }

  row(address: string): AddressRow | undefined {
    return this.#rows.get(address);
  }

  /** Canonical addresses of a Service, [] when it is not announced. Key: "namespace/name". */
  addressesOf(key: string): readonly string[] {
    return this.#services.get(key)?.addresses ?? [];
  }

  announcementOf(key: string): Announcement | undefined {
    return this.#services.get(key);
  }

  /** Keys of the Services that hold the address, sorted. */
  servicesOf(address: string): readonly string[] {
    return [...(this.#holders.get(address) ?? [])].sort(compareText);
  }

  /** Keys of all Services in the table. */
  serviceKeys(): IterableIterator<string> {
    return this.#services.keys();
  }

  /** Takes changes of Services and returns those of the rows. Rows that come out as they were are left out. */
  apply(changes: Iterable<TableChange>): TableDelta {
    const touched = new Set<string>();
    for (const [key, announcement] of changes) {
      if (sameAnnouncement(this.#services.get(key), announcement)) continue;
      for (const address of this.addressesOf(key)) touched.add(address);
      this.#replace(key, announcement);
      for (const address of announcement?.addresses ?? []) touched.add(address);
    }
    const upsert: AddressRow[] = [];
    const remove: string[] = [];
    const done = new Set<string>();
    for (const start of touched) {
      if (done.has(start)) continue;
      if (!this.#holders.has(start)) {
        done.add(start);
        if (this.#rows.delete(start)) remove.push(start);
        continue;
      }
      for (const row of this.#groupRows(start, done)) {
        if (sameRow(this.#rows.get(row.address), row)) continue;
        this.#rows.set(row.address, row);
        upsert.push(row);
      }
    }
    return { upsert: upsert.sort((a, b) => compareText(a.address, b.address)), remove: remove.sort(compareText) };
  }

  #replace(key: string, announcement: Announcement | undefined): void {
    for (const address of this.addressesOf(key)) {
      const holders = this.#holders.get(address);
      holders?.delete(key);
      if (holders?.size === 0) this.#holders.delete(address);
    }
    if (announcement === undefined) {
      this.#services.delete(key);
      return;
    }
    this.#services.set(key, announcement);
    for (const address of announcement.addresses) {
      const holders = this.#holders.get(address);
      if (holders === undefined) this.#holders.set(address, new Set([key]));
      else holders.add(key);
    }
  }

  /** Rows of the group that `start` belongs to. Adds all its addresses to `done`. */
  #groupRows(start: string, done: Set<string>): AddressRow[] {
    const addresses: string[] = [start];
    const members = new Set<string>();
    done.add(start);
    // The list grows while it is walked: a breadth-first search over Services and the addresses they hold.
    for (const address of addresses) {
      for (const key of this.#holders.get(address) ?? []) {
        if (members.has(key)) continue;
        members.add(key);
        for (const other of this.addressesOf(key)) {
          if (done.has(other)) continue;
          done.add(other);
          addresses.push(other);
        }
      }
    }
    const group = firstAddress(addresses);
    const announcements = [...members].sort(compareText).flatMap((key) => this.#services.get(key) ?? []);
    const candidates = mergeCandidates(announcements);
    return addresses.map((address) => ({ address, group, candidates, interfaces: this.#interfacesOf(address) }));
  }

  #interfacesOf(address: string): readonly string[] | "all" {
    const names = new Set<string>();
    for (const key of this.#holders.get(address) ?? []) {
      const interfaces = this.#services.get(key)?.interfaces ?? [];
      if (interfaces === "all") return "all";
      for (const name of interfaces) names.add(name);
    }
    return [...names].sort(compareText);
  }
}

function firstAddress(addresses: readonly string[]): string {
  return addresses.reduce((first, address) => (compareIpAddresses(parseIpAddress(address), parseIpAddress(first)) < 0 ? address : first));
}

function mergeCandidates(announcements: readonly Announcement[]): readonly Candidate[] {
  const [first, ...others] = announcements;
  if (first === undefined) return [];
  if (others.every((other) => other.candidates === first.candidates)) return first.candidates;
  const scores = new Map(first.candidates.map((candidate) => [candidate.node, candidate.score]));
  for (const other of others) {
    const theirs = new Map(other.candidates.map((candidate) => [candidate.node, candidate.score]));
    for (const [node, score] of scores) {
      const their = theirs.get(node);
      if (their === undefined) scores.delete(node);
      else scores.set(node, Math.max(score, their));
    }
  }
  if (scores.size === 0) return first.candidates;
  return [...scores].map(([node, score]) => ({ node, score }));
}

function sameAnnouncement(a: Announcement | undefined, b: Announcement | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return sameTexts(a.addresses, b.addresses) && sameInterfaces(a.interfaces, b.interfaces) && sameCandidates(a.candidates, b.candidates);
}

function sameRow(a: AddressRow | undefined, b: AddressRow): boolean {
  return a !== undefined && a.group === b.group && sameInterfaces(a.interfaces, b.interfaces) && sameCandidates(a.candidates, b.candidates);
}

function sameInterfaces(a: readonly string[] | "all", b: readonly string[] | "all"): boolean {
  return a === "all" || b === "all" ? a === b : sameTexts(a, b);
}

function sameTexts(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((text, index) => text === b[index]);
}

function sameCandidates(a: readonly Candidate[], b: readonly Candidate[]): boolean {
  return a === b || (a.length === b.length && a.every((candidate, index) => candidate.node === b[index]?.node && candidate.score === b[index]?.score));
}
