/**
 * The asking side of the benchmark of answers by ARP, or by NDP for an IPv6 address: a process of its own, so that a stalled speaker does not stall the stopwatch.
 * Arguments: namespace, address to ask for, number of questions, milliseconds between them. Prints one JSON line.
 */

import { openClient } from "../test/netns/veth-pair.ts";
import { ArpOperation, decodeArpPacket, encodeArpPacket } from "../speaker/layer2/arp-packet.ts";
import { decodeNeighborMessage, encodeNeighborMessage } from "../speaker/layer2/ndp-packet.ts";
import { PollSet } from "../sys/libc.ts";
import { inNetworkNamespace } from "../sys/network-namespace.ts";
import { neighborMessageFilter, openNdpSocket } from "../sys/packet-socket.ts";
import { formatIpAddress, parseIpAddress } from "../wire/ip-address.ts";
import { multicastMac, solicitedNodeGroup } from "../wire/ipv6-multicast.ts";
import { BROADCAST_MAC, parseMacAddress, ZERO_MAC } from "../wire/mac-address.ts";

const [namespace, address, count, intervalMs] = process.argv.slice(2);
if (namespace === undefined || address === undefined) throw new Error("namespace and address wanted");
const client = openClient(namespace);
const own = parseMacAddress(client.mac);
const target = parseIpAddress(address);
const isIpv6 = target.family === "IPv6";
const socket = isIpv6 ? inNetworkNamespace(namespace, () => openNdpSocket(client.index, neighborMessageFilter)) : client.socket;
const group = solicitedNodeGroup(target);
const question = isIpv6
  ? encodeNeighborMessage({
      kind: "solicitation",
      ethernetDestination: multicastMac(group),
      ethernetSource: own,
      source: parseIpAddress("fd09::1"),
      destination: group,
      target,
      options: [{ kind: "sourceLinkLayerAddress", mac: own }],
    })
  : encodeArpPacket({
      ethernetDestination: BROADCAST_MAC,
      ethernetSource: own,
      operation: ArpOperation.request,
      senderHardwareAddress: own,
      senderProtocolAddress: parseIpAddress("192.0.2.1"),
      targetHardwareAddress: ZERO_MAC,
      targetProtocolAddress: target,
    });
const buffer = new Uint8Array(2048);
const waiting = new PollSet([socket.fd]);
const pause = new PollSet([]);
/** Questions before the count begins: compilers warm up on both sides. */
const WARM_UP = 500;
const TIMEOUT_MS = 1_000;

/** Microseconds until the answer, or undefined when none came in a second. */
function ask(): number | undefined {
  const begin = process.hrtime.bigint();
  socket.send(question);
  for (;;) {
    if (waiting.wait(TIMEOUT_MS).length === 0) return undefined;
    const end = process.hrtime.bigint();
    const length = socket.receive(buffer);
    if (length === undefined) continue;
    if (answeredFor(buffer.subarray(0, length)) === address) return Number(end - begin) / 1e3;
  }
}

/** The address that a frame answers for; undefined when it answers nothing. */
function answeredFor(frame: Uint8Array): string | undefined {
  if (isIpv6) {
    const message = decodeNeighborMessage(frame);
    return message.kind === "advertisement" && message.solicited ? formatIpAddress(message.target) : undefined;
  }
  const { operation, senderProtocolAddress } = decodeArpPacket(frame);
  return operation === ArpOperation.reply ? formatIpAddress(senderProtocolAddress) : undefined;
}

const times: number[] = [];
let lost = 0;
for (let index = 0; index < WARM_UP + Number(count ?? 2000); index++) {
  const time = ask();
  if (index >= WARM_UP) {
    if (time === undefined) lost += 1;
    else times.push(time);
  }
  pause.wait(Number(intervalMs ?? 1));
}
times.sort((a, b) => a - b);
const at = (part: number): number => times[Math.min(times.length - 1, Math.floor(times.length * part))] ?? Number.NaN;
const mean = times.reduce((sum, time) => sum + time, 0) / times.length;
process.stdout.write(`${JSON.stringify({ meanUs: mean, p50Us: at(0.5), p99Us: at(0.99), maxUs: at(1), answered: times.length, lost })}\n`);
