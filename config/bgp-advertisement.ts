/** Reads BGPAdvertisement resources: which pools are announced over BGP, to whom, and with which attributes. */
import type { IpFamily, IpRange } from "../wire/ip-address.ts";
import { familyBits } from "../wire/ip-address.ts";
import { formatCommunity, looksLikeValue, readCommunityValue, type BgpCommunity, type CommunityNames } from "./community.ts";
import type { LabelSelector } from "./config.ts";
import { fieldOf, readInteger, readObject, readString, readList, readUniqueStrings, type Field, type FieldErrors, type JsonObject } from "./field-errors.ts";
import { readSelectors, selectorMatches } from "./label-selector.ts";
import type { SelectablePool } from "./l2-advertisement.ts";

/** A validated advertisement. */
export interface BgpAdvertisement {
  readonly name: string;
  /** Names of the pools it reaches, sorted, resolved against the pools beside it. */
  readonly pools: readonly string[];
  /** Names of BGPPeers; empty means every peer. */
  readonly peers: readonly string[];
  /** Length of the announced prefixes, by family: 1 to 32, 0 to 128. */
  readonly aggregationLength: Readonly<Record<IpFamily, number>>;
  /** LOCAL_PREF of the routes, 0 to 4294967295; 0 is the same as none. */
  readonly localPref: number;
  /** How many times more our own number is in the AS_PATH, 0 to 10. */
  readonly asPathPrepend: number;
  /** Sorted by their text, none twice. */
  readonly communities: readonly BgpCommunity[];
  /** ORed; empty means every node. */
  readonly nodeSelectors: readonly LabelSelector[];
  /** ORed; empty means every Service. */
  readonly serviceSelectors: readonly LabelSelector[];
}

/** A pool as an advertisement sees it: what selects it, and its entries. `text` is the entry as its author wrote it. */
export interface AdvertisedPool extends SelectablePool {
  readonly entries: readonly { readonly text: string; readonly range: IpRange }[];
}

/** What an advertisement is read against. */
export interface AdvertisementContext {
  readonly pools: readonly AdvertisedPool[];
  /** undefined: names of communities are not looked up, for they may come later. */
  readonly communityNames: CommunityNames | undefined;
}

const LENGTH_FIELD: Readonly<Record<IpFamily, string>> = { IPv4: "aggregationLength", IPv6: "aggregationLengthV6" };
const MIN_LENGTH: Readonly<Record<IpFamily, number>> = { IPv4: 1, IPv6: 0 };
const MAX_LOCAL_PREF = 0xffff_ffff;
const MAX_AS_PATH_PREPEND = 10;
/** Communities that fit one route as MetalLB sends it; more would not fit the attribute's usual size. */
const MAX_COMMUNITIES = 63;

/** Reads the spec of an advertisement; what is wrong goes to `errors`. */
export function readBgpAdvertisement(object: { readonly name: string; readonly spec: unknown }, errors: FieldErrors, context: AdvertisementContext): BgpAdvertisement {
  const specField: Field = { value: object.spec, path: "spec", errors };
  const spec = readObject(specField) ?? {};
  const names = new Set(readUniqueStrings(fieldOf(spec, "ipAddressPools", specField), "ipAddressPools"));
  const selectors = readSelectors(fieldOf(spec, "ipAddressPoolSelectors", specField), "ipAddressPoolSelectors");
  const every = names.size === 0 && selectors.length === 0;
  const pools = context.pools.filter((pool) => every || names.has(pool.name) || selectors.some((selector) => selectorMatches(selector, pool.labels)));
  const serviceSelectors = readSelectors(fieldOf(spec, "serviceSelectors", specField), "serviceSelectors");
  const aggregationLength = { IPv4: readLength(spec, specField, "IPv4"), IPv6: readLength(spec, specField, "IPv6") };
  for (const family of ["IPv4", "IPv6"] as const) {
    const path = `spec.${LENGTH_FIELD[family]}`;
    const length = aggregationLength[family];
    if (serviceSelectors.length > 0 && length !== Number(familyBits(family))) errors.add(path, `${LENGTH_FIELD[family]} ${length} and serviceSelectors are mutually exclusive: an aggregate cannot leave Services out`);
    const narrow = pools.flatMap((pool) => pool.entries).find(({ range }) => range.family === family && length < shortestPrefix(range));
    if (narrow !== undefined) errors.add(path, `invalid aggregation length ${length}: prefix ${shortestPrefix(narrow.range)} in this pool is more specific than the aggregation length for addresses ${narrow.text}`);
  }
  return {
    name: object.name,
    pools: pools.map((pool) => pool.name).sort(),
    peers: readUniqueStrings(fieldOf(spec, "peers", specField), "peers"),
    aggregationLength,
    localPref: readUpTo(MAX_LOCAL_PREF, fieldOf(spec, "localPref", specField), "local preference"),
    asPathPrepend: readUpTo(MAX_AS_PATH_PREPEND, fieldOf(spec, "asPathPrepend", specField), "AS path prepend"),
    communities: readCommunities(fieldOf(spec, "communities", specField), context.communityNames),
    nodeSelectors: readSelectors(fieldOf(spec, "nodeSelectors", specField), "nodeSelectors"),
    serviceSelectors,
  };
}

function readLength(spec: JsonObject, parent: Field, family: IpFamily): number {
  const field = fieldOf(spec, LENGTH_FIELD[family], parent);
  const max = Number(familyBits(family));
  const length = readInteger(field) ?? max;
  if (length >= MIN_LENGTH[family] && length <= max) return length;
  field.errors.add(field.path, `invalid aggregation length ${length}: must be from ${MIN_LENGTH[family]} to ${max}`);
  return max;
}

/** A number from 0 on, which is the same as none. */
function readUpTo(max: number, field: Field, what: string): number {
  const value = readInteger(field) ?? 0;
  if (value >= 0 && value <= max) return value;
  field.errors.add(field.path, `invalid ${what} ${value}: must be from 0 to ${max}`);
  return 0;
}

function readCommunities(field: Field, names: CommunityNames | undefined): BgpCommunity[] {
  const seen = new Set<string>();
  const communities = new Map<string, BgpCommunity>();
  for (const element of readList(field)) {
    const text = readString(element);
    if (text === undefined) continue;
    if (seen.has(text)) element.errors.add(element.path, `duplicate definition of community ${JSON.stringify(text)}`);
    seen.add(text);
    const community = names?.get(text) ?? (looksLikeValue(text) ? readCommunityValue(element) : undefined);
    if (community !== undefined) communities.set(formatCommunity(community), community);
    else if (names !== undefined && !looksLikeValue(text)) element.errors.add(element.path, `unknown community ${JSON.stringify(text)}: no Community gives this name`);
  }
  if (communities.size > MAX_COMMUNITIES) field.errors.add(field.path, `${communities.size} communities: a route takes at most ${MAX_COMMUNITIES}`);
  return [...communities.entries()].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, community]) => community);
}

/** Length of the largest CIDR inside the range, when it is split into as few as possible. */
export function shortestPrefix(range: IpRange): number {
  const bits = familyBits(range.family);
  let hostBits = 0n;
  for (let first = range.first; first <= range.last; ) {
    let size = 0n;
    // The largest block that starts here, is aligned, and ends in the range.
    while (size < bits && (first & ((1n << (size + 1n)) - 1n)) === 0n && first + (1n << (size + 1n)) - 1n <= range.last) size++;
    if (size > hostBits) hostBits = size;
    first += 1n << size;
  }
  return Number(bits - hostBits);
}
