/**
 * The in-memory twin of `multicast-groups.ts`: tests look at who is a member, and say which interfaces there are.
 */

import { formatIpAddress } from "../wire/ip-address.ts";
import type { GroupMembership, MulticastGroups } from "./multicast-groups.ts";
import { SysError } from "./sys-error.ts";

export class FakeMulticastGroups implements MulticastGroups {
  readonly #members = new Set<string>();
  readonly #interfaces: Set<number>;
  #open = true;
  /** Memberships that were begun, ended ones included. */
  joins = 0;

  /** @param interfaces indexes of those that exist and carry IPv6 */
  constructor(interfaces: readonly number[]) {
    this.#interfaces = new Set(interfaces);
  }

  /** The interface comes, or goes and takes its memberships along. */
  setInterface(interfaceIndex: number, exists: boolean): void {
    if (exists) {
      this.#interfaces.add(interfaceIndex);
      return;
    }
    this.#interfaces.delete(interfaceIndex);
    for (const key of this.#members) if (key.startsWith(`${interfaceIndex} `)) this.#members.delete(key);
  }

  /** "interface group" of each membership, sorted. */
  members(): string[] {
    return [...this.#members].toSorted();
  }

  join(membership: GroupMembership): void {
    this.#mustBeOpen();
    if (!this.#interfaces.has(membership.interfaceIndex)) throw new SysError({ code: "ENODEV", syscall: "setsockopt" });
    this.joins += 1;
    this.#members.add(keyOf(membership));
  }

  leave(membership: GroupMembership): void {
    this.#mustBeOpen();
    this.#members.delete(keyOf(membership));
  }

  close(): void {
    this.#open = false;
    this.#members.clear();
  }

  #mustBeOpen(): void {
    if (!this.#open) throw new SysError({ code: "EBADF", syscall: "setsockopt" });
  }
}

function keyOf({ interfaceIndex, group }: GroupMembership): string {
  return `${interfaceIndex} ${formatIpAddress(group)}`;
}
