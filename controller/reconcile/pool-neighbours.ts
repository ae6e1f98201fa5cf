/**
 * Pools and the addresses of machines: one that a Node has already, or that is a Node's default gateway, can't be a
 * Service's too, so that a pool with one in it gets a warning. The addresses are in the Nodes; the gateways only their
 * speakers know, who tell them on their ConfigurationStates.
 */
import type { Pool } from "../../config/config.ts";
import { DEFAULT_GATEWAYS, parseDefaultGateways } from "../../config/default-gateways.ts";
import type { Change } from "../../kube/informer.ts";
import type { CustomResource, Node } from "../../kube/objects.ts";
import { AddressError, compareIpAddresses, familyBits, formatIpAddress, type IpAddress, type IpRange, parseIpAddress, rangeContains } from "../../wire/ip-address.ts";
import { clipMessage, type Verdict } from "./conditions.ts";

/** The condition that Herald sets on pools that overlap a machine's address, and leaves there as False when they don't any more. */
export const OVERLAPS_NODES = "OverlapsNodes";

/** A speaker's ConfigurationState is called by this and its Node's name. */
const SPEAKER_PREFIX = "speaker-";
/** Addresses that a message tells of, and Nodes that it names with each; of further ones it gives the number. */
const MAX_ADDRESSES_TOLD = 16;
const MAX_NODES_NAMED = 5;

/** An address of a pool that is also an address of Nodes, or the default gateway of Nodes. */
export interface Neighbour {
  readonly is: "node" | "gateway";
  readonly address: IpAddress;
  /** The pool's range that it is in. */
  readonly range: IpRange;
  /** Names, sorted; at least one. */
  readonly nodes: readonly string[];
}

/** The addresses and default gateways of all Nodes. */
export class PoolNeighbours {
  /** Of every Node there is. */
  readonly #addresses = new Map<string, readonly IpAddress[]>();
  /** As speakers tell them, also one whose Node is not known. */
  readonly #gateways = new Map<string, readonly IpAddress[]>();

  /** Takes a change of a Node; false when nothing here has changed, as in nearly all of them. */
  takeNode(change: Change<Node>): boolean {
    return replace(this.#addresses, change.object.metadata.name, change.kind === "deleted" ? undefined : addressesOf(change.object));
  }

  /** Takes a change of a ConfigurationState, as `stripConfigurationState` has it; false when no gateway came or went. */
  takeState(change: Change<CustomResource>): boolean {
    const { name, annotations } = change.object.metadata;
    if (!name.startsWith(SPEAKER_PREFIX)) return false;
    const gateways = change.kind === "deleted" ? [] : parseDefaultGateways(annotations?.[DEFAULT_GATEWAYS] ?? "");
    return replace(this.#gateways, name.slice(SPEAKER_PREFIX.length), gateways.length === 0 ? undefined : gateways);
  }

  /** Those in the pool, by address. What was said of a Node that is no more does not count. */
  within(pool: Pool): Neighbour[] {
    const gateways = [...this.#gateways].filter(([node]) => this.#addresses.has(node));
    return [...neighboursIn(pool, this.#addresses, "node"), ...neighboursIn(pool, gateways, "gateway")].sort((a, b) => compareIpAddresses(a.address, b.address));
  }
}

/** What the pool's condition says about them. */
export function overlapVerdict(neighbours: readonly Neighbour[]): Verdict {
  if (neighbours.length === 0) return { type: OVERLAPS_NODES, status: "False", reason: "NoOverlap", message: "no Node has an address of the pool, or its default gateway there" };
  const kinds = (["node", "gateway"] as const).filter((kind) => neighbours.some(({ is }) => is === kind));
  const more = neighbours.length - MAX_ADDRESSES_TOLD;
  const list = [...neighbours.slice(0, MAX_ADDRESSES_TOLD).map(describe), ...(more > 0 ? [`and ${more} more`] : [])].join("; ");
  const reason = kinds.includes("node") ? "NodeAddressInPool" : "GatewayInPool";
  return { type: OVERLAPS_NODES, status: "True", reason, message: clipMessage(`${list}; a Service that gets such an address takes it away from the ${kinds.join(" or the ")}`) };
}

/** Sets or deletes what is known of a Node; false when it is what it was. */
function replace(map: Map<string, readonly IpAddress[]>, node: string, after: readonly IpAddress[] | undefined): boolean {
  const before = map.get(node);
  if (before?.length === after?.length && (before ?? []).every((address, index) => compareIpAddresses(address, after?.[index] ?? address) === 0)) return false;
  if (after === undefined) map.delete(node);
  else map.set(node, after);
  return true;
}

function neighboursIn(pool: Pool, byNode: Iterable<readonly [string, readonly IpAddress[]]>, is: Neighbour["is"]): Neighbour[] {
  const found = new Map<string, Neighbour & { readonly nodes: string[] }>();
  for (const [node, addresses] of byNode) {
    for (const address of addresses) {
      const range = pool.ranges.find((each) => rangeContains(each, address));
      if (range === undefined) continue;
      const key = formatIpAddress(address);
      const known = found.get(key);
      if (known === undefined) found.set(key, { is, address, range, nodes: [node] });
      else if (known.nodes.at(-1) !== node) known.nodes.push(node);
    }
  }
  return [...found.values()].map(({ nodes, ...rest }) => ({ ...rest, nodes: nodes.toSorted() }));
}

function describe({ is, address, range, nodes }: Neighbour): string {
  return `${formatIpAddress(address)} (in ${formatRange(range)}) is ${is === "node" ? "an address" : "the default gateway"} of ${describeNodes(nodes)}`;
}

function describeNodes(nodes: readonly string[]): string {
  const named = nodes.slice(0, MAX_NODES_NAMED);
  const more = nodes.length - named.length;
  const words = more > 0 ? [...named, `${more} more`] : named;
  return words.length === 1 ? `node ${words[0]}` : `nodes ${words.slice(0, -1).join(", ")} and ${words.at(-1)}`;
}

/** As a CIDR where it is one. */
function formatRange({ family, first, last }: IpRange): string {
  const size = last - first + 1n;
  const start = formatIpAddress({ family, value: first });
  const hostBits = BigInt(size.toString(2).length - 1);
  if (size !== 1n << hostBits || first % size !== 0n) return `${start}-${formatIpAddress({ family, value: last })}`;
  return `${start}/${familyBits(family) - hostBits}`;
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
