/**
 * Keeps this node in the solicited-node groups of the IPv6 addresses that it announces, so that interfaces and snooping
 * switches let neighbour solicitations for them through. RFC 4291 §2.7.1; RFC 4861 §7.2.1.
 *
 * It hears the packet thread's facts but runs on the main thread: joining waits for a lock of the kernel's that others hold
 * while interfaces come and go, and the packet thread must not wait. Addresses whose last 24 bits are the same share a group,
 * which is left when the last of them has gone. Interfaces without a link-local address carry no IPv6 and join nothing.
 * What is to be done is done a batch at a time; what failed is tried again after a while.
 */

import type { Clock } from "../sys/clock.ts";
import type { Logger } from "../sys/log.ts";
import type { GroupMembership, MulticastGroups } from "../sys/multicast-groups.ts";
import { SysError } from "../sys/sys-error.ts";
import { formatIpAddress, parseIpAddress } from "../wire/ip-address.ts";
import { solicitedNodeGroup } from "../wire/ipv6-multicast.ts";
import type { FromPacketThread, InterfaceFact } from "./packet-protocol.ts";

export interface SolicitedGroupsOptions {
  readonly clock: Pick<Clock, "after">;
  readonly log: Pick<Logger, "warn">;
  readonly groups: MulticastGroups;
}

/** Groups joined or left at a time, before anybody else has a turn. */
export const GROUPS_PER_BATCH = 64;
/** Memberships of this node, interfaces counted apart; an address beyond is announced and answered for all the same, where its questions come through. */
export const MAX_MEMBERSHIPS = 32_768;
/** What failed is tried again after so long. */
export const RETRY_AFTER_MS = 5_000;

interface Membership extends GroupMembership {
  /** Addresses that want it. */
  readonly wantedBy: Set<string>;
  /** The interface went, or was made anew, since it was joined: the kernel has forgotten it, or it is to be left. */
  isStale: boolean;
  isJoined: boolean;
}

export class SolicitedGroups {
  readonly #options: SolicitedGroupsOptions;
  /** By interface and group: those that are wanted or joined. */
  readonly #memberships = new Map<string, Membership>();
  readonly #interfacesOf = new Map<string, readonly number[]>();
  /** Interfaces that carry IPv6. */
  #carrying: ReadonlySet<number> = new Set();
  /** Keys of memberships that are to be looked at. */
  readonly #pending = new Set<string>();
  readonly #failed = new Set<string>();
  readonly #warnedOf = new Set<string>();
  #joined = 0;
  #isBatchDue = false;
  #isRetryDue = false;

  constructor(options: SolicitedGroupsOptions) {
    this.#options = options;
  }

  take(fact: FromPacketThread): void {
    switch (fact.kind) {
      case "owned":
        if (fact.address.includes(":")) this.#want(fact.address, fact.interfaces.map(({ index }) => index));
        return;
      case "lost":
        if (fact.address.includes(":")) this.#want(fact.address, []);
        return;
      case "started":
      case "interfaces":
        this.#setInterfaces(fact.interfaces);
        return;
      default:
        return;
    }
  }

  #want(address: string, interfaceIndexes: readonly number[]): void {
    const group = solicitedNodeGroup(parseIpAddress(address));
    const before = this.#interfacesOf.get(address) ?? [];
    for (const interfaceIndex of before) {
      if (interfaceIndexes.includes(interfaceIndex)) continue;
      const key = keyOf({ interfaceIndex, group });
      this.#memberships.get(key)?.wantedBy.delete(address);
      this.#look(key);
    }
    for (const interfaceIndex of interfaceIndexes) {
      const key = keyOf({ interfaceIndex, group });
      const membership = this.#memberships.get(key) ?? { interfaceIndex, group, wantedBy: new Set(), isStale: false, isJoined: false };
      this.#memberships.set(key, membership);
      membership.wantedBy.add(address);
      this.#look(key);
    }
    if (interfaceIndexes.length === 0) this.#interfacesOf.delete(address);
    else this.#interfacesOf.set(address, interfaceIndexes);
  }

  #setInterfaces(facts: readonly InterfaceFact[]): void {
    const before = this.#carrying;
    const carrying = new Set(facts.flatMap(({ index, usable, linkLocal }) => (usable && linkLocal !== undefined ? [index] : [])));
    this.#carrying = carrying;
    for (const [key, membership] of this.#memberships) {
      const { interfaceIndex } = membership;
      if (before.has(interfaceIndex) === carrying.has(interfaceIndex)) continue;
      if (before.has(interfaceIndex)) membership.isStale = membership.isJoined;
      this.#look(key);
    }
  }

  #look(key: string): void {
    this.#pending.add(key);
    if (this.#isBatchDue) return;
    this.#isBatchDue = true;
    this.#options.clock.after(0, () => this.#workBatch());
  }

  #workBatch(): void {
    this.#isBatchDue = false;
    let count = 0;
    for (const key of this.#pending) {
      if (count === GROUPS_PER_BATCH) {
        this.#isBatchDue = true;
        this.#options.clock.after(0, () => this.#workBatch());
        return;
      }
      count += 1;
      this.#pending.delete(key);
      this.#failed.delete(key);
      this.#settle(key);
    }
  }

  #settle(key: string): void {
    const membership = this.#memberships.get(key);
    if (membership === undefined) return;
    const isWanted = membership.wantedBy.size > 0;
    const mayBeMember = isWanted && this.#carrying.has(membership.interfaceIndex);
    if (membership.isJoined && (membership.isStale || !mayBeMember)) {
      this.#options.groups.leave(membership);
      membership.isJoined = false;
      membership.isStale = false;
      this.#joined -= 1;
    }
    if (!isWanted) this.#memberships.delete(key);
    if (mayBeMember && !membership.isJoined) this.#join(key, membership);
  }

  #join(key: string, membership: Membership): void {
    if (this.#joined >= MAX_MEMBERSHIPS) return this.#fail(key, membership, "tooMany");
    try {
      this.#options.groups.join(membership);
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      return this.#fail(key, membership, error.code);
    }
    membership.isJoined = true;
    this.#joined += 1;
  }

  /** Once for each reason: thousands of groups may fail for the same one. */
  #fail(key: string, membership: Membership, reason: string): void {
    if (!this.#warnedOf.has(reason)) {
      this.#warnedOf.add(reason);
      this.#options.log.warn("groupNotJoined", { group: formatIpAddress(membership.group), interfaceIndex: membership.interfaceIndex, reason });
    }
    this.#failed.add(key);
    if (this.#isRetryDue) return;
    this.#isRetryDue = true;
    this.#options.clock.after(RETRY_AFTER_MS, () => {
      this.#isRetryDue = false;
      for (const failed of this.#failed) this.#look(failed);
    });
  }
}

function keyOf({ interfaceIndex, group }: GroupMembership): string {
  return `${interfaceIndex} ${formatIpAddress(group)}`;
}
