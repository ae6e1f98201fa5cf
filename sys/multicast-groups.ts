/**
 * A door for membership in IPv6 multicast groups, without anything being received here: an interface's filter lets the
 * group's frames in, and MLD reports tell switches that they are wanted. Its in-memory twin is `multicast-groups-fake.ts`;
 * `multicast-groups.test.ts` holds both to the same suite.
 *
 * Every call takes the kernel's lock on its interfaces, which others may hold for long: not for a thread that must not wait.
 */

import { formatIpAddress, ipAddressToBytes } from "../wire/ip-address.ts";
import type { IpAddress } from "../wire/ip-address.ts";
import { multicastMac } from "../wire/ipv6-multicast.ts";
import { macAddressToBytes } from "../wire/mac-address.ts";
import { changeFrameGroup, close, openPacketDescriptor } from "./libc.ts";
import { changeIpv6Group, openIpDescriptor } from "./libc-inet.ts";
import { SysError } from "./sys-error.ts";

/** A group on an interface. */
export interface GroupMembership {
  readonly interfaceIndex: number;
  readonly group: IpAddress;
}

export interface MulticastGroups {
  /** Joins; nothing happens where it is a member. @throws SysError (ENODEV without the interface or IPv6 on it, ENOBUFS, EMFILE) */
  join(membership: GroupMembership): void;
  /** Leaves; nothing happens where it is no member, or the interface has gone. */
  leave(membership: GroupMembership): void;
  /** Leaves all and ends it; a second time does nothing. */
  close(): void;
}

/** A socket's memberships come out of a small allowance (net.core.optmem_max, 20 KiB on older kernels): further ones take another socket. */
export const MAX_GROUPS_PER_SOCKET = 256;

interface Joiner {
  readonly fd: number;
  count: number;
}

/** Opens nothing until the first group is joined. Needs CAP_NET_RAW then. */
export function openMulticastGroups(): MulticastGroups {
  return new SocketGroups();
}

class SocketGroups implements MulticastGroups {
  readonly #joined = new Map<string, Joiner>();
  /** Sockets for the groups, none of them empty; each has less than its maximum or is full. */
  readonly #joiners = new Set<Joiner>();
  /** For the interfaces' filters. It is bound to nothing, so that no frame reaches it. */
  #packetFd: number | undefined;
  #open = true;

  join(membership: GroupMembership): void {
    this.#mustBeOpen();
    const key = keyOf(membership);
    if (this.#joined.has(key)) return;
    const { interfaceIndex, group } = membership;
    const joiner = this.#joinerWithRoom();
    try {
      changeIpv6Group(joiner.fd, "join", { interfaceIndex, group: ipAddressToBytes(group) });
      joiner.count += 1;
      this.#joined.set(key, joiner);
    } finally {
      this.#closeIfEmpty(joiner);
    }
    try {
      this.#packetFd ??= openPacketDescriptor();
      changeFrameGroup(this.#packetFd, "join", { interfaceIndex, mac: macAddressToBytes(multicastMac(group)) });
    } catch (error) {
      this.leave(membership);
      throw error;
    }
  }

  leave(membership: GroupMembership): void {
    this.#mustBeOpen();
    const key = keyOf(membership);
    const joiner = this.#joined.get(key);
    if (joiner === undefined) return;
    this.#joined.delete(key);
    const { interfaceIndex, group } = membership;
    const packetFd = this.#packetFd;
    ignoreGone(() => changeIpv6Group(joiner.fd, "leave", { interfaceIndex, group: ipAddressToBytes(group) }));
    if (packetFd !== undefined) ignoreGone(() => changeFrameGroup(packetFd, "leave", { interfaceIndex, mac: macAddressToBytes(multicastMac(group)) }));
    joiner.count -= 1;
    this.#closeIfEmpty(joiner);
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    for (const { fd } of this.#joiners) close(fd);
    if (this.#packetFd !== undefined) close(this.#packetFd);
    this.#joiners.clear();
    this.#joined.clear();
  }

  #joinerWithRoom(): Joiner {
    for (const joiner of this.#joiners) if (joiner.count < MAX_GROUPS_PER_SOCKET) return joiner;
    const joiner = { fd: openIpDescriptor("::", "udp"), count: 0 };
    this.#joiners.add(joiner);
    return joiner;
  }

  #closeIfEmpty(joiner: Joiner): void {
    if (joiner.count > 0) return;
    this.#joiners.delete(joiner);
    close(joiner.fd);
  }

  #mustBeOpen(): void {
    if (!this.#open) throw new SysError({ code: "EBADF", syscall: "setsockopt" });
  }
}

/** The kernel forgot the membership with the interface, or never had it. */
function ignoreGone(leave: () => void): void {
  try {
    leave();
  } catch (error) {
    if (!(error instanceof SysError) || !["ENODEV", "EADDRNOTAVAIL"].includes(error.code)) throw error;
  }
}

function keyOf({ interfaceIndex, group }: GroupMembership): string {
  return `${interfaceIndex} ${formatIpAddress(group)}`;
}
