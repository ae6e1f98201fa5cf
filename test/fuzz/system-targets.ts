/**
 * What is fuzzed of the doors to the system: what the kernel passes on from the network, and what it says of itself.
 */

import { decodeEchoReply, EchoType, internetChecksum } from "../../sys/icmp-echo.ts";
import { decodeNetlinkMessages, encodeAddressDumpRequest, encodeLinkDumpRequest } from "../../sys/netlink-message.ts";
import { decodeRouteMessages, encodeRouteDumpRequest } from "../../sys/route-message.ts";
import { parseIpv4Gateways, parseIpv6Gateways } from "../../sys/routes.ts";
import type { DefaultGateway } from "../../sys/routes.ts";
import { AF_INET, AF_INET6, decodeSocketAddress, encodeSocketAddress } from "../../sys/socket-address.ts";
import { ByteWriter } from "../../wire/byte-writer.ts";
import { formatIpAddress, parseIpAddress } from "../../wire/ip-address.ts";
import type { IpFamily } from "../../wire/ip-address.ts";
import type { FuzzTarget } from "./targets.ts";

function check(holds: boolean, what: string): void {
  if (!holds) throw new Error(what);
}

/** Whether a text is an address of the family, spelled as RFC 5952 wants it. */
function isCanonical(address: string, family: IpFamily): boolean {
  const parsed = parseIpAddress(address);
  return parsed.family === family && formatIpAddress(parsed) === address;
}

/** An echo reply as a raw socket gives it: for IPv4 behind a header, `options` bytes longer than the shortest. */
function echoReply(family: IpFamily, options = 0): Uint8Array {
  const message = (checksum: number): Uint8Array => new ByteWriter(12).u8(EchoType[family].reply).u8(0).u16(checksum).u16(0x1234).u16(7).u32(0xdecaf).finish();
  if (family === "IPv6") return message(0);
  const header = new Uint8Array(20 + options);
  header[0] = 0x40 | (header.length / 4);
  return Uint8Array.of(...header, ...message(internetChecksum(message(0))));
}

const echo = (family: IpFamily, seeds: () => Uint8Array[]): FuzzTarget => ({
  name: `icmp-echo-reply-${family.toLowerCase()}`,
  seeds,
  run(bytes) {
    const { identifier, sequence } = decodeEchoReply(family, bytes);
    const at = family === "IPv4" ? ((bytes[0] ?? 0) & 0x0f) * 4 : 0;
    const message = bytes.subarray(at);
    check(message.length >= 8 && message[0] === EchoType[family].reply, "what was accepted is no echo reply");
    check(identifier === (message[4] ?? 0) * 256 + (message[5] ?? 0) && sequence === (message[6] ?? 0) * 256 + (message[7] ?? 0), "fields from the wrong place");
    check(family === "IPv6" || internetChecksum(message) === 0, "a damaged message was accepted");
  },
});

/** What the kernel says of a link eth0: header, ifinfomsg, name, MAC. */
function linkMessage(type: number): Uint8Array {
  const writer = new ByteWriter(56, "little");
  writer.u32(56).u16(type).u16(0).u32(0).u32(0);
  writer.u8(0).u8(0).u16(1).u32(2).u32(0x10043).u32(0);
  writer.u16(9).u16(3).bytes(new TextEncoder().encode("eth0\0")).align(4);
  return writer.u16(10).u16(1).bytes(Uint8Array.of(2, 0, 0, 0, 0, 10)).finish();
}

/** The same of an address 10.9.0.1/24 of it: header, ifaddrmsg, IFA_ADDRESS, IFA_LOCAL. */
function addressMessage(type: number): Uint8Array {
  const writer = new ByteWriter(40, "little").u32(40).u16(type).u16(2).u32(1).u32(0);
  writer.u8(2).u8(24).u8(0x80).u8(0).u32(2);
  for (const attribute of [1, 2]) writer.u16(8).u16(attribute).bytes(Uint8Array.of(10, 9, 0, 1));
  return writer.finish();
}

const netlink: FuzzTarget = {
  name: "netlink",
  seeds: () => [
    ...[16, 17].map(linkMessage),
    ...[20, 21].map(addressMessage),
    Uint8Array.of(...linkMessage(16), ...addressMessage(20), ...linkMessage(17)),
    encodeLinkDumpRequest(1, "little"),
    encodeAddressDumpRequest(1, "little"),
    new ByteWriter(20, "little").u32(20).u16(2).u16(0).u32(1).u32(0).u32(0xffffffff).finish(),
  ],
  run(bytes) {
    const messages = decodeNetlinkMessages(bytes, "little");
    // A message that says that a dump was interrupted counts as two.
    check(messages.length <= (2 * bytes.length) / 16, "more messages than headers fit");
    for (const message of messages) {
      if (message.kind !== "address" && message.kind !== "addressRemoved") continue;
      check(isCanonical(message.address.address, "IPv4") && message.address.prefixLength <= 32, "an address that is none");
    }
  },
};

/** What the kernel says of IPv6's default route: header, rtmsg, RTA_PRIORITY, RTA_OIF, and a gateway or two next hops. */
function routeMessage(type: number, flags: number, hops: "one" | "two"): Uint8Array {
  const gateway = Uint8Array.of(0xfe, 0x80, ...new Uint8Array(13), 1);
  const writer = new ByteWriter(200, "little").u32(hops === "one" ? 64 : 104).u16(type).u16(flags).u32(1).u32(0);
  writer.u8(10).u8(0).u8(0).u8(0).u8(254).u8(9).u8(0).u8(1).u32(0);
  writer.u16(8).u16(6).u32(1024).u16(8).u16(4).u32(2);
  if (hops === "one") return writer.u16(20).u16(5).bytes(gateway).finish();
  writer.u16(60).u16(9);
  for (const index of [2, 3]) writer.u16(28).u8(0).u8(0).u32(index).u16(20).u16(5).bytes(gateway);
  return writer.finish();
}

const routeMessages: FuzzTarget = {
  name: "netlink-routes",
  seeds: () => [
    ...[24, 25].flatMap((type) => (["one", "two"] as const).map((hops) => routeMessage(type, 0x400, hops))),
    Uint8Array.of(...routeMessage(24, 2, "two"), ...routeMessage(24, 0x12, "one"), ...routeMessage(25, 0, "one")),
    encodeRouteDumpRequest(1, "little"),
    new ByteWriter(20, "little").u32(20).u16(3).u16(2).u32(1).u32(0).u32(0).finish(),
  ],
  run(bytes) {
    const messages = decodeRouteMessages(bytes, "little");
    check(messages.length <= (2 * bytes.length) / 16, "more messages than headers fit");
    for (const message of messages) {
      if (message.kind !== "route") continue;
      check(message.route.hops.length <= bytes.length / 16, "more gateways than addresses fit");
      for (const { address } of message.route.hops) check(isCanonical(address, "IPv6"), "a gateway that is none");
    }
  },
};

const zeros = "0".repeat(32);
const IPV4_TABLE = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\neth1\t00000000\t0200090A\t0003\t0\t0\t200\t00000000\t0\t0\t0\neth0\t0000090A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";
const IPV6_TABLE = `${zeros} 00 ${zeros} 00 fe80000000000000000000000000abcd 00000400 00000001 00000000 00000003     eth0\n`;

function checkGateways(found: readonly DefaultGateway[], family: IpFamily, table: string): void {
  check(found.length <= table.split("\n").length, "more gateways than lines");
  for (const { address, interfaceName, metric } of found) {
    check(isCanonical(address, family) && interfaceName !== "" && !/\s/.test(interfaceName), "a gateway that is none");
    check(metric >= 0, `metric ${metric}`);
  }
  for (const [index, { metric }] of found.entries()) check(index === 0 || (found[index - 1]?.metric ?? 0) <= metric, "not the lowest metric first");
}

const routes: FuzzTarget = {
  name: "route-tables",
  seeds: () => [IPV4_TABLE, IPV6_TABLE, IPV4_TABLE + IPV6_TABLE].map((table) => new TextEncoder().encode(table)),
  run(bytes) {
    const table = new TextDecoder().decode(bytes);
    checkGateways(parseIpv4Gateways(table, "little"), "IPv4", table);
    checkGateways(parseIpv6Gateways(table), "IPv6", table);
  },
};

const socketAddress: FuzzTarget = {
  name: "socket-address",
  seeds: () => ["10.9.0.1", "fd00::1", "::ffff:10.9.0.1"].map((address) => encodeSocketAddress({ address, port: 7946 }, "little")),
  run(bytes) {
    const endpoint = decodeSocketAddress(bytes, "little");
    const isIpv4 = bytes[0] === AF_INET;
    check(isIpv4 || bytes[0] === AF_INET6, "a family that is none");
    check(isCanonical(endpoint.address, isIpv4 ? "IPv4" : "IPv6"), "an address that is none");
    const again = decodeSocketAddress(encodeSocketAddress(endpoint, "little"), "little");
    check(again.address === endpoint.address && again.port === endpoint.port, "encoding what was decoded gives another endpoint");
  },
};

export const systemTargets: readonly FuzzTarget[] = [
  echo("IPv4", () => [echoReply("IPv4"), echoReply("IPv4", 12)]),
  echo("IPv6", () => [echoReply("IPv6")]),
  netlink,
  routeMessages,
  routes,
  socketAddress,
];
