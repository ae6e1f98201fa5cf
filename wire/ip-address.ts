/**
 * IP addresses and ranges as values. Parsed once at the edge of the program, compared as integers,
 * printed in one canonical form, which is also the key of every map. RFC 4291 §2.2, RFC 5952 §4.
 */

export type IpFamily = "IPv4" | "IPv6";

/** An address. Shape: `value` is the address as an unsigned integer, 32 bits for IPv4, 128 for IPv6. */
export interface IpAddress {
  readonly family: IpFamily;
  readonly value: bigint;
}

/** A closed interval of addresses of one family, `first` <= `last`. */
export interface IpRange {
  readonly family: IpFamily;
  readonly first: bigint;
  readonly last: bigint;
}

/** Text that is no address, CIDR or range. The message says what is wrong with it, and quotes it. */
export class AddressError extends Error {
  override readonly name = "AddressError";
}

const IPV4_BITS = 32n;
const IPV6_BITS = 128n;
const IPV6_GROUPS = 8;
/** Length of ::ffff:0:0/96, the prefix of IPv4-mapped addresses. RFC 4291 §2.5.5.2. */
const MAPPED_PREFIX_BITS = 96n;
/** Longest text of an address: 45 characters ("ffff:...:255.255.255.255"); anything longer is refused unread. */
const MAX_ADDRESS_TEXT = 45;

/** Number of bits in an address of the family. */
export function familyBits(family: IpFamily): bigint {
  return family === "IPv4" ? IPV4_BITS : IPV6_BITS;
}

/**
 * Parses an address in text form: dotted quad without leading zeros, or RFC 4291 §2.2 (all three forms).
 * IPv4-mapped IPv6 (::ffff:a.b.c.d) becomes IPv4, as Go's net.ParseIP treats it. Zones are refused.
 * @throws AddressError when the text is no address.
 */
export function parseIpAddress(text: string): IpAddress {
  if (text.length > MAX_ADDRESS_TEXT) throw new AddressError(`invalid IP address "${text.slice(0, MAX_ADDRESS_TEXT)}..."`);
  const value = text.includes(":") ? parseIpv6(text) : undefined;
  if (value !== undefined) {
    return value >> 32n === 0xffffn ? { family: "IPv4", value: value & 0xffffffffn } : { family: "IPv6", value };
  }
  const ipv4 = parseIpv4(text);
  if (ipv4 === undefined) throw new AddressError(`invalid IP address ${JSON.stringify(text)}`);
  return { family: "IPv4", value: ipv4 };
}

function parseIpv4(text: string): bigint | undefined {
  const parts = text.split(".");
  if (parts.length !== 4) return undefined;
  let value = 0n;
  for (const part of parts) {
    if (!/^(0|[1-9][0-9]{0,2})$/.test(part)) return undefined;
    const octet = Number(part);
    if (octet > 255) return undefined;
    value = (value << 8n) | BigInt(octet);
  }
  return value;
}

function parseIpv6(text: string): bigint | undefined {
  const halves = text.split("::");
  if (halves.length > 2) return undefined;
  const head = parseGroups(halves[0] ?? "", halves.length === 1);
  const tail = halves.length === 2 ? parseGroups(halves[1] ?? "", true) : [];
  if (head === undefined || tail === undefined) return undefined;
  const missing = IPV6_GROUPS - head.length - tail.length;
  // "::" stands for at least one group of zeros. RFC 4291 §2.2.
  if (halves.length === 2 ? missing < 1 : missing !== 0) return undefined;
  const groups = [...head, ...Array.from({ length: missing }, () => 0), ...tail];
  return groups.reduce((value, group) => (value << 16n) | BigInt(group), 0n);
}

function parseGroups(text: string, mayEndInIpv4: boolean): number[] | undefined {
  if (text === "") return [];
  const parts = text.split(":");
  const groups: number[] = [];
  for (const [index, part] of parts.entries()) {
    if (mayEndInIpv4 && index === parts.length - 1 && part.includes(".")) {
      const ipv4 = parseIpv4(part);
      if (ipv4 === undefined) return undefined;
      groups.push(Number(ipv4 >> 16n), Number(ipv4 & 0xffffn));
    } else if (/^[0-9a-fA-F]{1,4}$/.test(part)) {
      groups.push(Number.parseInt(part, 16));
    } else {
      return undefined;
    }
  }
  return groups.length <= IPV6_GROUPS ? groups : undefined;
}

/** The canonical text: dotted quad, or RFC 5952 §4 (lower case, longest run of zeros compressed, the first of equals). */
export function formatIpAddress(address: IpAddress): string {
  if (address.family === "IPv4") {
    return [24n, 16n, 8n, 0n].map((shift) => String((address.value >> shift) & 0xffn)).join(".");
  }
  const groups: string[] = [];
  for (let shift = 112n; shift >= 0n; shift -= 16n) groups.push(((address.value >> shift) & 0xffffn).toString(16));
  const run = longestZeroRun(groups);
  if (run.length < 2) return groups.join(":");
  return `${groups.slice(0, run.start).join(":")}::${groups.slice(run.start + run.length).join(":")}`;
}

function longestZeroRun(groups: readonly string[]): { start: number; length: number } {
  let best = { start: 0, length: 0 };
  for (let start = 0; start < groups.length; start++) {
    let length = 0;
    while (groups[start + length] === "0") length++;
    if (length > best.length) best = { start, length };
  }
  return best;
}

/** The address in network byte order. Shape: 4 bytes for IPv4, 16 for IPv6. */
export function ipAddressToBytes(address: IpAddress): Uint8Array {
  const bytes = new Uint8Array(Number(familyBits(address.family) / 8n));
  let value = address.value;
  for (let index = bytes.length - 1; index >= 0; index--) {
    bytes[index] = Number(value & 0xffn);
    value >>= 8n;
  }
  return bytes;
}

/**
 * The address held in 4 or 16 bytes of network byte order. 16 bytes are always IPv6, mapped or not.
 * @throws AddressError for any other length.
 */
export function ipAddressFromBytes(bytes: Uint8Array): IpAddress {
  if (bytes.length !== 4 && bytes.length !== 16) throw new AddressError(`an IP address has 4 or 16 bytes, not ${bytes.length}`);
  const value = bytes.reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
  return { family: bytes.length === 4 ? "IPv4" : "IPv6", value };
}

/**
 * Parses one entry of a pool: a CIDR (host bits are masked off) or `start-end` (spaces around the dash allowed).
 * A bare address is refused, as MetalLB refuses it: write /32 or /128.
 * @throws AddressError with MetalLB's words: invalid CIDR, invalid IP range.
 */
export function parseIpRange(text: string): IpRange {
  return text.includes("-") ? parseStartEnd(text) : parseCidr(text);
}

function parseStartEnd(text: string): IpRange {
  const parts = text.split("-");
  if (parts.length !== 2) throw new AddressError(`invalid IP range ${JSON.stringify(text)}`);
  const [start, end] = parts.map((part) => {
    try {
      return parseIpAddress(part.trim());
    } catch {
      throw new AddressError(`invalid IP range ${JSON.stringify(text)}: ${JSON.stringify(part.trim())} is not an IP address`);
    }
  });
  if (start === undefined || end === undefined || start.family !== end.family) {
    throw new AddressError(`invalid IP range ${JSON.stringify(text)}: start and end are of different families`);
  }
  if (start.value > end.value) throw new AddressError(`invalid IP range ${JSON.stringify(text)}: start is after end`);
  return { family: start.family, first: start.value, last: end.value };
}

/**
 * Parses `address/length`; host bits are masked off. Leading zeros of the length are ignored, as Go's net.ParseCIDR does;
 * ::ffff:a.b.c.d/96+n is the IPv4 range a.b.c.d/n.
 * @throws AddressError when the text is no CIDR.
 */
export function parseCidr(text: string): IpRange {
  const match = /^([^/]+)\/0*([0-9]{1,3})$/.exec(text.trim());
  const refuse = (): AddressError => new AddressError(`invalid CIDR ${JSON.stringify(text)}`);
  if (match === null) throw refuse();
  let address: IpAddress;
  try {
    address = parseIpAddress(match[1] ?? "");
  } catch {
    throw refuse();
  }
  const bits = familyBits(address.family);
  const isMapped = address.family === "IPv4" && text.includes(":");
  const length = BigInt(match[2] ?? "") - (isMapped ? MAPPED_PREFIX_BITS : 0n);
  if (length < 0n || length > bits) throw refuse();
  const hostMask = (1n << (bits - length)) - 1n;
  const first = address.value & ~hostMask;
  return { family: address.family, first, last: first | hostMask };
}

/** Whether the address lies in the range. */
export function rangeContains(range: IpRange, address: IpAddress): boolean {
  return range.family === address.family && range.first <= address.value && address.value <= range.last;
}

/** Whether two ranges have an address in common. */
export function rangesOverlap(a: IpRange, b: IpRange): boolean {
  return a.family === b.family && a.first <= b.last && b.first <= a.last;
}

/** Order of addresses: IPv4 before IPv6, then by value. For `Array.sort`. */
export function compareIpAddresses(a: IpAddress, b: IpAddress): number {
  if (a.family !== b.family) return a.family === "IPv4" ? -1 : 1;
  return a.value < b.value ? -1 : a.value > b.value ? 1 : 0;
}
