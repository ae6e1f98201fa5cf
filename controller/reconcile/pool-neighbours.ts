/**
 * Pools and the addresses of Nodes: an address that a machine has already can't be a Service's too, so that a pool with
 * one in it gets a warning.
 */
import type { Pool } from "../../config/config.ts";
import type { Change } from "../../kube/informer.ts";
import type { Node } from "../../kube/objects.ts";
import { AddressError, compareIpAddresses, formatIpAddress, type IpAddress, parseIpAddress, rangeContains } from "../../wire/ip-address.ts";
import { clipMessage, type Verdict } from "./conditions.ts";

/** The condition that Herald sets on pools that overlap a Node's address, and leaves there as False when they don't any more. */
export const OVERLAPS_NODES = "OverlapsNodes";

/** A Node's address that is in a pool. */
export interface Neighbour {
  readonly node: string;
  readonly address: IpAddress;
}

/** The addresses of all Nodes. */
export class NodeAddresses {
  readonly #byNode = new Map<string, readonly IpAddress[]>();

  /** Takes a change of a Node; false when its addresses stay as they were, as they do in nearly all of them. */
  take(change: Change<Node>): boolean {
    const { name } = change.object.metadata;
    const before = this.#byNode.get(name) ?? [];
    const after = change.kind === "deleted" ? [] : addressesOf(change.object);
    if (before.length === after.length && before.every((address, index) => compareIpAddresses(address, after[index] ?? address) === 0)) return false;
    if (after.length === 0) this.#byNode.delete(name);
    else this.#byNode.set(name, after);
    return true;
  }

  /** Those in the pool, by address. */
  within(pool: Pool): Neighbour[] {
    const found: Neighbour[] = [];
    for (const [node, addresses] of this.#byNode) {
      for (const address of addresses) if (pool.ranges.some((range) => rangeContains(range, address))) found.push({ node, address });
    }
    return found.sort((a, b) => compareIpAddresses(a.address, b.address));
  }
}

/** What the pool's condition says about them. */
export function overlapVerdict(neighbours: readonly Neighbour[]): Verdict {
  if (neighbours.length === 0) return { type: OVERLAPS_NODES, status: "False", reason: "NoOverlap", message: "no Node has an address of the pool" };
  const list = neighbours.map(({ node, address }) => `${formatIpAddress(address)} is an address of node ${node}`).join("; ");
  return { type: OVERLAPS_NODES, status: "True", reason: "NodeAddressInPool", message: clipMessage(`${list}; a Service that gets such an address takes it away from the node`) };
}

/** Addresses of the machine, without names. */
function addressesOf(node: Node): IpAddress[] {
  const addresses: IpAddress[] = [];
  for (const { type, address } of node.status?.addresses ?? []) {
    if (type !== "InternalIP" && type !== "ExternalIP") continue;
    try {
      addresses.push(parseIpAddress(address));
    } catch (error) {
      // Whoever wrote it: no Service can get what is no address.
      if (!(error instanceof AddressError)) throw error;
    }
  }
  return addresses;
}
