/**
 * The gateways that default routes lead to, as the kernel's own tables show them (proc_net(5)). Of a route with several
 * next hops the first one is seen; tables other than "main" are not.
 */

import { closeSync, openSync, readSync } from "node:fs";

import { formatIpAddress, ipAddressFromBytes } from "../wire/ip-address.ts";
import type { IpFamily } from "../wire/ip-address.ts";
import type { ByteOrder } from "../wire/byte-reader.ts";
import { hostByteOrder } from "./libc.ts";
import { SysError } from "./sys-error.ts";

/** `address` is canonical text; of an IPv6 gateway it is usually link-local. `interfaceName` is the interface it is reached by. */
export interface DefaultGateway {
  readonly address: string;
  readonly interfaceName: string;
  readonly metric: number;
}

/**
 * Bytes read of a table. IPv4's begins with the default routes (some 30 lines are read, which is cheap however long it
 * is); IPv6's ends with them, and a node with more routes than fit (some 10,000) has no gateway here.
 */
const MAX_TABLE_BYTES: Readonly<Record<IpFamily, number>> = { IPv4: 4 * 1024, IPv6: 2 * 1024 * 1024 };
/** A thread may be in a network namespace of its own. */
const TABLES: Readonly<Record<IpFamily, string>> = { IPv4: "/proc/thread-self/net/route", IPv6: "/proc/thread-self/net/ipv6_route" };

const RTF_UP = 0x1;
const RTF_GATEWAY = 0x2;
const RTF_REJECT = 0x200;

/** The default gateways of this network namespace, the lowest metric first. Empty when there is none, or no such table. @throws SysError (EMFILE, ENFILE, ENOMEM) */
export function defaultGateways(family: IpFamily): DefaultGateway[] {
  const text = readBeginning(TABLES[family], MAX_TABLE_BYTES[family]);
  return family === "IPv4" ? parseIpv4Gateways(text, hostByteOrder) : parseIpv6Gateways(text);
}

function readBeginning(path: string, most: number): string {
  let fd: number;
  try {
    fd = openSync(path, "r");
  } catch (error) {
    const failed = sysError(error, { syscall: "open", path });
    // A kernel without IPv6 has no table of it.
    if (failed.code === "ENOENT") return "";
    throw failed;
  }
  try {
    const chunk = new Uint8Array(Math.min(most, 64 * 1024));
    const decoder = new TextDecoder();
    let text = "";
    while (text.length < most) {
      const length = readSync(fd, chunk);
      if (length === 0) break;
      text += decoder.decode(chunk.subarray(0, length), { stream: true });
    }
    return text;
  } catch (error) {
    throw sysError(error, { syscall: "read", path });
  } finally {
    closeSync(fd);
  }
}

/** @throws whatever is no failure of the OS */
function sysError(error: unknown, { syscall, path }: { readonly syscall: string; readonly path: string }): SysError {
  if (!(error instanceof Error) || !("code" in error)) throw error;
  return new SysError({ code: String(error.code), syscall, detail: path });
}

/**
 * Parses /proc/net/route: columns Iface Destination Gateway Flags RefCnt Use Metric Mask ..., addresses as hexadecimal
 * numbers whose bytes in the kernel's order are the address. Lines that are anything else are passed over.
 */
export function parseIpv4Gateways(table: string, order: ByteOrder): DefaultGateway[] {
  const found: DefaultGateway[] = [];
  for (const line of table.split("\n")) {
    const [interfaceName, destination, gateway, flags, , , metric, mask] = line.trim().split(/\s+/);
    if (interfaceName === undefined || destination !== "00000000" || mask !== "00000000") continue;
    const bytes = addressBytes(gateway, 4);
    if (bytes === undefined || !leadsToGateway(flags) || !/^-?\d{1,10}$/.test(metric ?? "")) continue;
    // 32 bits without a sign, which the kernel prints with one.
    found.push({ address: formatIpAddress(ipAddressFromBytes(order === "little" ? bytes.toReversed() : bytes)), interfaceName, metric: Number(metric) >>> 0 });
  }
  return byMetric(found);
}

/** Parses /proc/net/ipv6_route: destination and length, source and length, next hop, metric, references, use, flags, interface; all hexadecimal. */
export function parseIpv6Gateways(table: string): DefaultGateway[] {
  const found: DefaultGateway[] = [];
  for (const line of table.split("\n")) {
    const [destination, length, , sourceLength, nextHop, metric = "", , , flags, interfaceName] = line.trim().split(/\s+/);
    if (interfaceName === undefined || !/^0{32}$/.test(destination ?? "") || length !== "00" || sourceLength !== "00") continue;
    const bytes = addressBytes(nextHop, 16);
    if (bytes === undefined || !leadsToGateway(flags) || !/^[0-9a-f]{1,8}$/i.test(metric)) continue;
    found.push({ address: formatIpAddress(ipAddressFromBytes(bytes)), interfaceName, metric: Number.parseInt(metric, 16) });
  }
  return byMetric(found);
}

function leadsToGateway(flags: string | undefined): boolean {
  const bits = Number.parseInt(flags ?? "", 16);
  return (bits & (RTF_UP | RTF_GATEWAY | RTF_REJECT)) === (RTF_UP | RTF_GATEWAY);
}

function addressBytes(hexadecimal: string | undefined, length: number): Uint8Array | undefined {
  if (hexadecimal === undefined || hexadecimal.length !== 2 * length || !/^[0-9a-fA-F]+$/.test(hexadecimal)) return undefined;
  return Uint8Array.from(hexadecimal.match(/../g) ?? [], (octet) => Number.parseInt(octet, 16));
}

function byMetric(gateways: DefaultGateway[]): DefaultGateway[] {
  return gateways.sort((a, b) => a.metric - b.metric);
}
